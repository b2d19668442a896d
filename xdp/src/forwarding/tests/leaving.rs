//! Backends that are no more wanted, and what becomes of their numbers and ids.

use vc5_ebpf_abi::{RealState as AbiState, Traffic};

use super::*;

#[test]
fn a_backend_that_is_left_out_drains_goes_down_and_is_forgotten() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let before = world.real(1);
    world.apply(&one(&[2])).unwrap();
    assert_eq!((world.in_ring(), world.state(1)), (vec![2], AbiState::Draining));
    world.pass(DRAIN - 1);
    assert_eq!(world.state(1), AbiState::Draining);
    world.pass(1);
    assert_eq!(world.state(1), AbiState::Down);
    assert!(world.forwarding.has_backend(address(1)));
    world.pass(GRACE_NS);
    assert!(!world.forwarding.has_backend(address(1)) && world.forwarding.take_departures());
    assert_eq!(world.forwarding.next_timeout(), None);
    let id = world.forwarding.services[&key(1)].backends()[0].id - 1;
    assert_eq!(world.tables().real(id).state, AbiState::Free as u8);

    // Its number is the lowest that is free, and whoever gets it is of another generation.
    world.hops.0.insert(3, true);
    world.apply(&one(&[2, 3])).unwrap();
    assert_eq!((world.real(3).member, before.member), (1, 1));
    assert_ne!(world.real(3).generation, before.generation);
}

#[test]
fn a_backend_can_return_with_its_flows_until_it_is_forgotten() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let before = world.real(1);
    for away in [0, DRAIN - 1, DRAIN, DRAIN + GRACE_NS - 1] {
        world.apply(&one(&[2])).unwrap();
        world.pass(away);
        world.apply(&one(&[1, 2])).unwrap();
        assert_eq!(world.real(1), before, "away for {away} ns");
    }
    world.apply(&one(&[2])).unwrap();
    world.pass(DRAIN + GRACE_NS);
    world.apply(&one(&[1, 2])).unwrap();
    assert_ne!(world.real(1).generation, before.generation);
}

#[test]
fn one_that_is_down_already_has_nothing_to_drain() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&Desired { vips: vec![vip(1, vec![service(vec![down(1), live(2)])])] }).unwrap();
    world.apply(&one(&[2])).unwrap();
    world.pass(GRACE_NS);
    assert!(!world.forwarding.has_backend(address(1)));
}

#[test]
fn a_number_is_kept_as_long_as_a_previous_ring_has_slots_of_it() {
    let setup = Setup { drain_ns: 0, ..setup(64) };
    let mut world = World::with(setup, Hops::all(&[1, 2, 3]));
    world.apply(&one(&[1, 2])).unwrap();
    world.apply(&one(&[2])).unwrap();
    world.pass(SETTLE - MS);
    assert_eq!((world.in_previous(), world.state(1)), (vec![1, 2], AbiState::Down));
    world.apply(&one(&[2, 3])).unwrap();
    assert_eq!(world.real(3).member, 3);
    world.pass(MS + GRACE_NS);
    assert!(!world.forwarding.has_backend(address(1)));
}

#[test]
fn what_a_backend_counted_stays_with_its_service() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let id = world.forwarding.services[&key(1)].backends()[0].id;
    let traffic = Traffic { packets: 5, bytes: 400, flows: 1, syns: 1, fins: 1, rsts: 0 };
    world.tables().traffic.insert(id, traffic);
    world.apply(&one(&[2])).unwrap();
    world.pass(DRAIN + GRACE_NS);
    assert_eq!(world.forwarding.services[&key(1)].departed(), traffic);
    assert_eq!(world.tables().traffic(id).unwrap(), Traffic::default());
}

#[test]
fn pages_without_members_are_given_back() {
    let setup = Setup { max_reals: 16 * 6, ..setup(64) };
    let many: Vec<u8> = (1..=64).collect();
    let mut world = World::with(setup, Hops::all(&many));
    world.apply(&one(&many)).unwrap();
    let error =
        world.apply(&Desired { vips: vec![vip(1, vec![of(&many)]), vip(2, vec![of(&[1])])] });
    assert!(error.unwrap_err().to_string().contains("16 new pairs"));
    world.apply(&one(&many[..40])).unwrap();
    world.pass(DRAIN + GRACE_NS);
    assert_eq!(world.service().pages[..6].iter().filter(|page| **page != 0).count(), 3);
    world.pass(GRACE_NS);
    world
        .apply(&Desired { vips: vec![vip(1, vec![of(&many[..40])]), vip(2, vec![of(&[1])])] })
        .unwrap();
}

#[test]
fn a_service_that_is_gone_is_gone_for_its_flows() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let before: BTreeMap<u32, u8> =
        world.tables().reals.iter().map(|(id, real)| (*id, real.generation)).collect();
    world.apply(&one(&[2])).unwrap();
    world.apply(&Desired::default()).unwrap();
    assert!(world.tables().reals.values().all(|r| r.state == AbiState::Free as u8));
    assert!(world.tables().filter.0.iter().all(|word| *word == 0));
    world.apply(&one(&[1, 2])).unwrap();
    for backend in world.forwarding.services[&key(1)].backends() {
        let known = before.get(&backend.id) == Some(&backend.real.generation);
        assert!(!known, "{} has id and generation of before", backend.spec.address);
    }
}

#[test]
fn of_a_pool_that_is_replaced_the_old_ones_stay_until_a_new_one_is_reached() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    world.apply(&one(&[3, 4])).unwrap();
    assert_eq!((world.in_ring(), world.state(1)), (vec![1, 2], AbiState::Draining));
    assert!(world.forwarding.not_ready()[0].1.contains("not known yet"));
    world.pass(2 * DRAIN);
    assert_eq!((world.in_ring(), world.state(1)), (vec![1, 2], AbiState::Draining));
    world.hops.0.insert(3, true);
    world.refresh(3);
    assert_eq!((world.in_ring(), world.state(1)), (vec![3], AbiState::Draining));
    world.pass(DRAIN - 1);
    assert_eq!(world.state(1), AbiState::Draining);
    world.pass(1);
    assert_eq!(world.state(1), AbiState::Down);

    // A pool that is emptied is empty.
    world.apply(&one(&[])).unwrap();
    assert_eq!(world.service().ring, vc5_ebpf_abi::NO_RING);
}

#[test]
fn who_was_not_in_the_ring_does_not_return_to_it_when_the_pool_is_replaced() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.apply(&one(&[1, 2, 3])).unwrap();
    world.apply(&one(&[1, 2])).unwrap();
    world.hops.0.insert(2, false);
    world.refresh(2);
    world.apply(&one(&[4])).unwrap();
    assert_eq!(world.in_ring(), [1], "3 drains, 2 does not answer");
    world.hops.0.extend([(1, false), (2, true)]);
    world.refresh(1);
    world.refresh(2);
    assert_eq!(world.in_ring(), [1], "better there than nowhere");
}

#[test]
fn of_those_that_stay_in_the_ring_those_do_that_answer() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    world.hops.0.insert(2, false);
    world.apply(&one(&[3])).unwrap();
    assert_eq!(world.in_ring(), [1]);
}

#[test]
fn a_path_that_is_lost_makes_no_replacement() {
    let mut world = World::new(64, Hops::all(&[2, 201]));
    world.apply(&one(&[2, 201])).unwrap();
    assert_eq!(world.in_ring(), [2, 201]);
    world.hops.0.remove(&201);
    world.apply(&one(&[201])).unwrap();
    assert_eq!(world.service().ring, vc5_ebpf_abi::NO_RING);
}

#[test]
fn however_many_leave_at_once_one_grace_period_is_waited_for() {
    let setup = Setup { drain_ns: 0, ..setup(64) };
    let many: Vec<u8> = (1..=40).collect();
    let mut world = World::with(setup, Hops::all(&many));
    let state = |backends: &[u8]| Desired {
        vips: (1..=8).map(|last| vip(last, vec![of(backends)])).collect(),
    };
    world.apply(&state(&many)).unwrap();
    world.apply(&state(&[1])).unwrap();
    assert!(world.tables().waits.is_empty());
    world.pass(0);
    assert_eq!((world.state(2), world.tables().waits.len()), (AbiState::Down, 1));
    world.pass(SETTLE + GRACE_NS);
    assert_eq!(world.tables().waits.len(), 1);
}

#[test]
fn one_that_leaves_the_ring_late_goes_down_after_a_grace_period() {
    let setup = Setup { drain_ns: 2 * GRACE_NS, ..setup(64) };
    let mut world = World::with(setup, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    world.tables().fault = Some(Fault::Service(key(1)));
    world.apply(&one(&[2])).unwrap_err();
    world.tables().fault = None;
    world.pass(SETTLE);
    assert_eq!((world.in_ring(), world.state(1)), (vec![2], AbiState::Down));
    assert_eq!(world.tables().waits.len(), 1);
}
