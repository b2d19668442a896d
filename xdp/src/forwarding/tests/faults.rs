//! Writes that fail: what is left is tried again, nothing leaks, and nothing else is held up.

use super::*;

fn key(vip: u8) -> ServiceKey {
    ServiceKey::new([198, 51, 100, vip], 80, protocol_number(L4::Tcp))
}

fn two(first: &[u8], second: &[u8]) -> Desired {
    let of = |numbers: &[u8]| vec![service(numbers.iter().map(|n| live(*n)).collect())];
    Desired { vips: vec![vip(1, of(first)), vip(2, of(second))] }
}

impl World {
    fn broken(&mut self, fault: Fault, work: impl FnOnce(&mut Self)) {
        self.forwarding.tables.fault = Some(fault);
        work(self);
        self.forwarding.tables.fault = None;
    }

    /// The backends in the ring of the service of a VIP.
    fn ring_of(&self, vip: u8) -> Vec<u8> {
        let tables = &self.forwarding.tables;
        numbers(&tables.addresses(tables.services[&key(vip)].ring))
    }
}

#[test]
fn a_service_that_cannot_be_written_does_not_hold_up_the_others() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.broken(Fault::Service(key(1)), |world| {
        let error = world.apply(&two(&[1], &[2])).unwrap_err();
        assert!(error.to_string().contains("198.51.100.1:80/tcp"), "{error}");
        assert_eq!(world.ring_of(2), [2]);
        assert_eq!(world.forwarding.tables.vips.len(), 2);
        let not_ready = world.forwarding.not_ready(&world.hops);
        let why = "tcp/80: it could not be put in force yet".to_owned();
        assert_eq!(not_ready, [(Ipv4Addr::new(198, 51, 100, 1), why)]);
    });
    world.apply(&two(&[1, 3], &[2, 3])).unwrap();
    assert!(world.forwarding.not_ready(&world.hops).is_empty());

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
        let all = filter_of([1, 2].map(|n| Ipv4Addr::new(198, 51, 100, n)));
        assert_eq!(world.forwarding.tables.filter.0, all.0);
        assert_eq!(world.forwarding.tables.vips.len(), 2);

        world.broken(fault, |world| assert!(world.apply(&Desired::default()).is_err()));
        world.apply(&Desired::default()).unwrap();
        assert!(world.forwarding.tables.vips.is_empty() && world.forwarding.vips.is_empty());
        assert!(world.forwarding.tables.filter.0.iter().all(|word| *word == 0));
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
        assert!(world.forwarding.tables.services.is_empty());
        assert!(world.forwarding.tables.reals.values().all(|r| r.state == AbiState::Free as u8));
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
    for numbers in [[1, 0], [1, 2]] {
        world.pass(SETTLE + GRACE_NS);
        world.apply(&one(&numbers)).unwrap();
    }
}

#[test]
fn failed_writes_use_up_no_id() {
    let mut world = World::new(192, Hops::all(&[1]));
    let ports = |ports: std::ops::RangeInclusive<u16>| {
        let services = ports.map(|port| ServiceSpec { port, ..service(vec![]) }).collect();
        Desired { vips: vec![vip(1, services)] }
    };
    world.apply(&ports(1..=64)).unwrap();
    world.apply(&Desired::default()).unwrap();
    world.broken(Fault::Traffic, |world| {
        for _ in 0..3 {
            assert!(world.apply(&ports(1..=64)).is_err());
        }
    });
    world.apply(&ports(1..=64)).unwrap();
}

#[test]
fn with_all_rings_in_use_the_previous_one_is_given_up_last() {
    let mut world = World::new(6, Hops::all(&[1, 2, 3, 4, 5]));
    world.apply(&two(&[1], &[1])).unwrap();
    world.apply(&two(&[1], &[2])).unwrap();
    for numbers in [[1, 2], [1, 3], [1, 4]] {
        world.apply(&two(&numbers, &[2])).unwrap();
    }
    let error = world.apply(&two(&[1, 4], &[3])).unwrap_err();
    assert!(error.to_string().contains("all 6 rings are in use"), "{error}");
    assert_eq!(world.ring_of(2), [2]);
    assert_eq!(world.forwarding.tables.services[&key(2)].prev_ring, NO_RING);
    world.pass(GRACE_NS);
    world.apply(&two(&[1, 4], &[3])).unwrap();
    assert_eq!(world.ring_of(2), [3]);
}
