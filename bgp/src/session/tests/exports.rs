//! What a route becomes on its way out, by where it comes from and where it goes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;

use super::fixture::*;
use crate::policy::{Changes, Policy, Rule, Source, Then};
use crate::rib::{LearnedFrom, Origin, Route};
use crate::session::{Event, FamilyConfig, LocalSpeaker, PeerConfig, Role, StateName};
use crate::wire::{
    AsPath, Attributes, Capability, Community, DecodeContext, Decoded, EXTENDED_MAX_LEN,
    ExtendedCommunity, ExtendedNextHop, Family, FamilySet, LargeCommunity, Message, NextHop,
    OpaqueAttribute, Open, Origin as WireOrigin, decode, frame,
};

const IPV4: Family = Family::IPV4_UNICAST;
const IPV6: Family = Family::IPV6_UNICAST;
const AT: Role = Role::Incoming;
/// An internal neighbour.
const INSIDE: LocalSpeaker = LocalSpeaker { local_as: US.local_as, ..THEM };
/// Attribute flags.
const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const PARTIAL: u8 = 0x20;

/// A session with `remote` that carries both families and what this policy lets out.
fn session(remote: &LocalSpeaker, export: Policy, more: &[Capability]) -> Bench {
    let mut config = PeerConfig { passive: true, ..config(remote) };
    let settings = FamilyConfig { export, ..FamilyConfig::default() };
    config.families.insert(IPV6, settings.clone());
    let extended_next_hop = !more.is_empty();
    config.families.insert(IPV4, FamilyConfig { extended_next_hop, ..settings });
    let mut bench = Bench::new(config);
    bench.start();
    let interface = [net("192.0.2.1/24"), net("2001:db8::1/64")];
    bench.handle(Event::TcpConnected { role: AT, local: address(&US), interface: &interface });
    let mut open = Open::new(remote.local_as, 90, remote.router_id, &[IPV4, IPV6]);
    open.capabilities.extend_from_slice(more);
    bench.receive(AT, &Message::Open(open));
    bench.receive(AT, &Message::Keepalive);
    assert_eq!(bench.peer.state(), StateName::Established);
    let _ = bench.sent(AT);
    bench
}

/// Lets learned routes out.
fn transit() -> Policy {
    let mut policy = Policy::none();
    policy.rules = vec![Rule { source: Some(Source::Bgp), ..Rule::always(Then::Accept) }];
    policy
}

fn learned(external: bool, attributes: Attributes, next_hop: NextHop) -> Route {
    let from = LearnedFrom {
        peer: "another".into(),
        address: "192.0.2.77".parse().unwrap(),
        router_id: [192, 0, 2, 77].into(),
        external,
    };
    Route {
        origin: Origin::Learned(from.into()),
        attributes: Arc::new(attributes),
        next_hop: Some(next_hop),
        path_id: 0,
        since: std::time::Instant::now(),
    }
}

fn third_party() -> NextHop {
    NextHop::Ipv4([192, 0, 2, 77].into())
}

/// What the neighbour gets of a route to `prefix`: the attributes, the next hop, and the type codes of
/// all attributes that are in the message, whatever the neighbour makes of them.
fn exported(
    bench: &mut Bench,
    prefix: &str,
    route: &Route,
) -> Option<(Attributes, NextHop, Vec<u8>)> {
    bench.peer.export(net(prefix), Some(route));
    let octets = bench.peer.poll_transmit(AT)?;
    let message = frame(&octets, EXTENDED_MAX_LEN).unwrap().unwrap();
    let ctx = DecodeContext {
        ebgp: bench.peer.session().unwrap().negotiated.external,
        families: FamilySet::ALL,
        extended_next_hop: true,
        ..DecodeContext::default()
    };
    let Ok(Decoded::Update(decoded)) = decode(message, &ctx) else { panic!("no UPDATE") };
    assert!(decoded.errors.is_empty(), "{:?}", decoded.errors);
    let next_hop = decoded.update.announcements().next()?.1;
    Some((decoded.update.attributes, next_hop, codes(&octets)))
}

/// The type codes in an UPDATE that withdraws nothing.
fn codes(octets: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([octets[21], octets[22]]));
    let mut rest = &octets[23..23 + length];
    let mut codes = Vec::new();
    while let [flags, code, behind @ ..] = rest {
        let (header, length) = match flags & 0x10 {
            0 => (1, usize::from(behind[0])),
            _ => (2, usize::from(u16::from_be_bytes([behind[0], behind[1]]))),
        };
        codes.push(*code);
        rest = &behind[header + length..];
    }
    codes
}

/// Everything a route can carry.
fn laden() -> Attributes {
    Attributes {
        origin: WireOrigin::Incomplete,
        as_path: AsPath::sequence([9, 10]),
        med: Some(5),
        local_pref: Some(250),
        atomic_aggregate: true,
        communities: vec![Community::new(65000, 1)],
        extended_communities: vec![
            "rt:65000:100".parse().unwrap(),
            "generic:0x4004fde8:0x4cee6b28".parse().unwrap(),
        ],
        large_communities: vec!["65000:1:2".parse::<LargeCommunity>().unwrap()],
        originator_id: Some([10, 9, 9, 9].into()),
        cluster_list: vec![[10, 8, 8, 8].into()],
        aigp: Some(77),
        opaque: vec![unknown(98, OPTIONAL), unknown(99, OPTIONAL | TRANSITIVE)],
        ..Attributes::default()
    }
}

fn unknown(code: u8, flags: u8) -> OpaqueAttribute {
    OpaqueAttribute { code, flags, value: Bytes::from_static(&[1, 2]) }
}

#[test]
fn what_belongs_to_an_as_stays_in_it() {
    let mut bench = session(&THEM, transit(), &[]);
    for external in [true, false] {
        let route = learned(external, laden(), third_party());
        let (sent, next_hop, codes) = exported(&mut bench, "203.0.113.0/24", &route).unwrap();
        let expected = Attributes {
            as_path: AsPath::sequence([US.local_as, 9, 10]),
            // RFC 4271 sections 5.1.4 and 5.1.5, RFC 4456 section 8, RFC 7311 section 3.4.
            med: None,
            local_pref: None,
            originator_id: None,
            cluster_list: Vec::new(),
            aigp: None,
            // RFC 4360 section 6: the link bandwidth, which is not transitive.
            extended_communities: vec!["rt:65000:100".parse::<ExtendedCommunity>().unwrap()],
            // RFC 4271 section 5.
            opaque: vec![unknown(99, OPTIONAL | TRANSITIVE | PARTIAL)],
            next_hop: Some(US.router_id),
            ..laden()
        };
        assert_eq!(sent, expected);
        assert_eq!(next_hop.address(), address(&US), "our own at the border");
        let kept_back = [4, 5, 9, 10, 26, 98];
        assert!(!codes.iter().any(|code| kept_back.contains(code)), "{codes:?}");
        // The same again changes nothing; the second turn is about a route of ours from inside.
        bench.peer.export(net("203.0.113.0/24"), None);
        let _ = bench.sent(AT);
    }
}

#[test]
fn inside_the_as_all_is_passed_on_but_what_nobody_may() {
    let mut bench = session(&INSIDE, transit(), &[]);
    // From outside: what only internal neighbours say was discarded when it came in.
    let attributes = Attributes {
        originator_id: None,
        cluster_list: Vec::new(),
        aigp: None,
        local_pref: None,
        ..laden()
    };
    let route = learned(true, attributes.clone(), third_party());
    let (sent, next_hop, _) = exported(&mut bench, "203.0.113.0/24", &route).unwrap();
    let expected = Attributes {
        local_pref: Some(100),
        opaque: vec![unknown(99, OPTIONAL | TRANSITIVE | PARTIAL)],
        next_hop: Some([192, 0, 2, 77].into()),
        ..attributes
    };
    assert_eq!(sent, expected);
    assert_eq!(next_hop, third_party());
    // RFC 4271 section 9.2: no internal route to another internal neighbour.
    let route = learned(false, laden(), third_party());
    assert_eq!(exported(&mut bench, "203.0.113.0/24", &route), None);
}

/// What the export policy sets for this neighbour goes out, also what a learned route would have lost.
#[test]
fn what_the_policy_sets_is_sent() {
    let bandwidth: ExtendedCommunity = "generic:0x4004fde8:0x4cee6b28".parse().unwrap();
    let set = Changes {
        med: Some(33),
        local_pref: Some(44),
        add_extended_communities: vec![bandwidth],
        prepend: 2,
        ..Changes::default()
    };
    let mut policy = transit();
    policy.rules[0].set = set;
    let route = learned(true, Attributes { med: Some(5), ..Attributes::default() }, third_party());
    let (sent, ..) =
        exported(&mut session(&THEM, policy.clone(), &[]), "203.0.113.0/24", &route).unwrap();
    assert_eq!((sent.med, sent.local_pref), (Some(33), None));
    assert_eq!(sent.extended_communities, [bandwidth]);
    assert_eq!(sent.as_path.to_string(), "65001 65001 65001");
    let (sent, ..) =
        exported(&mut session(&INSIDE, policy, &[]), "203.0.113.0/24", &route).unwrap();
    assert_eq!((sent.med, sent.local_pref), (Some(33), Some(44)));
    assert_eq!(sent.as_path.to_string(), "", "nothing is prepended inside");
}

/// What the owner says last of its own route wins over the policy, which still decides whether it goes out at all.
#[test]
fn what_the_owner_says_last_wins_over_the_policy() {
    let bandwidth: ExtendedCommunity = "generic:0x4004fde8:0x4cee6b28".parse().unwrap();
    let last = Changes {
        med: Some(7),
        local_pref: Some(0),
        add_extended_communities: vec![bandwidth],
        ..Changes::default()
    };
    let mut policy = Policy::all();
    policy.rules.push(Rule {
        set: Changes { med: Some(33), local_pref: Some(200), ..Changes::default() },
        ..Rule::always(Then::Accept)
    });
    let route = Route {
        origin: Origin::Local { tag: None, last: Some(Arc::new(last)) },
        ..learned(true, Attributes::default(), third_party())
    };
    let mut outside = session(&THEM, policy.clone(), &[]);
    let (sent, ..) = exported(&mut outside, "203.0.113.0/24", &route).unwrap();
    assert_eq!((sent.med, sent.local_pref), (Some(7), None));
    assert_eq!(sent.extended_communities, [bandwidth]);
    let (sent, ..) =
        exported(&mut session(&INSIDE, policy, &[]), "203.0.113.0/24", &route).unwrap();
    assert_eq!((sent.med, sent.local_pref), (Some(7), Some(0)));
    let mut none = session(&THEM, Policy::none(), &[]);
    assert_eq!(exported(&mut none, "203.0.113.0/24", &route), None);
}

/// RFC 1997.
#[test]
fn well_known_communities_of_learned_routes() {
    for (community, outside, inside) in [
        (Community::NO_EXPORT, false, true),
        (Community::NO_EXPORT_SUBCONFED, false, true),
        (Community::NO_ADVERTISE, false, false),
        (Community::new(65000, 1), true, true),
    ] {
        let attributes = Attributes { communities: vec![community], ..Attributes::default() };
        let route = learned(true, attributes, third_party());
        for (remote, passed) in [(&THEM, outside), (&INSIDE, inside)] {
            let mut bench = session(remote, transit(), &[]);
            let sent = exported(&mut bench, "203.0.113.0/24", &route);
            assert_eq!(sent.is_some(), passed, "{community} to {}", remote.local_as);
            let updates = bench.peer.session().unwrap().channels[&IPV4].counters.export_updates;
            assert_eq!((updates.accepted, updates.rejected), (passed.into(), (!passed).into()));
        }
    }
}

/// RFC 8212: nothing that was learned without a rule that says so.
#[test]
fn learned_routes_need_a_rule_of_their_own() {
    let route = learned(true, Attributes::default(), third_party());
    let mut bench = session(&THEM, Policy::all(), &[]);
    assert_eq!(exported(&mut bench, "203.0.113.0/24", &route), None);
    assert_eq!(bench.peer.session().unwrap().channels[&IPV4].counters.export_updates.filtered, 1);
}

/// The next hop of a learned route on its way to another internal neighbour, which is on another
/// link.
#[test]
fn next_hops_that_internal_neighbours_can_use() {
    let v6 = |text: &str| NextHop::Ipv6(text.parse().unwrap());
    let pair = |global: &str, link_local: &str| NextHop::Ipv6LinkLocal {
        global: global.parse().unwrap(),
        link_local: link_local.parse().unwrap(),
    };
    let four = "203.0.113.0/24";
    let six = "2001:db8:203::/48";
    let by_ipv6 =
        Capability::ExtendedNextHop(vec![ExtendedNextHop { family: IPV4, next_hop_afi: IPV6.afi }]);
    for (prefix, received, extended, expected) in [
        (four, third_party(), false, third_party()),
        (six, v6("2001:db8::77"), false, v6("2001:db8::77")),
        // RFC 2545 section 3: a link-local address stays on its link.
        (six, pair("2001:db8::77", "fe80::77"), false, v6("2001:db8::77")),
        (six, pair("::", "fe80::77"), false, v6("2001:db8::1")),
        (six, pair("fe80::77", "fe80::77"), false, v6("2001:db8::1")),
        (six, v6("fe80::77"), false, v6("2001:db8::1")),
        // RFC 8950: only where both sides said so.
        (four, v6("2001:db8::77"), true, v6("2001:db8::77")),
        (four, v6("2001:db8::77"), false, NextHop::Ipv4(Ipv4Addr::new(192, 0, 2, 1))),
    ] {
        let more = if extended { vec![by_ipv6.clone()] } else { Vec::new() };
        let mut bench = session(&INSIDE, transit(), &more);
        let route = learned(true, Attributes::default(), received);
        let sent = exported(&mut bench, prefix, &route).map(|(_, next_hop, _)| next_hop);
        assert_eq!(sent, Some(expected), "{prefix} by {received}");
    }
}

#[test]
fn a_configured_next_hop_of_the_other_family_lets_nothing_out() {
    let mut bench = session(&THEM, Policy::all(), &[]);
    let mut config = PeerConfig::clone(bench.peer.config());
    let wrong: IpAddr = "2001:db8::9".parse().unwrap();
    config.families.get_mut(&IPV4).unwrap().next_hop = Some(wrong);
    assert!(!bench.peer.reconfigure(bench.now, config.into()), "applies in place");
    let reason = bench.peer.session().unwrap().channels[&IPV4].next_hop.clone().unwrap_err();
    assert!(reason.contains("2001:db8::9"), "{reason}");
    assert_eq!(exported(&mut bench, "203.0.113.0/24", &route(1)), None);
    // What the neighbour had before is withdrawn, not left to point to nowhere.
    let mut bench = session(&THEM, Policy::all(), &[]);
    assert!(exported(&mut bench, "203.0.113.0/24", &route(1)).is_some());
    let mut config = PeerConfig::clone(bench.peer.config());
    config.families.get_mut(&IPV4).unwrap().next_hop = Some(wrong);
    bench.peer.reconfigure(bench.now, config.into());
    let prefix = net("203.0.113.0/24");
    bench.peer.export_all([(&prefix, &route(1))].into_iter());
    let sent = bench.sent(AT);
    let Some(Decoded::Update(update)) = sent.first() else { panic!("{sent:?}") };
    assert_eq!(update.update.withdrawals().count(), 1);
}
