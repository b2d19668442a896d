//! Keys and values of the tables that user space fills.

/// Real id that names nobody: an empty way of a flow table.
pub const NO_REAL: u32 = 0;
/// Member number that names nobody: an empty ring slot.
pub const NO_MEMBER: u16 = 0;
/// Ring id that names no ring.
pub const NO_RING: u32 = u32::MAX;
/// Slots of a ring; a slot number is 16 bits of the flow hash.
pub const RING_SLOTS: usize = 65536;
/// Most entries of the table of reals; ids are 1 to one less.
pub const MAX_REALS: u32 = 1 << 18;
/// Real ids are given to services by pages of so many.
pub const PAGE_REALS: u32 = 16;
/// Pages of one service.
pub const SERVICE_PAGES: usize = 256;
/// Greatest member number of a service's backend; the least is 1.
pub const MAX_MEMBER: u16 = (SERVICE_PAGES as u32 * PAGE_REALS - 1) as u16;
/// Words of the VIP filter's bitmap.
pub const VIP_FILTER_WORDS: usize = 1024;
/// Entries of the table of interfaces.
pub const IFACE_SLOTS: u32 = 256;
/// Places in which an interface can lie, tried one after the other.
pub const IFACE_PROBES: u32 = 4;
/// Interfaces that can be told apart in counters and sent out by; [`Iface::index`] is less.
pub const MAX_IFACES: u32 = 64;

/// A Maglev ring: the member number of every slot, [`NO_MEMBER`] where there is none.
///
/// Services with the same backends, weights and member numbers share one. One element of one array,
/// so that one system call fills it. 128 KiB: not for the stack.
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

/// An address in network byte order; IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
///
/// As two words, so that it is loaded, compared and hashed by words.
pub type Address = [u8; 16];

/// The [`Address`] of an IPv4 address in network byte order.
#[inline(always)]
#[must_use]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> Address {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Bit (0 to 65535) of the VIP filter for an IPv4 destination in network byte order.
#[inline(always)]
#[must_use]
pub const fn vip_filter_bit(addr: [u8; 4]) -> u16 {
    // Fibonacci hashing: neighbouring addresses land far apart, and it costs one multiplication.
    (u32::from_be_bytes(addr).wrapping_mul(0x9e37_79b1) >> 16) as u16
}

/// Bit (0 to 65535) of the VIP filter for an IPv6 destination, given as its two words in network
/// byte order.
#[inline(always)]
#[must_use]
pub const fn vip_filter_bit_v6([upper, lower]: [[u8; 8]; 2]) -> u16 {
    let folded = u64::from_be_bytes(upper) ^ u64::from_be_bytes(lower).rotate_left(32);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
}

/// Key of the VIPs.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKey(pub Address);

/// What is known of a VIP as such. Its presence tells an unknown port from a foreign address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipValue {
    /// Any of the constants below.
    pub flags: u32,
}

impl VipValue {
    /// The VIP is up: ICMP and ICMPv6 echo requests to it are answered.
    pub const UP: u32 = 1;
    /// Packets to a port or protocol without a service are passed to the kernel.
    pub const UNKNOWN_PASS: u32 = 2;
    /// Such packets are answered by a TCP RST, or an ICMP port or protocol unreachable.
    pub const UNKNOWN_REJECT: u32 = 4;
    /// Some service has a range of ports or all: `PORT_RANGES` is asked where `SERVICES` has none.
    pub const RANGES: u32 = 8;
}

/// Key of the services.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// VIP.
    pub addr: Address,
    /// Port in network byte order; of a range the first, and 0 for all ports.
    pub port: [u8; 2],
    /// IP protocol number: 6 or 17.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

impl ServiceKey {
    /// Key of a service on `addr`, `port` (host order) with IP protocol `protocol`.
    #[must_use]
    pub const fn new(addr: Address, port: u16, protocol: u8) -> Self {
        Self { addr, port: port.to_be_bytes(), protocol, pad: 0 }
    }
}

/// Key of `PORT_RANGES`: a block of ports whose numbers begin with the same bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeKey {
    /// Bits of the rest that count: [`RangeKey::PREFIX`] and up to 16 of the port.
    pub prefix_len: u32,
    /// VIP.
    pub addr: Address,
    /// IP protocol number: 6 or 17.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// First port of the block, in network byte order.
    pub port: [u8; 2],
}

impl RangeKey {
    /// Bits before the port.
    pub const PREFIX: u32 = 8 * 18;
    /// Bits of a whole key, as of a look-up.
    pub const FULL: u32 = Self::PREFIX + 16;
}

/// Value of `PORT_RANGES`: which service has the ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeValue {
    /// [`ServiceKey::port`] of the service.
    pub port: [u8; 2],
    /// Zero.
    pub pad: [u8; 2],
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
    /// Any of the constants below.
    pub flags: u32,
    /// Zero.
    pub pad: u32,
    /// Where the real ids of the service's members lie: that of member `m` is `m % PAGE_REALS` on
    /// from the start of page `pages[m / PAGE_REALS]`, page `p` beginning at id `p * PAGE_REALS`.
    pub pages: [u16; SERVICE_PAGES],
}

impl ServiceValue {
    /// `on-down = "stick"`: TCP flows of a backend that is down stay with it.
    pub const STICK: u32 = 1;
    /// `sticky`: the ring's slot is chosen by the addresses alone.
    pub const BY_ADDRESS: u32 = 2;

    /// The real id of a member of the service.
    #[inline(always)]
    #[must_use]
    pub fn real(&self, member: u16) -> u32 {
        let page =
            self.pages.get((usize::from(member) / PAGE_REALS as usize) & (SERVICE_PAGES - 1));
        page.map_or(NO_REAL, |page| u32::from(*page) * PAGE_REALS + u32::from(member) % PAGE_REALS)
    }
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
/// All that a hit of the flow table needs, so that it never asks for the service, in one cache line.
/// Array elements are overwritten in place: on a change of address a single packet may see half of
/// each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Real {
    /// Interface by which the backend is reached: one that the program is attached to.
    pub ifindex: u32,
    /// The backend's hardware address; all zero while unresolved (packets are then dropped).
    pub mac: [u8; 6],
    /// Our hardware address on that interface.
    pub src_mac: [u8; 6],
    /// VLAN id (1 to 4094) in which the backend is reached on that interface, 0 for untagged.
    pub vlan: u16,
    /// Raised by user space each time the id is given to another pair; the low
    /// [`FlowEntry::GENERATION_BITS`](crate::FlowEntry::GENERATION_BITS) bits are in each flow.
    pub generation: u8,
    /// A [`RealState`].
    pub state: u8,
    /// Greatest TTL or hop limit of forwarded packets; 0 sets none. See `vc5_ebpf_path::rewrite`.
    pub ttl: u8,
    /// [`Iface::index`] of the interface, for sending by another than the packet came in by.
    pub tx: u8,
    /// The backend's number within its service.
    pub member: u16,
    /// Zero.
    pub pad: [u8; 8],
    /// The backend's own address; for readers, not for forwarding.
    pub addr: Address,
    /// Zero.
    pub spare: [u8; 16],
}

/// An interface that the program is attached to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Iface {
    /// Interface index; 0 marks an unused slot.
    pub ifindex: u32,
    /// Our hardware address there; frames to another are passed.
    pub mac: [u8; 6],
    /// Its number in `STATS` and `TX_PORTS`, 1 to [`MAX_IFACES`] - 1.
    pub index: u8,
    /// [`Iface::TRUNK`] or zero.
    pub flags: u8,
    /// Zero.
    pub pad: [u8; 4],
}

impl Iface {
    /// Frames with a VLAN tag are ours too, whatever its id.
    pub const TRUNK: u8 = 1;
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
    assert!(size_of::<VipKey>() == 16);
    assert!(size_of::<VipValue>() == 4);
    assert!(size_of::<ServiceKey>() == 20);
    assert!(size_of::<RangeKey>() == 24);
    assert!(size_of::<RangeValue>() == 4);
    assert!(size_of::<ServiceValue>() == 24 + 2 * SERVICE_PAGES);
    assert!(size_of::<Real>() == 64);
    assert!(size_of::<Iface>() == 16);
    assert!(MAX_REALS / PAGE_REALS <= 1 << 16);
};
