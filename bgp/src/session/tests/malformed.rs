//! The codec's table of malformed messages, as the session meets them: what becomes of the route that
//! stood before, and whether the session lives (RFC 7606, RFC 4271 section 6).

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::fixture::*;
use crate::rib::AdjRibIn;
use crate::session::{Event, LocalSpeaker, Peer, PeerConfig, PeerEvent, Role, StateName};
use crate::wire::tests::malformed::{
    AS_PATH, Case, NET, NEXT_HOP, ORIGIN, Outcome, cases, opens, update,
};
use crate::wire::{Decoded, Family, Message, Open};

/// The neighbour of the table: AS 65001, 192.0.2.1.
const NEIGHBOR: LocalSpeaker = US;

fn bench(external: bool, state: StateName) -> Bench {
    let local_as = if external { THEM.local_as } else { NEIGHBOR.local_as };
    let mut config = config(&NEIGHBOR);
    let family = config.families[&Family::IPV4_UNICAST].clone();
    config.families.insert(Family::IPV6_UNICAST, family);
    // The rows are about the octets, not about whose AS is in them.
    let config =
        PeerConfig { enforce_first_as: false, allow_local_as: 10, passive: true, ..config };
    let mut bench = Bench::new(config.clone());
    let local = LocalSpeaker { local_as, router_id: Ipv4Addr::new(192, 0, 2, 254) };
    bench.peer = Peer::new(bench.now, local, Arc::new(config), 1);
    bench.start();
    let end =
        Event::TcpConnected { role: Role::Incoming, local: local.router_id.into(), interface: &[] };
    bench.handle(end);
    if state == StateName::Established {
        let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
        let open = Open::new(NEIGHBOR.local_as, 90, NEIGHBOR.router_id, &families);
        bench.receive(Role::Incoming, &Message::Open(open));
        bench.receive(Role::Incoming, &Message::Keepalive);
    }
    assert_eq!(bench.peer.state(), state);
    let _ = bench.sent(Role::Incoming);
    bench.events.clear();
    bench
}

fn receive(bench: &mut Bench, octets: &[u8]) {
    bench.handle(Event::Received { role: Role::Incoming, bytes: octets });
}

fn rib(bench: &Bench) -> &AdjRibIn {
    &bench.peer.session().unwrap().channels[&Family::IPV4_UNICAST].adj_in
}

fn check(bench: &mut Bench, case: &Case, outcome: &Outcome, at: &str) {
    let net = (net("203.0.113.0/24"), 0);
    if bench.peer.state() == StateName::Established {
        receive(bench, &update(&[], &[ORIGIN, AS_PATH, NEXT_HOP].concat(), NET));
        assert!(rib(bench).get(&net).is_some(), "{at}: the route before");
        bench.events.clear();
    }
    receive(bench, &case.octets);
    if let Outcome::Reset(code, subcode, data) = outcome {
        let Some(Decoded::Notification(sent)) = bench.sent(Role::Incoming).pop() else {
            panic!("{at}: no NOTIFICATION");
        };
        let expected = (*code, *subcode, &data[..]);
        assert_eq!((sent.code.0, sent.subcode, &sent.data[..]), expected, "{at}");
        assert_eq!(bench.peer.state(), StateName::Idle, "{at}");
        assert!(bench.closed(Role::Incoming), "{at}");
        return;
    }
    assert_eq!(bench.peer.state(), StateName::Established, "{at}");
    assert!(bench.sent(Role::Incoming).is_empty(), "{at}: nothing is said about it");
    if case.announces_net() {
        let withdrawn = matches!(outcome, Outcome::Withdraw(..));
        assert_eq!(rib(bench).get(&net).is_none(), withdrawn, "{at}: the route that stood before");
        let unlearned = bench
            .events
            .iter()
            .any(|event| matches!(event, PeerEvent::Unlearned(prefix, 0) if *prefix == net.0));
        assert_eq!(unlearned, withdrawn, "{at}: the Loc-RIB is told");
    }
}

#[test]
fn the_table_in_an_established_session() {
    let cases = cases();
    assert!(cases.len() >= 49, "{} rows", cases.len());
    for case in &cases {
        for (external, outcome) in [(true, &case.external), (false, &case.internal)] {
            let mut bench = bench(external, StateName::Established);
            let at = format!("{}, external: {external}", case.name);
            check(&mut bench, case, outcome, &at);
            // Octet by octet it is the same.
            let mut slow = self::bench(external, StateName::Established);
            case.octets.iter().for_each(|octet| receive(&mut slow, &[*octet]));
            assert_eq!(slow.peer.state(), bench.peer.state(), "{at}, octet by octet");
        }
    }
}

#[test]
fn the_table_of_opens() {
    for case in &opens() {
        let mut bench = bench(true, StateName::OpenSent);
        if case.external == Outcome::Accept {
            receive(&mut bench, &case.octets);
            assert_eq!(bench.peer.state(), StateName::OpenConfirm, "{}", case.name);
        } else {
            check(&mut bench, case, &case.external, case.name);
            assert!(bench.peer.idle_hold().is_some(), "{}: an oscillation", case.name);
        }
    }
}
