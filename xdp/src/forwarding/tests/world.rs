//! Forwarding over checked tables, neighbours that come and go, and time that passes.

use std::cell::Cell;
use std::rc::Rc;

use vc5_ebpf_abi::{NO_RING, Real, ServiceValue};

use super::checked::Checked;
use super::*;
use crate::topology::Path;
use crate::{BackendSpec, Mac, OnDown, RealState, Unknown, VipSpec};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SETTLE: u64 = 10_000 * MS;
pub(super) const DRAIN: u64 = 60_000 * MS;
const PATH: Path =
    Path { ifindex: 3, tx: 1, vlan: 0, src_mac: Mac([2, 0, 0, 0, 0, 1]), neighbour: 3 };

/// Neighbours by the backend's number; those not in it are pending, and from 200 on without a path.
#[derive(Clone, Debug, Default)]
pub(super) struct Hops(pub(super) BTreeMap<u8, bool>);

impl Hops {
    pub(super) fn all(numbers: &[u8]) -> Self {
        Self(numbers.iter().map(|n| (*n, true)).collect())
    }
}

impl Resolve for Hops {
    fn hop(&self, address: IpAddr) -> Hop {
        let number = number(address);
        match self.0.get(&number) {
            Some(true) => Hop::Resolved { path: PATH, mac: Mac([2, 0, 0, 0, 1, number]) },
            _ if number >= 200 => Hop::NoPath,
            Some(false) => Hop::Failed(PATH),
            None => Hop::Pending(PATH),
        }
    }

    fn explain(&self, address: IpAddr) -> String {
        format!("none: {address} is far away")
    }
}

pub(super) struct World {
    pub(super) now: Rc<Cell<u64>>,
    pub(super) hops: Hops,
    pub(super) forwarding: Forwarding<Checked>,
}

pub(super) fn setup(max_rings: u32) -> Setup {
    Setup {
        hash_key: [7; 16],
        settle_ns: SETTLE,
        drain_ns: DRAIN,
        max_vips: 16,
        max_services: 64,
        max_rings,
        max_reals: 4096,
    }
}

impl World {
    pub(super) fn new(max_rings: u32, hops: Hops) -> Self {
        Self::with(setup(max_rings), hops)
    }

    pub(super) fn with(setup: Setup, hops: Hops) -> Self {
        let now = Rc::new(Cell::new(1_000_000 * MS));
        let forwarding = Forwarding::new(Checked::new(Rc::clone(&now)), setup);
        Self { now, hops, forwarding }
    }

    /// The process ends and another takes over.
    pub(super) fn restart(self) -> Self {
        let setup = self.forwarding.shared.setup;
        let tables = self.forwarding.tables;
        let found = tables.found(setup.max_reals);
        let forwarding = Forwarding::adopt(tables, setup, found, self.now.get()).unwrap();
        Self { now: self.now, hops: self.hops, forwarding }
    }

    pub(super) fn apply(&mut self, desired: &Desired) -> Result<(), ForwardingError> {
        self.forwarding.apply(desired, &self.hops, self.now.get(), |_| {})
    }

    pub(super) fn pass_time(&mut self, ns: u64) {
        self.now.set(self.now.get() + ns);
    }

    /// Lets time pass, and does all that is due meanwhile when it is due.
    pub(super) fn pass(&mut self, ns: u64) {
        let end = self.now.get() + ns;
        while let Some(due) = self.forwarding.next_timeout().filter(|due| *due <= end) {
            self.now.set(self.now.get().max(due));
            self.forwarding.on_timeout(self.now.get()).unwrap();
        }
        self.now.set(end);
    }

    pub(super) fn refresh(&mut self, number: u8) {
        let addresses = BTreeSet::from([address(number)]);
        self.forwarding.refresh(&addresses, &self.hops, self.now.get()).unwrap();
    }

    pub(super) fn tables(&mut self) -> &mut Checked {
        &mut self.forwarding.tables
    }

    pub(super) fn service(&self) -> ServiceValue {
        *self.forwarding.tables.services.values().next().unwrap()
    }

    pub(super) fn in_ring(&self) -> Vec<u8> {
        let service = self.service();
        numbers(&self.forwarding.tables.addresses(&service, service.ring))
    }

    pub(super) fn in_previous(&self) -> Vec<u8> {
        let service = self.service();
        match service.prev_ring {
            NO_RING => Vec::new(),
            ring => numbers(&self.forwarding.tables.addresses(&service, ring)),
        }
    }

    /// The real of a backend of the first service.
    pub(super) fn real(&self, number: u8) -> Real {
        let service = self.forwarding.services.values().next().unwrap();
        let backend = service.backends().iter().find(|b| b.spec.address == address(number));
        self.forwarding.tables.real(backend.unwrap().id)
    }

    pub(super) fn state(&self, number: u8) -> vc5_ebpf_abi::RealState {
        vc5_ebpf_abi::RealState::from_u8(self.real(number).state)
    }
}

pub(super) fn numbers(addresses: &BTreeSet<IpAddr>) -> Vec<u8> {
    addresses.iter().map(|a| number(*a)).collect()
}

fn number(address: IpAddr) -> u8 {
    octets(address)[15]
}

/// Backends up to 99 have IPv4 addresses, those above IPv6 ones.
pub(super) fn address(number: u8) -> IpAddr {
    match number {
        0..100 | 200.. => IpAddr::from([192, 0, 2, number]),
        _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)]),
    }
}

pub(super) fn live(number: u8) -> BackendSpec {
    BackendSpec { address: address(number), weight: 1, state: RealState::Live }
}

pub(super) fn down(number: u8) -> BackendSpec {
    BackendSpec { state: RealState::Down, ..live(number) }
}

pub(super) fn service(backends: Vec<BackendSpec>) -> ServiceSpec {
    ServiceSpec {
        ports: Ports::One(80),
        protocol: L4::Tcp,
        ttl: Some(1),
        on_down: OnDown::Reselect,
        sticky: false,
        serving: true,
        needed: true,
        backends,
    }
}

pub(super) fn vip(last: u8, services: Vec<ServiceSpec>) -> VipSpec {
    let address = IpAddr::from([198, 51, 100, last]);
    VipSpec { address, up: true, unknown: Unknown::Drop, services }
}

/// One VIP with one service.
pub(super) fn one(numbers: &[u8]) -> Desired {
    Desired { vips: vec![vip(1, vec![of(numbers)])] }
}

/// The same, for which no router sends packets here.
pub(super) fn idle(numbers: &[u8]) -> Desired {
    let mut desired = one(numbers);
    desired.vips[0].services[0].serving = false;
    desired
}

/// A service with these backends, all alike.
pub(super) fn of(numbers: &[u8]) -> ServiceSpec {
    service(numbers.iter().map(|n| live(*n)).collect())
}

pub(super) fn key(vip: u8) -> ServiceKey {
    service_key(IpAddr::from([198, 51, 100, vip]), Ports::One(80), L4::Tcp)
}
