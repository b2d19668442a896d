//! What a dataplane can be asked, and its answers.

use std::net::IpAddr;
use std::time::Duration;

use crate::{L4, Mac, Ports};

/// A flow from a client to a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The client's address.
    pub source: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// The VIP; of the same family.
    pub destination: IpAddr,
    /// Destination port.
    pub port: u16,
    /// Transport protocol.
    pub protocol: L4,
}

/// Which packet of a TCP connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpKind {
    /// Its first.
    #[default]
    Syn,
    /// One in its midst.
    Data,
    /// One that ends it.
    Fin,
    /// One that resets it.
    Rst,
}

/// A packet of which it is asked what would become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceQuestion {
    /// A packet of this 5-tuple without payload.
    Tuple {
        /// The client's address.
        source: IpAddr,
        /// The client's port.
        source_port: u16,
        /// The VIP; of the same family.
        destination: IpAddr,
        /// Destination port.
        port: u16,
        /// Transport protocol.
        protocol: L4,
        /// Which packet of a connection; UDP has none.
        flags: TcpKind,
        /// Name of the interface that it comes in by; `None`: the first.
        interface: Option<String>,
        /// VLAN that it comes in tagged with; `None`: untagged.
        vlan: Option<u16>,
    },
    /// A frame, from the Ethernet header on, without frame check sequence.
    Frame {
        /// The frame, 14 to 3,520 bytes.
        bytes: Vec<u8>,
        /// Name of the interface that it comes in by; `None`: the first.
        interface: Option<String>,
    },
}

/// What the program does with a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceAnswer {
    /// `pass`, `drop` or `sent`.
    pub verdict: &'static str,
    /// Why, by the name under which such packets are counted.
    pub reason: &'static str,
    /// Name of the interface that it came in by.
    pub interface: String,
    /// Hash of the flow; `None` if the packet belongs to none.
    pub hash: Option<u64>,
    /// The service that the packet is for, if it was asked for one.
    pub service: Option<(IpAddr, Ports, L4)>,
    /// Ring that was asked; `None` if a record decided.
    pub ring: Option<u32>,
    /// Whether that is the ring before the last change.
    pub is_previous_ring: bool,
    /// Slot of the ring that was asked.
    pub slot: Option<u16>,
    /// Member of the service that the slot names.
    pub member: Option<u16>,
    /// The backend chosen.
    pub backend: Option<IpAddr>,
    /// The record of the flow.
    pub record: Option<FlowRecord>,
    /// The note of the choice made for the connection's SYN.
    pub embryonic: Option<FlowRecord>,
    /// Where it leaves by, if it is sent.
    pub departure: Option<Departure>,
    /// The frame as it leaves, or as it came if it is not sent.
    pub frame: Vec<u8>,
}

/// Where a packet leaves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Name of the interface.
    pub interface: String,
    /// VLAN, if tagged.
    pub vlan: Option<u16>,
    /// MAC address that it is sent to.
    pub destination: Mac,
}

/// The record of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Real id of the backend.
    pub real: u32,
    /// The backend; `None` if the record stands for none any more.
    pub backend: Option<IpAddr>,
    /// Time since its last packet, in steps of 4 to 8 s; it begins anew after 8 to 17 minutes.
    pub idle: Duration,
    /// Whether a FIN or RST was seen.
    pub closing: bool,
}

/// What is remembered of one 5-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// Hash of the flow.
    pub hash: u64,
    /// Number of its bucket of the flow table.
    pub bucket: u32,
    /// Its record.
    pub record: Option<FlowRecord>,
    /// The note of the choice made for its SYN.
    pub embryonic: Option<FlowRecord>,
}

/// How the flow table is filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowsView {
    /// Flows that can be remembered.
    pub capacity: u64,
    /// Flows that are remembered, those whose backend is gone included; each counts once, however many
    /// records of it are left. After a change of the table's size those of the one before are none of
    /// them until a packet has come.
    pub used: u64,
    /// Those of them that a FIN or RST was seen of.
    pub closing: u64,
    /// Those of them whose backend is gone.
    pub stale: u64,
    /// Notes of the choices made for SYNs, and for how many there is room.
    pub embryonic: (u64, u64),
    /// Flows by the time since the last packet, the youngest first.
    pub ages: Vec<AgeClass>,
    /// Flows by service and backend, those with most first.
    pub shares: Vec<FlowShare>,
}

/// Flows whose last packet is about as long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeClass {
    /// It is less than this long ago, and not in the class before.
    pub below: Duration,
    /// Number of flows.
    pub flows: u64,
}

/// Flows of one backend of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowShare {
    /// VIP.
    pub vip: IpAddr,
    /// Ports of the service.
    pub ports: Ports,
    /// Its protocol.
    pub protocol: L4,
    /// The backend.
    pub backend: IpAddr,
    /// Number of flows.
    pub flows: u64,
}

/// The ring of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct MaglevView {
    /// Ring in force; `None` if no backend takes new flows.
    pub ring: Option<u32>,
    /// Services that use it.
    pub shared_by: usize,
    /// The ring before the last change, and for how long yet flows without a record go by it.
    pub previous: Option<(u32, Duration)>,
    /// Digest of the ring with its members numbered 1, 2, ... in the order of their addresses: the
    /// same on all nodes with the same key, backends and weights. See
    /// [`maglev::Ring::digest`](crate::maglev::Ring::digest).
    pub digest: Option<u64>,
    /// The backends in the order of their addresses, those without slots too.
    pub members: Vec<MaglevMember>,
}

/// One backend on a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaglevMember {
    /// The backend.
    pub address: IpAddr,
    /// Its number in the service, 1 to 4095: what the ring holds in its slots.
    pub member: u16,
    /// Its weight.
    pub weight: u32,
    /// Slots that it has, of 65536.
    pub slots: u32,
    /// Its part of the weights of all that are on the ring, 0 to 1.
    pub share: f64,
}

/// A flow that was new, told by sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFlow {
    /// The flow.
    pub tuple: Tuple,
    /// The backend it went to, if that is known still.
    pub backend: Option<IpAddr>,
    /// Why it went there, by the name under which such packets are counted.
    pub reason: &'static str,
}
