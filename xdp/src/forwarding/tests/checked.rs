//! Tables that check, after every single write, what a packet would meet.

use std::cell::Cell;
use std::rc::Rc;

use vc5_ebpf_abi::{
    FlowEntry, NO_RING, RangeKey, RangeValue, Real, RealState as AbiState, ServiceValue, Traffic,
    VIP_FILTER_WORDS, VipFilter, VipKey, VipValue,
};

use super::*;
use crate::maglev::SLOTS;
use crate::maps::{GRACE_NS, filter_of};

/// The tables, the time, and when each ring was last named by a service.
pub(super) struct Checked {
    pub(super) now: Rc<Cell<u64>>,
    pub(super) reals: HashMap<u32, Real>,
    pub(super) services: BTreeMap<ServiceKey, ServiceValue>,
    pub(super) ranges: BTreeMap<RangeKey, RangeValue>,
    pub(super) vips: BTreeMap<VipKey, VipValue>,
    pub(super) filter: VipFilter,
    pub(super) rings: Vec<Ring>,
    pub(super) fills: usize,
    /// When each ring was named last, and whom its numbers stood for when a service first did.
    named: HashMap<u32, u64>,
    stood_for: HashMap<(ServiceKey, u32, usize), BTreeMap<u16, Address>>,
    filled: HashMap<u32, usize>,
    pub(super) traffic: HashMap<u32, Traffic>,
    /// Reals that were in a ring which a packet may have read, and when that was replaced.
    left: HashMap<u32, u64>,
    /// How many VIPs there were at each grace period that was waited for.
    pub(super) waits: Vec<usize>,
    /// What cannot be written now.
    pub(super) fault: Option<Fault>,
}

/// A write that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Real,
    Service(ServiceKey),
    Range,
    Vip,
    Filter,
    Ring,
    Traffic,
}

impl Checked {
    pub(super) fn new(now: Rc<Cell<u64>>) -> Self {
        Self {
            now,
            reals: HashMap::new(),
            services: BTreeMap::new(),
            ranges: BTreeMap::new(),
            vips: BTreeMap::new(),
            filter: VipFilter([0; VIP_FILTER_WORDS]),
            rings: Vec::new(),
            fills: 0,
            named: HashMap::new(),
            stood_for: HashMap::new(),
            filled: HashMap::new(),
            traffic: HashMap::new(),
            fault: None,
            left: HashMap::new(),
            waits: Vec::new(),
        }
    }

    fn write(&self, what: Fault) -> Result<(), TableError> {
        if self.fault != Some(what) {
            return Ok(());
        }
        Err(TableError { action: "a test's write", source: std::io::Error::other("a fault") })
    }

    pub(super) fn real(&self, id: u32) -> Real {
        self.reals.get(&id).copied().unwrap_or_default()
    }

    /// The numbers that have slots of a ring.
    pub(super) fn numbers(&self, ring: u32) -> BTreeSet<u16> {
        self.rings[ring as usize].shares().into_keys().collect()
    }

    /// The backends that a ring has for a service.
    pub(super) fn addresses(&self, service: &ServiceValue, ring: u32) -> BTreeSet<IpAddr> {
        let address = |number: u16| address_of(self.real(service.real(number)).addr);
        self.numbers(ring).into_iter().map(address).collect()
    }

    /// What an earlier run has left.
    pub(super) fn found(&self, max_reals: u32) -> Found {
        Found {
            vips: self.vips.iter().map(|(k, v)| (*k, *v)).collect(),
            services: self.services.iter().map(|(k, v)| (*k, *v)).collect(),
            ranges: self.ranges.iter().map(|(k, v)| (*k, *v)).collect(),
            reals: (0..max_reals).map(|id| self.real(id)).collect(),
            rings: self.rings.clone(),
        }
    }

    /// What must hold between any two writes.
    fn check(&mut self) {
        let mut pages = BTreeSet::new();
        for (key, service) in self.services.clone() {
            for page in service.pages.iter().filter(|page| **page != 0) {
                assert!(pages.insert(*page), "page {page} is of two services");
            }
            for ring in [service.ring, service.prev_ring] {
                self.named.insert(ring, self.now.get());
            }
            self.check_ring(key, &service);
            self.check_previous(key, &service);
        }
        for (key, value) in &self.ranges {
            let service =
                ServiceKey { addr: key.addr, port: value.port, protocol: key.protocol, pad: 0 };
            assert!(self.services.contains_key(&service), "{key:?} has no service");
        }
        let known = filter_of(self.vips.keys().map(|vip| address_of(vip.0)));
        for (present, allowed) in self.filter.0.iter().zip(known.0) {
            assert_eq!(present & !allowed, 0, "the filter has a VIP that the table lacks");
        }
    }

    /// Every slot has a backend that takes flows.
    fn check_ring(&mut self, key: ServiceKey, service: &ServiceValue) {
        if service.ring == NO_RING {
            return;
        }
        let numbers = self.numbers(service.ring);
        assert!(!numbers.is_empty() && !numbers.contains(&0), "{}: holes in the ring", name(key));
        let mut stand_for = BTreeMap::new();
        for number in numbers {
            let real = self.real(service.real(number));
            let state = AbiState::from_u8(real.state);
            assert!(matches!(state, AbiState::Live | AbiState::Draining), "{real:?}");
            assert_ne!(real.mac, [0; 6]);
            assert_eq!(real.member, number);
            stand_for.insert(number, real.addr);
        }
        let filled = self.filled.get(&service.ring).copied().unwrap_or(0);
        let first = self.stood_for.entry((key, service.ring, filled)).or_insert(stand_for.clone());
        assert_eq!(*first, stand_for, "{}: a number changed hands in the ring", name(key));
    }

    /// Whoever takes flows by the previous ring is the one who took them by it before.
    fn check_previous(&self, key: ServiceKey, service: &ServiceValue) {
        let filled = self.filled.get(&service.prev_ring).copied().unwrap_or(0);
        let Some(stood_for) = self.stood_for.get(&(key, service.prev_ring, filled)) else { return };
        for (number, address) in stood_for {
            let real = self.real(service.real(*number));
            if matches!(AbiState::from_u8(real.state), AbiState::Live | AbiState::Draining) {
                assert_eq!(real.addr, *address, "{}: the previous ring misleads", name(key));
            }
        }
    }
}

impl Tables for Checked {
    fn set_real(&mut self, id: u32, real: &Real) -> Result<(), TableError> {
        self.write(Fault::Real)?;
        assert!(id >= 16, "page 0 is nobody's");
        if real.state == AbiState::Down as u8 {
            let now = self.now.get();
            let is_over = self.left.get(&id).is_none_or(|left| now >= left + GRACE_NS);
            assert!(is_over, "a packet may have just found {real:?}");
        }
        if let Some(before) = self.reals.insert(id, *real)
            && before.addr != real.addr
        {
            let mask = (1 << FlowEntry::GENERATION_BITS) - 1;
            assert_ne!((before.generation ^ real.generation) & mask, 0, "a flow would be misled");
            assert_eq!(before.state, AbiState::Free as u8, "a real changed hands in use");
        }
        self.check();
        Ok(())
    }

    fn set_service(&mut self, key: ServiceKey, value: &ServiceValue) -> Result<(), TableError> {
        self.write(Fault::Service(key))?;
        if let Some(before) =
            self.services.insert(key, *value).filter(|b| b.ring != NO_RING && b.ring != value.ring)
        {
            let now = self.now.get();
            let reals = self.numbers(before.ring).into_iter().map(|n| (before.real(n), now));
            self.left.extend(reals.collect::<Vec<_>>());
        }
        self.check();
        Ok(())
    }

    fn remove_service(&mut self, key: ServiceKey) -> Result<(), TableError> {
        self.write(Fault::Service(key))?;
        self.services.remove(&key);
        self.stood_for.retain(|(service, ..), _| *service != key);
        self.check();
        Ok(())
    }

    fn set_range(&mut self, key: RangeKey, value: RangeValue) -> Result<(), TableError> {
        self.write(Fault::Range)?;
        self.ranges.insert(key, value);
        self.check();
        Ok(())
    }

    fn remove_range(&mut self, key: RangeKey) -> Result<(), TableError> {
        self.write(Fault::Range)?;
        assert!(self.ranges.remove(&key).is_some());
        self.check();
        Ok(())
    }

    fn set_vip(&mut self, key: VipKey, value: VipValue) -> Result<(), TableError> {
        self.write(Fault::Vip)?;
        self.vips.insert(key, value);
        self.check();
        Ok(())
    }

    fn remove_vip(&mut self, key: VipKey) -> Result<(), TableError> {
        self.write(Fault::Vip)?;
        assert!(self.vips.remove(&key).is_some());
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
        self.rings[ring as usize] = Ring::from_slots(slots);
        self.fills += 1;
        self.filled.insert(ring, self.fills);
        Ok(())
    }

    fn install_rings(&mut self, count: u32) -> Result<(), TableError> {
        self.rings.resize_with(count as usize, Ring::empty);
        Ok(())
    }

    fn wait_for_readers(&mut self) {
        self.left.clear();
        self.waits.push(self.vips.len());
    }

    fn traffic(&self, id: u32) -> Result<Traffic, TableError> {
        self.write(Fault::Traffic)?;
        Ok(self.traffic.get(&id).copied().unwrap_or_default())
    }

    fn reset_traffic(&mut self, first: u32, count: u32) -> Result<(), TableError> {
        self.write(Fault::Traffic)?;
        self.traffic.retain(|id, _| !(first..first + count).contains(id));
        Ok(())
    }
}
