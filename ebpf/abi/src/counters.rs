//! What is counted.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Left to the kernel, untouched.
    Pass,
    /// Dropped.
    Drop,
    /// Sent out by the interface that it came in by.
    Tx,
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
    /// TCP SYNs among the packets.
    pub syns: u64,
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
    /// Shorter than an Ethernet and an IPv4 header.
    Short => Pass "short",
    /// From an interface that is not in `IFACES`.
    UnknownInterface => Pass "unknown-interface",
    /// Not to our hardware address.
    NotOurMac => Pass "not-our-mac",
    /// VLAN-tagged.
    Vlan => Pass "vlan",
    /// IPv6.
    Ipv6 => Pass "ipv6",
    /// Any other EtherType but IPv4.
    NotIp => Pass "not-ip",
    /// IPv4, not to a VIP.
    NotVip => Pass "not-vip",
    /// ICMP to a VIP.
    Icmp => Pass "icmp",
    /// To a VIP, and the IPv4 header contradicts itself or the frame.
    Malformed => Drop "malformed",
    /// To a VIP, and the frame or the IPv4 packet ends before the TCP or UDP header does.
    Truncated => Drop "truncated",
    /// A fragment to a VIP.
    Fragment => Drop "fragment",
    /// To a VIP, of a protocol that is not balanced.
    UnknownProtocol => Drop "unknown-protocol",
    /// To a VIP, and no service has this port.
    UnknownPort => Drop "unknown-port",
    /// The service has no ring, or its ring has no backend in this slot.
    NoBackend => Drop "no-backend",
    /// The ring names a real that is down or free.
    RealDown => Drop "real-down",
    /// The real's hardware address is unknown.
    NoNeighbour => Drop "no-neighbour",
    /// The real is not reached by the interface that the packet came in by.
    OtherInterface => Drop "other-interface",
    /// Forwarded as the flow table says.
    Flow => Tx "flow",
    /// Forwarded as the flow table says to a real that is down (`on-down = "stick"`).
    FlowStuck => Tx "flow-stuck",
    /// Forwarded as the embryonic table says.
    Embryonic => Tx "embryonic",
    /// Forwarded as the previous ring says.
    PreviousRing => Tx "previous-ring",
    /// Forwarded as the ring says.
    Ring => Tx "ring",
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
}

/// Number of events.
pub const EVENT_COUNT: u32 = Event::ALL.len() as u32;

const _: () = {
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<Traffic>() == 32);
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
