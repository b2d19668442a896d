//! Changes of pools and neighbours.

use super::*;
use crate::{BackendSpec, RealState};

#[test]
fn of_several_changes_within_the_settle_time_the_oldest_ring_is_the_previous_one() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3, 4]));
    world.apply(&one(&[1])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1], vec![]));
    let first = world.now.get();
    world.apply(&one(&[1, 2])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1, 2], vec![1]));
    assert_eq!(world.service().prev_until_ns, first + SETTLE);

    world.pass(4_000 * MS);
    world.apply(&one(&[2, 3])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![2, 3], vec![1]));
    assert_eq!(world.service().prev_until_ns, first + SETTLE);

    // The first change is over, the second is not: its ring is the oldest now.
    world.pass(6_000 * MS);
    assert_eq!(world.in_previous(), [1, 2]);
    assert_eq!(world.service().prev_until_ns, first + 4_000 * MS + SETTLE);
    assert_eq!(world.forwarding.next_timeout(), Some(first + 4_000 * MS + SETTLE));
    world.pass(4_000 * MS);
    assert_eq!((world.in_ring(), world.in_previous()), (vec![2, 3], vec![]));
}

#[test]
fn a_service_that_gets_no_packets_has_no_previous_ring() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.apply(&idle(&[1])).unwrap();
    world.apply(&idle(&[1, 2])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1, 2], vec![]));
    world.apply(&one(&[1, 2])).unwrap();
    world.apply(&one(&[1, 2, 3])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1, 2, 3], vec![1, 2]));
    world.apply(&idle(&[1, 2, 3])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1, 2, 3], vec![]));
    assert_eq!(world.forwarding.next_timeout(), None);
}

#[test]
fn an_unchanged_pool_keeps_its_ring() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let before = world.service();
    world.apply(&one(&[2, 1])).unwrap();
    world.refresh(1);
    assert_eq!(world.service(), before);
    assert_eq!(world.tables().fills, 1);
}

#[test]
fn a_backend_joins_when_its_mac_is_known_and_leaves_when_it_fails() {
    let mut world = World::new(64, Hops::all(&[1]));
    world.apply(&one(&[1, 102])).unwrap();
    assert_eq!(world.in_ring(), [1]);
    world.hops.0.insert(102, true);
    world.refresh(102);
    assert_eq!(world.in_ring(), [1, 102]);
    world.hops.0.insert(1, false);
    world.refresh(1);
    assert_eq!(world.in_ring(), [102]);
    assert_eq!(world.real(1).mac, [2, 0, 0, 0, 1, 1], "its flows go on to where it was");
    assert!(world.forwarding.not_ready().is_empty());

    // The last one fails too: the ring stays as it is, but the VIP is not ready.
    world.hops.0.insert(102, false);
    world.refresh(102);
    assert_eq!(world.in_ring(), [1, 102]);
    let not_ready = world.forwarding.not_ready();
    assert_eq!(not_ready.len(), 1);
    assert!(not_ready[0].1.contains("192.0.2.1 does not answer ARP"), "{not_ready:?}");
}

#[test]
fn a_service_that_is_not_needed_does_not_hold_up_its_vip() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    let spare = |needed| ServiceSpec { ports: Ports::One(81), needed, ..of(&[2]) };
    let desired = |needed| Desired { vips: vec![vip(1, vec![of(&[1]), spare(needed)])] };
    world.apply(&desired(false)).unwrap();
    world.hops.0.insert(2, false);
    world.refresh(2);
    assert_eq!(world.forwarding.not_ready(), []);
    world.apply(&desired(true)).unwrap();
    let not_ready = world.forwarding.not_ready().pop().unwrap();
    assert!(not_ready.1.starts_with("tcp/81: 192.0.2.2 does not answer ARP"), "{not_ready:?}");
    world.apply(&desired(false)).unwrap();
    assert_eq!(world.forwarding.not_ready(), []);
    world.hops.0.insert(1, false);
    world.refresh(1);
    assert!(world.forwarding.not_ready()[0].1.starts_with("tcp/80: "), "of the one that is needed");
}

#[test]
fn a_backend_whose_address_is_asked_for_again_stays() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    world.hops.0.remove(&1);
    world.refresh(1);
    assert_eq!(world.in_ring(), [1, 2]);
    world.hops.0.remove(&2);
    world.refresh(2);
    assert!(world.forwarding.not_ready().is_empty());
}

#[test]
fn every_reason_for_not_being_ready_is_said() {
    let reason = |backends: Vec<BackendSpec>| {
        let mut world = World::new(64, Hops(BTreeMap::from([(1, true), (2, false), (102, false)])));
        world.apply(&Desired { vips: vec![vip(1, vec![service(backends)])] }).unwrap();
        world.forwarding.not_ready().pop().map(|(_, reason)| reason)
    };
    let idle = BackendSpec { weight: 0, ..live(1) };
    assert_eq!(reason(vec![live(1), live(2), down(3)]), None);
    let reason = |backends| reason(backends).unwrap();
    assert_eq!(reason(vec![]), "tcp/80: it has no backends");
    assert_eq!(reason(vec![down(1)]), "tcp/80: no backend is live");
    assert_eq!(reason(vec![idle]), "tcp/80: no live backend has a weight above 0");
    let far = "tcp/80: 192.0.2.200 is not reached: 192.0.2.200 is far away";
    assert_eq!(reason(vec![live(200)]), far);
    assert!(reason(vec![live(200), live(2)]).contains("192.0.2.2 does not answer ARP"));
    assert!(reason(vec![live(102)]).contains("neighbour solicitations"));
    assert!(reason(vec![live(3), live(2)]).contains("192.0.2.3 is not known yet"));
}

#[test]
fn a_backend_that_drains_or_is_down_leaves_the_ring_first() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.apply(&one(&[1, 2, 3])).unwrap();
    let draining = BackendSpec { state: RealState::Draining, ..live(2) };
    let desired = Desired { vips: vec![vip(1, vec![service(vec![live(1), draining, down(3)])])] };
    world.apply(&desired).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1], vec![1, 2, 3]));
    assert_eq!(world.state(2), vc5_ebpf_abi::RealState::Draining);
    assert_eq!(world.state(3), vc5_ebpf_abi::RealState::Down);
    world.apply(&one(&[1, 2, 3])).unwrap();
    assert_eq!(world.in_ring(), [1, 2, 3]);
    assert_eq!(world.tables().fills, 2, "the first ring was still there");
}

#[test]
fn an_empty_pool_empties_the_ring() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    world.apply(&one(&[])).unwrap();
    assert_eq!(world.service().ring, vc5_ebpf_abi::NO_RING);
    assert_eq!(world.in_previous(), [1, 2]);
    world.pass(SETTLE);
    assert!(world.in_previous().is_empty());
}

#[test]
fn with_all_rings_in_use_those_between_are_given_up() {
    let mut world = World::new(3, Hops::all(&[1, 2, 3, 4, 5]));
    world.apply(&one(&[1])).unwrap();
    for number in 2..=5 {
        world.pass(GRACE_NS);
        world.apply(&one(&[number])).unwrap();
        assert_eq!((world.in_ring(), world.in_previous()), (vec![number], vec![1]));
    }
    // Faster than the grace period it cannot be; then the ring in force stays.
    let error = world.apply(&one(&[1, 2])).unwrap_err();
    assert!(error.to_string().contains("all 3 rings are in use"), "{error}");
    assert_eq!(world.in_ring(), [5]);
}

#[test]
fn other_vips_do_not_wait_for_the_flows_of_a_backend_to_end() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let backends = vec![down(1), live(2)];
    let desired = Desired { vips: vec![vip(1, vec![service(backends)]), vip(2, vec![of(&[2])])] };
    world.apply(&desired).unwrap();
    assert_eq!(world.tables().waits, [2]);
    assert_eq!(world.state(1), vc5_ebpf_abi::RealState::Down);
}
