//! Random sequences of desired states, neighbours and time.

use proptest::prelude::*;
use vc5_ebpf_abi::{NO_RING, RealState as AbiState};

use super::checked::Checked;
use super::*;
use crate::{BackendSpec, OnDown, RealState, Unknown};

#[derive(Clone, Debug)]
enum Step {
    Apply(Desired),
    Neighbour(u8, bool),
    Pass(u64),
    Restart,
    /// A state while something cannot be written.
    Broken(Fault, Desired),
}

const BACKENDS: [u8; 6] = [1, 2, 3, 4, 105, 106];

fn any_state() -> impl Strategy<Value = RealState> {
    prop_oneof![
        4 => Just(RealState::Live),
        1 => Just(RealState::Draining),
        1 => Just(RealState::Down)
    ]
}

fn any_ports() -> impl Strategy<Value = Ports> {
    prop_oneof![
        3 => Just(Ports::One(80)),
        1 => Just(Ports::One(100)),
        1 => Just(Ports::Range(90, 110)),
        1 => Just(Ports::Range(90, 4000)),
        1 => Just(Ports::All),
    ]
}

fn any_service() -> impl Strategy<Value = ServiceSpec> {
    let backends = prop::collection::btree_map(
        prop::sample::select(&BACKENDS[..]),
        (0u32..3, any_state()),
        0..5,
    );
    let protocol = prop_oneof![Just(L4::Tcp), Just(L4::Udp)];
    (any_ports(), protocol, any::<[bool; 3]>(), 1u8..4, backends).prop_map(
        |(ports, protocol, [stick, sticky, serving], ttl, backends)| ServiceSpec {
            ports,
            protocol,
            ttl: Some(ttl),
            on_down: if stick { OnDown::Stick } else { OnDown::Reselect },
            sticky,
            serving,
            needed: true,
            backends: backends
                .into_iter()
                .map(|(n, (weight, state))| BackendSpec { address: address(n), weight, state })
                .collect(),
        },
    )
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let unknown = prop_oneof![Just(Unknown::Drop), Just(Unknown::Pass), Just(Unknown::Reject)];
    let services = prop::collection::vec(any_service(), 0..4).prop_map(|mut services| {
        services.sort_by_key(|s| (s.protocol, service_port(s.ports)));
        services.dedup_by_key(|s| (s.protocol, service_port(s.ports)));
        services
    });
    prop::collection::btree_map(1u8..4, (services, any::<bool>(), unknown), 0..3).prop_map(|vips| {
        let vip = |(last, (services, up, unknown))| VipSpec { up, unknown, ..vip(last, services) };
        Desired { vips: vips.into_iter().map(vip).collect() }
    })
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Real),
        (1u8..4).prop_map(|vip| Fault::Service(key(vip))),
        Just(Fault::Range),
        Just(Fault::Vip),
        Just(Fault::Filter),
        Just(Fault::Ring),
        Just(Fault::Traffic),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_desired().prop_map(Step::Apply),
        4 => (prop::sample::select(&BACKENDS[..]), any::<bool>())
            .prop_map(|(n, up)| Step::Neighbour(n, up)),
        4 => (0u64..90_000).prop_map(|ms| Step::Pass(ms * MS)),
        1 => Just(Step::Restart),
        1 => (any_fault(), any_desired()).prop_map(|(fault, d)| Step::Broken(fault, d)),
    ]
}

/// Who has to be in the ring of a service after the last step.
fn expected(spec: &ServiceSpec, hops: &Hops) -> BTreeSet<IpAddr> {
    let answers = |b: &&BackendSpec| matches!(hops.hop(b.address), Hop::Resolved { .. });
    let usable = |b: &&BackendSpec| b.state == RealState::Live && b.weight > 0;
    spec.backends.iter().filter(usable).filter(answers).map(|b| b.address).collect()
}

/// That what stands in the tables is what is wanted.
fn check(world: &World, wanted: &Desired) -> Result<(), TestCaseError> {
    let tables = &world.forwarding.tables;
    let vips: BTreeSet<IpAddr> = wanted.vips.iter().map(|vip| vip.address).collect();
    prop_assert_eq!(world.forwarding.vips().collect::<BTreeSet<_>>(), vips);
    let services: Vec<_> =
        wanted.vips.iter().flat_map(|v| v.services.iter().map(move |s| (v, s))).collect();
    prop_assert_eq!(tables.services.len(), services.len());
    for (vip, spec) in services {
        let key = service_key(vip.address, spec.ports, spec.protocol);
        let value = tables.services[&key];
        let expected = expected(spec, &world.hops);
        if !expected.is_empty() {
            prop_assert_eq!(tables.addresses(&value, value.ring), expected);
        } else if !spec.backends.iter().any(|b| b.state == RealState::Live) {
            prop_assert_eq!(value.ring, NO_RING);
        }
        for backend in world.forwarding.services[&key].backends() {
            let real = tables.real(backend.id);
            prop_assert_eq!(real, backend.real);
            prop_assert_eq!(value.real(backend.number), backend.id);
            let wanted = spec.backends.iter().find(|b| b.address == backend.spec.address);
            let state = match wanted.map(|b| b.state) {
                Some(RealState::Live) => AbiState::Live,
                Some(RealState::Draining) => AbiState::Draining,
                Some(RealState::Down | RealState::Undecided) => AbiState::Down,
                None => continue,
            };
            prop_assert_eq!(AbiState::from_u8(real.state), state);
        }
    }
    Ok(())
}

/// Who is in the ring of each service.
fn in_rings(tables: &Checked) -> BTreeMap<ServiceKey, BTreeSet<IpAddr>> {
    let with_ring = tables.services.iter().filter(|(_, value)| value.ring != NO_RING);
    with_ring.map(|(key, value)| (*key, tables.addresses(value, value.ring))).collect()
}

/// That nobody has come into a ring but those that are wanted there.
fn check_entries(
    world: &World,
    before: &BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
) -> Result<(), TestCaseError> {
    for (key, now) in in_rings(&world.forwarding.tables) {
        let before = before.get(&key);
        for backend in world.forwarding.services[&key].backends() {
            let address = backend.spec.address;
            let is_there = |ring: &BTreeSet<IpAddr>| ring.contains(&address);
            if is_there(&now) && !before.is_some_and(is_there) {
                prop_assert_eq!(backend.state(), RealState::Live, "{} of {:?}", address, key);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The tables check themselves after every write; here is checked what stands at the end of
    /// each step.
    #[test]
    fn no_packet_meets_a_half_made_state(steps in prop::collection::vec(any_step(), 1..16)) {
        let mut world = World::new(64, Hops::all(&[1, 2, 3]));
        let mut wanted = Desired::default();
        let mut is_in_force = true;
        for step in steps {
            let before = in_rings(&world.forwarding.tables);
            match step {
                Step::Apply(desired) => {
                    world.apply(&desired).unwrap();
                    (wanted, is_in_force) = (desired, true);
                }
                Step::Broken(fault, desired) => {
                    world.tables().fault = Some(fault);
                    is_in_force = world.apply(&desired).is_ok();
                    world.tables().fault = None;
                    wanted = desired;
                }
                Step::Neighbour(number, up) => {
                    world.hops.0.insert(number, up);
                    world.refresh(number);
                }
                Step::Pass(ns) => world.pass(ns),
                Step::Restart => {
                    world = world.restart();
                    is_in_force = false;
                }
            }
            if is_in_force {
                check(&world, &wanted)?;
                check_entries(&world, &before)?;
            }
        }
        // Whatever failed before, it can be put in force, and all of it be taken away again.
        world.apply(&wanted).unwrap();
        check(&world, &wanted)?;
        world.apply(&Desired::default()).unwrap();
        let tables = world.tables();
        prop_assert!(tables.services.is_empty() && tables.vips.is_empty());
        prop_assert!(tables.ranges.is_empty());
        prop_assert!(tables.reals.values().all(|real| real.state == AbiState::Free as u8));
        prop_assert!(!world.forwarding.has_backend(address(1)));
    }
}
