//! The tables as the kernel's maps hold them.

use aya_ebpf::{
    btf_maps::{Array, lpm_trie::Key},
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
};
use vc5_ebpf_abi::{
    Active, BUCKET_WAYS, Bucket, Event, Iface, NO_MEMBER, NO_TABLE, RangeKey, RangeValue, Real,
    Reason, SERVICE_WAYS, Sample, ServiceKey, ServiceValue, Settings, Trace, Traffic, VipKey,
    VipValue, bucket_index, service_buckets, stats_index,
};
use vc5_ebpf_path::{Flow, Tables, Way, choose::Choice, ip::Addresses};

use crate::apart;
use crate::maps::{
    ACTIVE, BEFORE, EMBRYONIC, EVENTS, FLOWS, FRAGMENTS, IFACES, PORT_RANGES, REAL_STATS, REALS,
    RINGS, RangeData, SAMPLES, SERVICE_INDEX, SERVICES, STATS, TRACE, TX_PORTS, VIP_FILTER, VIPS,
};

/// Overridden by the loader; its name is `vc5_ebpf_abi::SETTINGS`.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings::DEFAULT;

/// A field of [`SETTINGS`] as it is when the program runs, not as it was compiled.
macro_rules! setting {
    ($field:ident) => {{
        // SAFETY: a field of a static, aligned and initialised.
        unsafe { (&raw const SETTINGS.$field).read_volatile() }
    }};
}

/// The maps, as the current CPU sees them.
///
/// User space writes to values while they are read here. Where that can matter the order of its
/// writes sees to it (`vc5_ebpf_abi`, "Order of changes"). Buckets are written by all CPUs, by whole
/// words.
pub(crate) struct Kernel;

impl Tables for Kernel {
    #[inline(always)]
    fn hash_key(&self) -> [u64; 2] {
        // SAFETY: as in `setting!`.
        unsafe {
            [
                (&raw const SETTINGS.hash_key[0]).read_volatile(),
                (&raw const SETTINGS.hash_key[1]).read_volatile(),
            ]
        }
    }

    #[inline(always)]
    fn udp_idle(&self) -> u8 {
        setting!(udp_idle)
    }

    #[inline(always)]
    fn closing_idle(&self) -> u8 {
        setting!(closing_idle)
    }

    #[inline(always)]
    fn embryonic_idle(&self) -> u8 {
        setting!(embryonic_idle)
    }

    #[inline(always)]
    fn fragment_idle(&self) -> u8 {
        setting!(fragment_idle)
    }

    #[inline(always)]
    fn sample_shift(&self) -> u32 {
        setting!(sample_shift)
    }

    #[inline(always)]
    fn tracing(&self) -> bool {
        setting!(trace) != 0
    }

    #[inline(always)]
    fn age(&self) -> u8 {
        // SAFETY: a helper without arguments. The mask tells the verifier what the loader keeps to.
        (unsafe { bpf_jiffies64() } >> (setting!(age_shift) & 63)) as u8
    }

    #[inline(always)]
    fn coarse_ns(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn iface(&self, slot: u32) -> Option<&Iface> {
        IFACES.get(slot)
    }

    #[inline(always)]
    fn may_be_vip(&self, bit: u16) -> bool {
        VIP_FILTER
            .get(0)
            .and_then(|filter| filter.0.get(usize::from(bit >> 6)))
            .is_some_and(|word| word >> (bit & 63) & 1 != 0)
    }

    #[inline(always)]
    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        // SAFETY: the map is not preallocated, so the value outlives this run of the program.
        unsafe { VIPS.get(key) }.copied()
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<&ServiceValue> {
        let (addr, rest) = key.words();
        service_number(addr, rest).and_then(service_of)
    }

    #[inline(always)]
    fn range(&self, key: &RangeKey) -> Option<RangeValue> {
        // SAFETY: both are the length of the prefix and then the bytes of the key.
        let key = unsafe { &*(&raw const *key).cast::<Key<RangeData>>() };
        PORT_RANGES.get(key).copied()
    }

    #[inline(always)]
    fn ring_slot(&self, ring: u32, slot: u16) -> u16 {
        RINGS
            .get(ring)
            .and_then(|inner| inner.get(0))
            .and_then(|ring| ring.0.get(usize::from(slot)).copied())
            .unwrap_or(NO_MEMBER)
    }

    #[inline(always)]
    fn real(&self, id: u32) -> Option<&Real> {
        REALS.get(id)
    }

    #[inline(always)]
    fn flows(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        bucket(&FLOWS, hash, active().mask(setting!(flow_mask)))
    }

    #[inline(always)]
    fn former(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        let mask = active().former_mask(setting!(flow_mask))?;
        bucket(&FLOWS, hash, mask)
    }

    #[inline(always)]
    fn before(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        match setting!(before_mask) {
            NO_TABLE => None,
            mask => bucket(&BEFORE, hash, mask),
        }
    }

    #[inline(always)]
    fn embryonic(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        bucket(&EMBRYONIC, hash, setting!(embryonic_mask))
    }

    #[inline(always)]
    fn fragments(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        bucket(&FRAGMENTS, hash, setting!(fragment_mask))
    }

    #[inline(always)]
    fn can_send(&self, tx: u8) -> bool {
        TX_PORTS.redirect(u32::from(tx), 0).is_ok()
    }

    #[inline(always)]
    fn count(&self, iface: u8, reason: Reason, bytes: u64) {
        if let Some(counter) = STATS.get_ptr_mut(stats_index(iface, reason)) {
            // SAFETY: a map value of this CPU, which runs one XDP program at a time.
            unsafe {
                (*counter).packets += 1;
                (*counter).bytes += bytes;
            }
        }
    }

    #[inline(always)]
    fn event(&self, event: Event) {
        if let Some(counter) = EVENTS.get_ptr_mut(event as u32) {
            // SAFETY: as in `count`.
            unsafe { *counter += 1 };
        }
    }

    #[inline(always)]
    fn count_traffic(&self, real: u32, traffic: &Traffic) {
        let Some(total) = REAL_STATS.get_ptr_mut(real) else { return };
        // SAFETY: as in `count`.
        unsafe {
            (*total).packets += traffic.packets;
            (*total).bytes += traffic.bytes;
            // Few packets have any of these.
            if traffic.flows | traffic.syns | traffic.fins | traffic.rsts != 0 {
                (*total).flows += traffic.flows;
                (*total).syns += traffic.syns;
                (*total).fins += traffic.fins;
                (*total).rsts += traffic.rsts;
            }
        }
    }

    #[inline(always)]
    fn sample(&self, sample: &Sample) -> bool {
        SAMPLES.output(sample, 0).is_ok()
    }

    #[inline(always)]
    fn service_apart(&self, key: &ServiceKey) -> Option<&ServiceValue> {
        let ([upper, lower], rest) = key.words();
        service_of(apart::service(upper, lower, u64::from(rest)))
    }

    #[inline(always)]
    fn fetch(&self, hash: u64) -> bool {
        let elsewhere = setting!(before_mask) != NO_TABLE || active().copying != 0;
        elsewhere && apart::fetch(hash) != 0
    }

    #[inline(always)]
    fn forget(&self, hash: u64) {
        apart::forget(hash);
    }

    #[inline(always)]
    fn choose_anew(&self, flow: &Flow, known: bool, choice: &mut Choice) -> Result<(), Reason> {
        apart::result(apart::choose_anew(flow, u64::from(known), choice))
    }

    #[inline(always)]
    fn remember_new(&self, flow: &Flow, choice: &Choice, generation: u8) -> bool {
        apart::remember_new(flow, choice, u64::from(generation)) != 0
    }

    #[inline(always)]
    fn hash(&self, addresses: &Addresses, ports: u32, protocol: u8) -> u64 {
        apart::hash(addresses, u64::from(ports), u64::from(protocol))
    }

    #[inline(always)]
    fn trace(&self, note: impl FnOnce(&mut Trace)) {
        if self.tracing()
            && let Some(trace) = TRACE.get_ptr_mut(0)
        {
            // SAFETY: user space reads it only after the test run for which it is written.
            note(unsafe { &mut *trace });
        }
    }
}

/// The number of a service. Number 0, as in empty ways, is no service's: no key is all zero.
#[inline(always)]
pub(crate) fn service_number(addr: [u64; 2], rest: u32) -> Option<u32> {
    for bucket in service_buckets(addr, rest) {
        for way in 0..SERVICE_WAYS {
            let bucket: *const u32 = SERVICE_INDEX.get_ptr(bucket)?.cast();
            // SAFETY: a word of a map value, that user space may change at the same time.
            let number = unsafe { bucket.add(way).read_volatile() };
            let ([upper, lower], its_rest) = SERVICES.get(number)?.key.words();
            let differing = (upper ^ addr[0]) | (lower ^ addr[1]) | u64::from(its_rest ^ rest);
            if differing == 0 {
                return Some(number);
            }
        }
    }
    None
}

#[inline(always)]
fn service_of(number: u32) -> Option<&'static ServiceValue> {
    let service = SERVICES.get(number)?;
    if number == 0 { None } else { Some(&service.value) }
}

/// How much of the flow table is in use.
#[inline(always)]
fn active() -> Active {
    let Some(active) = ACTIVE.get_ptr(0) else { return Active::default() };
    // SAFETY: a map value. User space may change it, by one store, between two looks of a packet's.
    unsafe { active.read_volatile() }
}

#[inline(always)]
fn bucket<const MAX: usize, const FLAGS: usize>(
    table: &'static Array<Bucket, MAX, FLAGS>,
    hash: u64,
    mask: u32,
) -> Option<&'static [Way; BUCKET_WAYS]> {
    let bucket = table.get_ptr_mut(bucket_index(hash, mask))?;
    // SAFETY: a bucket is eight u64, a way is laid out like one, and both sides write whole ones.
    Some(unsafe { &*bucket.cast::<[Way; BUCKET_WAYS]>() })
}
