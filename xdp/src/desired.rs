//! The forwarding state that the owner of a dataplane wants.

use std::net::Ipv4Addr;

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
    pub address: Ipv4Addr,
    /// Its services; a pair of protocol and port may appear once.
    pub services: Vec<ServiceSpec>,
}

/// One port of a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Destination port, 1 to 65535.
    pub port: u16,
    /// Transport protocol.
    pub protocol: L4,
    /// TTL of the packets sent to backends, 1 to 255; `None` leaves the TTL as it came.
    pub ttl: Option<u8>,
    /// What becomes of the flows of a backend that is down.
    pub on_down: OnDown,
    /// Routers may be sending packets for it here. Only then has a ring sent flows anywhere, so
    /// that after a change of ring, flows unknown to this node go for a while where the ring before
    /// the change sent them. While it is false rings change without that: at the start of a node
    /// backends come up one by one, and the first ring of one backend must not be asked later on.
    pub serving: bool,
    /// The backends, at most [`crate::maglev::MAX_MEMBERS`]; an address may appear once.
    pub backends: Vec<BackendSpec>,
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum L4 {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
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
    /// The backend's own address, on a connected subnet of one of the dataplane's interfaces.
    pub address: Ipv4Addr,
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
}

impl std::fmt::Display for RealState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Down => "down",
        })
    }
}
