//! The committed object, loaded by plain aya, and its maps.

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use vc5_ebpf_abi::{
    Bucket, Counter, Event, IFACE_PROBES, Iface, PROGRAM, Real, Reason, Ring, SETTINGS, ServiceKey,
    ServiceValue, Settings, Traffic, Verdict, VipFilter, VipKey, VipValue, iface_slot, maps,
    vip_filter_bit,
};

const HINT: &str = "cannot load a BPF program: run as root (or with CAP_BPF and CAP_NET_ADMIN), \
                    with BPF allowed in this container";

/// The CPU that tests run on.
pub const CPU: u32 = 0;

/// Room for statistics: per-CPU maps of full size are what takes time to load.
const STATS: u32 = 16;

pub struct Kernel {
    bpf: Ebpf,
    filter: VipFilter,
}

impl Kernel {
    /// Loads the object with these settings and room for `rings` rings.
    pub fn load(settings: &Settings, rings: u32) -> Self {
        let cpus = aya::util::nr_cpus().expect("number of possible CPUs") as u32;
        let object = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/vc5.o");
        let mut bpf = EbpfLoader::new()
            .override_global(SETTINGS, settings, true)
            .map_max_entries(maps::FLOWS, cpus * (settings.flow_mask + 1))
            .map_max_entries(maps::EMBRYONIC, cpus * (settings.embryonic_mask + 1))
            .map_max_entries(maps::RINGS, rings)
            .map_max_entries(maps::REAL_STATS, STATS)
            .map_max_entries(maps::SERVICE_STATS, STATS)
            .load_file(object)
            .expect(HINT);
        let program: &mut Xdp = bpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
        program.load().expect(HINT);
        Self { bpf, filter: VipFilter([0; 1024]) }
    }

    /// Runs the program once on this thread's CPU.
    pub fn run(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let mut out = vec![0; frame.len() + 64];
        let program: &Xdp = self.bpf.program(PROGRAM).unwrap().try_into().unwrap();
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .expect("BPF_PROG_TEST_RUN");
        out.truncate(result.data_size_out as usize);
        let verdict = match result.return_value {
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Tx,
            other => panic!("XDP action {other}"),
        };
        (verdict, out)
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

    pub fn set_iface(&mut self, ifindex: u32, mac: [u8; 6]) {
        let free = |slot: &u32| {
            let taken: Iface = self.get(maps::IFACES, *slot);
            taken.ifindex == 0 || taken.ifindex == ifindex
        };
        let slot = (0..IFACE_PROBES).map(|p| iface_slot(ifindex, p)).find(free).unwrap();
        self.set(maps::IFACES, slot, &Iface { ifindex, mac, pad: [0; 6] });
    }

    pub fn set_vip(&mut self, addr: [u8; 4]) {
        let mut vips: HashMap<_, VipKey, VipValue> = self.map(maps::VIPS).try_into().unwrap();
        vips.insert(VipKey(addr), VipValue::default(), 0).unwrap();
        let bit = vip_filter_bit(addr);
        self.filter.0[usize::from(bit >> 6)] |= 1 << (bit & 63);
        let filter = self.filter;
        self.set(maps::VIP_FILTER, 0, &filter);
    }

    /// Removes a VIP; its bit in the filter stays, as another may share it.
    pub fn remove_vip(&mut self, addr: [u8; 4]) {
        let mut vips: HashMap<_, VipKey, VipValue> = self.map(maps::VIPS).try_into().unwrap();
        vips.remove(&VipKey(addr)).unwrap();
    }

    pub fn set_service(&mut self, key: ServiceKey, value: ServiceValue) {
        let mut services: HashMap<_, ServiceKey, ServiceValue> =
            self.map(maps::SERVICES).try_into().unwrap();
        services.insert(key, value, 0).unwrap();
    }

    pub fn remove_service(&mut self, key: ServiceKey) {
        let mut services: HashMap<_, ServiceKey, ServiceValue> =
            self.map(maps::SERVICES).try_into().unwrap();
        services.remove(&key).unwrap();
    }

    pub fn set_ring(&mut self, id: u32, ring: &Ring) {
        let mut inner: Array<MapData, Ring> = Array::create(1, 0).unwrap();
        inner.set(0, ring, 0).unwrap();
        let mut rings: ArrayOfMaps<_, Array<MapData, Ring>> =
            self.map(maps::RINGS).try_into().unwrap();
        rings.set(id, &inner, 0).unwrap();
    }

    pub fn set_real(&mut self, id: u16, real: &Real) {
        self.set(maps::REALS, u32::from(id), real);
    }

    pub fn flows(&mut self, index: u32) -> Bucket {
        self.get(maps::FLOWS, index)
    }

    pub fn set_flows(&mut self, index: u32, bucket: Bucket) {
        self.set(maps::FLOWS, index, &bucket);
    }

    pub fn embryonic(&mut self, index: u32) -> Bucket {
        self.get(maps::EMBRYONIC, index)
    }

    pub fn set_embryonic(&mut self, index: u32, bucket: Bucket) {
        self.set(maps::EMBRYONIC, index, &bucket);
    }

    pub fn count(&mut self, reason: Reason) -> Counter {
        let add = |a: Counter, b: &Counter| Counter {
            packets: a.packets + b.packets,
            bytes: a.bytes + b.bytes,
        };
        self.sum(maps::STATS, reason as u32, add, Counter::default())
    }

    pub fn events(&mut self, event: Event) -> u64 {
        self.sum(maps::EVENTS, event as u32, |a, b| a + b, 0)
    }

    pub fn real_traffic(&mut self, id: u16) -> Traffic {
        self.sum(maps::REAL_STATS, u32::from(id), add_traffic, Traffic::default())
    }

    pub fn service_traffic(&mut self, stat: u32) -> Traffic {
        self.sum(maps::SERVICE_STATS, stat, add_traffic, Traffic::default())
    }
}

fn add_traffic(a: Traffic, b: &Traffic) -> Traffic {
    Traffic {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
        flows: a.flows + b.flows,
        syns: a.syns + b.syns,
    }
}

/// Keeps this thread on [`CPU`], as tests compare one CPU's share of the tables.
pub fn pin() {
    // SAFETY: a CPU set is plain bits, and the calls get its right size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(CPU as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    assert_eq!(result, 0, "cannot run on CPU {CPU}");
}

/// `CLOCK_MONOTONIC_COARSE` in nanoseconds.
pub fn coarse_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the timespec given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
