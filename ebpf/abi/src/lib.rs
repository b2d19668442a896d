//! What the XDP program and user space share: map names, keys and values, settings, counters.
//!
//! Everything here is plain data with explicit padding, the same bytes on both sides. A change of
//! any size, field or meaning raises [`LAYOUT_VERSION`], by which a new daemon knows that pinned
//! maps of an older one cannot be adopted as they are.
//!
//! User space enables the feature `user`, which gives each type `aya::Pod`.
//!
//! # Order of changes
//!
//! Readers take no lock, so the writer's order is what keeps a packet from meeting half-made state:
//!
//! - add: [`Real`]s, then the ring, then [`ServiceValue`], then [`RangeValue`]s, then [`VipValue`],
//!   then the bit in [`VipFilter`]; remove in the opposite order.
//! - a backend that goes down: flip the service to a ring without it, then set [`Real::state`].
//! - a real id is given to another (service, backend) pair only with the next generation.

#![no_std]

mod counters;
mod flow;
mod settings;
mod tables;
mod trace;

pub use counters::{
    Counter, EVENT_COUNT, Event, REASON_COUNT, REASONS_MAX, Reason, Traffic, Verdict, stats_index,
};
pub use flow::{Active, BUCKET_WAYS, Bucket, FlowEntry, MAX_BUCKETS, bucket_index};
pub use settings::{LAYOUT_VERSION, NO_TABLE, SETTINGS, Settings, age_shift};
pub use tables::{
    Address, IFACE_PROBES, IFACE_SLOTS, Iface, MAX_IFACES, MAX_MEMBER, MAX_REALS, NO_MEMBER,
    NO_REAL, NO_RING, PAGE_REALS, RING_SLOTS, RangeKey, RangeValue, Real, RealState, Ring,
    SERVICE_BUCKETS, SERVICE_NUMBERS, SERVICE_PAGES, SERVICE_WAYS, Service, ServiceBucket,
    ServiceKey, ServiceValue, VIP_FILTER_WORDS, VipFilter, VipKey, VipValue, iface_slot, mapped,
    service_buckets, vip_filter_bit, vip_filter_bit_v6,
};
pub use trace::{Sample, Trace};

/// Names of the maps in the object and, where pinned, of their pins.
pub mod maps {
    /// `ARRAY<VipFilter, 1>`.
    pub const VIP_FILTER: &str = "VIP_FILTER";
    /// `HASH<VipKey, VipValue>`, not preallocated.
    pub const VIPS: &str = "VIPS";
    /// `ARRAY<ServiceBucket, SERVICE_BUCKETS>`, memory-mappable: the numbers of services, by
    /// [`service_buckets`](crate::service_buckets).
    pub const SERVICE_INDEX: &str = "SERVICE_INDEX";
    /// `ARRAY<Service, SERVICE_NUMBERS>`, memory-mappable, indexed by the number of a service.
    pub const SERVICES: &str = "SERVICES";
    /// `LPM_TRIE<RangeKey, RangeValue>`, not preallocated.
    pub const PORT_RANGES: &str = "PORT_RANGES";
    /// `ARRAY_OF_MAPS<ARRAY<Ring, 1>>`, indexed by ring id.
    pub const RINGS: &str = "RINGS";
    /// `ARRAY<Real>`, memory-mappable, indexed by real id; at most `MAX_REALS`.
    pub const REALS: &str = "REALS";
    /// `ARRAY<Bucket>`, memory-mappable.
    pub const FLOWS: &str = "FLOWS";
    /// `ARRAY<Active, 1>`, memory-mappable.
    pub const ACTIVE: &str = "ACTIVE";
    /// `ARRAY<Bucket>`, memory-mappable: the `FLOWS` in use before a change of their size, asked for
    /// flows that `FLOWS` does not have. [`NO_TABLE`](crate::NO_TABLE): one bucket without a use.
    pub const BEFORE: &str = "BEFORE";
    /// `ARRAY<Bucket>`, memory-mappable.
    pub const EMBRYONIC: &str = "EMBRYONIC";
    /// `ARRAY<Bucket>`, memory-mappable: backends of fragmented packets, by a hash of addresses,
    /// identification and protocol.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// `ARRAY<Iface, IFACE_SLOTS>`, placed by [`iface_slot`](crate::iface_slot).
    pub const IFACES: &str = "IFACES";
    /// `DEVMAP<MAX_IFACES>`: the interfaces to send by, at [`Iface::index`](crate::Iface::index).
    pub const TX_PORTS: &str = "TX_PORTS";
    /// `PERCPU_ARRAY<Counter>`, indexed by [`stats_index`](crate::stats_index).
    pub const STATS: &str = "STATS";
    /// `PERCPU_ARRAY<u64, EVENT_COUNT>`, indexed by [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";
    /// `PERCPU_ARRAY<Traffic>`, indexed by real id, of the same size as `REALS`.
    pub const REAL_STATS: &str = "REAL_STATS";
    /// `ARRAY<Trace, 1>`, written by a program loaded for tracing only.
    pub const TRACE: &str = "TRACE";
    /// `RINGBUF` of [`Sample`](crate::Sample)s.
    pub const SAMPLES: &str = "SAMPLES";

    /// All of them.
    pub const ALL: [&str; 19] = [
        VIP_FILTER,
        VIPS,
        SERVICE_INDEX,
        SERVICES,
        PORT_RANGES,
        RINGS,
        REALS,
        FLOWS,
        ACTIVE,
        BEFORE,
        EMBRYONIC,
        FRAGMENTS,
        IFACES,
        TX_PORTS,
        STATS,
        EVENTS,
        REAL_STATS,
        TRACE,
        SAMPLES,
    ];
}

/// Name of the XDP program in the object.
pub const PROGRAM: &str = "vc5";

#[cfg(feature = "user")]
mod pod {
    use super::*;

    macro_rules! pod {
        ($($t:ty),+ $(,)?) => { $(
            // SAFETY: `repr(C)` or `repr(transparent)`, `Copy`, padding spelled out as fields, and
            // every bit pattern is a value.
            unsafe impl aya::Pod for $t {}
        )+ };
    }

    pod!(
        Active,
        Bucket,
        Counter,
        FlowEntry,
        Iface,
        RangeKey,
        RangeValue,
        Real,
        Ring,
        Sample,
        Service,
        ServiceBucket,
        ServiceKey,
        ServiceValue,
        Settings,
        Trace,
        Traffic,
        VipFilter,
        VipKey,
        VipValue,
    );
}
