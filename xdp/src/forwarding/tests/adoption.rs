//! A process that ends and another that goes on with its tables.

use vc5_ebpf_abi::RealState as AbiState;

use super::*;
use crate::{RealState, Unknown};

fn desired() -> Desired {
    let all = ServiceSpec { ports: Ports::All, protocol: L4::Udp, ..of(&[2, 103]) };
    let range = ServiceSpec { ports: Ports::Range(100, 1234), ..of(&[1, 2]) };
    let mut first = vip(1, vec![of(&[1, 2, 103]), range, all]);
    first.unknown = Unknown::Reject;
    Desired { vips: vec![first, vip(2, vec![of(&[1, 2, 103])])] }
}

#[test]
fn the_same_state_after_a_restart_changes_nothing() {
    let mut world = World::new(64, Hops::all(&[1, 2, 103]));
    world.apply(&desired()).unwrap();
    let (reals, services) = (world.tables().reals.clone(), world.tables().services.clone());
    let ports = |world: &World| -> Vec<Ports> {
        world.forwarding.services.values().map(Service::ports).collect()
    };
    let (fills, before) = (world.tables().fills, ports(&world));

    let mut world = world.restart();
    assert_eq!(ports(&world), before);
    assert_eq!(world.forwarding.vips().count(), 2);
    assert!(world.forwarding.not_ready().is_empty());
    world.apply(&desired()).unwrap();
    assert_eq!(world.tables().reals, reals);
    assert_eq!(world.tables().services, services);
    assert_eq!(world.tables().fills, fills, "the rings were recognised");
    assert_eq!(
        world.forwarding.services[&key(1)].ring(),
        world.forwarding.services[&key(2)].ring()
    );
}

#[test]
fn another_state_after_a_restart_is_a_change_like_any_other() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.apply(&one(&[1, 2])).unwrap();
    world.apply(&one(&[1, 2, 3])).unwrap();
    let before = world.real(2);
    world.pass(SETTLE);
    let mut world = world.restart();
    world.apply(&one(&[2, 3])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![2, 3], vec![1, 2, 3]));
    assert_eq!((world.state(1), world.real(2)), (AbiState::Draining, before));
    world.pass(DRAIN + GRACE_NS);
    assert!(!world.forwarding.has_backend(address(1)));
}

#[test]
fn a_change_that_settles_goes_on_settling() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1])).unwrap();
    world.apply(&one(&[1, 2])).unwrap();
    let until = world.service().prev_until_ns;
    let mut world = world.restart();
    assert_eq!(world.forwarding.next_timeout(), Some(until));
    world.apply(&one(&[1, 2])).unwrap();
    assert_eq!((world.in_previous(), world.service().prev_until_ns), (vec![1], until));
    world.pass(SETTLE);
    assert!(world.in_previous().is_empty());
}

#[test]
fn routers_are_still_sending_by_what_the_earlier_run_announced() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.apply(&one(&[1])).unwrap();
    world.apply(&one(&[1, 2])).unwrap();
    let mut world = world.restart();
    world.apply(&idle(&[1, 2])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1, 2], vec![1]));
    world.pass(SETTLE);
    world.apply(&idle(&[1, 2, 3])).unwrap();
    assert_eq!(world.in_previous(), [1, 2], "not announced anew yet");
    world.apply(&one(&[1, 2, 3])).unwrap();
    world.apply(&idle(&[1, 2, 3])).unwrap();
    assert!(world.in_previous().is_empty(), "announced by this run, and withdrawn");
}

#[test]
fn before_there_is_a_state_only_neighbours_are_followed() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let mut world = world.restart();
    world.hops.0.insert(1, false);
    world.refresh(1);
    world.refresh(2);
    assert_eq!(world.in_ring(), [1, 2], "the weights are not known");
    world.pass(SETTLE);
    world.apply(&one(&[1, 2])).unwrap();
    assert_eq!(world.in_ring(), [2]);
}

#[test]
fn of_a_pool_that_is_replaced_over_a_restart_the_old_ones_stay_until_a_new_one_is_reached() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let ring = world.service().ring;
    let mut world = world.restart();
    world.apply(&one(&[3, 4])).unwrap();
    world.pass(2 * DRAIN);
    assert_eq!((world.service().ring, world.in_ring()), (ring, vec![1, 2]));
    assert_eq!(world.state(1), AbiState::Draining);
    world.hops.0.insert(3, true);
    world.refresh(3);
    assert_eq!((world.in_ring(), world.state(1)), (vec![3], AbiState::Draining));
    world.pass(DRAIN);
    assert_eq!(world.state(1), AbiState::Down);
}

#[test]
fn what_an_interrupted_run_left_is_cleaned_up() {
    let mut world = World::new(64, Hops::all(&[1, 2, 103]));
    world.apply(&desired()).unwrap();
    // As if it had ended while the first VIP was being removed.
    let vip = IpAddr::from([198, 51, 100, 1]);
    let mut failures = Failures::default();
    world.tables().fault = Some(Fault::Service(key(1)));
    let now = world.now.get();
    world.forwarding.remove_vips(&Desired { vips: vec![] }, now, &mut failures);
    assert!(failures.first().is_err());
    world.tables().fault = None;
    let mut world = world.restart();
    assert!(world.forwarding.services_of(vip).count() > 0);
    world.apply(&one(&[1])).unwrap();
    assert_eq!((world.in_ring(), world.tables().services.len()), (vec![1], 1));
    assert_eq!(world.tables().filter.0.iter().map(|w| w.count_ones()).sum::<u32>(), 1);
}

#[test]
fn pages_and_generations_go_on() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.apply(&Desired { vips: vec![vip(1, vec![of(&[1])]), vip(2, vec![of(&[2])])] }).unwrap();
    let old = world.real(1);
    world.apply(&Desired { vips: vec![vip(2, vec![of(&[2])])] }).unwrap();
    let mut world = world.restart();
    world.pass(GRACE_NS);
    let now = Desired { vips: vec![vip(1, vec![of(&[3])]), vip(2, vec![of(&[2])])] };
    world.apply(&now).unwrap();
    let first = world.forwarding.services[&key(1)].backends()[0];
    assert!(first.real.generation != old.generation || first.id != 17, "{first:?}");
}

#[test]
fn tables_that_contradict_themselves_are_not_taken_over() {
    let mut world = World::new(64, Hops::all(&[1]));
    world.apply(&Desired { vips: vec![vip(1, vec![of(&[1])]), vip(2, vec![of(&[1])])] }).unwrap();
    let setup = world.forwarding.shared.setup;
    let found = |change: fn(&mut Found)| {
        let mut found = world.forwarding.tables.found(setup.max_reals);
        change(&mut found);
        let tables = checked::Checked::new(world.now.clone());
        Forwarding::adopt(tables, setup, found, 0).map(|_| ()).unwrap_err().to_string()
    };
    let shared = found(|found| found.services[1].1.pages = found.services[0].1.pages);
    assert!(shared.contains("which is another's"), "{shared}");
    let missing = found(|found| found.services[0].1.ring = 99);
    assert!(missing.contains("ring 99, which is not there"), "{missing}");
}

#[test]
fn the_undecided_stay_as_an_earlier_run_left_them() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3, 4]));
    let states = |backends: &[u8], states: &[RealState]| {
        let mut desired = one(backends);
        let specs = desired.vips[0].services[0].backends.iter_mut();
        specs.zip(states).for_each(|(spec, state)| spec.state = *state);
        desired
    };
    let (live, draining, down) = (RealState::Live, RealState::Draining, RealState::Down);
    world.apply(&states(&[1, 2, 3], &[live, draining, down])).unwrap();
    let (ring, fills) = (world.service().ring, world.tables().fills);
    let mut world = world.restart();
    world.apply(&states(&[1, 2, 3, 4], &[RealState::Undecided; 4])).unwrap();
    let now = [1, 2, 3, 4].map(|n| world.state(n));
    assert_eq!(now, [AbiState::Live, AbiState::Draining, AbiState::Down, AbiState::Down]);
    assert_eq!((world.service().ring, world.tables().fills), (ring, fills));
    assert!(world.forwarding.not_ready().is_empty());
    world.apply(&states(&[1, 2, 3, 4], &[down, down, live, RealState::Undecided])).unwrap();
    assert_eq!((world.in_ring(), world.state(4)), (vec![3], AbiState::Down));
}
