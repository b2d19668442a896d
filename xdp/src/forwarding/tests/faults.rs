//! Writes that fail: what is left is tried again, nothing leaks, and nothing else is held up.

use vc5_ebpf_abi::{NO_RING, RealState as AbiState};

use super::*;
use crate::maps::filter_of;

fn two(first: &[u8], second: &[u8]) -> Desired {
    Desired { vips: vec![vip(1, vec![of(first)]), vip(2, vec![of(second)])] }
}

impl World {
    fn broken(&mut self, fault: Fault, work: impl FnOnce(&mut Self)) {
        self.tables().fault = Some(fault);
        work(self);
        self.tables().fault = None;
    }

    /// The backends in the ring of the service of a VIP.
    fn ring_of(&self, vip: u8) -> Vec<u8> {
        let tables = &self.forwarding.tables;
        let service = tables.services[&key(vip)];
        numbers(&tables.addresses(&service, service.ring))
    }
}

#[test]
fn a_service_that_cannot_be_written_does_not_hold_up_the_others() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.broken(Fault::Service(key(1)), |world| {
        let error = world.apply(&two(&[1], &[2])).unwrap_err();
        assert!(error.to_string().contains("198.51.100.1:80/tcp"), "{error}");
        assert_eq!(world.ring_of(2), [2]);
        assert_eq!(world.tables().vips.len(), 2);
        let why = "tcp/80: it could not be put in force yet".to_owned();
        assert_eq!(world.forwarding.not_ready(), [(IpAddr::from([198, 51, 100, 1]), why)]);
    });
    world.apply(&two(&[1, 3], &[2, 3])).unwrap();
    assert!(world.forwarding.not_ready().is_empty());

    world.hops.0.insert(3, false);
    world.broken(Fault::Service(key(1)), |world| {
        let addresses = BTreeSet::from([address(3)]);
        let now = world.now.get();
        assert!(world.forwarding.refresh(&addresses, &world.hops, now).is_err());
        assert_eq!((world.ring_of(1), world.ring_of(2)), (vec![1, 3], vec![2]));
    });
    world.refresh(3);
    assert_eq!((world.ring_of(1), world.ring_of(2)), (vec![1], vec![2]));
}

#[test]
fn vips_and_their_filter_are_written_again_after_a_failure() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    for fault in [Fault::Vip, Fault::Filter] {
        world.broken(fault, |world| assert!(world.apply(&two(&[1], &[2])).is_err()));
        world.apply(&two(&[1], &[2])).unwrap();
        let all = filter_of([1, 2].map(|n| IpAddr::from([198, 51, 100, n])));
        assert_eq!(world.tables().filter.0, all.0);
        assert_eq!(world.tables().vips.len(), 2);

        world.broken(fault, |world| assert!(world.apply(&Desired::default()).is_err()));
        world.apply(&Desired::default()).unwrap();
        assert!(world.tables().vips.is_empty() && world.forwarding.vips.is_empty());
        assert!(world.tables().filter.0.iter().all(|word| *word == 0));
    }
}

#[test]
fn a_service_that_could_not_be_removed_is_removed_later() {
    for fault in [Fault::Service(key(1)), Fault::Real] {
        let mut world = World::new(64, Hops::all(&[1, 2]));
        world.apply(&one(&[1, 2])).unwrap();
        world.broken(fault, |world| {
            world.apply(&Desired::default()).unwrap_err();
            assert_eq!(world.forwarding.services.len(), 1);
        });
        world.refresh(1);
        world.apply(&Desired::default()).unwrap();
        assert!(world.forwarding.services.is_empty());
        assert!(world.tables().services.is_empty());
        assert!(world.tables().reals.values().all(|r| r.state == AbiState::Free as u8));
    }
}

#[test]
fn failed_writes_use_up_no_ring() {
    let mut world = World::new(3, Hops::all(&[1, 2]));
    world.apply(&one(&[1])).unwrap();
    for fault in [Fault::Ring, Fault::Service(key(1))] {
        world.broken(fault, |world| {
            for _ in 0..5 {
                world.pass_time(GRACE_NS);
                let error = world.apply(&one(&[1, 2])).unwrap_err();
                assert!(error.to_string().contains("a fault"), "{error}");
            }
        });
    }
    world.apply(&one(&[1, 2])).unwrap();
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1, 2], vec![1]));

    // Neither do those whose end could not be written.
    world.broken(Fault::Service(key(1)), |world| {
        world.pass_time(SETTLE);
        assert!(world.forwarding.on_timeout(world.now.get()).is_err());
        assert_eq!(world.in_previous(), [1]);
    });
    world.pass(0);
    assert_eq!((world.in_ring(), world.in_previous()), (vec![1, 2], vec![]));
    for numbers in [[1].as_slice(), &[1, 2]] {
        world.pass(SETTLE + GRACE_NS);
        world.apply(&one(numbers)).unwrap();
    }
}

#[test]
fn failed_writes_use_up_no_page() {
    let setup = Setup { max_reals: 16 * 3, ..setup(64) };
    let mut world = World::with(setup, Hops::all(&[1]));
    world.apply(&two(&[1], &[1])).unwrap();
    world.apply(&Desired::default()).unwrap();
    world.pass(GRACE_NS);
    world.broken(Fault::Traffic, |world| {
        for _ in 0..3 {
            assert!(world.apply(&two(&[1], &[1])).is_err());
        }
    });
    world.apply(&two(&[1], &[1])).unwrap();
}

#[test]
fn a_backend_that_could_not_be_seen_off_is_seen_off_later() {
    for fault in [Fault::Real, Fault::Traffic] {
        let mut world = World::new(64, Hops::all(&[1, 2]));
        world.apply(&one(&[1, 2])).unwrap();
        world.apply(&one(&[2])).unwrap();
        world.pass(DRAIN);
        world.broken(fault, |world| {
            world.pass_time(GRACE_NS);
            assert!(world.forwarding.on_timeout(world.now.get()).is_err());
            assert!(world.forwarding.has_backend(address(1)));
        });
        world.pass(0);
        assert!(!world.forwarding.has_backend(address(1)));
    }
}

#[test]
fn with_all_rings_in_use_the_previous_ones_are_given_up_last() {
    let mut world = World::new(5, Hops::all(&[1, 2, 3, 4, 5]));
    world.apply(&two(&[1], &[2])).unwrap();
    world.apply(&two(&[1, 2], &[2, 3])).unwrap();
    world.apply(&two(&[1, 3], &[2, 3])).unwrap();
    assert_eq!(world.tables().fills, 5);
    // The one that waits to become the previous ring goes first.
    let error = world.apply(&two(&[1, 3], &[4])).unwrap_err();
    assert!(error.to_string().contains("all 5 rings are in use"), "{error}");
    assert_eq!((world.ring_of(2), world.in_previous()), (vec![2, 3], vec![1]));
    world.pass(GRACE_NS);
    world.apply(&two(&[1, 3], &[4])).unwrap();
    assert_eq!(world.ring_of(2), [4]);

    world.pass(GRACE_NS);
    world.apply(&two(&[1, 3], &[5])).unwrap();
    let error = world.apply(&two(&[1, 3], &[3, 5])).unwrap_err();
    assert!(error.to_string().contains("all 5 rings are in use"), "{error}");
    world.pass(GRACE_NS);
    assert!(world.apply(&two(&[1, 3], &[3, 5])).is_ok());
    assert_eq!(world.ring_of(2), [3, 5]);
}

#[test]
fn without_any_that_waits_the_previous_rings_are_given_up() {
    let mut world = World::new(4, Hops::all(&[1, 2, 3, 4, 5]));
    world.apply(&two(&[1], &[2])).unwrap();
    world.apply(&two(&[1, 2], &[2, 3])).unwrap();
    assert!(world.apply(&two(&[1, 2], &[4])).is_err());
    assert_eq!((world.ring_of(2), world.in_previous()), (vec![2, 3], vec![]));
    assert_eq!(world.forwarding.tables.services[&key(2)].prev_ring, NO_RING);
    world.pass(GRACE_NS);
    world.apply(&two(&[1, 2], &[4])).unwrap();
    assert_eq!(world.ring_of(2), [4]);
}
