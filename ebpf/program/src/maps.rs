//! The maps of the object. Sizes given here are what it holds as built; the loader may set others.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, ArrayOfMaps, DevMap, HashMap, LpmTrie, PerCpuArray, RingBuf},
    macros::btf_map,
};
use vc5_ebpf_abi::{
    Active, Bucket, Counter, EVENT_COUNT, IFACE_SLOTS, Iface, MAX_IFACES, REASONS_MAX, RangeKey,
    RangeValue, Real, Ring, SERVICE_BUCKETS, SERVICE_NUMBERS, Sample, Service, ServiceBucket,
    Settings, Trace, Traffic, VipFilter, VipKey, VipValue,
};

/// Values are freed after a grace period, so that no reader sees another key's value.
const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;
/// Values begin on a page, so that a bucket is one cache line; and user space can map them.
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

const VIPS_MAX: usize = 16384;
const RANGES_MAX: usize = 65536;
const RINGS_MAX: usize = 4096;
const REALS_MAX: usize = 65536;
const SAMPLES_BYTES: usize = 256 * 1024;
const FLOWS_MAX: usize = Settings::DEFAULT.flow_mask as usize + 1;
const EMBRYONIC_MAX: usize = Settings::DEFAULT.embryonic_mask as usize + 1;
const FRAGMENTS_MAX: usize = Settings::DEFAULT.fragment_mask as usize + 1;

/// What of a key of `PORT_RANGES` comes after the length of the prefix.
pub(crate) type RangeData = [u8; size_of::<RangeKey>() - size_of::<u32>()];

#[btf_map]
pub(crate) static VIP_FILTER: Array<VipFilter, 1> = Array::new();
#[btf_map]
pub(crate) static VIPS: HashMap<VipKey, VipValue, VIPS_MAX, NO_PREALLOC> = HashMap::new();
#[btf_map]
pub(crate) static SERVICE_INDEX: Array<ServiceBucket, { SERVICE_BUCKETS as usize }, MMAPABLE> =
    Array::new();
#[btf_map]
pub(crate) static SERVICES: Array<Service, { SERVICE_NUMBERS as usize }, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static PORT_RANGES: LpmTrie<RangeData, RangeValue, RANGES_MAX> = LpmTrie::new();
#[btf_map]
pub(crate) static RINGS: ArrayOfMaps<Array<Ring, 1>, RINGS_MAX> = ArrayOfMaps::new();
#[btf_map]
pub(crate) static REALS: Array<Real, REALS_MAX, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static FLOWS: Array<Bucket, FLOWS_MAX, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static ACTIVE: Array<Active, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static BEFORE: Array<Bucket, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static EMBRYONIC: Array<Bucket, EMBRYONIC_MAX, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static FRAGMENTS: Array<Bucket, FRAGMENTS_MAX, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static IFACES: Array<Iface, { IFACE_SLOTS as usize }> = Array::new();
#[btf_map]
pub(crate) static TX_PORTS: DevMap<{ MAX_IFACES as usize }> = DevMap::new();
#[btf_map]
pub(crate) static STATS: PerCpuArray<Counter, { (MAX_IFACES * REASONS_MAX) as usize }> =
    PerCpuArray::new();
#[btf_map]
pub(crate) static EVENTS: PerCpuArray<u64, { EVENT_COUNT as usize }> = PerCpuArray::new();
#[btf_map]
pub(crate) static REAL_STATS: PerCpuArray<Traffic, REALS_MAX> = PerCpuArray::new();
#[btf_map]
pub(crate) static TRACE: Array<Trace, 1> = Array::new();
#[btf_map]
pub(crate) static SAMPLES: RingBuf<Sample, SAMPLES_BYTES> = RingBuf::new();
