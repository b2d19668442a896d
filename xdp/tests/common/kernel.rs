//! The committed object, loaded by plain aya, and its maps.

use std::sync::{Mutex, PoisonError};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{
        Array, ArrayOfMaps, DevMap, HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf,
        lpm_trie::Key, lpm_trie::LpmTrie,
    },
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use vc5_ebpf_abi::{
    Bucket, Counter, EVENT_COUNT, Event, IFACE_PROBES, IFACE_SLOTS, Iface, PROGRAM, REASONS_MAX,
    RangeKey, RangeValue, Real, Ring, SETTINGS, Sample, ServiceKey, ServiceValue, Settings, Trace,
    Traffic, Verdict, VipFilter, VipKey, VipValue, iface_slot, maps,
};

const HINT: &str = "cannot load a BPF program: run as root (or with CAP_BPF and CAP_NET_ADMIN), \
                    with BPF allowed in this container";

/// The loopback, as which BPF_PROG_TEST_RUN presents its frames, and by which all redirects of
/// these tests would go: it is there in every network namespace.
pub const IFINDEX: u32 = 1;

/// Room for reals: per-CPU maps of full size are what takes time to load.
pub const REALS: u32 = 128;
/// Interfaces with counters.
pub const IFACES: u32 = 4;
/// Room for rings.
pub const RINGS: u32 = 8;

/// The actions of an XDP program that these tests may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Drop,
    Pass,
    Tx,
    Redirect,
}

impl Action {
    /// The verdict that it carries out.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Drop => Verdict::Drop,
            Self::Pass => Verdict::Pass,
            Self::Tx | Self::Redirect => Verdict::Sent,
        }
    }
}

pub struct Kernel {
    bpf: Ebpf,
    settings: Settings,
    /// Whether it has the rings that it is loaded with, and no others.
    pub has_standard_rings: bool,
}

/// Loaded programs that wait for their next use: the kernel takes longer to verify one than all
/// else that a row of the table costs.
static SPARE: Mutex<Vec<Kernel>> = Mutex::new(Vec::new());

impl Kernel {
    /// A program with these settings and empty tables, but perhaps with the standard rings.
    pub fn take(settings: &Settings) -> Self {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let place = spare.iter().position(|kernel| kernel.settings == *settings);
        let kernel = place.map(|place| spare.swap_remove(place));
        drop(spare);
        kernel.unwrap_or_else(|| Self::load(settings))
    }

    /// Gives the program back for its next use.
    pub fn give_back(mut self) {
        if self.has_standard_rings {
            self.clear();
            SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
    }

    /// Loads the object with these settings.
    pub fn load(settings: &Settings) -> Self {
        let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../xdp/bpf/vc5.o");
        let mut bpf = EbpfLoader::new()
            .override_global(SETTINGS, settings, true)
            .map_max_entries(maps::FLOWS, settings.flow_mask + 1)
            .map_max_entries(maps::EMBRYONIC, settings.embryonic_mask + 1)
            .map_max_entries(maps::FRAGMENTS, settings.fragment_mask + 1)
            .map_max_entries(maps::RINGS, RINGS)
            .map_max_entries(maps::REALS, REALS)
            .map_max_entries(maps::REAL_STATS, REALS)
            .map_max_entries(maps::STATS, IFACES * REASONS_MAX)
            .load_file(object)
            .expect(HINT);
        let program: &mut Xdp = bpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
        program.load().expect(HINT);
        Self { bpf, settings: *settings, has_standard_rings: false }
    }

    /// Empties all tables but the rings and the ports to send by, which are the same for all.
    fn clear(&mut self) {
        for slot in 0..IFACE_SLOTS {
            self.set(maps::IFACES, slot, &Iface::default());
        }
        for id in 0..REALS {
            self.set(maps::REALS, id, &Real::default());
        }
        self.set(maps::VIP_FILTER, 0, &VipFilter([0; 1024]));
        let Settings { flow_mask, embryonic_mask, fragment_mask, .. } = self.settings;
        for (table, mask) in [
            (maps::FLOWS, flow_mask),
            (maps::EMBRYONIC, embryonic_mask),
            (maps::FRAGMENTS, fragment_mask),
        ] {
            (0..=mask).for_each(|index| self.set_bucket(table, index, Bucket::default()));
        }
        self.clear_hash::<VipKey, VipValue>(maps::VIPS);
        self.clear_hash::<ServiceKey, ServiceValue>(maps::SERVICES);
        let mut ranges = self.ranges();
        let keys: Vec<_> = ranges.keys().map(Result::unwrap).collect();
        keys.iter().for_each(|key| ranges.remove(key).unwrap());
        self.clear_counters::<Counter>(maps::STATS, IFACES * REASONS_MAX);
        self.clear_counters::<u64>(maps::EVENTS, EVENT_COUNT);
        self.clear_counters::<Traffic>(maps::REAL_STATS, REALS);
    }

    fn clear_hash<K: Pod, V: Pod>(&mut self, name: &str) {
        let mut map = self.hash::<K, V>(name);
        let keys: Vec<K> = map.keys().map(Result::unwrap).collect();
        keys.iter().for_each(|key| map.remove(key).unwrap());
    }

    fn clear_counters<V: Pod + Default>(&mut self, name: &str, count: u32) {
        let cpus = aya::util::nr_cpus().expect("number of possible CPUs");
        let mut array: PerCpuArray<_, V> = self.map(name).try_into().unwrap();
        for index in 0..count {
            let zeros = PerCpuValues::try_from(vec![V::default(); cpus]).unwrap();
            array.set(index, zeros, 0).unwrap();
        }
    }

    /// Runs the program once on this thread's CPU.
    pub fn run(&self, frame: &[u8]) -> (Action, Vec<u8>) {
        let mut out = vec![0; frame.len() + 256];
        let program: &Xdp = self.bpf.program(PROGRAM).unwrap().try_into().unwrap();
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .expect("BPF_PROG_TEST_RUN");
        out.truncate(result.data_size_out as usize);
        let action = match result.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            3 => Action::Tx,
            4 => Action::Redirect,
            other => panic!("XDP action {other}"),
        };
        (action, out)
    }

    /// Instructions that the verifier walked.
    pub fn verified(&self) -> u32 {
        let program: &Xdp = self.bpf.program(PROGRAM).unwrap().try_into().unwrap();
        program.info().unwrap().verified_instruction_count().expect("Linux 5.16 or later")
    }

    fn map(&mut self, name: &str) -> &mut Map {
        self.bpf.map_mut(name).unwrap_or_else(|| panic!("no map {name}"))
    }

    fn set<V: Pod>(&mut self, name: &str, index: u32, value: &V) {
        let mut array: Array<_, V> = self.map(name).try_into().unwrap();
        array.set(index, value, 0).unwrap();
    }

    fn get<V: Pod>(&mut self, name: &str, index: u32) -> V {
        let array: Array<_, V> = self.map(name).try_into().unwrap();
        array.get(&index, 0).unwrap()
    }

    fn sum<V: Pod>(&mut self, name: &str, index: u32, add: impl Fn(V, &V) -> V, zero: V) -> V {
        let array: PerCpuArray<_, V> = self.map(name).try_into().unwrap();
        array.get(&index, 0).unwrap().iter().fold(zero, add)
    }

    fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        self.map(name).try_into().unwrap()
    }

    fn ranges(&mut self) -> LpmTrie<&mut MapData, [u8; 20], RangeValue> {
        self.map(maps::PORT_RANGES).try_into().unwrap()
    }

    pub fn set_iface(&mut self, iface: Iface) {
        let free = |slot: &u32| {
            let taken: Iface = self.get(maps::IFACES, *slot);
            taken.ifindex == 0 || taken.ifindex == iface.ifindex
        };
        let slot = (0..IFACE_PROBES).map(|p| iface_slot(iface.ifindex, p)).find(free).unwrap();
        self.set(maps::IFACES, slot, &iface);
    }

    /// Lets frames be sent by the interface of this number in counters.
    pub fn set_tx_port(&mut self, index: u8) {
        let mut ports: DevMap<_> = self.map(maps::TX_PORTS).try_into().unwrap();
        ports.set(u32::from(index), IFINDEX, None, 0).unwrap();
    }

    pub fn set_filter(&mut self, filter: &VipFilter) {
        self.set(maps::VIP_FILTER, 0, filter);
    }

    pub fn set_vip(&mut self, key: VipKey, value: VipValue) {
        self.hash(maps::VIPS).insert(key, value, 0).unwrap();
    }

    pub fn remove_vip(&mut self, key: VipKey) {
        self.hash::<_, VipValue>(maps::VIPS).remove(&key).unwrap();
    }

    pub fn set_service(&mut self, key: ServiceKey, value: ServiceValue) {
        self.hash(maps::SERVICES).insert(key, value, 0).unwrap();
    }

    pub fn remove_service(&mut self, key: ServiceKey) {
        self.hash::<_, ServiceValue>(maps::SERVICES).remove(&key).unwrap();
    }

    pub fn set_range(&mut self, key: RangeKey, value: RangeValue) {
        let mut data = [0; 20];
        data[..16].copy_from_slice(&key.addr);
        data[16] = key.protocol;
        data[18..].copy_from_slice(&key.port);
        self.ranges().insert(&Key::new(key.prefix_len, data), value, 0).unwrap();
    }

    pub fn set_ring(&mut self, id: u32, ring: &Ring) {
        let mut inner: Array<MapData, Ring> = Array::create(1, 0).unwrap();
        inner.set(0, ring, 0).unwrap();
        let mut rings: ArrayOfMaps<_, Array<MapData, Ring>> =
            self.map(maps::RINGS).try_into().unwrap();
        rings.set(id, &inner, 0).unwrap();
    }

    pub fn set_real(&mut self, id: u32, real: &Real) {
        self.set(maps::REALS, id, real);
    }

    /// A bucket of one of the three tables of buckets, by the map's name.
    pub fn bucket(&mut self, table: &str, index: u32) -> Bucket {
        self.get(table, index)
    }

    pub fn set_bucket(&mut self, table: &str, index: u32, bucket: Bucket) {
        self.set(table, index, &bucket);
    }

    /// A counter by its index in `STATS`.
    pub fn count(&mut self, index: u32) -> Counter {
        let add = |a: Counter, b: &Counter| Counter {
            packets: a.packets + b.packets,
            bytes: a.bytes + b.bytes,
        };
        self.sum(maps::STATS, index, add, Counter::default())
    }

    pub fn events(&mut self, event: Event) -> u64 {
        self.sum(maps::EVENTS, event as u32, |a, b| a + b, 0)
    }

    pub fn real_traffic(&mut self, id: u32) -> Traffic {
        self.sum(maps::REAL_STATS, id, add_traffic, Traffic::default())
    }

    /// Whether there is any count of anything.
    pub fn has_counted(&mut self) -> bool {
        let packets = (0..IFACES * REASONS_MAX).any(|index| self.count(index).packets != 0);
        packets
            || Event::ALL.iter().any(|event| self.events(*event) != 0)
            || (0..REALS).any(|id| self.real_traffic(id).packets != 0)
    }

    /// The samples that wait to be read.
    pub fn samples(&mut self) -> Vec<Sample> {
        let mut ring: RingBuf<_> = self.map(maps::SAMPLES).try_into().unwrap();
        let mut samples = Vec::new();
        while let Some(item) = ring.next() {
            assert_eq!(item.len(), size_of::<Sample>());
            // SAFETY: as long as a sample, which any bytes are.
            samples.push(unsafe { item.as_ptr().cast::<Sample>().read_unaligned() });
        }
        samples
    }

    /// What a program loaded for tracing found out about the last frame.
    pub fn trace(&mut self) -> Trace {
        self.get(maps::TRACE, 0)
    }
}

pub fn add_traffic(a: Traffic, b: &Traffic) -> Traffic {
    Traffic {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
        flows: a.flows + b.flows,
        syns: a.syns + b.syns,
        fins: a.fins + b.fins,
        rsts: a.rsts + b.rsts,
    }
}

/// `CLOCK_MONOTONIC_COARSE` in nanoseconds.
pub fn coarse_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the timespec given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
