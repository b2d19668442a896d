//! What the path asks of the tables, the clocks and the counters.

use core::cell::Cell;

use vc5_ebpf_abi::{
    BUCKET_WAYS, Event, Iface, Real, Reason, ServiceKey, ServiceValue, Traffic, VipKey,
};

/// One way of a bucket.
///
/// A cell, as buckets are written through shared references. All CPUs do so, without a lock: each
/// reads and writes whole words, and a record lost to another CPU's is made anew by the next packet.
pub type Way = Cell<u64>;

/// The tables as one CPU sees them.
pub trait Tables {
    /// Key of the flow hash.
    fn hash_key(&self) -> [u64; 2];
    /// Units of age after which a UDP flow to a draining real is over.
    fn udp_idle(&self) -> u8;
    /// Units of age after which the 5-tuple of a closed TCP flow may be used anew.
    fn closing_idle(&self) -> u8;
    /// Units of age for which a SYN's choice is remembered.
    fn embryonic_idle(&self) -> u8;

    /// Now, in units of age.
    fn age(&self) -> u8;
    /// Now, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    fn coarse_ns(&self) -> u64;

    /// A slot of the table of interfaces.
    fn iface(&self, slot: u32) -> Option<&Iface>;
    /// A bit of the VIP filter.
    fn may_be_vip(&self, bit: u16) -> bool;
    /// Whether the address is a VIP.
    fn is_vip(&self, key: &VipKey) -> bool;
    /// A service.
    fn service(&self, key: &ServiceKey) -> Option<&ServiceValue>;
    /// The member in a slot of a ring; [`NO_MEMBER`](vc5_ebpf_abi::NO_MEMBER) if there is none.
    fn ring_slot(&self, ring: u32, slot: u16) -> u16;
    /// A real.
    fn real(&self, id: u32) -> Option<&Real>;
    /// The bucket of the flow table for a hash.
    fn flows(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]>;
    /// The bucket of the embryonic table for a hash.
    fn embryonic(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]>;

    /// Counts a frame of `bytes` bytes that came in by the interface with this
    /// [`Iface::index`], 0 for an unknown one.
    fn count(&self, iface: u8, reason: Reason, bytes: u64);
    /// Counts an event.
    fn event(&self, event: Event);
    /// Adds to the counters of a real.
    fn count_traffic(&self, real: u32, traffic: &Traffic);
}
