//! The tables as the kernel's maps hold them.

use aya_ebpf::{
    btf_maps::{Array, lpm_trie::Key},
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
};
use vc5_ebpf_abi::{
    BUCKET_WAYS, Bucket, Event, Iface, NO_MEMBER, RangeKey, RangeValue, Real, Reason, Sample,
    ServiceKey, ServiceValue, Settings, Trace, Traffic, VipKey, VipValue, bucket_index,
    stats_index,
};
use vc5_ebpf_path::{Flow, Tables, Way, choose::Choice, ip::Addresses};

use crate::apart;
use crate::maps::{
    EMBRYONIC, EVENTS, FLOWS, FRAGMENTS, IFACES, PORT_RANGES, REAL_STATS, REALS, RINGS, RangeData,
    SAMPLES, SERVICES, STATS, TRACE, TX_PORTS, VIP_FILTER, VIPS,
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
        // SAFETY: the map is not preallocated, so the value outlives this run of the program.
        unsafe { SERVICES.get(key) }
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
        bucket(&FLOWS, hash, setting!(flow_mask))
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
