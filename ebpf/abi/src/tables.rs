//! Keys and values of the tables that user space fills.

/// Real id that names no backend: an empty ring slot.
pub const NO_REAL: u16 = 0;
/// Ring id that names no ring.
pub const NO_RING: u32 = u32::MAX;
/// Slots of a ring; a slot number is 16 bits of the flow hash.
pub const RING_SLOTS: usize = 65536;
/// Entries of the table of reals; ids are 1 to 65535.
pub const MAX_REALS: u32 = 65536;
/// Words of the VIP filter's bitmap.
pub const VIP_FILTER_WORDS: usize = 1024;
/// Entries of the table of interfaces.
pub const IFACE_SLOTS: u32 = 256;
/// Places in which an interface can lie, tried one after the other.
pub const IFACE_PROBES: u32 = 4;

/// A Maglev ring: the real id of every slot, [`NO_REAL`] where there is none.
///
/// One element of one array, so that one system call fills it. 128 KiB: not for the stack.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Ring(pub [u16; RING_SLOTS]);

impl core::fmt::Debug for Ring {
    /// Without its slots: nobody reads 65536 numbers.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

/// Bitmap by [`vip_filter_bit`]: a clear bit means that an address is no VIP.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct VipFilter(pub [u64; VIP_FILTER_WORDS]);

/// Bit (0 to 65535) of the VIP filter for a destination address in network byte order.
#[inline(always)]
#[must_use]
pub const fn vip_filter_bit(addr: [u8; 4]) -> u16 {
    // Fibonacci hashing: neighbouring addresses land far apart, and it costs one multiplication.
    (u32::from_be_bytes(addr).wrapping_mul(0x9e37_79b1) >> 16) as u16
}

/// Key of the VIPs: the address in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKey(pub [u8; 4]);

/// What is known of a VIP as such. Its presence tells an unknown port from a foreign address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipValue {
    /// No flag is defined yet; zero.
    pub flags: u32,
}

/// Key of the services.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// VIP in network byte order.
    pub addr: [u8; 4],
    /// Port in network byte order.
    pub port: [u8; 2],
    /// IP protocol number: 6 or 17.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

impl ServiceKey {
    /// Key of a service on `addr`, `port` (host order) with IP protocol `protocol`.
    #[must_use]
    pub const fn new(addr: [u8; 4], port: u16, protocol: u8) -> Self {
        Self { addr, port: port.to_be_bytes(), protocol, pad: 0 }
    }
}

/// A service: read on a miss of the flow table only.
///
/// The map is not preallocated, so a reader sees one whole value, the old or the new.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceValue {
    /// `CLOCK_MONOTONIC_COARSE` nanoseconds until which `prev_ring` is asked.
    pub prev_until_ns: u64,
    /// Ring in force, or [`NO_RING`].
    pub ring: u32,
    /// Oldest ring of the time span before `prev_until_ns`, or [`NO_RING`].
    pub prev_ring: u32,
    /// Index into `SERVICE_STATS`.
    pub stat: u32,
    /// [`ServiceValue::STICK`] or zero.
    pub flags: u32,
}

impl ServiceValue {
    /// `on-down = "stick"`: TCP flows of a backend that is down stay with it.
    pub const STICK: u32 = 1;
}

/// State of a [`Real`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RealState {
    /// Nobody's. Flows that still name it are treated as having no entry.
    Free = 0,
    /// Takes new and known flows.
    Live = 1,
    /// Takes known flows only.
    Draining = 2,
    /// Failed, disabled or removed from the service, and the id not yet re-used.
    Down = 3,
}

impl RealState {
    /// The state that the byte of [`Real::state`] stands for; an unknown one counts as free.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(state: u8) -> Self {
        match state {
            1 => Self::Live,
            2 => Self::Draining,
            3 => Self::Down,
            _ => Self::Free,
        }
    }
}

/// One backend of one service; the index is its real id.
///
/// All that a hit of the flow table needs, so that it never asks for the service. Array elements
/// are overwritten in place: on a change of address a single packet may see half of each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Real {
    /// The backend's own address in network byte order; for readers, not for forwarding.
    pub addr: [u8; 4],
    /// Interface on which the backend is reached.
    pub ifindex: u32,
    /// The backend's hardware address; all zero while unresolved (packets are then dropped).
    pub mac: [u8; 6],
    /// Our hardware address on that interface.
    pub src_mac: [u8; 6],
    /// VLAN id, 0 for none; not used for forwarding yet.
    pub vlan: u16,
    /// Raised by user space each time the id is given to another pair; the low
    /// [`FlowEntry::GENERATION_BITS`](crate::FlowEntry::GENERATION_BITS) bits are in each flow.
    pub generation: u8,
    /// A [`RealState`].
    pub state: u8,
    /// TTL that is written into forwarded packets; 0 keeps the packet's own.
    pub ttl: u8,
    /// Zero.
    pub flags: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// Index into `SERVICE_STATS` of the service that this real belongs to.
    pub service_stat: u32,
}

/// An interface that the program is attached to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Iface {
    /// Interface index; 0 marks an unused slot.
    pub ifindex: u32,
    /// Our hardware address there; frames to another are passed.
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 6],
}

/// Slot of the table of interfaces that is tried as the `probe`th (0 to [`IFACE_PROBES`] - 1).
///
/// Interface indices grow without bound, a hash map costs more than a packet has to spare: so a
/// small open table. User space puts an interface into the first slot of its own that is unused.
#[inline(always)]
#[must_use]
pub const fn iface_slot(ifindex: u32, probe: u32) -> u32 {
    ifindex.wrapping_add(probe) % IFACE_SLOTS
}

const _: () = {
    assert!(size_of::<Ring>() == 131_072);
    assert!(size_of::<VipFilter>() == 8192);
    assert!(size_of::<VipKey>() == 4);
    assert!(size_of::<VipValue>() == 4);
    assert!(size_of::<ServiceKey>() == 8);
    assert!(size_of::<ServiceValue>() == 24);
    assert!(size_of::<Real>() == 32);
    assert!(size_of::<Iface>() == 16);
};
