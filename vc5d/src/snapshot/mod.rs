//! What readers see: an immutable picture of the daemon, published by the core after each change.
//!
//! The control socket, the metrics and `vc5c -j` read nothing else, so a slow reader holds up nobody. The field
//! names below are the JSON schema of `vc5c -j`. Times are Unix seconds with fractions; durations are in
//! milliseconds where the name ends in `_ms`, else in seconds.

mod vip;
mod vips;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;
use vc5_xdp::Ports;

pub use crate::admin::{Off, Word};
pub use crate::signal::{Source, Stand};
pub use vip::*;
pub use vips::{Vips, VipsIter};

/// Everything.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// `show status`
    pub status: Status,
    /// BGP neighbours by protocol name.
    pub peers: BTreeMap<String, Peer>,
    /// Routes: ours and received ones.
    pub routes: Vec<Route>,
    /// One per address of each `[vip.NAME]`, in the order of names and addresses.
    pub vips: Vips,
    /// The dataplane; `None` when its mode is off.
    pub dataplane: Option<Dataplane>,
    /// The last changes, the oldest first.
    #[serde(skip)]
    pub history: History,
    /// Changes since the start, by what changed.
    #[serde(skip)]
    pub changes: BTreeMap<Subject, u64>,
}

/// Changes, the oldest first; shared between pictures until there is a new one.
pub type History = Arc<[Arc<Event>]>;

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A backend of a service: the verdict on it, or the administrator's word.
    Backend,
    /// A service of a VIP: up or down.
    Service,
    /// A VIP address: the health of all its services together.
    Vip,
    /// The route of a VIP address.
    Route,
    /// What is said of a backend by its agent, its state file, the link or its traffic.
    Report,
    /// This node's own path to a backend.
    Path,
}

impl Subject {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Backend, Self::Service, Self::Vip, Self::Route, Self::Report, Self::Path];

    /// Its name in the JSON and in the metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Service => "service",
            Self::Vip => "vip",
            Self::Route => "route",
            Self::Report => "report",
            Self::Path => "path",
        }
    }
}

/// One change with its cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Counts the changes since the start, from 1.
    pub number: u64,
    /// When.
    pub at: f64,
    /// What kind of thing changed.
    pub subject: Subject,
    /// `[vip.NAME]`
    pub vip: String,
    /// The VIP's address.
    pub vip_address: IpAddr,
    /// `80/tcp`, for a service and its backends.
    pub service: Option<String>,
    /// The backend's address.
    pub backend: Option<IpAddr>,
    /// What it was; `absent` before it was configured.
    pub from: &'static str,
    /// What it is; `absent` when it is gone from the configuration.
    pub to: &'static str,
    /// Why.
    pub cause: String,
}

/// `show status`
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Release.
    pub version: String,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// Local AS.
    pub local_as: u32,
    /// Host name.
    pub hostname: String,
    /// When the daemon started.
    pub started: f64,
    /// When a configuration was last applied.
    pub reconfigured: f64,
    /// The configuration file.
    pub config_file: String,
    /// Lifecycle: `running`, `reconfiguring` or `stopping`.
    pub state: DaemonState,
    /// Successful and failed reloads since the start.
    pub reloads_ok: u64,
    /// Failed reloads since the start.
    pub reloads_failed: u64,
}

/// Lifecycle of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DaemonState {
    /// Up and running.
    #[default]
    Running,
    /// A new configuration is being applied.
    Reconfiguring,
    /// Withdrawing, then gone.
    Stopping,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            router_id: Ipv4Addr::UNSPECIFIED,
            local_as: 0,
            hostname: String::new(),
            started: 0.0,
            reconfigured: 0.0,
            config_file: String::new(),
            state: DaemonState::Running,
            reloads_ok: 0,
            reloads_failed: 0,
        }
    }
}

/// One BGP neighbour.
#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    /// Protocol name.
    pub name: String,
    /// `description`
    pub description: Option<String>,
    /// Message of the last administrative change.
    pub message: Option<String>,
    /// Neighbour address.
    pub neighbor: IpAddr,
    /// Configured AS.
    pub neighbor_as: u32,
    /// Our AS.
    pub local_as: u32,
    /// False after `disable`.
    pub enabled: bool,
    /// `passive`
    pub passive: bool,
    /// `multihop`
    pub multihop: bool,
    /// RFC 4271 state: `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm`, `Established`.
    pub state: String,
    /// When that state was entered.
    pub since: f64,
    /// Last error with its class, as birdc words it: `Received: Administrative shutdown`.
    pub last_error: Option<String>,
    /// What the session agreed on; only when Established.
    pub session: Option<PeerSession>,
    /// Seconds until the next attempt while idle after an error, and the whole wait.
    pub error_wait: Option<(f64, f64)>,
    /// Seconds until the connect retry timer fires, and its whole.
    pub connect_retry: Option<(f64, f64)>,
    /// By family: `ipv4`, `ipv6`.
    pub channels: BTreeMap<String, PeerChannel>,
    /// Messages since the start.
    pub counters: PeerCounters,
}

/// What an Established session agreed on.
#[derive(Clone, Debug, Serialize)]
pub struct PeerSession {
    /// The neighbour's identifier.
    pub neighbor_id: Ipv4Addr,
    /// Our end of the TCP connection.
    pub source_address: IpAddr,
    /// Negotiated hold time and what is left of it.
    pub hold: (f64, f64),
    /// Keepalive interval and what is left of it.
    pub keepalive: (f64, f64),
    /// Lines of our capabilities, as birdc lists them.
    pub local_capabilities: Vec<String>,
    /// Lines of the neighbour's capabilities.
    pub neighbor_capabilities: Vec<String>,
    /// Both sides speak 4-octet AS numbers.
    pub as4: bool,
}

/// One family of a session.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PeerChannel {
    /// Negotiated and up.
    pub up: bool,
    /// Import filter's name.
    pub import: String,
    /// Export filter's name.
    pub export: String,
    /// Routes held from the neighbour.
    pub imported: u64,
    /// Routes received but not taken.
    pub filtered: u64,
    /// Routes in the Adj-RIB-Out.
    pub exported: u64,
    /// Next hop we send.
    pub next_hop: Option<IpAddr>,
    /// Why there is none, and so nothing is exported.
    pub next_hop_error: Option<String>,
    /// Received: updates.
    pub import_updates: RouteChanges,
    /// Received: withdraws.
    pub import_withdraws: RouteChanges,
    /// Sent: updates.
    pub export_updates: RouteChanges,
    /// Sent: withdraws.
    pub export_withdraws: RouteChanges,
}

/// BIRD's five columns of route changes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RouteChanges {
    /// Received by this side of the protocol.
    pub received: u64,
    /// Refused for an error.
    pub rejected: u64,
    /// Refused by a filter.
    pub filtered: u64,
    /// Nothing new.
    pub ignored: u64,
    /// Taken.
    pub accepted: u64,
}

/// Messages since the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PeerCounters {
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// UPDATE messages received.
    pub updates_in: u64,
    /// UPDATE messages sent.
    pub updates_out: u64,
    /// Transitions to Established.
    pub established: u64,
    /// Transitions out of Established.
    pub dropped: u64,
}

/// One route for `show route`.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    /// The destination.
    pub prefix: IpNet,
    /// Protocol it comes from: a VIP's or a neighbour's name.
    pub protocol: String,
    /// `vip` or `bgp`.
    pub source: String,
    /// When it was learned or announced.
    pub since: f64,
    /// The neighbour it was learned from.
    pub from: Option<IpAddr>,
    /// Chosen.
    pub selected: bool,
    /// Kept while its neighbour restarts or refreshes, and not announced anew as yet (RFC 4724, RFC
    /// 7313).
    pub stale: bool,
    /// `IGP`, `EGP` or `Incomplete`.
    pub origin: String,
    /// AS path as printed.
    pub as_path: String,
    /// Next hop; none for a VIP.
    pub next_hop: Option<IpAddr>,
    /// MULTI_EXIT_DISC
    pub med: Option<u32>,
    /// LOCAL_PREF
    pub local_pref: Option<u32>,
    /// `65000:100`
    pub communities: Vec<String>,
    /// `rt:65000:100`, `generic:0x40040000:0x0` and the like (RFC 4360).
    pub extended_communities: Vec<String>,
    /// `65000:1:2` (RFC 8092).
    pub large_communities: Vec<String>,
    /// For our own: names of the neighbours it is exported to.
    pub exported_to: Vec<String>,
}

/// The dataplane.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Dataplane {
    /// Interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// Packets by reason; their sum is the packets in.
    pub reasons: BTreeMap<String, u64>,
    /// What happened to the flow tables, and how often.
    pub events: BTreeMap<String, u64>,
    /// Bytes of the flow tables.
    pub flow_memory: u64,
    /// Flow records in the table, from what was made and deleted since the tables were made.
    pub flows: u64,
    /// Flow records that there is room for.
    pub flow_capacity: u64,
    /// How each backend is reached, or why not.
    pub paths: BTreeMap<IpAddr, String>,
    /// Backends that have left the configuration and drain.
    pub leaving: Vec<Leaving>,
    /// Last sequence number that was applied.
    pub applied: u64,
    /// Last error, if the newest state could not be applied.
    pub error: Option<String>,
}

/// An interface with the program on it.
#[derive(Clone, Debug, Serialize)]
pub struct Interface {
    /// Kernel index.
    pub index: u32,
    /// `native` or `generic`.
    pub mode: String,
    /// Its MAC address.
    pub mac: String,
    /// The program is attached.
    pub attached: bool,
    /// Why it is not, why its mode is not native, or what offload is in the way.
    pub note: Option<String>,
    /// Packets that came in by it, by reason.
    pub reasons: BTreeMap<String, u64>,
}

/// A backend that has left a service and keeps the flows it has for `drain-time`.
#[derive(Clone, Debug, Serialize)]
pub struct Leaving {
    /// The backend.
    pub address: IpAddr,
    /// The VIP address of the service.
    pub vip: IpAddr,
    /// Ports of the service.
    #[serde(rename = "port", serialize_with = "vip::ports")]
    pub ports: Ports,
    /// Its protocol, `tcp` or `udp`.
    pub protocol: String,
    /// `draining` or `down`.
    pub state: String,
}
