//! What a dataplane knows and has counted, at one moment.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{L4, Ports, RealState};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// State and counters of a dataplane; refreshed about every second and after each change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The interfaces, in the order configured.
    pub interfaces: Vec<InterfaceStatus>,
    /// Packets by what became of them; the sum is all packets the program has seen.
    pub reasons: Vec<ReasonCount>,
    /// What happened to the flow tables, each by its stable name and how often.
    pub events: Vec<(&'static str, u64)>,
    /// The VIPs in force, in the order of their addresses.
    pub vips: Vec<Arc<VipStatus>>,
    /// Memory held by the flow tables, in bytes.
    pub flow_memory: u64,
    /// Flows that can be remembered at once.
    pub flow_capacity: u64,
    /// Sequence number of the desired state in force; 0 before the first.
    pub applied_seq: u64,
}

/// One interface of a dataplane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Kernel interface index.
    pub index: u32,
    /// Its own MAC address.
    pub mac: Mac,
    /// `native` or `generic`.
    pub mode: &'static str,
    /// Whether the program runs on it and the interface is up.
    pub attached: bool,
    /// Why it does not, or why its mode is not native.
    pub note: Option<String>,
    /// Packets that came in by it, by what became of them.
    pub reasons: Vec<ReasonCount>,
}

/// How many packets met one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The fate, as a short stable name.
    pub name: &'static str,
    /// Packets since the tables were made.
    pub packets: u64,
    /// Bytes of those packets, from the Ethernet header on.
    pub bytes: u64,
}

/// Traffic counters since the tables were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent to backends.
    pub packets: u64,
    /// Bytes of those packets, from the Ethernet header on.
    pub bytes: u64,
    /// Flow records made: connections seen beyond their SYN, UDP flows from their first packet.
    pub flows: u64,
    /// TCP SYNs among the packets.
    pub syns: u64,
    /// TCP FINs among the packets.
    pub fins: u64,
    /// TCP RSTs among the packets.
    pub rsts: u64,
}

/// One VIP in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipStatus {
    /// The VIP's address.
    pub address: IpAddr,
    /// Why it is not ready; `None` when every service has a usable backend.
    pub not_ready: Option<String>,
    /// Its services.
    pub services: Vec<ServiceStatus>,
}

/// One service in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Destination ports.
    pub ports: Ports,
    /// Transport protocol.
    pub protocol: L4,
    /// Traffic of the whole service, that of backends which have left it included.
    pub counters: Counters,
    /// Its backends.
    pub backends: Vec<BackendStatus>,
}

/// One backend of a service in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// The backend's address.
    pub address: IpAddr,
    /// The state that it is meant to have.
    pub state: RealState,
    /// It is no more among the backends wanted: it drains, or is down and about to be forgotten.
    pub leaving: bool,
    /// How it is reached, such as "eth0 vlan 10, subnet 10.1.10.0/24", or why it is not.
    pub path: Arc<str>,
    /// Its MAC address, when known.
    pub mac: Option<Mac>,
    /// Slots of the ring that it owns, 0 to 65536.
    pub ring_slots: u32,
    /// Traffic sent to it for this service.
    pub counters: Counters,
}
