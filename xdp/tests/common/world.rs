//! The model, and beside it a loaded program if asked for: every change is made to both, every
//! frame is put through both, and what differs is noted.

use std::{fmt::Debug, net::IpAddr, sync::Arc};

use vc5_ebpf_abi::{
    Address, Bucket, Counter, Event, FlowEntry, Iface, MAX_IFACES, RangeKey, RangeValue, Real,
    Reason, Ring, ServiceKey, ServiceValue, Settings, VipFilter, VipKey, VipValue, bucket_index,
    mapped, maps, stats_index, vip_filter_bit, vip_filter_bit_v6,
};
use vc5_xdp::model::{Model, Now};

use super::{
    frame::Frame,
    kernel::{self, Action, IFACES, IFINDEX, Kernel},
    siphash::tuple_hash,
};

/// Settings to test with.
///
/// The clock of ages stands still at zero (jiffies do not reach 2^63), so that the kernel's ages
/// are known: an idle record is one with an age of the past.
pub const SETTINGS: Settings = Settings {
    hash_key: [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908],
    age_shift: 63,
    flow_mask: 15,
    embryonic_mask: 3,
    fragment_mask: 3,
    ..Settings::DEFAULT
};

/// The three tables of buckets.
pub const TABLES: [(&str, u32); 3] = [
    (maps::FLOWS, SETTINGS.flow_mask),
    (maps::EMBRYONIC, SETTINGS.embryonic_mask),
    (maps::FRAGMENTS, SETTINGS.fragment_mask),
];

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub reason: Reason,
    pub frame: Vec<u8>,
    /// What the program returned, where there is one.
    pub action: Option<Action>,
}

pub struct World {
    pub model: Model,
    pub kernel: Option<Kernel>,
    /// A program that only tells what it would do, and the model of such a one.
    pub tracer: Option<(Kernel, Model)>,
    filter: VipFilter,
    /// Frames so far and their bytes.
    pub frames: Counter,
    /// How the program differed from the model.
    pub differences: Vec<String>,
}

impl World {
    pub fn model_only() -> Self {
        Self {
            model: Model::new(SETTINGS),
            kernel: None,
            tracer: None,
            filter: VipFilter([0; 1024]),
            frames: Counter::default(),
            differences: Vec::new(),
        }
    }

    pub fn with_kernel() -> Self {
        Self { kernel: Some(Kernel::take(&SETTINGS)), ..Self::model_only() }
    }

    /// With other settings.
    pub fn with_settings(settings: &Settings) -> Self {
        let model = Model::new(*settings);
        Self { model, kernel: Some(Kernel::load(settings)), ..Self::model_only() }
    }

    /// With a program beside that is loaded for tracing.
    pub fn with_tracer() -> Self {
        let tracing = Settings { trace: 1, ..SETTINGS };
        let tracer = (Kernel::take(&tracing), Model::new(tracing));
        Self { tracer: Some(tracer), ..Self::with_kernel() }
    }

    /// Gives the programs back for their next use.
    pub fn give_back(self) {
        let tracer = self.tracer.map(|(kernel, _)| kernel);
        self.kernel.into_iter().chain(tracer).for_each(Kernel::give_back);
    }

    fn kernels(&mut self) -> impl Iterator<Item = &mut Kernel> {
        self.kernel.iter_mut().chain(self.tracer.as_mut().map(|(kernel, _)| kernel))
    }

    fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        let tracing = self.tracer.as_mut().map(|(_, model)| model);
        std::iter::once(&mut self.model).chain(tracing)
    }

    pub fn set_iface(&mut self, iface: Iface) {
        assert!(self.models().all(|model| model.set_iface(iface)));
        for k in self.kernels() {
            k.set_iface(iface);
        }
    }

    pub fn set_tx_port(&mut self, index: u8) {
        self.models().for_each(|model| model.set_tx_port(index, IFINDEX));
        for k in self.kernels() {
            k.set_tx_port(index);
        }
    }

    pub fn set_vip(&mut self, address: IpAddr, flags: u32) {
        let bit = filter_bit(address);
        self.filter.0[usize::from(bit >> 6)] |= 1 << (bit & 63);
        let (key, value) = (VipKey(key_address(address)), VipValue { flags });
        self.models().for_each(|model| model.set_vip(key, value));
        let filter = self.filter;
        for k in self.kernels() {
            k.set_vip(key, value);
            k.set_filter(&filter);
        }
    }

    /// Removes a VIP; its bit in the filter stays, as another may share it.
    pub fn remove_vip(&mut self, address: IpAddr) {
        let key = VipKey(key_address(address));
        self.models().for_each(|model| model.remove_vip(key));
        for k in self.kernels() {
            k.remove_vip(key);
        }
    }

    pub fn set_service(&mut self, key: ServiceKey, value: ServiceValue) {
        self.models().for_each(|model| model.set_service(key, value));
        for k in self.kernels() {
            k.set_service(key, value);
        }
    }

    pub fn remove_service(&mut self, key: ServiceKey) {
        self.models().for_each(|model| model.remove_service(key));
        for k in self.kernels() {
            k.remove_service(key);
        }
    }

    pub fn set_range(&mut self, key: RangeKey, value: RangeValue) {
        self.models().for_each(|model| model.set_range(key, value));
        for k in self.kernels() {
            k.set_range(key, value);
        }
    }

    pub fn set_ring(&mut self, id: u32, slot: impl Fn(u16) -> u16) {
        let ring = ring(slot);
        for k in self.kernels() {
            k.has_standard_rings = false;
            k.set_ring(id, &ring);
        }
        self.models().for_each(|model| model.set_ring(id, ring.clone()));
    }

    /// Sets the rings from 0 on that are the same in all tests.
    pub fn set_standard_rings(&mut self, rings: &[Arc<Ring>]) {
        for k in self.kernels().filter(|k| !k.has_standard_rings) {
            (0..).zip(rings).for_each(|(id, ring)| k.set_ring(id, ring));
            k.has_standard_rings = true;
        }
        for model in self.models() {
            (0..).zip(rings).for_each(|(id, ring)| model.set_ring(id, ring.clone()));
        }
    }

    pub fn set_real(&mut self, id: u32, real: Real) {
        self.models().for_each(|model| model.set_real(id, real));
        for k in self.kernels() {
            k.set_real(id, &real);
        }
    }

    /// A bucket of one of the model's tables, by the map's name.
    pub fn bucket(&self, table: &str, index: u32) -> Bucket {
        bucket_of(&self.model, (table, index))
    }

    pub fn set_bucket(&mut self, table: &str, index: u32, bucket: Bucket) {
        for model in self.models() {
            match table {
                maps::FLOWS => model.set_flows(index, bucket),
                maps::EMBRYONIC => model.set_embryonic(index, bucket),
                maps::FRAGMENTS => model.set_fragments(index, bucket),
                other => panic!("{other} has no buckets"),
            }
        }
        for k in self.kernels() {
            k.set_bucket(table, index, bucket);
        }
    }

    /// Makes this entry the only one in its bucket of the flow or embryonic table.
    pub fn set_entry(&mut self, table: &str, hash: u64, entry: FlowEntry) {
        let bucket = Bucket([0, 0, 0, entry.0, 0, 0, 0, 0]);
        self.set_bucket(table, bucket_index(hash, mask(table)), bucket);
    }

    /// The entry of this hash in the flow or embryonic table.
    pub fn entry(&self, table: &str, hash: u64) -> Option<FlowEntry> {
        let bucket = self.bucket(table, bucket_index(hash, mask(table)));
        let mut entries = bucket.0.into_iter().map(FlowEntry).filter(|e| e.matches(hash));
        let found = entries.next();
        assert!(entries.next().is_none(), "two entries of one hash in {table}");
        found
    }

    /// How many ways of a table are taken.
    pub fn taken(&self, table: &str) -> usize {
        let buckets = (0..=mask(table)).map(|index| self.bucket(table, index));
        buckets.flat_map(|bucket| bucket.0).filter(|way| *way != 0).count()
    }

    /// Makes all entries of a table idle for this many units of age.
    pub fn set_idle(&mut self, table: &str, idle: u8) {
        let aged = |way: u64| {
            let entry = FlowEntry(way);
            if way == 0 { 0 } else { entry.touched(0u8.wrapping_sub(idle), entry.closing()).0 }
        };
        for index in 0..=mask(table) {
            let bucket = Bucket(self.bucket(table, index).0.map(aged));
            self.set_bucket(table, index, bucket);
        }
    }

    /// Puts a frame through both.
    pub fn process(&mut self, frame: &[u8]) -> Seen {
        self.frames.packets += 1;
        self.frames.bytes += frame.len() as u64;
        self.copy_to_tracer();
        let now = Now { jiffies: 0, coarse_ns: kernel::coarse_ns() };
        let outcome = self.model.process(frame, IFINDEX, now);
        let reason = outcome.reason;
        let mut seen = Seen { reason, frame: outcome.frame, action: None };
        if let Some(k) = &self.kernel {
            let (action, out) = k.run(frame);
            if (action == Action::Redirect) != outcome.egress.is_some() {
                self.differences.push(format!("program: {action:?}, model: {:?}", outcome.egress));
            }
            same("program", &seen, action, &out, &mut self.differences);
            seen.action = Some(action);
        }
        self.try_tracer(frame, &seen, now);
        seen
    }

    /// As the tracer leaves the tables alone, it is told what the others have put there.
    fn copy_to_tracer(&mut self) {
        if self.tracer.is_some() {
            let buckets = indices().map(|(table, i)| (table, i, self.bucket(table, i)));
            for (table, index, bucket) in buckets.collect::<Vec<_>>() {
                self.set_bucket(table, index, bucket);
            }
        }
    }

    /// The tracer says and does what the program does, and writes nothing.
    fn try_tracer(&mut self, frame: &[u8], seen: &Seen, now: Now) {
        let Some((kernel, model)) = &mut self.tracer else { return };
        let before = tables(kernel);
        let (action, out) = kernel.run(frame);
        let outcome = model.process(frame, IFINDEX, now);
        same("tracer", seen, action, &out, &mut self.differences);
        let (trace, of_model) = (kernel.trace(), model.trace());
        if trace != of_model || trace.reason != seen.reason as u32 {
            let text = format!("{:?}: tracer: {trace:?}, its model: {of_model:?}", seen.reason);
            self.differences.push(text);
        }
        if (outcome.reason, &outcome.frame) != (seen.reason, &seen.frame) {
            self.differences.push("the tracer's model differs from the model".into());
        }
        if tables(kernel) != before || indices().map(|i| bucket_of(model, i)).ne(before) {
            self.differences.push("the tracer has written to a table".into());
        }
    }

    /// Compares all tables and counters of the program with the model's, and checks that every
    /// frame is counted once.
    pub fn check(&mut self) {
        let sum = (0..MAX_IFACES as u8)
            .flat_map(|iface| Reason::ALL.iter().map(move |reason| (iface, *reason)))
            .map(|(iface, reason)| self.model.count_of(iface, reason))
            .fold(Counter::default(), |a, b| Counter {
                packets: a.packets + b.packets,
                bytes: a.bytes + b.bytes,
            });
        if sum != self.frames {
            self.differences.push(format!("counted {sum:?} of {:?}", self.frames));
        }
        if self.tracer.as_mut().is_some_and(|(kernel, _)| kernel.has_counted()) {
            self.differences.push("the tracer has counted".into());
        }
        let Some(kernel) = &mut self.kernel else { return };
        let mut differ = |what: String, program: &dyn Debug, model: &dyn Debug| {
            self.differences.push(format!("{what}: program: {program:x?}, model: {model:x?}"));
        };
        let counts = kernel.counts();
        for iface in 0..IFACES as u8 {
            for reason in Reason::ALL {
                let program = counts[stats_index(iface, *reason) as usize];
                let model = self.model.count_of(iface, *reason);
                if program != model {
                    differ(format!("{reason:?} of interface {iface}"), &program, &model);
                }
            }
        }
        for event in Event::ALL {
            let (program, model) = (kernel.events(*event), self.model.events(*event));
            if program != model {
                differ(format!("{event:?}"), &program, &model);
            }
        }
        for (id, program) in (0..).zip(kernel.traffic()) {
            let model = self.model.traffic(id);
            if program != model {
                differ(format!("real {id}"), &program, &model);
            }
        }
        for (table, index) in indices() {
            let program = kernel.bucket(table, index);
            let model = bucket_of(&self.model, (table, index));
            if program != model {
                differ(format!("bucket {index} of {table}"), &program, &model);
            }
        }
    }
}

/// Compares what a program did to a frame with what the model did.
fn same(who: &str, model: &Seen, action: Action, out: &[u8], differences: &mut Vec<String>) {
    let reason = model.reason;
    if action.verdict() != reason.verdict() {
        differences.push(format!("{who}: {action:?}, model: {reason:?}"));
    } else if out != model.frame {
        let text = format!("{reason:?}: {who}: {out:02x?}, model: {:02x?}", model.frame);
        differences.push(text);
    }
}

/// Where all buckets are.
fn indices() -> impl Iterator<Item = (&'static str, u32)> {
    TABLES.into_iter().flat_map(|(table, mask)| (0..=mask).map(move |index| (table, index)))
}

/// All buckets of a program.
fn tables(kernel: &mut Kernel) -> Vec<Bucket> {
    indices().map(|(table, index)| kernel.bucket(table, index)).collect()
}

fn bucket_of(model: &Model, (table, index): (&str, u32)) -> Bucket {
    let bucket = match table {
        maps::FLOWS => model.flows(index),
        maps::EMBRYONIC => model.embryonic(index),
        maps::FRAGMENTS => model.fragments(index),
        other => panic!("{other} has no buckets"),
    };
    bucket.expect("in range")
}

/// A ring by what its slots hold.
pub fn ring(slot: impl Fn(u16) -> u16) -> Arc<Ring> {
    let mut ring = Box::new(Ring([0; 65536]));
    for (i, member) in (0..=u16::MAX).zip(ring.0.iter_mut()) {
        *member = slot(i);
    }
    ring.into()
}

fn mask(table: &str) -> u32 {
    TABLES.iter().find(|(name, _)| *name == table).expect("a table of buckets").1
}

/// An address as it is in keys.
pub fn key_address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

/// An address's bit in the VIP filter.
pub fn filter_bit(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(address) => vip_filter_bit(address.octets()),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks::<8>();
            vip_filter_bit_v6([words[0], words[1]])
        }
    }
}

/// The flow hash of a TCP or UDP frame.
pub fn flow_hash(frame: &Frame) -> u64 {
    let ports = (frame.source_port, frame.port);
    tuple_hash(SETTINGS.hash_key, frame.source, frame.destination, ports, frame.protocol)
}

/// The hash by which a `sticky` service chooses.
pub fn address_hash(frame: &Frame) -> u64 {
    tuple_hash(SETTINGS.hash_key, frame.source, frame.destination, (0, 0), 0)
}
