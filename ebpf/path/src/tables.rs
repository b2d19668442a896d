//! What the path asks of the tables, the clocks and the counters.

use core::cell::Cell;

use vc5_ebpf_abi::{
    BUCKET_WAYS, Event, FlowEntry, Iface, RangeKey, RangeValue, Real, Reason, Sample, ServiceKey,
    ServiceValue, Trace, Traffic, VipKey, VipValue,
};

use crate::{
    choose::{self, Choice},
    flow::Flow,
    ip::Addresses,
    siphash::hash_words,
};

/// One way of a bucket.
///
/// A cell, as buckets are written through shared references. All CPUs do so, without a lock: each
/// reads and writes whole words, and a record lost to another CPU's is made anew by the next packet.
pub type Way = Cell<u64>;

/// The tables as one CPU sees them.
///
/// What few packets need is behind methods that the program makes functions of their own, which the
/// verifier walks once each, knowing nothing of their callers: [`Tables::choose_anew`] and those after
/// it, and those of [`Packet`](crate::Packet).
///
/// A tracing program ([`Tables::tracing`]) calls nothing that writes but [`Tables::trace`].
pub trait Tables {
    /// Key of the flow hash.
    fn hash_key(&self) -> [u64; 2];
    /// Units of age after which a UDP flow to a draining real is over.
    fn udp_idle(&self) -> u8;
    /// Units of age after which the 5-tuple of a closed TCP flow may be used anew.
    fn closing_idle(&self) -> u8;
    /// Units of age for which a SYN's choice is remembered.
    fn embryonic_idle(&self) -> u8;
    /// Units of age for which the backend of a fragmented packet is remembered.
    fn fragment_idle(&self) -> u8;
    /// One in 2^this new flows is told; 32 or more: none.
    fn sample_shift(&self) -> u32;
    /// Whether this program only tells what it would do.
    fn tracing(&self) -> bool;

    /// Now, in units of age.
    fn age(&self) -> u8;
    /// Now, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    fn coarse_ns(&self) -> u64;

    /// A slot of the table of interfaces.
    fn iface(&self, slot: u32) -> Option<&Iface>;
    /// A bit of the VIP filter.
    fn may_be_vip(&self, bit: u16) -> bool;
    /// A VIP.
    fn vip(&self, key: &VipKey) -> Option<VipValue>;
    /// A service.
    fn service(&self, key: &ServiceKey) -> Option<&ServiceValue>;
    /// The longest block of ports that the one of this key lies in.
    fn range(&self, key: &RangeKey) -> Option<RangeValue>;
    /// The member in a slot of a ring; [`NO_MEMBER`](vc5_ebpf_abi::NO_MEMBER) if there is none.
    fn ring_slot(&self, ring: u32, slot: u16) -> u16;
    /// A real.
    fn real(&self, id: u32) -> Option<&Real>;
    /// The bucket of the flow table for a hash.
    fn flows(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]>;
    /// The bucket of the embryonic table for a hash.
    fn embryonic(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]>;
    /// The bucket of the table of fragments for a hash.
    fn fragments(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]>;
    /// Makes ready to send by the interface with this [`Iface::index`]; `false` if there is none.
    fn can_send(&self, tx: u8) -> bool;

    /// Counts a frame of `bytes` bytes that came in by the interface with this
    /// [`Iface::index`], 0 for an unknown one.
    fn count(&self, iface: u8, reason: Reason, bytes: u64);
    /// Counts an event.
    fn event(&self, event: Event);
    /// Adds to the counters of a real.
    fn count_traffic(&self, real: u32, traffic: &Traffic);
    /// Tells user space of a new flow; `false` if that has no room for it.
    fn sample(&self, sample: &Sample) -> bool;
    /// Lets a tracing program note what it found; does nothing in another.
    fn trace(&self, note: impl FnOnce(&mut Trace));

    /// Writes a record.
    #[inline(always)]
    fn put(&self, way: &Way, entry: FlowEntry) {
        if !self.tracing() {
            way.set(entry.0);
        }
    }

    /// Notes that an event happened.
    #[inline(always)]
    fn happened(&self, event: Event) {
        if !self.tracing() {
            self.event(event);
        }
    }

    /// [`choose_anew`](choose::choose_anew), as a function of its own.
    ///
    /// # Errors
    ///
    /// As that.
    #[inline(always)]
    fn choose_anew(&self, flow: &Flow, known: bool, choice: &mut Choice) -> Result<(), Reason>
    where
        Self: Sized,
    {
        choose::choose_anew(flow, known, self, choice)
    }

    /// [`remember_new`](choose::remember_new), as a function of its own.
    #[inline(always)]
    fn remember_new(&self, flow: &Flow, choice: &Choice, generation: u8) -> bool
    where
        Self: Sized,
    {
        choose::remember_new(flow, choice, generation, self)
    }

    /// The flow hash ([`hash_words`]), as a function of its own.
    #[inline(always)]
    fn hash(&self, addresses: &Addresses, ports: u32, protocol: u8) -> u64 {
        hash_words(self.hash_key(), addresses.source, addresses.destination, ports, protocol)
    }
}
