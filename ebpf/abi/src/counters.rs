//! What is counted.

use crate::MAX_IFACES;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Left to the kernel, untouched.
    Pass,
    /// Dropped.
    Drop,
    /// Sent, by the interface that it came in by or another.
    Sent,
}

/// A packet or byte count of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes from the destination hardware address on, without frame check sequence.
    pub bytes: u64,
}

/// Forwarded traffic of a service or real on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Their bytes, counted as in [`Counter::bytes`].
    pub bytes: u64,
    /// Flow records made.
    pub flows: u64,
    /// TCP SYNs (without ACK) among the packets.
    pub syns: u64,
    /// TCP FINs among the packets.
    pub fins: u64,
    /// TCP RSTs among the packets.
    pub rsts: u64,
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident => $verdict:ident $label:literal,)+) => {
        /// Why a packet met its verdict. Every packet is counted under exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Reason { $($(#[$doc])+ $name,)+ }

        impl Reason {
            /// All of them, in the order of their indices in `STATS`.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The verdict that goes with it.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)+ }
            }

            /// Its name in metrics and on the console.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

reasons! {
    /// Shorter than an Ethernet and an IP header.
    Short => Pass "short",
    /// From an interface that is not in `IFACES`.
    UnknownInterface => Pass "unknown-interface",
    /// Not to our hardware address.
    NotOurMac => Pass "not-our-mac",
    /// VLAN-tagged, on an interface that is no trunk, or more than twice.
    Vlan => Pass "vlan",
    /// Neither IPv4 nor IPv6.
    NotIp => Pass "not-ip",
    /// IP, not to a VIP.
    NotVip => Pass "not-vip",
    /// To a VIP, and the IP header contradicts itself or the frame.
    Malformed => Drop "malformed",
    /// To a VIP, and the frame or the IP packet ends before the headers that decide do.
    Truncated => Drop "truncated",
    /// To a VIP, with more or other IPv6 extension headers than are walked.
    ExtensionHeaders => Drop "extension-headers",
    /// To a VIP, a fragment other than the first, of a packet whose first was not seen.
    FragmentUnknown => Drop "fragment-unknown",
    /// To a VIP, of a protocol that is not balanced.
    UnknownProtocol => Drop "unknown-protocol",
    /// To a VIP, and no service has this port.
    UnknownPort => Drop "unknown-port",
    /// To a VIP, no service has this port or protocol, and such packets are passed.
    UnknownPassed => Pass "unknown-passed",
    /// To a VIP, no service has this port or protocol, and the packet was answered so.
    UnknownRejected => Sent "unknown-rejected",
    /// ICMP or ICMPv6 to a VIP, neither an error nor an echo request.
    IcmpOther => Drop "icmp-other",
    /// An ICMP or ICMPv6 error to a VIP that quotes no packet of a service of that VIP.
    IcmpForeign => Drop "icmp-foreign",
    /// An echo request to a VIP that is not up, or a fragment of one.
    EchoDown => Drop "echo-down",
    /// An echo request to a VIP, answered.
    Echo => Sent "echo",
    /// The TTL or hop limit is used up: it may be going round.
    TtlExceeded => Drop "ttl-exceeded",
    /// The service has no ring, or its ring has no backend in this slot.
    NoBackend => Drop "no-backend",
    /// The ring names a real that is down or free.
    RealDown => Drop "real-down",
    /// The real's hardware address is unknown.
    NoNeighbour => Drop "no-neighbour",
    /// The interface by which the real is reached cannot be sent by from here.
    NoInterface => Drop "no-interface",
    /// There was no room for a VLAN tag or an answer.
    NoRoom => Drop "no-room",
    /// Forwarded as the flow table says.
    Flow => Sent "flow",
    /// Forwarded as the flow table says to a real that is down (`on-down = "stick"`).
    FlowStuck => Sent "flow-stuck",
    /// Forwarded as the embryonic table says.
    Embryonic => Sent "embryonic",
    /// Forwarded as the previous ring says.
    PreviousRing => Sent "previous-ring",
    /// Forwarded as the ring says.
    Ring => Sent "ring",
    /// A fragment other than the first, forwarded to where the first went.
    Fragment => Sent "fragment",
    /// An ICMP or ICMPv6 error, forwarded to the backend of the flow that it quotes.
    IcmpError => Sent "icmp-error",
}

/// Entries of `STATS` for each interface; reasons are fewer.
pub const REASONS_MAX: u32 = 64;

/// Index into `STATS` of a reason for packets that came in by the interface with this
/// [`Iface::index`](crate::Iface::index), 0 for unknown ones.
#[inline(always)]
#[must_use]
pub const fn stats_index(iface: u8, reason: Reason) -> u32 {
    (iface as u32 & (MAX_IFACES - 1)) * REASONS_MAX + reason as u32
}

/// Number of reasons.
pub const REASON_COUNT: u32 = Reason::ALL.len() as u32;

macro_rules! events {
    ($($(#[$doc:meta])+ $name:ident $label:literal,)+) => {
        /// Things that happen to the flow tables; a packet can cause several or none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Event { $($(#[$doc])+ $name,)+ }

        impl Event {
            /// All of them, in the order of their indices in `EVENTS`.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in metrics and on the console.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

events! {
    /// A flow record was made in an empty way.
    FlowInserted "flow-inserted",
    /// A flow record was made in place of one that was closing.
    FlowReplacedClosing "flow-replaced-closing",
    /// A flow record was made in place of the one idle for longest.
    FlowReplaced "flow-replaced",
    /// A flow record was deleted, as its real takes it no more.
    FlowDeleted "flow-deleted",
    /// A SYN's choice was noted.
    EmbryonicInserted "embryonic-inserted",
    /// A SYN's choice was noted in place of another's.
    EmbryonicReplaced "embryonic-replaced",
    /// The backend of a fragmented packet was noted.
    FragmentInserted "fragment-inserted",
    /// It was noted in place of another's.
    FragmentReplaced "fragment-replaced",
    /// A new flow was not told to user space, as that has not read what was told before.
    SampleLost "sample-lost",
}

/// Number of events.
pub const EVENT_COUNT: u32 = Event::ALL.len() as u32;

const _: () = {
    assert!(size_of::<Counter>() == 16);
    assert!(REASON_COUNT <= REASONS_MAX);
    assert!(size_of::<Traffic>() == 48);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_dense_and_in_order() {
        for (i, &r) in Reason::ALL.iter().enumerate() {
            assert_eq!(r as usize, i, "{r:?}");
        }
        for (i, &e) in Event::ALL.iter().enumerate() {
            assert_eq!(e as usize, i, "{e:?}");
        }
    }

    #[test]
    fn labels_are_unique() {
        for (i, a) in Reason::ALL.iter().enumerate() {
            assert!(Reason::ALL.iter().skip(i + 1).all(|b| a.label() != b.label()));
        }
    }
}
