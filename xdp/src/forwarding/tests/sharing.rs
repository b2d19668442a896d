//! Services with equal pools and their rings.

use super::*;
use crate::BackendSpec;

fn pools(pools: &[&[u8]]) -> Desired {
    Desired { vips: (1..).zip(pools).map(|(last, numbers)| vip(last, vec![of(numbers)])).collect() }
}

fn ring_of(world: &World, vip: u8) -> u32 {
    world.forwarding.tables.services[&key(vip)].ring
}

#[test]
fn equal_pools_have_one_ring() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3, 104]));
    world.apply(&pools(&[&[1, 2, 104], &[104, 2, 1], &[1, 2]])).unwrap();
    assert_eq!(world.tables().fills, 2);
    assert_eq!(ring_of(&world, 1), ring_of(&world, 2));
    assert_ne!(ring_of(&world, 1), ring_of(&world, 3));
    world.apply(&pools(&[&[1, 2, 3, 104], &[1, 2, 3, 104], &[1, 2]])).unwrap();
    assert_eq!((world.tables().fills, ring_of(&world, 1)), (3, ring_of(&world, 2)));
}

#[test]
fn other_weights_are_another_ring() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    let mut desired = pools(&[&[1, 2], &[1, 2]]);
    desired.vips[1].services[0].backends[0] = BackendSpec { weight: 2, ..live(1) };
    world.apply(&desired).unwrap();
    assert_ne!(ring_of(&world, 1), ring_of(&world, 2));
}

#[test]
fn a_new_service_numbers_its_backends_as_the_others_do() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    world.apply(&pools(&[&[1, 3]])).unwrap();
    world.apply(&pools(&[&[1, 2, 3]])).unwrap();
    assert_eq!(world.real(2).member, 3);
    world.apply(&pools(&[&[1, 2, 3], &[1, 2, 3]])).unwrap();
    assert_eq!(ring_of(&world, 1), ring_of(&world, 2));
    assert_eq!(world.tables().fills, 2);
}

#[test]
fn a_ring_lives_as_long_as_anybody_uses_it() {
    let mut world = World::new(4, Hops::all(&[1, 2, 3, 4]));
    world.apply(&pools(&[&[1, 2], &[1, 2]])).unwrap();
    let shared = ring_of(&world, 1);
    for numbers in [[1, 3], [2, 3], [1, 4], [2, 4], [3, 4]] {
        world.pass(SETTLE + GRACE_NS);
        world.apply(&pools(&[&numbers, &[1, 2]])).unwrap();
        assert_eq!(ring_of(&world, 2), shared);
    }
    assert_eq!(world.tables().fills, 6);
    world.pass(SETTLE + GRACE_NS);
    world.apply(&pools(&[&[1, 2], &[1, 2]])).unwrap();
    assert_eq!((ring_of(&world, 1), world.tables().fills), (shared, 6));
}

#[test]
fn a_pool_that_goes_back_and_forth_builds_nothing() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    for _ in 0..5 {
        world.apply(&pools(&[&[1, 2]])).unwrap();
        world.pass(SETTLE + GRACE_NS);
        world.hops.0.insert(2, false);
        world.refresh(2);
        world.pass(SETTLE + GRACE_NS);
        world.hops.0.insert(2, true);
        world.refresh(2);
    }
    assert_eq!(world.tables().fills, 2);
}

#[test]
fn many_services_are_put_in_force_at_once() {
    let mut world = World::new(64, Hops::all(&(1..=40).collect::<Vec<_>>()));
    let pool = |n: u8| (n..n + 10).collect::<Vec<u8>>();
    let desired = Desired { vips: (1..=12).map(|n| vip(n, vec![of(&pool(n))])).collect() };
    world.apply(&desired).unwrap();
    assert_eq!(world.tables().fills, 12);
    for n in 1..=12 {
        let service = world.forwarding.tables.services[&key(n)];
        let addresses = world.forwarding.tables.addresses(&service, service.ring);
        assert_eq!(numbers(&addresses), pool(n));
    }
}
