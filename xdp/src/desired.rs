//! The forwarding state that the owner of a dataplane wants.

use std::net::IpAddr;

/// Everything that shall be forwarded. What is not in it is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The VIPs; an address may appear once.
    pub vips: Vec<VipSpec>,
}

/// A VIP and the services reached through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipSpec {
    /// The VIP's address.
    pub address: IpAddr,
    /// ICMP and ICMPv6 echo requests to it are answered.
    pub up: bool,
    /// What becomes of packets to a port or protocol that none of the services has.
    pub unknown: Unknown,
    /// Its services. No two of one protocol may have a range in part in common; of one port, a
    /// range and all ports, the narrower service has the ports that both name.
    pub services: Vec<ServiceSpec>,
}

/// What becomes of packets to a VIP that are for none of its services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// They are dropped.
    #[default]
    Drop,
    /// They are left to the kernel.
    Pass,
    /// They are answered: a TCP segment by a RST (RFC 9293 section 3.10.7.1), a UDP datagram by
    /// port unreachable, another protocol by protocol unreachable (RFC 1122 section 3.2.2.1,
    /// RFC 4443 section 3.1).
    Reject,
}

/// Some ports of a VIP, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Destination ports.
    pub ports: Ports,
    /// Transport protocol.
    pub protocol: L4,
    /// Greatest TTL or hop limit of the packets sent to backends, 1 to 255. 1 writes 1 always;
    /// a greater one, like `None`, lowers the TTL that came by one besides.
    pub ttl: Option<u8>,
    /// What becomes of the flows of a backend that is down.
    pub on_down: OnDown,
    /// New flows are balanced by the addresses alone, so that all flows of a client go to one
    /// backend as long as that serves.
    pub sticky: bool,
    /// Routers may be sending packets for it here. Only then has a ring sent flows anywhere, so
    /// that after a change of ring, flows unknown to this node go for a while where the ring before
    /// the change sent them. While it is false rings change without that: at the start of a node
    /// backends come up one by one, and the first ring of one backend must not be asked later on.
    /// Of a service that an earlier run has left it is taken as true until it has been so once.
    pub serving: bool,
    /// The VIP is not ready while no backend of this service can take a new flow. A service without
    /// it holds its VIP up only until it is in force.
    pub needed: bool,
    /// The backends, at most [`crate::maglev::MAX_MEMBERS`]; an address may appear once. One that
    /// is left out drains for [`DataplaneConfig::drain_time`](crate::DataplaneConfig::drain_time)
    /// before it is down and then forgotten.
    pub backends: Vec<BackendSpec>,
}

/// Destination ports of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ports {
    /// One port, 1 to 65535.
    One(u16),
    /// From the first, at least 1, to the last, which is greater.
    Range(u16, u16),
    /// Every port that no other service of the VIP and protocol has.
    All,
}

impl std::fmt::Display for Ports {
    /// `80`, `8000-8099` or `all`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(port) => write!(f, "{port}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum L4 {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl L4 {
    /// IP protocol number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The protocol of an IP protocol number, if it is one that is balanced.
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl std::fmt::Display for L4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What becomes of the established TCP flows of a backend that is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDown {
    /// They go by the ring, to another backend.
    #[default]
    Reselect,
    /// They stay with the backend.
    Stick,
}

/// One backend of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendSpec {
    /// The backend's own address, on a connected subnet of one of the dataplane's interfaces or
    /// VLANs; it may be of another family than the VIP.
    pub address: IpAddr,
    /// Weight relative to the service's other backends; 0 takes no new flows.
    pub weight: u32,
    /// What the backend may be used for.
    pub state: RealState,
}

/// What a backend may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RealState {
    /// New and old flows.
    #[default]
    Live,
    /// Old flows only.
    Draining,
    /// No flows; see [`OnDown`] for those it has.
    Down,
    /// Not known yet: one that the service has already stays what it is, also if an earlier run has
    /// left it so; a new one is down.
    Undecided,
}

impl std::fmt::Display for RealState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Undecided => "undecided",
        })
    }
}
