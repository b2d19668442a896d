//! The forwarding path on ordinary memory: what the XDP program does, without a kernel.
//!
//! It is the program's own code ([`vc5_ebpf_path`]) over vectors instead of maps, so that a model
//! and a loaded program that hold the same tables answer every frame alike, down to which flow
//! record an insert displaces. Time is what the caller says it is.
//!
//! ```
//! use vc5_xdp::model::{Config, Model, Now};
//!
//! let mut model = Model::new(Config::default());
//! model.set_iface(2, [2, 0, 0, 0, 0, 1]);
//! let outcome = model.process(&[0; 60], 2, 0, Now::default());
//! assert_eq!(outcome.reason.label(), "not-our-mac");
//! ```

mod view;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
};

use vc5_ebpf_abi::{
    BUCKET_WAYS, Bucket, Counter, EVENT_COUNT, Event, IFACE_PROBES, IFACE_SLOTS, Iface, MAX_REALS,
    REASON_COUNT, Real, Reason, Ring, ServiceKey, ServiceValue, Settings, Traffic, VipKey,
    iface_slot, vip_filter_bit,
};
use vc5_ebpf_path::Way;

use view::View;

/// What is fixed when the program is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The program's settings.
    pub settings: Settings,
    /// Possible CPUs, each with its own share of the flow tables.
    pub cpus: u32,
}

impl Default for Config {
    /// The settings that the object is built with, and one CPU.
    fn default() -> Self {
        Self { settings: Settings::DEFAULT, cpus: 1 }
    }
}

/// The clocks that the program reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Jiffies.
    pub jiffies: u64,
    /// `CLOCK_MONOTONIC_COARSE`, in nanoseconds.
    pub coarse_ns: u64,
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why; the verdict is [`Reason::verdict`].
    pub reason: Reason,
    /// The frame as it is afterwards; changed only if it is sent.
    pub frame: Vec<u8>,
}

/// The tables and counters of a program.
#[derive(Debug)]
pub struct Model {
    config: Config,
    ifaces: Vec<Iface>,
    filter: HashSet<u16>,
    vips: HashSet<VipKey>,
    services: HashMap<ServiceKey, ServiceValue>,
    rings: HashMap<u32, Box<Ring>>,
    reals: Vec<Real>,
    flows: Vec<[Way; BUCKET_WAYS]>,
    embryonic: Vec<[Way; BUCKET_WAYS]>,
    reasons: Vec<Cell<Counter>>,
    events: Vec<Cell<u64>>,
    real_traffic: RefCell<HashMap<u16, Traffic>>,
    service_traffic: RefCell<HashMap<u32, Traffic>>,
}

impl Model {
    /// A model with empty tables.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let table = |mask: u32| {
            let buckets = config.cpus as usize * (mask as usize + 1);
            (0..buckets).map(|_| Default::default()).collect()
        };
        Self {
            config,
            ifaces: vec![Iface::default(); IFACE_SLOTS as usize],
            filter: HashSet::new(),
            vips: HashSet::new(),
            services: HashMap::new(),
            rings: HashMap::new(),
            reals: vec![Real::default(); MAX_REALS as usize],
            flows: table(config.settings.flow_mask),
            embryonic: table(config.settings.embryonic_mask),
            reasons: (0..REASON_COUNT).map(|_| Cell::default()).collect(),
            events: (0..EVENT_COUNT).map(|_| Cell::default()).collect(),
            real_traffic: RefCell::default(),
            service_traffic: RefCell::default(),
        }
    }

    /// Puts one frame through the path, as come in by `ifindex` and handled on `cpu`.
    pub fn process(&mut self, frame: &[u8], ifindex: u32, cpu: u32, now: Now) -> Outcome {
        let mut frame = frame.to_vec();
        let view = View { model: self, cpu, now };
        let reason = vc5_ebpf_path::process(&mut frame.as_mut_slice(), ifindex, &view);
        Outcome { reason, frame }
    }

    /// Makes an interface one of ours, with this hardware address. `false` if all its slots are
    /// taken by others.
    pub fn set_iface(&mut self, ifindex: u32, mac: [u8; 6]) -> bool {
        let slots = (0..IFACE_PROBES).map(|probe| iface_slot(ifindex, probe) as usize);
        let free = |slot: &usize| {
            self.ifaces.get(*slot).is_some_and(|i| i.ifindex == 0 || i.ifindex == ifindex)
        };
        let Some(slot) = { slots }.find(free).and_then(|slot| self.ifaces.get_mut(slot)) else {
            return false;
        };
        *slot = Iface { ifindex, mac, pad: [0; 6] };
        true
    }

    /// Makes an address a VIP.
    pub fn set_vip(&mut self, addr: [u8; 4]) {
        self.filter.insert(vip_filter_bit(addr));
        self.vips.insert(VipKey(addr));
    }

    /// Makes an address none.
    pub fn remove_vip(&mut self, addr: [u8; 4]) {
        self.vips.remove(&VipKey(addr));
        self.filter = self.vips.iter().map(|vip| vip_filter_bit(vip.0)).collect();
    }

    /// Sets a service.
    pub fn set_service(&mut self, key: ServiceKey, value: ServiceValue) {
        self.services.insert(key, value);
    }

    /// Removes a service.
    pub fn remove_service(&mut self, key: ServiceKey) {
        self.services.remove(&key);
    }

    /// Sets a ring.
    pub fn set_ring(&mut self, id: u32, ring: Box<Ring>) {
        self.rings.insert(id, ring);
    }

    /// Sets a real.
    pub fn set_real(&mut self, id: u16, real: Real) {
        if let Some(slot) = self.reals.get_mut(usize::from(id)) {
            *slot = real;
        }
    }

    /// A bucket of the flow table, by [`bucket_index`](vc5_ebpf_abi::bucket_index).
    #[must_use]
    pub fn flows(&self, index: u32) -> Option<Bucket> {
        self.flows.get(index as usize).map(bucket)
    }

    /// Overwrites a bucket of the flow table.
    pub fn set_flows(&mut self, index: u32, bucket: Bucket) {
        if let Some(ways) = self.flows.get_mut(index as usize) {
            *ways = bucket.0.map(Cell::new);
        }
    }

    /// A bucket of the embryonic table.
    #[must_use]
    pub fn embryonic(&self, index: u32) -> Option<Bucket> {
        self.embryonic.get(index as usize).map(bucket)
    }

    /// Overwrites a bucket of the embryonic table.
    pub fn set_embryonic(&mut self, index: u32, bucket: Bucket) {
        if let Some(ways) = self.embryonic.get_mut(index as usize) {
            *ways = bucket.0.map(Cell::new);
        }
    }

    /// Frames counted under a reason.
    #[must_use]
    pub fn count(&self, reason: Reason) -> Counter {
        self.reasons.get(reason as usize).map(Cell::get).unwrap_or_default()
    }

    /// Events counted.
    #[must_use]
    pub fn events(&self, event: Event) -> u64 {
        self.events.get(event as usize).map(Cell::get).unwrap_or_default()
    }

    /// Traffic of a real.
    #[must_use]
    pub fn real_traffic(&self, id: u16) -> Traffic {
        self.real_traffic.borrow().get(&id).copied().unwrap_or_default()
    }

    /// Traffic of the service with this index of statistics.
    #[must_use]
    pub fn service_traffic(&self, stat: u32) -> Traffic {
        self.service_traffic.borrow().get(&stat).copied().unwrap_or_default()
    }
}

fn bucket(ways: &[Way; BUCKET_WAYS]) -> Bucket {
    Bucket(ways.each_ref().map(Cell::get))
}
