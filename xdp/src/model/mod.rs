//! The forwarding path on ordinary memory: what the XDP program does, without a kernel.
//!
//! It is the program's own code ([`vc5_ebpf_path`]) over vectors instead of maps, so that a model
//! and a loaded program that hold the same tables answer every frame alike, down to which flow
//! record a new one displaces. Time is what the caller says it is.
//!
//! ```
//! use vc5_ebpf_abi::{Iface, Settings};
//! use vc5_xdp::model::{Model, Now};
//!
//! let mut model = Model::new(Settings::DEFAULT);
//! let iface = Iface { ifindex: 2, mac: [2, 0, 0, 0, 0, 1], index: 1, ..Iface::default() };
//! assert!(model.set_iface(iface));
//! let outcome = model.process(&[0; 60], 2, Now::default());
//! assert_eq!(outcome.reason.label(), "not-our-mac");
//! ```

mod view;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    sync::Arc,
};

use vc5_ebpf_abi::{
    BUCKET_WAYS, Bucket, Counter, EVENT_COUNT, Event, IFACE_PROBES, IFACE_SLOTS, Iface, MAX_IFACES,
    REASONS_MAX, RangeKey, RangeValue, Real, Reason, Ring, Sample, ServiceKey, ServiceValue,
    Settings, Trace, Traffic, VipKey, VipValue, iface_slot, stats_index, vip_filter_bit,
    vip_filter_bit_v6,
};
use vc5_ebpf_path::{Buffer, Way};

use view::View;

/// Entries of the table of reals: as many as the object is built with.
const REALS: usize = 65536;
/// Bytes before a frame, as drivers leave them (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;

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
    /// If it is sent by another interface than it came in by, the [`Iface::index`] of that.
    pub egress: Option<u8>,
    /// The frame as it is afterwards; changed only if it is sent.
    pub frame: Vec<u8>,
}

/// The tables and counters of a program.
#[derive(Debug)]
pub struct Model {
    settings: Settings,
    ifaces: Vec<Iface>,
    tx_ports: HashMap<u8, u32>,
    filter: HashSet<u16>,
    vips: HashMap<VipKey, VipValue>,
    services: HashMap<ServiceKey, ServiceValue>,
    ranges: HashMap<RangeKey, RangeValue>,
    rings: HashMap<u32, Arc<Ring>>,
    reals: HashMap<u32, Real>,
    /// What the table of reals has where none was set.
    no_real: Real,
    flows: Vec<[Way; BUCKET_WAYS]>,
    embryonic: Vec<[Way; BUCKET_WAYS]>,
    fragments: Vec<[Way; BUCKET_WAYS]>,
    reasons: Vec<Cell<Counter>>,
    events: Vec<Cell<u64>>,
    traffic: RefCell<HashMap<u32, Traffic>>,
    samples: RefCell<Vec<Sample>>,
    samples_max: usize,
    trace: Cell<Trace>,
}

impl Model {
    /// A model with empty tables, of a program with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let table = |mask: u32| (0..=mask).map(|_| Default::default()).collect();
        let key = ServiceKey::new([0; 16], 0, 0);
        let nothing = Trace {
            hash: 0,
            flow: 0,
            embryonic: 0,
            reason: 0,
            real: 0,
            ring: 0,
            slot: 0,
            member: 0,
            service: key,
            pad: 0,
        };
        Self {
            settings,
            ifaces: vec![Iface::default(); IFACE_SLOTS as usize],
            tx_ports: HashMap::new(),
            filter: HashSet::new(),
            vips: HashMap::new(),
            services: HashMap::new(),
            ranges: HashMap::new(),
            rings: HashMap::new(),
            reals: HashMap::new(),
            no_real: Real::default(),
            flows: table(settings.flow_mask),
            embryonic: table(settings.embryonic_mask),
            fragments: table(settings.fragment_mask),
            reasons: (0..MAX_IFACES * REASONS_MAX).map(|_| Cell::default()).collect(),
            events: (0..EVENT_COUNT).map(|_| Cell::default()).collect(),
            traffic: RefCell::default(),
            samples: RefCell::default(),
            samples_max: usize::MAX,
            trace: Cell::new(nothing),
        }
    }

    /// Puts one frame through the path, as come in by `ifindex`.
    pub fn process(&mut self, frame: &[u8], ifindex: u32, now: Now) -> Outcome {
        let mut memory = vec![0; HEADROOM];
        memory.extend_from_slice(frame);
        let mut buffer = Buffer::new(&mut memory, HEADROOM);
        let view = View { model: self, now };
        let done = vc5_ebpf_path::process(&mut buffer, ifindex, &view);
        Outcome { reason: done.reason, egress: done.egress, frame: buffer.frame().to_vec() }
    }

    /// Makes an interface one of ours, or changes what is known of it. `false` if all its slots are
    /// taken by others.
    pub fn set_iface(&mut self, iface: Iface) -> bool {
        let slots = (0..IFACE_PROBES).map(|probe| iface_slot(iface.ifindex, probe) as usize);
        let free = |slot: &usize| {
            self.ifaces.get(*slot).is_some_and(|i| i.ifindex == 0 || i.ifindex == iface.ifindex)
        };
        let Some(slot) = { slots }.find(free).and_then(|slot| self.ifaces.get_mut(slot)) else {
            return false;
        };
        *slot = iface;
        true
    }

    /// Lets frames be sent by an interface: its [`Iface::index`] and interface index.
    pub fn set_tx_port(&mut self, tx: u8, ifindex: u32) {
        self.tx_ports.insert(tx, ifindex);
    }

    /// Makes an address a VIP, or changes what is known of it.
    pub fn set_vip(&mut self, key: VipKey, value: VipValue) {
        self.vips.insert(key, value);
        self.filter.insert(filter_bit(&key));
    }

    /// Makes an address none.
    pub fn remove_vip(&mut self, key: VipKey) {
        self.vips.remove(&key);
        self.filter = self.vips.keys().map(filter_bit).collect();
    }

    /// Sets a service.
    pub fn set_service(&mut self, key: ServiceKey, value: ServiceValue) {
        self.services.insert(key, value);
    }

    /// Removes a service.
    pub fn remove_service(&mut self, key: ServiceKey) {
        self.services.remove(&key);
    }

    /// Gives a block of ports to a service.
    pub fn set_range(&mut self, key: RangeKey, value: RangeValue) {
        self.ranges.insert(masked(key), value);
    }

    /// Takes it away.
    pub fn remove_range(&mut self, key: RangeKey) {
        self.ranges.remove(&masked(key));
    }

    /// The longest block that holds the port of a whole key.
    fn range(&self, key: &RangeKey) -> Option<RangeValue> {
        let longest_first = (0..=key.prefix_len.min(RangeKey::FULL)).rev();
        longest_first.filter(|length| *length >= RangeKey::PREFIX).find_map(|prefix_len| {
            self.ranges.get(&masked(RangeKey { prefix_len, ..*key })).copied()
        })
    }

    /// Sets a ring.
    pub fn set_ring(&mut self, id: u32, ring: Arc<Ring>) {
        self.rings.insert(id, ring);
    }

    /// Sets a real.
    pub fn set_real(&mut self, id: u32, real: Real) {
        if (id as usize) < REALS {
            self.reals.insert(id, real);
        }
    }

    /// A bucket of the flow table, by [`bucket_index`](vc5_ebpf_abi::bucket_index).
    #[must_use]
    pub fn flows(&self, index: u32) -> Option<Bucket> {
        self.flows.get(index as usize).map(bucket)
    }

    /// Overwrites a bucket of the flow table.
    pub fn set_flows(&mut self, index: u32, bucket: Bucket) {
        set_bucket(&mut self.flows, index, bucket);
    }

    /// A bucket of the embryonic table.
    #[must_use]
    pub fn embryonic(&self, index: u32) -> Option<Bucket> {
        self.embryonic.get(index as usize).map(bucket)
    }

    /// Overwrites a bucket of the embryonic table.
    pub fn set_embryonic(&mut self, index: u32, bucket: Bucket) {
        set_bucket(&mut self.embryonic, index, bucket);
    }

    /// A bucket of the table of fragments.
    #[must_use]
    pub fn fragments(&self, index: u32) -> Option<Bucket> {
        self.fragments.get(index as usize).map(bucket)
    }

    /// Overwrites a bucket of the table of fragments.
    pub fn set_fragments(&mut self, index: u32, bucket: Bucket) {
        set_bucket(&mut self.fragments, index, bucket);
    }

    /// Frames counted under a reason, whatever interface they came in by.
    #[must_use]
    pub fn count(&self, reason: Reason) -> Counter {
        (0..MAX_IFACES as u8).map(|index| self.count_of(index, reason)).fold(
            Counter::default(),
            |sum, c| Counter { packets: sum.packets + c.packets, bytes: sum.bytes + c.bytes },
        )
    }

    /// Frames counted under a reason that came in by the interface with this [`Iface::index`].
    #[must_use]
    pub fn count_of(&self, index: u8, reason: Reason) -> Counter {
        let counter = self.reasons.get(stats_index(index, reason) as usize);
        counter.map(Cell::get).unwrap_or_default()
    }

    /// Events counted.
    #[must_use]
    pub fn events(&self, event: Event) -> u64 {
        self.events.get(event as usize).map(Cell::get).unwrap_or_default()
    }

    /// Traffic of a real.
    #[must_use]
    pub fn traffic(&self, id: u32) -> Traffic {
        self.traffic.borrow().get(&id).copied().unwrap_or_default()
    }

    /// The samples so far, taken out.
    #[must_use]
    pub fn take_samples(&mut self) -> Vec<Sample> {
        self.samples.take()
    }

    /// Sets how many samples are kept until they are taken out; those beyond are lost.
    pub fn set_samples_max(&mut self, max: usize) {
        self.samples_max = max;
    }

    /// What a tracing model noted of the last frame.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.trace.get()
    }
}

fn bucket(ways: &[Way; BUCKET_WAYS]) -> Bucket {
    Bucket(ways.each_ref().map(Cell::get))
}

fn set_bucket(table: &mut [[Way; BUCKET_WAYS]], index: u32, bucket: Bucket) {
    if let Some(ways) = table.get_mut(index as usize) {
        *ways = bucket.0.map(Cell::new);
    }
}

/// Bit of the VIP filter for a VIP.
fn filter_bit(VipKey(address): &VipKey) -> u16 {
    match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4 @ ..] => vip_filter_bit(*v4),
        [a, b, c, d, e, f, g, h, lower @ ..] => {
            vip_filter_bit_v6([[*a, *b, *c, *d, *e, *f, *g, *h], *lower])
        }
    }
}

/// A key of which only the bits that count are set.
fn masked(key: RangeKey) -> RangeKey {
    let bits = key.prefix_len.saturating_sub(RangeKey::PREFIX).min(16);
    let mask = u32::from(u16::MAX) << (16 - bits);
    let port = u16::from_be_bytes(key.port) & mask as u16;
    RangeKey { port: port.to_be_bytes(), ..key }
}
