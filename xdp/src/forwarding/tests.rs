//! Forwarding over tables that check, after every single write, what a packet would meet.

mod faults;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use proptest::prelude::*;
use vc5_ebpf_abi::{
    FlowEntry, NO_RING, Real, RealState as AbiState, ServiceValue, Traffic, VIP_FILTER_WORDS,
    VipFilter,
};

use super::*;
use crate::maglev::SLOTS;
use crate::maps::GRACE_NS;
use crate::{BackendSpec, Mac, OnDown, RealState, VipSpec};

const MS: u64 = 1_000_000;
const SETTLE: u64 = 10_000 * MS;
const SRC_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// The tables, the time, and when each ring was last named by a service.
struct Checked {
    now: Rc<Cell<u64>>,
    reals: HashMap<u16, Real>,
    services: BTreeMap<ServiceKey, ServiceValue>,
    vips: BTreeSet<VipKey>,
    filter: VipFilter,
    rings: Vec<BTreeSet<u16>>,
    named: HashMap<u32, u64>,
    /// What cannot be written now.
    fault: Option<Fault>,
}

/// A write that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Real,
    Service(ServiceKey),
    Vip,
    Filter,
    Ring,
    Traffic,
}

impl Checked {
    fn new(now: Rc<Cell<u64>>) -> Self {
        Self {
            now,
            reals: HashMap::new(),
            services: BTreeMap::new(),
            vips: BTreeSet::new(),
            filter: VipFilter([0; VIP_FILTER_WORDS]),
            rings: Vec::new(),
            named: HashMap::new(),
            fault: None,
        }
    }

    fn write(&self, what: Fault) -> Result<(), TableError> {
        if self.fault != Some(what) {
            return Ok(());
        }
        Err(TableError { action: "a test's write", source: std::io::Error::other("a fault") })
    }

    fn ring(&self, ring: u32) -> &BTreeSet<u16> {
        &self.rings[ring as usize]
    }

    fn addresses(&self, ring: u32) -> BTreeSet<Ipv4Addr> {
        self.ring(ring).iter().map(|id| Ipv4Addr::from(self.reals[id].addr)).collect()
    }

    /// What must hold between any two writes.
    fn check(&mut self) {
        for (key, service) in &self.services {
            for ring in [service.ring, service.prev_ring] {
                self.named.insert(ring, self.now.get());
            }
            if service.ring == NO_RING {
                continue;
            }
            let ring = &self.rings[service.ring as usize];
            assert!(!ring.is_empty() && !ring.contains(&0), "{}: holes in the ring", name(*key));
            for id in ring {
                let real = &self.reals[id];
                let state = AbiState::from_u8(real.state);
                assert!(matches!(state, AbiState::Live | AbiState::Draining), "{real:?}");
                assert_ne!(real.mac, [0; 6]);
                assert_eq!(real.service_stat, service.stat);
            }
        }
        let known = filter_of(self.vips.iter().map(|vip| Ipv4Addr::from(vip.0)));
        for (present, allowed) in self.filter.0.iter().zip(known.0) {
            assert_eq!(present & !allowed, 0, "the filter has a VIP that the table lacks");
        }
    }
}

impl Tables for Checked {
    fn set_real(&mut self, id: u16, real: &Real) -> Result<(), TableError> {
        self.write(Fault::Real)?;
        assert_ne!(id, 0);
        if let Some(before) = self.reals.insert(id, *real)
            && (before.addr, before.service_stat) != (real.addr, real.service_stat)
        {
            let mask = (1 << FlowEntry::GENERATION_BITS) - 1;
            assert_ne!((before.generation ^ real.generation) & mask, 0, "a flow would be misled");
        }
        self.check();
        Ok(())
    }

    fn set_service(&mut self, key: ServiceKey, value: ServiceValue) -> Result<(), TableError> {
        self.write(Fault::Service(key))?;
        self.services.insert(key, value);
        self.check();
        Ok(())
    }

    fn remove_service(&mut self, key: ServiceKey) -> Result<(), TableError> {
        self.write(Fault::Service(key))?;
        assert!(!self.vips.contains(&VipKey(key.addr)) || self.services.contains_key(&key));
        self.services.remove(&key);
        self.check();
        Ok(())
    }

    fn add_vip(&mut self, key: VipKey) -> Result<(), TableError> {
        self.write(Fault::Vip)?;
        self.vips.insert(key);
        self.check();
        Ok(())
    }

    fn remove_vip(&mut self, key: VipKey) -> Result<(), TableError> {
        self.write(Fault::Vip)?;
        assert!(self.vips.remove(&key));
        self.check();
        Ok(())
    }

    fn set_filter(&mut self, filter: &VipFilter) -> Result<(), TableError> {
        self.write(Fault::Filter)?;
        self.filter = *filter;
        self.check();
        Ok(())
    }

    fn fill_ring(&mut self, ring: u32, slots: &[u16; SLOTS]) -> Result<(), TableError> {
        self.write(Fault::Ring)?;
        if let Some(named) = self.named.get(&ring) {
            assert!(self.now.get() >= named + GRACE_NS, "ring {ring} may still be looked into");
        }
        self.rings[ring as usize] = slots.iter().copied().collect();
        Ok(())
    }

    fn install_rings(&mut self, count: u32) -> Result<(), TableError> {
        self.rings.resize(count as usize, BTreeSet::new());
        Ok(())
    }

    fn reset_real_traffic(&mut self, _id: u16) -> Result<(), TableError> {
        self.write(Fault::Traffic)
    }

    fn reset_service_traffic(&mut self, _stat: u32) -> Result<(), TableError> {
        self.write(Fault::Traffic)
    }

    fn real_traffic(&self, _id: u16) -> Result<Traffic, TableError> {
        Ok(Traffic::default())
    }

    fn service_traffic(&self, _stat: u32) -> Result<Traffic, TableError> {
        Ok(Traffic::default())
    }
}

/// Neighbours by the backend's number; those not in it are pending, and from 200 on unreachable.
#[derive(Clone, Debug, Default)]
struct Hops(BTreeMap<u8, bool>);

impl Hops {
    fn all(numbers: &[u8]) -> Self {
        Self(numbers.iter().map(|n| (*n, true)).collect())
    }
}

impl Resolve for Hops {
    fn hop(&self, address: Ipv4Addr) -> Hop {
        let number = address.octets()[3];
        let (ifindex, src_mac) = (3, SRC_MAC);
        match self.0.get(&number) {
            _ if number >= 200 => Hop::NoSubnet,
            Some(true) => Hop::Resolved { ifindex, mac: Mac([2, 0, 0, 0, 1, number]), src_mac },
            Some(false) => Hop::Failed { ifindex, src_mac },
            None => Hop::Pending { ifindex, src_mac },
        }
    }
}

struct World {
    now: Rc<Cell<u64>>,
    hops: Hops,
    forwarding: Forwarding<Checked>,
}

impl World {
    fn new(max_rings: u32, hops: Hops) -> Self {
        let now = Rc::new(Cell::new(1_000_000 * MS));
        let setup = Setup { hash_key: [7; 16], settle_ns: SETTLE, max_services: 64, max_rings };
        let forwarding = Forwarding::new(Checked::new(Rc::clone(&now)), setup);
        Self { now, hops, forwarding }
    }

    fn apply(&mut self, desired: &Desired) -> Result<(), ForwardingError> {
        self.forwarding.apply(desired, &self.hops, self.now.get())
    }

    fn pass_time(&mut self, ns: u64) {
        self.now.set(self.now.get() + ns);
    }

    fn pass(&mut self, ns: u64) {
        self.pass_time(ns);
        self.forwarding.on_timeout(self.now.get()).unwrap();
    }

    fn refresh(&mut self, number: u8) {
        let addresses = BTreeSet::from([address(number)]);
        self.forwarding.refresh(&addresses, &self.hops, self.now.get()).unwrap();
    }

    fn service(&self) -> ServiceValue {
        *self.forwarding.tables.services.values().next().unwrap()
    }

    fn in_ring(&self) -> Vec<u8> {
        numbers(&self.forwarding.tables.addresses(self.service().ring))
    }

    fn in_previous(&self) -> Vec<u8> {
        match self.service().prev_ring {
            NO_RING => Vec::new(),
            ring => numbers(&self.forwarding.tables.addresses(ring)),
        }
    }

    fn real(&self, number: u8) -> Real {
        let wanted = address(number).octets();
        *self.forwarding.tables.reals.values().find(|r| r.addr == wanted).unwrap()
    }
}

fn numbers(addresses: &BTreeSet<Ipv4Addr>) -> Vec<u8> {
    addresses.iter().map(|a| a.octets()[3]).collect()
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

fn live(number: u8) -> BackendSpec {
    BackendSpec { address: address(number), weight: 1, state: RealState::Live }
}

fn service(backends: Vec<BackendSpec>) -> ServiceSpec {
    let (protocol, on_down) = (L4::Tcp, OnDown::Reselect);
    ServiceSpec { port: 80, protocol, ttl: Some(1), on_down, serving: true, backends }
}

fn vip(last: u8, services: Vec<ServiceSpec>) -> VipSpec {
    VipSpec { address: Ipv4Addr::new(198, 51, 100, last), services }
}

fn one(numbers: &[u8]) -> Desired {
    let backends = numbers.iter().map(|n| live(*n)).collect();
    Desired { vips: vec![vip(1, vec![service(backends)])] }
}

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
    assert_eq!(world.forwarding.next_timeout(), None);
}

#[test]
fn a_service_that_gets_no_packets_has_no_previous_ring() {
    let idle = |numbers: &[u8]| {
        let mut desired = one(numbers);
        desired.vips[0].services[0].serving = false;
        desired
    };
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
}

#[test]
fn a_backend_joins_when_its_mac_is_known_and_leaves_when_it_fails() {
    let mut world = World::new(64, Hops::all(&[1]));
    world.apply(&one(&[1, 2])).unwrap();
    assert_eq!(world.in_ring(), [1]);
    world.hops.0.insert(2, true);
    world.refresh(2);
    assert_eq!(world.in_ring(), [1, 2]);
    world.hops.0.insert(1, false);
    world.refresh(1);
    assert_eq!(world.in_ring(), [2]);
    assert_eq!(world.real(1).mac, [2, 0, 0, 0, 1, 1], "its flows go on to where it was");
    assert!(world.forwarding.not_ready(&world.hops).is_empty());

    // The last one fails too: the ring stays as it is, but the VIP is not ready.
    world.hops.0.insert(2, false);
    world.refresh(2);
    assert_eq!(world.in_ring(), [1, 2]);
    let not_ready = world.forwarding.not_ready(&world.hops);
    assert_eq!(not_ready.len(), 1);
    assert!(not_ready[0].1.contains("does not answer ARP"), "{not_ready:?}");
}

#[test]
fn every_reason_for_not_being_ready_is_said() {
    let reason = |backends: Vec<BackendSpec>| {
        let mut world = World::new(64, Hops(BTreeMap::from([(1, true), (2, false)])));
        world.apply(&Desired { vips: vec![vip(1, vec![service(backends)])] }).unwrap();
        world.forwarding.not_ready(&world.hops).pop().map(|(_, reason)| reason)
    };
    let down = BackendSpec { state: RealState::Down, ..live(1) };
    let idle = BackendSpec { weight: 0, ..live(1) };
    assert_eq!(reason(vec![live(1), live(2), down_of(3)]), None);
    let reason = |backends| reason(backends).unwrap();
    assert_eq!(reason(vec![]), "tcp/80: it has no backends");
    assert_eq!(reason(vec![down]), "tcp/80: no backend is live");
    assert_eq!(reason(vec![idle]), "tcp/80: no live backend has a weight above 0");
    assert!(reason(vec![live(200)]).contains("192.0.2.200 is on no connected subnet"));
    assert!(reason(vec![live(200), live(2)]).contains("192.0.2.2 does not answer"));
    assert!(reason(vec![live(3), live(2)]).contains("192.0.2.3 is not known yet"));
}

fn down_of(number: u8) -> BackendSpec {
    BackendSpec { state: RealState::Down, ..live(number) }
}

#[test]
fn a_backend_that_leaves_can_return_with_its_flows_but_not_its_service() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let before = world.real(1);
    world.apply(&one(&[2])).unwrap();
    assert_eq!(AbiState::from_u8(world.real(1).state), AbiState::Down);
    world.apply(&one(&[1, 2])).unwrap();
    assert_eq!(world.real(1), before, "the same id and generation");
    assert_eq!(world.forwarding.tables.reals.len(), 2);

    world.apply(&Desired::default()).unwrap();
    assert!(world.forwarding.tables.reals.values().all(|r| r.state == AbiState::Free as u8));
    assert!(world.forwarding.tables.filter.0.iter().all(|word| *word == 0));
    world.apply(&one(&[1])).unwrap();
    assert_eq!(world.forwarding.tables.reals.len(), 3, "another id");
}

#[test]
fn a_backend_that_left_before_its_service_does_not_return_with_its_flows() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    world.apply(&one(&[1, 2])).unwrap();
    let users = |world: &World| -> BTreeMap<u16, u8> {
        world.forwarding.tables.reals.iter().map(|(id, r)| (*id, r.generation)).collect()
    };
    let before = users(&world);
    world.apply(&one(&[2])).unwrap();
    world.apply(&Desired::default()).unwrap();
    world.apply(&one(&[1, 2])).unwrap();
    let service = world.forwarding.services.values().next().unwrap();
    for (address, backend) in service.backends() {
        let known = before.get(&backend.id) == Some(&backend.real.generation);
        assert!(!known, "{address} has id and generation of before");
    }
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
fn impossible_states_are_refused_before_anything_changes() {
    let mut world = World::new(64, Hops::all(&[1]));
    world.apply(&one(&[1])).unwrap();
    let web = || service(vec![live(1)]);
    let many = (0..4096u16)
        .map(|n| BackendSpec { address: Ipv4Addr::from(0x0a00_0000 + u32::from(n)), ..live(1) });
    let ports = (1..=65).map(|port| ServiceSpec { port, ..web() });
    for (services, complaint) in [
        (vec![web(), web()], "appears twice"),
        (vec![service(vec![live(1), live(1)])], "appears twice"),
        (vec![ServiceSpec { port: 0, ..web() }], "port 0"),
        (vec![ServiceSpec { ttl: Some(0), ..web() }], "TTL 0"),
        (vec![service(many.collect())], "at most 4095"),
        (ports.collect(), "at most 21"),
    ] {
        let error = world.apply(&Desired { vips: vec![vip(2, services)] }).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
    let twice = Desired { vips: vec![vip(2, vec![web()]), vip(2, vec![])] };
    assert!(world.apply(&twice).unwrap_err().to_string().contains("appears twice"));
    assert_eq!(world.in_ring(), [1]);
    assert_eq!(world.forwarding.tables.vips, BTreeSet::from([VipKey([198, 51, 100, 1])]));
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Desired),
    Neighbour(u8, bool),
    Pass(u64),
}

fn any_state() -> impl Strategy<Value = RealState> {
    prop_oneof![
        4 => Just(RealState::Live),
        1 => Just(RealState::Draining),
        1 => Just(RealState::Down)
    ]
}

fn any_service() -> impl Strategy<Value = ServiceSpec> {
    let backend = (0u32..3, any_state());
    let backends = prop::collection::btree_map(1u8..7, backend, 0..5);
    (prop_oneof![Just(L4::Tcp), Just(L4::Udp)], any::<[bool; 2]>(), 1u8..4, backends).prop_map(
        |(protocol, [stick, serving], ttl, backends)| ServiceSpec {
            port: 80,
            protocol,
            ttl: Some(ttl),
            on_down: if stick { OnDown::Stick } else { OnDown::Reselect },
            serving,
            backends: backends
                .into_iter()
                .map(|(n, (weight, state))| BackendSpec { address: address(n), weight, state })
                .collect(),
        },
    )
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let services = prop::collection::vec(any_service(), 0..3).prop_map(|mut services| {
        services.dedup_by_key(|s| s.protocol);
        services.truncate(2);
        services
    });
    prop::collection::btree_map(1u8..4, services, 0..3).prop_map(|vips| Desired {
        vips: vips.into_iter().map(|(last, services)| vip(last, services)).collect(),
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any_desired().prop_map(Step::Apply),
        2 => (1u8..7, any::<bool>()).prop_map(|(n, up)| Step::Neighbour(n, up)),
        2 => (0u64..12_000).prop_map(|ms| Step::Pass(ms * MS)),
    ]
}

/// Who has to be in the ring of a service after the last step.
fn expected(spec: &ServiceSpec, hops: &Hops) -> BTreeSet<Ipv4Addr> {
    let answers = |b: &&BackendSpec| hops.0.get(&b.address.octets()[3]) == Some(&true);
    let usable = |b: &&BackendSpec| b.state == RealState::Live && b.weight > 0;
    spec.backends.iter().filter(usable).filter(answers).map(|b| b.address).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The tables check themselves after every write; here is checked what stands at the end of
    /// each step.
    #[test]
    fn no_packet_meets_a_half_made_state(steps in prop::collection::vec(any_step(), 1..12)) {
        let mut world = World::new(64, Hops::all(&[1, 2, 3]));
        let mut wanted = Desired::default();
        for step in steps {
            match step {
                Step::Apply(desired) => {
                    if let Err(error) = world.apply(&desired) {
                        prop_assert!(!error.to_string().contains("twice"));
                        continue;
                    }
                    wanted = desired;
                }
                Step::Neighbour(number, up) => {
                    world.hops.0.insert(number, up);
                    world.refresh(number);
                }
                Step::Pass(ns) => world.pass(ns),
            }
            let services: Vec<_> =
                wanted.vips.iter().flat_map(|v| v.services.iter().map(move |s| (v, s))).collect();
            prop_assert_eq!(world.forwarding.tables.services.len(), services.len());
            for (vip, spec) in services {
                let key =
                    ServiceKey::new(vip.address.octets(), 80, protocol_number(spec.protocol));
                let value = world.forwarding.tables.services[&key];
                let expected = expected(spec, &world.hops);
                if !expected.is_empty() {
                    prop_assert_eq!(world.forwarding.tables.addresses(value.ring), expected);
                } else if !spec.backends.iter().any(|b| b.state == RealState::Live) {
                    prop_assert_eq!(value.ring, NO_RING);
                }
            }
        }
    }
}
