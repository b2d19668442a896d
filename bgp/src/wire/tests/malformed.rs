//! Malformed messages as data: octets on the left, on the right what RFC 4271, RFC 7606 and their
//! relatives demand of a neighbour's message of that form.
//!
//! Here the codec is held against the rows; the session's tests take the same rows to see what
//! becomes of the session, and of the route to [`NET`] that stood before.

use super::*;

pub(crate) const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
pub(crate) const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9];
pub(crate) const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
/// The route that the rows announce: 203.0.113.0/24.
pub(crate) const NET: &[u8] = &[24, 203, 0, 113];
/// MP_REACH_NLRI of IPv6 unicast: next hop 2001:db8::1, prefix 2001:db8::/32.
pub(crate) const REACH: &[u8] = &[
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32,
    0x20, 1, 0x0D, 0xB8,
];

/// What a message leads to: the strongest action, and code, subcode and data of its NOTIFICATION.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing is wrong with it.
    Accept,
    /// An attribute or a prefix is passed over; routes stand.
    Discard(u8, Vec<u8>),
    /// The routes announced are withdrawn.
    Withdraw(u8, Vec<u8>),
    /// The session ends with this NOTIFICATION.
    Reset(u8, u8, Vec<u8>),
}
use Outcome::{Accept, Discard, Reset, Withdraw};

/// A message, and what it leads to.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) octets: Vec<u8>,
    /// From an external neighbour.
    pub(crate) external: Outcome,
    /// From an internal one.
    pub(crate) internal: Outcome,
}

impl Case {
    /// Whether the message announces the route to [`NET`] in its plain form, as its last octets.
    pub(crate) fn announces_net(&self) -> bool {
        self.octets.ends_with(NET)
    }
}

fn case(name: &'static str, octets: Vec<u8>, external: Outcome, internal: Outcome) -> Case {
    Case { name, octets, external, internal }
}

fn same(name: &'static str, octets: Vec<u8>, both: Outcome) -> Case {
    case(name, octets, both.clone(), both)
}

fn fine(name: &'static str, octets: Vec<u8>) -> Case {
    same(name, octets, Accept)
}

fn discard(subcode: u8, data: &[u8]) -> Outcome {
    Discard(subcode, data.to_vec())
}

fn withdraw(subcode: u8, data: &[u8]) -> Outcome {
    Withdraw(subcode, data.to_vec())
}

fn reset(code: u8, subcode: u8, data: &[u8]) -> Outcome {
    Reset(code, subcode, data.to_vec())
}

/// An UPDATE message of its three parts.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    let parts = [&length(withdrawn), withdrawn, &length(attributes), attributes, nlri];
    message(2, &parts.concat())
}

/// A valid announcement with one more attribute.
pub(crate) fn with(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[ORIGIN, AS_PATH, NEXT_HOP, attribute].concat(), NET)
}

/// An announcement with another ORIGIN, AS_PATH or NEXT_HOP.
pub(crate) fn origin(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[attribute, AS_PATH, NEXT_HOP].concat(), NET)
}

pub(crate) fn path(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[ORIGIN, attribute, NEXT_HOP].concat(), NET)
}

pub(crate) fn hop(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[ORIGIN, AS_PATH, attribute].concat(), NET)
}

/// A message of type `kind` whose header says `length`.
fn with_length(kind: u8, body: &[u8], length: u16) -> Vec<u8> {
    let mut octets = message(kind, body);
    octets[16..18].copy_from_slice(&length.to_be_bytes());
    octets
}

/// All rows for a session that has come up.
pub(crate) fn cases() -> Vec<Case> {
    [
        headers(),
        sections(),
        attribute_list(),
        without_routes(),
        origins_and_next_hops(),
        as_paths(),
        attributes(),
        internal_attributes(),
        communities(),
        multiprotocol(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn headers() -> Vec<Case> {
    let mut marker = message(4, &[]);
    marker[0] = 0;
    let short_refresh = message(5, &[0, 1, 0]);
    let long_refresh = message(5, &[0, 1, 1, 1, 0]);
    vec![
        same("marker", marker, reset(1, 1, &[])),
        same("length 18", with_length(4, &[], 18), reset(1, 2, &[0, 18])),
        same("length 4097", with_length(2, &[0; 4078], 4097), reset(1, 2, &[0x10, 1])),
        same("KEEPALIVE of 20 octets", message(4, &[0]), reset(1, 2, &[0, 20])),
        same("UPDATE of 22 octets", message(2, &[0; 3]), reset(1, 2, &[0, 22])),
        same("OPEN of 28 octets", message(1, &[4; 9]), reset(1, 2, &[0, 28])),
        same("NOTIFICATION of 20 octets", message(3, &[6]), reset(1, 2, &[0, 20])),
        same("message type 0", message(0, &[]), reset(1, 3, &[0])),
        same("message type 6", message(6, &[]), reset(1, 3, &[6])),
        same("message type 255", message(255, &[]), reset(1, 3, &[255])),
        same("ROUTE-REFRESH too short", short_refresh.clone(), reset(7, 1, &short_refresh)),
        same("ROUTE-REFRESH too long", long_refresh.clone(), reset(7, 1, &long_refresh)),
        fine("ROUTE-REFRESH of an unknown family", message(5, &[0, 25, 0, 65])),
        fine("ROUTE-REFRESH of an unknown subtype", message(5, &[0, 1, 9, 1])),
        fine("KEEPALIVE", message(4, &[])),
    ]
}

fn sections() -> Vec<Case> {
    let good = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    vec![
        fine("a plain announcement", with(&[])),
        same("withdrawn length overruns", message(2, &[0, 9, 0, 0]), reset(3, 1, &[])),
        same("attribute length overruns", message(2, &[0, 0, 0, 9]), reset(3, 1, &[])),
        same("attribute length missing", message(2, &[0, 2, 8, 10]), reset(3, 1, &[])),
        same("withdrawn /33", update(&[33, 1, 2, 3, 4, 5], &[], &[]), reset(3, 10, &[])),
        same("withdrawn cut off", update(&[24, 1], &[], &[]), reset(3, 10, &[])),
        same("NLRI /33", update(&[], &good, &[33, 1, 2, 3, 4, 5]), reset(3, 10, &[])),
        same("NLRI cut off", update(&[], &good, &[24, 1]), reset(3, 10, &[])),
        fine("host bits beyond the mask", update(&[], &good, &[8, 10])),
        same("NLRI 224.0.0.0/4", update(&[], &good, &[4, 0xE0]), discard(10, &[])),
        same("NLRI 127.0.0.0/8", update(&[], &good, &[8, 127]), discard(10, &[])),
        fine("a prefix withdrawn and announced", update(NET, &good, NET)),
        fine("End-of-RIB of IPv4", update(&[], &[], &[])),
        fine("End-of-RIB of IPv6", update(&[], &[0x80, 15, 3, 0, 2, 1], &[])),
    ]
}

fn attribute_list() -> Vec<Case> {
    let well_known: &[u8] = &[0x40, 99, 1, 7];
    let wide: &[u8] = &[0x50, 99, 0, 1, 7];
    let unreach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    let two_meds = &[0x80, 4, 4, 0, 0, 0, 1, 0x80, 4, 4, 0, 0, 0, 2];
    vec![
        same("last attribute overruns", with(&[0x80, 4, 5, 0, 0, 0, 0]), withdraw(1, &[])),
        same("one stray octet", with(&[0x80]), withdraw(1, &[])),
        same("two stray octets", with(&[0x80, 4]), withdraw(1, &[])),
        same("three stray octets", with(&[0x90, 4, 0]), withdraw(1, &[])),
        same("NLRI without attributes", update(&[], &[], NET), withdraw(3, &[1])),
        same("no ORIGIN", origin(&[]), withdraw(3, &[1])),
        same("no AS_PATH", path(&[]), withdraw(3, &[2])),
        same("no NEXT_HOP", hop(&[]), withdraw(3, &[3])),
        same("ORIGIN twice", with(&[0x40, 1, 1, 2]), discard(1, &[])),
        same("MED twice", with(two_meds), discard(1, &[])),
        same("MP_UNREACH twice", with(&[unreach, unreach].concat()), reset(3, 1, &[])),
        same("MP_REACH twice", with(&[REACH, REACH].concat()), reset(3, 1, &[])),
        same("unrecognized well-known", with(well_known), reset(3, 2, well_known)),
        same("the same, two-octet length", with(wide), reset(3, 2, wide)),
        fine("unknown optional non-transitive", with(&[0x80, 99, 1, 7])),
        fine("unknown optional transitive", with(&[0xC0, 99, 1, 7])),
        fine("low flag bits", origin(&[0x4F & !0x10, 1, 1, 0])),
        fine("two-octet length where one would do", origin(&[0x50, 1, 0, 1, 0])),
    ]
}

/// RFC 7606 section 5.2.
fn without_routes() -> Vec<Case> {
    let med: &[u8] = &[0x80, 4, 3, 0, 0, 0];
    let aggregator: &[u8] = &[0xC0, 7, 1, 0];
    let unreach: &[u8] = &[0xC0, 15, 3, 0, 2, 1];
    let bare = |attributes: &[&[u8]]| update(&[], &attributes.concat(), &[]);
    vec![
        fine("attributes without routes", bare(&[ORIGIN, AS_PATH])),
        same(
            "one of them to discard",
            bare(&[ORIGIN, AS_PATH, aggregator]),
            discard(5, aggregator),
        ),
        same("one of them to withdraw", bare(&[ORIGIN, AS_PATH, med]), reset(3, 5, med)),
        same("the list cut off", bare(&[ORIGIN, AS_PATH, &[0x40]]), reset(3, 1, &[])),
        same("routes lost with the list", bare(&[&[0x80, 14, 99, 0, 2, 1]]), reset(3, 1, &[])),
        same("flags of MP_UNREACH alone", bare(&[unreach]), withdraw(4, unreach)),
    ]
}

fn origins_and_next_hops() -> Vec<Case> {
    let row = |name, octets: fn(&[u8]) -> Vec<u8>, attribute: &'static [u8], subcode| {
        same(name, octets(attribute), withdraw(subcode, attribute))
    };
    vec![
        row("ORIGIN too long", origin, &[0x40, 1, 2, 0, 0], 5),
        row("ORIGIN too short", origin, &[0x40, 1, 0], 5),
        row("ORIGIN 3", origin, &[0x40, 1, 1, 3], 6),
        row("ORIGIN optional", origin, &[0xC0, 1, 1, 0], 4),
        row("ORIGIN not transitive", origin, &[0, 1, 1, 0], 4),
        row("ORIGIN partial", origin, &[0x60, 1, 1, 0], 4),
        row("NEXT_HOP too short", hop, &[0x40, 3, 3, 1, 2, 3], 5),
        row("NEXT_HOP too long", hop, &[0x40, 3, 5, 1, 2, 3, 4, 5], 5),
        row("NEXT_HOP optional", hop, &[0xC0, 3, 4, 192, 0, 2, 1], 4),
        row("NEXT_HOP in 0/8", hop, &[0x40, 3, 4, 0, 1, 2, 3], 8),
        row("NEXT_HOP loopback", hop, &[0x40, 3, 4, 127, 0, 0, 1], 8),
        row("NEXT_HOP multicast", hop, &[0x40, 3, 4, 224, 0, 0, 1], 8),
        row("NEXT_HOP class E", hop, &[0x40, 3, 4, 255, 255, 255, 255], 8),
    ]
}

fn as_paths() -> Vec<Case> {
    let bad = |name, attribute: &'static [u8]| same(name, path(attribute), withdraw(11, attribute));
    let external_only = |name, attribute: &'static [u8]| {
        case(name, path(attribute), withdraw(11, attribute), Accept)
    };
    let long = [&[0x50, 2, 4, 4, 2, 255][..], &[1; 1020], &[2, 1, 0, 0, 0, 1]].concat();
    let flags: &[u8] = &[0x80, 2, 0];
    let row = |name, attribute: &'static [u8]| same(name, with(attribute), discard(9, attribute));
    vec![
        bad("AS_PATH segment type 0", &[0x40, 2, 6, 0, 1, 0, 0, 0, 1]),
        bad("AS_PATH segment type 5", &[0x40, 2, 6, 5, 1, 0, 0, 0, 1]),
        bad("AS_PATH empty segment", &[0x40, 2, 2, 2, 0]),
        bad("AS_PATH segment overruns", &[0x40, 2, 6, 2, 2, 0, 0, 0, 1]),
        bad("AS_PATH stray octet", &[0x40, 2, 7, 2, 1, 0, 0, 0, 1, 2]),
        bad("AS_PATH with AS 0", &[0x40, 2, 6, 2, 1, 0, 0, 0, 0]),
        bad("AS_SET", &[0x40, 2, 6, 1, 1, 0, 0, 0, 1]),
        bad("AS_CONFED_SET", &[0x40, 2, 6, 4, 1, 0, 0, 0, 1]),
        external_only("AS_CONFED_SEQUENCE", &[0x40, 2, 6, 3, 1, 0, 0, 0, 1]),
        external_only("AS_PATH empty", &[0x40, 2, 0]),
        same("AS_PATH flags", path(flags), withdraw(4, flags)),
        fine("AS_PATH of 256 numbers in two segments", path(&long)),
        row("AS4_PATH between new speakers", &[0xC0, 17, 6, 2, 1, 0, 0, 0, 1]),
        row("AS4_AGGREGATOR between new speakers", &[0xC0, 18, 8, 0, 0, 0, 1, 1, 2, 3, 4]),
    ]
}

fn attributes() -> Vec<Case> {
    let row = |name, attribute: &'static [u8], outcome: fn(u8, &[u8]) -> Outcome, subcode| {
        same(name, with(attribute), outcome(subcode, attribute))
    };
    vec![
        row("MED too short", &[0x80, 4, 3, 0, 0, 0], withdraw, 5),
        row("MED flags", &[0xC0, 4, 4, 0, 0, 0, 0], withdraw, 4),
        fine("ATOMIC_AGGREGATE", with(&[0x40, 6, 0])),
        row("ATOMIC_AGGREGATE with a value", &[0x40, 6, 1, 0], discard, 5),
        fine("AGGREGATOR", with(&[0xC0, 7, 8, 0, 0, 0, 1, 1, 2, 3, 4])),
        row("AGGREGATOR of a two-octet AS", &[0xC0, 7, 6, 0, 1, 1, 2, 3, 4], discard, 5),
        row("AGGREGATOR with AS 0", &[0xC0, 7, 8, 0, 0, 0, 0, 1, 2, 3, 4], discard, 9),
        row("AGGREGATOR flags", &[0x80, 7, 8, 0, 0, 0, 1, 1, 2, 3, 4], withdraw, 4),
        row("ONLY_TO_CUSTOMER too short", &[0xC0, 35, 3, 0, 0, 0], withdraw, 5),
        row("ONLY_TO_CUSTOMER flags", &[0x80, 35, 4, 0, 0, 0, 1], withdraw, 4),
        fine("ONLY_TO_CUSTOMER", with(&[0xC0, 35, 4, 0, 0, 0, 1])),
    ]
}

/// Those that an external neighbour has no business to send.
fn internal_attributes() -> Vec<Case> {
    let row = |name, attribute: &'static [u8], subcode, internal: Outcome| {
        case(name, with(attribute), discard(subcode, attribute), internal)
    };
    let bad = |name, attribute: &'static [u8], subcode| {
        row(name, attribute, subcode, withdraw(5, attribute))
    };
    let aigp: &[u8] = &[0x80, 26, 11, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9];
    let aigp_short: &[u8] = &[0x80, 26, 4, 1, 0, 4, 0];
    let aigp_transitive: &[u8] = &[0xC0, 26, 11, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9];
    vec![
        row("LOCAL_PREF", &[0x40, 5, 4, 0, 0, 0, 100], 0, Accept),
        bad("LOCAL_PREF too short", &[0x40, 5, 3, 0, 0, 0], 0),
        row("ORIGINATOR_ID", &[0x80, 9, 4, 1, 2, 3, 4], 9, Accept),
        bad("ORIGINATOR_ID too short", &[0x80, 9, 1, 1], 9),
        row("CLUSTER_LIST", &[0x80, 10, 4, 1, 2, 3, 4], 9, Accept),
        bad("CLUSTER_LIST empty", &[0x80, 10, 0], 9),
        bad("CLUSTER_LIST not times 4", &[0x80, 10, 5, 1, 2, 3, 4, 5], 9),
        case("AIGP", with(aigp), discard(9, aigp), Accept),
        same("AIGP malformed", with(aigp_short), discard(9, aigp_short)),
        case(
            "AIGP transitive",
            with(aigp_transitive),
            discard(9, aigp_transitive),
            discard(4, aigp_transitive),
        ),
    ]
}

fn communities() -> Vec<Case> {
    let row = |name, attribute: &'static [u8]| same(name, with(attribute), withdraw(5, attribute));
    let flags: &[u8] = &[0x80, 8, 4, 0, 0, 0, 0];
    let twice = [[0xC0, 32, 24].as_slice(), &[7; 24]].concat();
    vec![
        fine("COMMUNITIES", with(&[0xC0, 8, 4, 0xFD, 0xE8, 0, 100])),
        row("COMMUNITIES empty", &[0xC0, 8, 0]),
        row("COMMUNITIES not times 4", &[0xC0, 8, 5, 0, 0, 0, 0, 0]),
        same("COMMUNITIES flags", with(flags), withdraw(4, flags)),
        fine("EXTENDED COMMUNITIES", with(&[0xC0, 16, 8, 0, 2, 0, 1, 0, 0, 0, 1])),
        row("EXTENDED COMMUNITIES empty", &[0xC0, 16, 0]),
        row("EXTENDED COMMUNITIES not times 8", &[0xC0, 16, 4, 0, 0, 0, 0]),
        row("IPv6 EXTENDED COMMUNITIES not times 20", &[0xC0, 25, 1, 0]),
        row("IPv6 EXTENDED COMMUNITIES empty", &[0xC0, 25, 0]),
        row("LARGE_COMMUNITY not times 12", &[0xC0, 32, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        row("LARGE_COMMUNITY empty", &[0xC0, 32, 0]),
        fine("LARGE_COMMUNITY with a value twice", with(&twice)),
    ]
}

fn multiprotocol() -> Vec<Case> {
    let attribute = |code: u8, value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap();
        [&[0x80, code, length][..], value].concat()
    };
    let reach = |value: &[u8]| update(&[], &[&attribute(14, value), ORIGIN, AS_PATH].concat(), &[]);
    let bad = |name, value: &[u8]| same(name, reach(value), reset(3, 9, &attribute(14, value)));
    let bad_unreach = |name, value: &[u8]| {
        let octets = update(&[], &attribute(15, value), &[]);
        same(name, octets, reset(3, 9, &attribute(15, value)))
    };
    let hop16 = [&[0, 2, 1, 16][..], &[0x20; 16], &[0]].concat();
    let hop32 = [&[0, 2, 1, 32][..], &[0x20; 32], &[0]].concat();
    let hop15 = [&[0, 2, 1, 15][..], &[0x20; 15], &[0]].concat();
    let v4_by_v6 = [&[0, 1, 1, 16][..], &[0x20; 16], &[0]].concat();
    let flagged = [&[0xC0][..], &REACH[1..]].concat();
    let foreign = [0, 25, 65, 1, 1];
    vec![
        fine("MP_REACH with a 16-octet next hop", reach(&hop16)),
        fine("MP_REACH with a 32-octet next hop", reach(&hop32)),
        fine("no NEXT_HOP beside MP_REACH", update(&[], &[ORIGIN, AS_PATH, REACH].concat(), &[])),
        bad("MP_REACH with a 15-octet next hop", &hop15),
        bad("MP_REACH of IPv4 with an IPv6 next hop", &v4_by_v6),
        bad("MP_REACH next hop cut off", &[0, 2, 1, 16, 1]),
        bad("MP_REACH without the reserved octet", &hop16[..20]),
        bad("MP_REACH family cut off", &[0, 2]),
        bad("MP_REACH prefix /129", &[&hop16[..], &[129], &[0; 17]].concat()),
        bad("MP_REACH prefix cut off", &[&hop16[..], &[32, 1]].concat()),
        bad_unreach("MP_UNREACH family cut off", &[0, 2]),
        bad_unreach("MP_UNREACH prefix cut off", &[0, 2, 1, 32, 1]),
        bad_unreach("MP_UNREACH prefix /129", &[&[0, 2, 1, 129][..], &[0; 17]].concat()),
        same(
            "MP_REACH of a family not negotiated",
            reach(&foreign),
            discard(9, &attribute(14, &foreign)),
        ),
        same(
            "MP_UNREACH of a family not negotiated",
            update(&[], &attribute(15, &foreign), &[]),
            discard(9, &attribute(15, &foreign)),
        ),
        same(
            "MP_REACH flags",
            update(&[], &[ORIGIN, AS_PATH, &flagged].concat(), &[]),
            withdraw(4, &flagged),
        ),
        same(
            "MP_REACH without AS_PATH",
            update(&[], &[ORIGIN, REACH].concat(), &[]),
            withdraw(3, &[2]),
        ),
    ]
}

/// Rows for a session that waits for an OPEN; none of the kind that only the configuration decides.
pub(crate) fn opens() -> Vec<Case> {
    let fixed = [4, 0xFD, 0xE9, 0, 90, 192, 0, 2, 1];
    let list = |parameters: &[u8]| message(1, &[&fixed[..], parameters].concat());
    let with = |place: usize, octets: &[u8]| {
        let mut body = [&fixed[..], &[0]].concat();
        body[place..place + octets.len()].copy_from_slice(octets);
        message(1, &body)
    };
    let bad = |name, octets, subcode, data: &[u8]| same(name, octets, reset(2, subcode, data));
    vec![
        bad("version 3", with(0, &[3]), 1, &[0, 4]),
        bad("version 5", with(0, &[5]), 1, &[0, 4]),
        bad("AS 0", with(1, &[0, 0]), 2, &[]),
        bad("AS 0 in the capability", list(&[8, 2, 6, 65, 4, 0, 0, 0, 0]), 2, &[]),
        bad("identifier 0", with(5, &[0, 0, 0, 0]), 3, &[]),
        bad("hold time 1", with(3, &[0, 1]), 6, &[]),
        bad("hold time 2", with(3, &[0, 2]), 6, &[]),
        bad("optional parameters overrun", list(&[1]), 0, &[]),
        bad("optional parameters fall short", list(&[0, 2, 0]), 0, &[]),
        bad("stray octet in the optional parameters", list(&[1, 2]), 0, &[]),
        bad("optional parameter overruns", list(&[2, 2, 1]), 0, &[]),
        bad("optional parameter 1, authentication", list(&[2, 1, 0]), 4, &[]),
        bad("optional parameter 9", list(&[2, 9, 0]), 4, &[]),
        bad("stray octet in the capabilities", list(&[3, 2, 1, 73]), 0, &[]),
        bad("capability overruns", list(&[4, 2, 2, 73, 1]), 0, &[]),
        bad("Multiprotocol too short", list(&[7, 2, 5, 1, 3, 0, 1, 0]), 0, &[]),
        bad("Route Refresh with a value", list(&[5, 2, 3, 2, 1, 0]), 0, &[]),
        bad("4-octet AS too short", list(&[6, 2, 4, 65, 2, 0, 1]), 0, &[]),
        bad("Extended Message with a value", list(&[5, 2, 3, 6, 1, 0]), 0, &[]),
        bad("Role without a value", list(&[4, 2, 2, 9, 0]), 0, &[]),
        bad("Graceful Restart too short", list(&[5, 2, 3, 64, 1, 0]), 0, &[]),
        bad("Graceful Restart with half a family", list(&[8, 2, 6, 64, 4, 0, 9, 0, 1]), 0, &[]),
        bad("ADD-PATH too short", list(&[7, 2, 5, 69, 3, 0, 1, 1]), 0, &[]),
        bad("extended parameters overrun", list(&[255, 255, 0, 9]), 0, &[]),
        fine("no optional parameters", list(&[0])),
        fine("hold time 0", with(3, &[0, 0])),
        fine("hold time 3", with(3, &[0, 3])),
        fine("extended parameters", list(&[255, 255, 0, 5, 2, 0, 2, 2, 0])),
        fine("an unknown capability", list(&[5, 2, 3, 200, 1, 7])),
        fine("a capability twice", list(&[6, 2, 4, 2, 0, 2, 0])),
        fine("a host name of unknown form", list(&[5, 2, 3, 73, 1, 7])),
    ]
}

fn outcome(octets: &[u8], ctx: &DecodeContext) -> Outcome {
    let decoded = frame(octets, MAX_LEN).and_then(|frame| decode(frame.expect("all of it"), ctx));
    let decoded = match decoded {
        Ok(Decoded::Update(decoded)) => decoded,
        Ok(_) => return Accept,
        Err(error) => {
            assert_eq!(error.action, Action::SessionReset);
            assert!(error.offset <= octets.len());
            return Reset(error.code.0, error.subcode, error.to_notification().data.to_vec());
        }
    };
    let Some(worst) = decoded.errors.iter().find(|error| error.action == decoded.action) else {
        assert_eq!((decoded.action, decoded.errors.len()), (Action::None, 0));
        return Accept;
    };
    assert_eq!(worst.code, ErrorCode::UPDATE_MESSAGE);
    match worst.action {
        Action::AttributeDiscard => discard(worst.subcode, &worst.data),
        Action::TreatAsWithdraw => {
            assert_eq!(decoded.update.announcements().count(), 0);
            assert_eq!(decoded.update.attributes, Attributes::default());
            withdraw(worst.subcode, &worst.data)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_row_leads_to_what_the_rfcs_demand() {
    for Case { name, octets, external, internal } in cases().into_iter().chain(opens()) {
        assert_eq!(outcome(&octets, &context(true)), external, "{name}, eBGP");
        assert_eq!(outcome(&octets, &context(false)), internal, "{name}, iBGP");
    }
}

#[test]
fn a_route_that_stood_before_is_withdrawn_or_kept() {
    let net = "203.0.113.0/24".parse().unwrap();
    let mut withdrawn = 0;
    for case in cases().into_iter().filter(Case::announces_net) {
        let Ok(Decoded::Update(decoded)) = read(&case.octets, &context(true)) else { continue };
        let announced = decoded.update.announcements().any(|(nlri, _)| nlri == net);
        assert_eq!(announced, !matches!(case.external, Withdraw(..)), "{}", case.name);
        assert_eq!(decoded.update.withdrawals().any(|nlri| nlri == net), !announced);
        withdrawn += usize::from(!announced);
    }
    assert!(withdrawn > 30);
}

#[test]
fn names_tell_the_rows_apart() {
    let mut names: Vec<_> = cases().iter().chain(&opens()).map(|case| case.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

#[test]
fn sets_are_accepted_on_demand() {
    let ctx = DecodeContext { allow_as_sets: true, ..context(true) };
    assert_eq!(outcome(&path(&[0x40, 2, 6, 1, 1, 0, 0, 0, 1]), &ctx), Accept);
}

#[test]
fn as4_path_of_an_old_speaker() {
    let ctx = DecodeContext { as4: false, ..context(true) };
    let as_path = [ORIGIN, &[0x40, 2, 8, 2, 3, 0, 10, 0x5B, 0xA0, 0x5B, 0xA0], NEXT_HOP].concat();
    let outcome =
        |attribute: &[u8]| outcome(&update(&[], &[&as_path[..], attribute].concat(), NET), &ctx);
    // A malformed one is discarded (RFC 6793 section 6), one with a set is not (RFC 9774).
    for malformed in [&[0xC0, 17, 1, 2][..], &[0xC0, 17, 6, 2, 1, 0, 0, 0, 0], &[0xC0, 18, 1, 2]] {
        let subcode = if malformed[1] == 18 { 5 } else { 9 };
        assert_eq!(outcome(malformed), discard(subcode, malformed));
    }
    let set: &[u8] = &[0xC0, 17, 6, 1, 1, 0, 0, 0, 1];
    assert_eq!(outcome(set), withdraw(11, set));
}
