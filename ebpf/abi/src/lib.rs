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
//! - add: [`Real`]s, then the ring, then [`ServiceValue`], then [`VipValue`], then the bit in
//!   [`VipFilter`]; remove in the opposite order.
//! - a backend that goes down: flip the service to a ring without it, then set [`Real::state`].
//! - a real id is given to another (service, backend) pair only with the next generation.

#![no_std]

mod counters;
mod flow;
mod settings;
mod tables;

pub use counters::{Counter, EVENT_COUNT, Event, REASON_COUNT, Reason, Traffic, Verdict};
pub use flow::{BUCKET_WAYS, Bucket, FlowEntry, MAX_BUCKETS_PER_CPU, bucket_index};
pub use settings::{LAYOUT_VERSION, SETTINGS, Settings, age_shift};
pub use tables::{
    IFACE_PROBES, IFACE_SLOTS, Iface, MAX_REALS, NO_REAL, NO_RING, RING_SLOTS, Real, RealState,
    Ring, ServiceKey, ServiceValue, VIP_FILTER_WORDS, VipFilter, VipKey, VipValue, iface_slot,
    vip_filter_bit,
};

/// Names of the maps in the object and, where pinned, of their pins.
pub mod maps {
    /// `ARRAY<VipFilter, 1>`.
    pub const VIP_FILTER: &str = "VIP_FILTER";
    /// `HASH<VipKey, VipValue>`, not preallocated.
    pub const VIPS: &str = "VIPS";
    /// `HASH<ServiceKey, ServiceValue>`, not preallocated.
    pub const SERVICES: &str = "SERVICES";
    /// `ARRAY_OF_MAPS<ARRAY<Ring, 1>>`, indexed by ring id.
    pub const RINGS: &str = "RINGS";
    /// `ARRAY<Real, MAX_REALS>`, indexed by real id.
    pub const REALS: &str = "REALS";
    /// `ARRAY<Bucket>`, memory-mappable: possible CPUs x buckets per CPU.
    pub const FLOWS: &str = "FLOWS";
    /// `ARRAY<Bucket>`, memory-mappable: possible CPUs x buckets per CPU.
    pub const EMBRYONIC: &str = "EMBRYONIC";
    /// `ARRAY<Iface, IFACE_SLOTS>`, placed by [`iface_slot`](crate::iface_slot).
    pub const IFACES: &str = "IFACES";
    /// `PERCPU_ARRAY<Counter, REASON_COUNT>`, indexed by [`Reason`](crate::Reason).
    pub const STATS: &str = "STATS";
    /// `PERCPU_ARRAY<u64, EVENT_COUNT>`, indexed by [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";
    /// `PERCPU_ARRAY<Traffic>`, indexed by [`ServiceValue::stat`](crate::ServiceValue::stat).
    pub const SERVICE_STATS: &str = "SERVICE_STATS";
    /// `PERCPU_ARRAY<Traffic, MAX_REALS>`, indexed by real id.
    pub const REAL_STATS: &str = "REAL_STATS";
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
        Bucket,
        Counter,
        FlowEntry,
        Iface,
        Real,
        Ring,
        ServiceKey,
        ServiceValue,
        Settings,
        Traffic,
        VipFilter,
        VipKey,
        VipValue,
    );
}
