//! The four peers, and what each of them cannot do.

use vc5_conformance::lab::command;
use vc5_conformance::lab::router::{BirdRouter, ExaBgp, Frr, GoBgp, Router};

/// A peer program.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Makes one that does not run yet.
    pub(crate) new: fn() -> Box<dyn Router + Send>,
    /// Scenarios it cannot play, with the reason.
    pub(crate) cannot: &'static [(&'static str, &'static str)],
}

/// All of them; fails with a hint when one is not installed.
pub(crate) fn all() -> Vec<Peer> {
    command::require(&[
        ("bird", "bird2"),
        ("vtysh", "frr"),
        ("gobgpd", "gobgpd"),
        ("exabgp", "exabgp"),
    ])
    .unwrap();
    vec![
        Peer { name: "BIRD", new: || Box::<BirdRouter>::default(), cannot: BIRD },
        Peer { name: "FRR", new: || Box::<Frr>::default(), cannot: FRR },
        Peer { name: "GoBGP", new: || Box::<GoBgp>::default(), cannot: GOBGP },
        Peer { name: "ExaBGP", new: || Box::<ExaBgp>::default(), cannot: EXABGP },
    ]
}

const BIRD: &[(&str, &str)] = &[
    (
        "2-octet AS, ours is AS_TRANS",
        "bird 2.0 refuses a neighbor AS above 65535 together with enable as4 off",
    ),
    (
        "prefix limit, theirs",
        "bird 2.0.12 falls silent at its limit: no NOTIFICATION, the TCP connection stays until our hold time ends it",
    ),
];

const FRR: &[(&str, &str)] = &[];

const GOBGP: &[(&str, &str)] = &[
    (
        "collision, our connection stays",
        "gobgpd 3.10 does not compare identifiers: it closes every connection that comes after the one it is on",
    ),
    ("2-octet AS", "gobgpd 3.10 always offers 4-octet AS numbers, there is no setting for it"),
    ("2-octet AS, ours is AS_TRANS", "as for 2-octet AS"),
    ("extended messages", "gobgpd 3.10 does not offer them and has no setting for it"),
    (
        "route refresh, they ask",
        "gobgp 3.10 has no command that sends ROUTE-REFRESH; softresetin reads its own Adj-RIB-In anew",
    ),
];

const EXABGP: &[(&str, &str)] = &[
    (
        "collision, our connection stays",
        "exabgp 4.2 gives its own connection up for ours as it should, but then sends no OPEN on ours",
    ),
    (
        "shutdown message, ours",
        "exabgp 4.2 cannot read a Cease with a text, its log says: can not decode update message of type 3",
    ),
    ("shutdown message, theirs", "exabgp 4.2 has no text to go with its command teardown CODE"),
    ("prefix limit, theirs", "exabgp 4.2 has no prefix limit"),
];
