//! The committed object, loaded by plain aya, and its maps.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Mutex, PoisonError},
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{
        Array, ArrayOfMaps, DevMap, HashMap, Map, MapData, RingBuf, lpm_trie::Key,
        lpm_trie::LpmTrie,
    },
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use vc5_ebpf_abi::{
    Active, Bucket, Counter, EVENT_COUNT, Event, IFACE_PROBES, Iface, NO_TABLE, PROGRAM,
    REASONS_MAX, RangeKey, RangeValue, Real, Ring, SERVICE_WAYS, SETTINGS, Sample, Service,
    ServiceBucket, ServiceKey, ServiceValue, Settings, Trace, Traffic, Verdict, VipFilter, VipKey,
    VipValue, iface_slot, maps,
};

use super::{batch, inner::Maker};

const HINT: &str = "cannot load a BPF program: run as root (or with CAP_BPF and CAP_NET_ADMIN), \
                    with BPF allowed in this container";

/// The loopback, as which BPF_PROG_TEST_RUN presents its frames, and by which all redirects of
/// these tests would go: it is there in every network namespace.
pub const IFINDEX: u32 = 1;

/// Room for reals: per-CPU maps of full size are what takes time to load.
pub const REALS: u32 = 128;
/// Interfaces with counters.
pub const IFACES: u32 = 4;
/// Room for services, as many as tests ever have at once.
pub const SERVICES: u32 = 1024;
/// Room for rings.
pub const RINGS: u32 = 8;

/// Counters: their map, how many there are, and the words of each.
type Counters = (&'static str, u32, usize);
const STATS: Counters = (maps::STATS, IFACES * REASONS_MAX, 2);
const EVENTS: Counters = (maps::EVENTS, EVENT_COUNT, 1);
const REAL_STATS: Counters = (maps::REAL_STATS, REALS, 6);

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
    /// Possible CPUs.
    cpus: usize,
    /// Elements that were set, by map and index, in the maps that the program does not write to.
    set: BTreeSet<(&'static str, u32)>,
    /// The greatest number of a service so far.
    services: u32,
    /// Those among them that are no service's now.
    free: Vec<u32>,
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
            .map_max_entries(maps::BEFORE, entries_before(settings))
            .map_max_entries(maps::EMBRYONIC, settings.embryonic_mask + 1)
            .map_max_entries(maps::FRAGMENTS, settings.fragment_mask + 1)
            .map_max_entries(maps::SERVICES, SERVICES)
            .map_max_entries(maps::RINGS, RINGS)
            .map_max_entries(maps::REALS, REALS)
            .map_max_entries(maps::REAL_STATS, REALS)
            .map_max_entries(maps::STATS, IFACES * REASONS_MAX)
            .load_file(object)
            .expect(HINT);
        let program: &mut Xdp = bpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
        program.load().expect(HINT);
        let cpus = aya::util::nr_cpus().expect("number of possible CPUs");
        let set = BTreeSet::new();
        Self {
            bpf,
            settings: *settings,
            cpus,
            set,
            services: 0,
            free: Vec::new(),
            has_standard_rings: false,
        }
    }

    /// Empties all tables but the rings and the ports to send by, which are the same for all.
    fn clear(&mut self) {
        for (map, index) in std::mem::take(&mut self.set) {
            match map {
                maps::IFACES => self.set(map, index, &Iface::default()),
                maps::SERVICE_INDEX => self.set(map, index, &ServiceBucket::default()),
                _ => self.set(map, index, &Real::default()),
            }
        }
        self.set(maps::VIP_FILTER, 0, &VipFilter([0; 1024]));
        self.set_active(Active::default());
        let Settings { flow_mask, embryonic_mask, fragment_mask, .. } = self.settings;
        for (table, mask) in [
            (maps::FLOWS, flow_mask),
            (maps::BEFORE, entries_before(&self.settings) - 1),
            (maps::EMBRYONIC, embryonic_mask),
            (maps::FRAGMENTS, fragment_mask),
        ] {
            (0..=mask).for_each(|index| self.set_bucket(table, index, Bucket::default()));
        }
        self.clear_hash::<VipKey, VipValue>(maps::VIPS);
        (self.services, self.free) = (0, Vec::new());
        let mut ranges = self.ranges();
        let keys: Vec<_> = ranges.keys().map(Result::unwrap).collect();
        keys.iter().for_each(|key| ranges.remove(key).unwrap());
        for (name, count, words) in [STATS, EVENTS, REAL_STATS] {
            batch::clear(self.fd(name), 0, count, words, self.cpus).unwrap();
        }
    }

    fn clear_hash<K: Pod, V: Pod>(&mut self, name: &str) {
        let mut map = self.hash::<K, V>(name);
        let keys: Vec<K> = map.keys().map(Result::unwrap).collect();
        keys.iter().for_each(|key| map.remove(key).unwrap());
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

    fn fd(&self, name: &str) -> BorrowedFd<'_> {
        let map = self.bpf.map(name).unwrap_or_else(|| panic!("no map {name}"));
        let (Map::Array(data) | Map::PerCpuArray(data)) = map else { panic!("{name} is no array") };
        data.fd().as_fd()
    }

    /// Counters from `first` on, added up over the CPUs.
    fn sums(&self, (name, _, words): Counters, first: u32, count: u32) -> Vec<u64> {
        batch::sums(self.fd(name), first, count, words, self.cpus).unwrap()
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
        self.set.insert((maps::IFACES, slot));
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
        let (way, number) = self.service(&key).unwrap_or_else(|| {
            let ways = Self::service_ways(&key);
            let free = ways.into_iter().find(|way| self.service_number(*way) == 0);
            let number = self.free.pop().unwrap_or_else(|| {
                self.services += 1;
                self.services
            });
            (free.expect("a way of the index"), number)
        });
        let service = Service { key, pad: 0, value, spare: [0; 2] };
        self.set(maps::SERVICES, number, &service);
        self.set_service_number(way, number);
    }

    pub fn remove_service(&mut self, key: ServiceKey) {
        let (way, number) = self.service(&key).expect("a service");
        self.set_service_number(way, 0);
        self.free.push(number);
    }

    /// Buckets of the index that a service can be in, and ways there, in the program's order.
    fn service_ways(key: &ServiceKey) -> Vec<(u32, usize)> {
        let buckets = key.buckets().into_iter();
        buckets.flat_map(|bucket| (0..SERVICE_WAYS).map(move |way| (bucket, way))).collect()
    }

    fn service_number(&mut self, (bucket, way): (u32, usize)) -> u32 {
        self.get::<ServiceBucket>(maps::SERVICE_INDEX, bucket).0[way]
    }

    fn set_service_number(&mut self, (bucket, way): (u32, usize), number: u32) {
        let mut numbers: ServiceBucket = self.get(maps::SERVICE_INDEX, bucket);
        numbers.0[way] = number;
        self.set(maps::SERVICE_INDEX, bucket, &numbers);
        self.set.insert((maps::SERVICE_INDEX, bucket));
    }

    /// Where a service is, and its number.
    fn service(&mut self, key: &ServiceKey) -> Option<((u32, usize), u32)> {
        Self::service_ways(key).into_iter().find_map(|way| {
            let number = self.service_number(way);
            let service: Service = self.get(maps::SERVICES, number);
            (number != 0 && service.key == *key).then_some((way, number))
        })
    }

    pub fn set_range(&mut self, key: RangeKey, value: RangeValue) {
        let mut data = [0; 20];
        data[..16].copy_from_slice(&key.addr);
        data[16] = key.protocol;
        data[18..].copy_from_slice(&key.port);
        self.ranges().insert(&Key::new(key.prefix_len, data), value, 0).unwrap();
    }

    pub fn set_ring(&mut self, id: u32, ring: &Ring) {
        let made = MapData::from_fd(Maker::new().unwrap().make().unwrap()).unwrap();
        let mut inner: Array<MapData, Ring> = Map::Array(made).try_into().unwrap();
        inner.set(0, ring, 0).unwrap();
        let mut rings: ArrayOfMaps<_, Array<MapData, Ring>> =
            self.map(maps::RINGS).try_into().unwrap();
        rings.set(id, &inner, 0).unwrap();
    }

    pub fn set_real(&mut self, id: u32, real: &Real) {
        self.set(maps::REALS, id, real);
        self.set.insert((maps::REALS, id));
    }

    /// A bucket of one of the three tables of buckets, by the map's name.
    pub fn bucket(&mut self, table: &str, index: u32) -> Bucket {
        self.get(table, index)
    }

    pub fn set_bucket(&mut self, table: &str, index: u32, bucket: Bucket) {
        self.set(table, index, &bucket);
    }

    /// Sets how much of the flow table is in use.
    pub fn set_active(&mut self, active: Active) {
        self.set(maps::ACTIVE, 0, &active);
    }

    /// A counter by its index in `STATS`.
    pub fn count(&self, index: u32) -> Counter {
        counter(&self.sums(STATS, index, 1))
    }

    /// All counters of `STATS`.
    pub fn counts(&self) -> Vec<Counter> {
        self.sums(STATS, 0, STATS.1).chunks_exact(STATS.2).map(counter).collect()
    }

    pub fn events(&self, event: Event) -> u64 {
        self.sums(EVENTS, event as u32, 1)[0]
    }

    /// What was counted for all reals.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.sums(REAL_STATS, 0, REALS).chunks_exact(REAL_STATS.2).map(traffic).collect()
    }

    /// Whether there is any count of anything.
    pub fn has_counted(&self) -> bool {
        let any = |counters: Counters| self.sums(counters, 0, counters.1).iter().any(|n| *n != 0);
        [STATS, EVENTS, REAL_STATS].into_iter().any(any)
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

/// Buckets of the table before, of which there is always one.
fn entries_before(settings: &Settings) -> u32 {
    if settings.before_mask == NO_TABLE { 1 } else { settings.before_mask + 1 }
}

fn counter(words: &[u64]) -> Counter {
    Counter { packets: words[0], bytes: words[1] }
}

fn traffic(words: &[u64]) -> Traffic {
    let [packets, bytes, flows, syns, fins, rsts] = words.try_into().unwrap();
    Traffic { packets, bytes, flows, syns, fins, rsts }
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
