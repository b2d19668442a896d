//! Two peers against each other.

use std::time::Duration;

use super::fixture::*;
use crate::policy::{Policy, PrefixMatch, Rule, Then};
use crate::session::{Event, PeerConfig, PeerEvent, Role, StateName, StopCause};
use crate::wire::Family;

fn established(pair: &Pair) -> bool {
    pair.ends.iter().all(|end| end.peer.state() == StateName::Established)
}

fn standing() -> Pair {
    let mut pair = Pair::new(config(&THEM), PeerConfig { passive: true, ..config(&US) });
    pair.start();
    assert!(established(&pair));
    pair
}

fn last_error(pair: &Pair, index: usize) -> String {
    pair.ends[index].peer.last_error().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn routes_go_both_ways_and_come_back() {
    let mut pair = Pair::new(config(&THEM), PeerConfig { passive: true, ..config(&US) });
    pair.ends[0].announce("192.0.2.128/32", 10);
    pair.ends[1].announce("0.0.0.0/0", 0);
    pair.start();
    assert_eq!(pair.ends[1].table(), [("192.0.2.128/32".to_owned(), Some(10))]);
    assert_eq!(pair.ends[0].table(), [("0.0.0.0/0".to_owned(), Some(0))]);
    for end in &pair.ends {
        let session = end.peer.session().unwrap();
        assert!(session.channels[&Family::IPV4_UNICAST].end_of_rib_received);
    }
    let learned = &pair.ends[1].learned[&net("192.0.2.128/32")];
    assert_eq!(learned.attributes.as_path.to_string(), "65001");
    assert_eq!(learned.next_hop.unwrap().address(), address(&US));
    assert_eq!(learned.attributes.local_pref, None, "not across the border of an AS");

    pair.ends[0].announce("192.0.2.128/32", 20);
    pair.ends[0].announce("192.0.2.129/32", 20);
    pair.settle();
    assert_eq!(pair.ends[1].table().len(), 2);
    assert_eq!(pair.ends[1].table()[0].1, Some(20));
    pair.ends[0].withdraw("192.0.2.128/32");
    pair.settle();
    assert_eq!(pair.ends[1].table(), [("192.0.2.129/32".to_owned(), Some(20))]);
    let counters = pair.ends[1].peer.session().unwrap().channels[&Family::IPV4_UNICAST].counters;
    assert_eq!(counters.import_updates.accepted, 3);
    assert_eq!(counters.import_withdraws.accepted, 1);
}

#[test]
fn keepalives_hold_the_session_for_hours() {
    let mut pair = standing();
    pair.run(Duration::from_secs(3 * 3600));
    assert!(established(&pair));
    assert_eq!(pair.ends[0].peer.counters().established, 1);
    let sent = pair.ends[0].peer.counters().messages_out;
    let hours = 3.0 * 3600.0;
    let interval = hours / sent as f64;
    assert!((2.25..3.0).contains(&interval), "a KEEPALIVE every {interval} s");
}

#[test]
fn silence_ends_the_session_after_the_hold_time() {
    let mut pair = standing();
    pair.cut = true;
    pair.run(Duration::from_millis(5900));
    assert!(established(&pair));
    pair.run(Duration::from_millis(3200));
    assert!(pair.ends.iter().all(|end| end.peer.state() == StateName::Idle));
    assert_eq!(last_error(&pair, 0), "BGP Error: Hold timer expired");
    pair.cut = false;
    pair.run(Duration::from_secs(10));
    assert!(established(&pair));
    assert_eq!(pair.ends[0].peer.last_error(), None, "forgotten when a session stands");
}

#[test]
fn collisions_leave_one_session() {
    for chunk in [1, 7, 19, 4096] {
        let mut pair = Pair::new(config(&THEM), config(&US));
        pair.chunk = chunk;
        pair.start();
        assert!(established(&pair), "chunk {chunk}");
        for end in &pair.ends {
            assert_eq!(end.peer.counters().established, 1);
        }
        pair.run(Duration::from_secs(600));
        assert!(established(&pair));
        assert_eq!(pair.ends[0].peer.counters().dropped, 0);
    }
}

#[test]
fn an_administrator_says_why() {
    let mut pair = standing();
    let (now, message) = (pair.now, Some("moving racks"));
    pair.ends[0].peer.handle(now, Event::Stop { cause: StopCause::Shutdown, message });
    pair.settle();
    assert_eq!(last_error(&pair, 1), "Received: Hard reset: Administrative shutdown: moving racks");
    assert_eq!(pair.ends[0].peer.last_error(), None);
    pair.run(Duration::from_secs(600));
    assert_eq!(pair.ends[0].peer.state(), StateName::Idle);
    let now = pair.now;
    pair.ends[0].peer.handle(now, Event::Start);
    pair.run(Duration::from_secs(61));
    assert!(established(&pair));
}

#[test]
fn a_session_lost_takes_its_routes_with_it() {
    let mut pair = standing();
    pair.ends[0].announce("192.0.2.128/32", 1);
    pair.settle();
    assert_eq!(pair.ends[1].table().len(), 1);
    let now = pair.now;
    pair.ends[0].peer.handle(now, Event::Stop { cause: StopCause::Reset, message: None });
    pair.ends[0].peer.handle(now, Event::Start);
    pair.settle();
    assert!(pair.ends[1].learned.is_empty());
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.ends[1].table().len(), 1, "and the next session brings them back");
}

#[test]
fn a_reader_that_was_stuck_gets_the_newest_state() {
    let mut pair = standing();
    pair.ends[1].stuck = true;
    pair.window = 100;
    for round in 0..50 {
        for last in 0..20 {
            pair.ends[0].announce(&format!("198.51.100.{last}/32"), round);
        }
        pair.settle();
    }
    for last in 0..10 {
        pair.ends[0].withdraw(&format!("198.51.100.{last}/32"));
    }
    pair.settle();
    pair.ends[1].stuck = false;
    pair.settle();
    let table = pair.ends[1].table();
    assert_eq!(table.len(), 10);
    assert!(table.iter().all(|(_, med)| *med == Some(49)), "{table:?}");
    let updates = pair.ends[0].peer.counters().updates_out;
    assert!(updates < 20, "{updates} UPDATEs for 1000 changes");
}

#[test]
fn policies_change_in_place() {
    let mut pair = standing();
    pair.ends[0].announce("192.0.2.128/32", 1);
    pair.ends[0].announce("192.0.2.129/32", 1);
    pair.settle();
    assert_eq!(pair.ends[1].table().len(), 2);

    let mut policy = Policy::none();
    let exact = PrefixMatch::exact(net("192.0.2.129/32"));
    policy.rules = vec![Rule { prefixes: vec![exact], ..Rule::always(Then::Accept) }];
    let mut theirs = PeerConfig { passive: true, ..config(&US) };
    theirs.families.get_mut(&Family::IPV4_UNICAST).unwrap().import = policy.clone();
    let now = pair.now;
    assert!(!pair.ends[1].peer.reconfigure(now, theirs.into()));
    pair.settle();
    assert_eq!(pair.ends[1].table(), [("192.0.2.129/32".to_owned(), Some(1))]);

    let mut ours = config(&THEM);
    ours.families.get_mut(&Family::IPV4_UNICAST).unwrap().export = Policy::none();
    assert!(!pair.ends[0].peer.reconfigure(now, ours.into()));
    let end = &mut pair.ends[0];
    end.peer.export_all(end.routes.iter());
    pair.settle();
    assert!(pair.ends[1].table().is_empty());
    assert_eq!(pair.ends[0].peer.counters().established, 1);

    let hold_time = Duration::from_secs(30);
    let ours = PeerConfig { hold_time, ..config(&THEM) };
    assert!(pair.ends[0].peer.reconfigure(now, ours.into()));
    pair.settle();
    assert_eq!(last_error(&pair, 1), "Received: Other configuration change");
    pair.run(Duration::from_secs(10));
    let negotiated = &pair.ends[1].peer.session().unwrap().negotiated;
    assert_eq!(negotiated.hold_time, Duration::from_secs(9), "the smaller of the two");
}

#[test]
fn two_families_over_one_session() {
    let family = |next_hop: Option<&str>| {
        let mut config = config(&THEM).families[&Family::IPV4_UNICAST].clone();
        config.next_hop = next_hop.map(|address| address.parse().unwrap());
        config
    };
    let mut ours = config(&THEM);
    ours.families.insert(Family::IPV6_UNICAST, family(Some("2001:db8::1")));
    let mut theirs = PeerConfig { passive: true, ..config(&US) };
    theirs.families.insert(Family::IPV6_UNICAST, family(None));
    let mut pair = Pair::new(ours, theirs);
    pair.ends[0].announce("2001:db8:101::1/128", 5);
    pair.ends[1].announce("2001:db8:102::1/128", 5);
    pair.start();
    let learned = &pair.ends[1].learned[&net("2001:db8:101::1/128")];
    assert_eq!(learned.next_hop.unwrap().to_string(), "2001:db8::1");
    let channel = &pair.ends[1].peer.session().unwrap().channels[&Family::IPV6_UNICAST];
    let reason = channel.next_hop.as_ref().unwrap_err();
    assert!(reason.contains("192.0.2.2"), "{reason}");
    assert!(pair.ends[0].table().is_empty(), "never the unspecified address");
    assert!(channel.end_of_rib_received);
}

#[test]
fn internal_sessions_carry_local_pref_and_no_as() {
    let them = crate::session::LocalSpeaker { local_as: US.local_as, ..THEM };
    let mut pair = Pair::new(config(&them), PeerConfig { passive: true, ..config(&US) });
    pair.ends[1].local = them;
    pair.ends[1].peer = crate::session::Peer::new(
        pair.now,
        them,
        PeerConfig { passive: true, ..config(&US) }.into(),
        3,
    );
    pair.ends[0].announce("192.0.2.128/32", 1);
    pair.start();
    let learned = &pair.ends[1].learned[&net("192.0.2.128/32")];
    assert!(learned.attributes.as_path.is_empty());
    assert_eq!(learned.attributes.local_pref, Some(100));
    // What was learned inside is not passed on inside.
    let (prefix, route) = (net("192.0.2.128/32"), learned.clone());
    pair.ends[1].peer.export(prefix, Some(&route));
    pair.settle();
    assert!(pair.ends[0].table().is_empty());
}

#[test]
fn loops_are_refused() {
    let mut pair = standing();
    let mut looped = route(0);
    let attributes = crate::wire::Attributes {
        as_path: crate::wire::AsPath::sequence([65001]),
        ..crate::wire::Attributes::default()
    };
    looped.attributes = attributes.into();
    pair.ends[1].peer.export(net("203.0.113.0/24"), Some(&looped));
    pair.settle();
    assert!(pair.ends[0].table().is_empty());
    let channel = &pair.ends[0].peer.session().unwrap().channels[&Family::IPV4_UNICAST];
    assert_eq!(channel.counters.import_updates.rejected, 1);
}

#[test]
fn a_stuck_neighbour_that_goes_on_talking_is_given_up() {
    let mut pair = standing();
    // RFC 9687: it sends KEEPALIVEs, but its TCP takes nothing.
    pair.window = 0;
    let start = pair.now;
    let mut next = start;
    while pair.ends[0].peer.state() == StateName::Established {
        next += Duration::from_secs(1);
        assert!(next.duration_since(start) < Duration::from_secs(60));
        let keepalive = bytes(&crate::wire::Message::Keepalive);
        let role = Role::Outgoing;
        pair.ends[0].peer.handle(next, Event::Received { role, bytes: &keepalive });
        pair.ends[0].peer.handle_timeout(next);
    }
    assert_eq!(next.duration_since(start), Duration::from_secs(18), "twice the hold time");
    assert_eq!(last_error(&pair, 0), "BGP Error: Send hold timer expired");
}

#[test]
fn a_neighbour_that_refuses_capabilities_is_tried_without() {
    let mut bench = Bench::at(config(&THEM), StateName::OpenSent, Role::Outgoing);
    let refusal = crate::wire::Notification::new(crate::wire::ErrorCode::OPEN_MESSAGE, 4);
    bench.receive(Role::Outgoing, &crate::wire::Message::Notification(refusal));
    assert_eq!(bench.peer.state(), StateName::Active);
    bench.fire();
    assert_eq!(bench.dials(), 1);
    bench.connected(Role::Outgoing);
    match &bench.sent(Role::Outgoing)[..] {
        [crate::wire::Decoded::Open(open)] => assert!(open.capabilities.is_empty()),
        other => panic!("{other:?}"),
    }
    let plain = crate::wire::Open { capabilities: Vec::new(), ..their_open() };
    bench.receive(Role::Outgoing, &crate::wire::Message::Open(plain));
    bench.receive(Role::Outgoing, &crate::wire::Message::Keepalive);
    let session = bench.peer.session().unwrap();
    assert!(!session.negotiated.as4);
    assert_eq!(session.negotiated.families, [Family::IPV4_UNICAST]);
    assert!(bench.events.iter().any(|event| matches!(event, PeerEvent::Established)));
}

fn refuse(bench: &mut Bench, role: Role, subcode: u8) {
    let code = crate::wire::ErrorCode::OPEN_MESSAGE;
    let refusal = crate::wire::Notification::new(code, subcode);
    bench.receive(role, &crate::wire::Message::Notification(refusal));
}

/// Dials anew; how many capabilities our OPEN has.
fn capabilities_offered(bench: &mut Bench) -> usize {
    bench.fire();
    bench.connected(Role::Outgoing);
    match &bench.sent(Role::Outgoing)[..] {
        [crate::wire::Decoded::Open(open)] => open.capabilities.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_by_accident_is_forgotten() {
    let mut bench = Bench::at(config(&THEM), StateName::OpenSent, Role::Outgoing);
    refuse(&mut bench, Role::Outgoing, 4);
    assert_eq!(capabilities_offered(&mut bench), 0);
    // The neighbour wants the AS number that only a capability can tell.
    refuse(&mut bench, Role::Outgoing, 2);
    assert_ne!(capabilities_offered(&mut bench), 0);

    let mut bench = Bench::at(config(&THEM), StateName::Established, Role::Outgoing);
    refuse(&mut bench, Role::Outgoing, 4);
    assert_ne!(capabilities_offered(&mut bench), 0, "not about an OPEN");
}

#[test]
fn capabilities_stay_where_an_open_without_could_not_do() {
    let mut ipv6 = config(&THEM);
    let family = ipv6.families.remove(&Family::IPV4_UNICAST).unwrap();
    ipv6.families.insert(Family::IPV6_UNICAST, family);
    let mut bench = Bench::at(ipv6, StateName::OpenSent, Role::Outgoing);
    refuse(&mut bench, Role::Outgoing, 4);
    assert_ne!(capabilities_offered(&mut bench), 0);
}

#[test]
fn a_refused_connection_changes_nothing_about_the_other_one() {
    let mut bench = Bench::new(config(&THEM));
    bench.start();
    bench.connected(Role::Outgoing);
    bench.connected(Role::Incoming);
    refuse(&mut bench, Role::Outgoing, 4);
    bench.receive(Role::Incoming, &crate::wire::Message::Open(their_open()));
    bench.receive(Role::Incoming, &crate::wire::Message::Keepalive);
    assert!(bench.peer.session().unwrap().negotiated.as4, "its OPEN had said so");
}
