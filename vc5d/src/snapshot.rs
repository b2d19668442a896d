//! What readers see: an immutable picture of the daemon, published by the core after each change.
//!
//! The control socket, the metrics and `vc5c -j` read nothing else, so a slow reader holds up nobody. The field
//! names below are the JSON schema of `vc5c -j`. Times are Unix seconds with fractions; durations are in
//! milliseconds where the name ends in `_ms`, else in seconds.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use vc5_xdp::Ports;

pub use crate::admin::{Off, Word};
pub use crate::signal::{Source, Stand};

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
    pub vips: Vec<Vip>,
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

/// Where the gate of a VIP stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VipState {
    /// Not announced.
    Down,
    /// Healthy, waiting for `up-delay` or the dataplane.
    Waiting,
    /// Announced.
    Up,
    /// Withdrawn; waiting until that is on the wire.
    Withdrawing,
    /// Switched off by the administrator.
    Disabled,
}

/// One VIP address.
#[derive(Clone, Debug, Serialize)]
pub struct Vip {
    /// `[vip.NAME]`
    pub name: String,
    /// The VIPs with which it moves.
    pub group: Option<String>,
    /// The address.
    pub address: IpAddr,
    /// Its gate.
    pub state: VipState,
    /// When that state was entered.
    pub since: f64,
    /// Why it is or is not announced, in one line.
    pub reason: String,
    /// The administrator's word at the control socket, if one stands.
    pub admin: Option<Word>,
    /// What keeps it from being announced, by the configuration or the control socket: `drain`, `disabled`, or nothing.
    pub off: Option<Off>,
    /// Withdrawals since the start that nobody asked for.
    pub flaps: u64,
    /// Flap damping; `None` without.
    pub damping: Option<Damping>,
    /// How much of it is healthy.
    pub capacity: Capacity,
    /// What goes out with its route; `None` while that does not stand.
    pub told: Option<Told>,
    /// Its services, in the order of the file.
    pub services: Vec<Service>,
    /// Dataplane counters.
    pub traffic: Traffic,
}

/// The state of flap damping.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Damping {
    /// The penalty at `at`.
    pub penalty: f64,
    /// When that was worked out.
    pub at: f64,
    /// After so many seconds half of it is left.
    pub half_life: f64,
    /// Above this the route is suppressed.
    pub suppress: u32,
    /// Until when it is, if it is.
    pub suppressed_until: Option<f64>,
}

impl Damping {
    /// What is left of the penalty.
    #[must_use]
    pub fn penalty_at(&self, now: f64) -> f64 {
        self.penalty * (-(now - self.at).max(0.0) / self.half_life).exp2()
    }
}

/// How much of a VIP is healthy: as much as of the service that has the least, of those that gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Weight of the backends that get new flows.
    pub weight: u64,
    /// Weight of all configured ones.
    pub full: u64,
    /// The healthy part in percent.
    pub percent: u8,
}

/// What goes out with the route of a VIP by its state, beside what filters set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Told {
    /// GRACEFUL_SHUTDOWN (RFC 8326).
    pub draining: bool,
    /// The healthy part in percent that the rest follows from; `None` without `capacity` in the configuration.
    pub percent: Option<u8>,
    /// When another one will be told, as things are.
    pub next: Option<f64>,
    /// Octets per second of the link bandwidth community.
    pub link_bandwidth: Option<f32>,
    /// MULTI_EXIT_DISC
    pub med: Option<u32>,
    /// LOCAL_PREF
    pub local_pref: Option<u32>,
    /// `65000:100`
    pub communities: Vec<String>,
}

/// One service of a VIP.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
    /// A port as a number, a range as `"8000-8099"`, all that no other service has as `"all"`.
    #[serde(rename = "port", serialize_with = "ports")]
    pub ports: Ports,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Pool name.
    pub pool: String,
    /// The pool that helps out when too few of its own backends are healthy.
    pub backup: Option<String>,
    /// It does: its backends take new flows too.
    pub on_backup: bool,
    /// At least `need` backends are healthy.
    pub up: bool,
    /// Backends needed.
    pub need: u32,
    /// The VIP depends on it.
    pub gating: bool,
    /// Too few backends are up to be believed: the last good ones are used on.
    pub panic: bool,
    /// Backends healthy and enabled, those of the backup pool only while it helps out.
    pub healthy: u32,
    /// When `up` last changed.
    pub since: f64,
    /// Its backends, in the order of the file.
    pub backends: Vec<Backend>,
    /// Dataplane counters.
    pub traffic: Traffic,
}

impl Service {
    /// Its state in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.up, self.panic, self.on_backup) {
            (true, true, _) => "panic",
            (true, false, true) => "backup",
            (true, false, false) => "up",
            (false, ..) => "down",
        }
    }

    /// How many backends of its own pool are healthy.
    #[must_use]
    pub fn own_healthy(&self) -> u32 {
        let helps = |b: &&Backend| self.on_backup && b.backup && b.state == BackendState::Up;
        let helping = self.backends.iter().filter(helps).count();
        self.healthy.saturating_sub(u32::try_from(helping).unwrap_or(u32::MAX))
    }

    /// How many backends its own pool has.
    #[must_use]
    pub fn own_backends(&self) -> usize {
        self.backends.iter().filter(|backend| !backend.backup).count()
    }
}

/// As in the configuration.
fn ports<S: Serializer>(ports: &Ports, serializer: S) -> Result<S::Ok, S::Error> {
    match ports {
        Ports::One(port) => serializer.serialize_u16(*port),
        Ports::Range(..) | Ports::All => serializer.collect_str(ports),
    }
}

/// The verdict on a backend of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// No verdict yet.
    Unknown,
    /// Healthy.
    Up,
    /// Not healthy.
    Down,
    /// Healthy or not, kept for existing flows only.
    Draining,
    /// Switched off.
    Disabled,
}

impl BackendState {
    /// The state in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }
}

/// One backend of a service.
#[derive(Clone, Debug, Serialize)]
pub struct Backend {
    /// Its own address.
    pub address: IpAddr,
    /// It is of the backup pool.
    pub backup: bool,
    /// Weight in the ring.
    pub weight: u32,
    /// The verdict with the administrator's word.
    pub state: BackendState,
    /// The administrator's word at the control socket, if one stands.
    pub admin: Option<Word>,
    /// When that state was entered.
    pub since: f64,
    /// What is said of it besides its checks.
    pub reports: Vec<Report>,
    /// Why this node's own path to it is lost, so that its verdict is held.
    pub path_lost: Option<String>,
    /// By check name.
    pub checks: BTreeMap<String, CheckResult>,
    /// MAC address, when the dataplane knows it.
    pub mac: Option<String>,
    /// How the dataplane reaches it, or why not; `None` when the dataplane is off or has not been told of it.
    pub path: Option<String>,
    /// Slots of the ring it holds, of 65536.
    pub ring_slots: u32,
    /// Dataplane counters.
    pub traffic: Traffic,
}

/// What is said of a backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Who says it.
    pub source: Source,
    /// What it is said to be.
    pub state: Stand,
    /// The weight in place of the configured one.
    pub weight: Option<u32>,
    /// Why.
    pub reason: Option<String>,
    /// Since when it says so.
    pub since: f64,
}

/// The last result of one check on one backend.
#[derive(Clone, Debug, Serialize)]
pub struct CheckResult {
    /// The verdict after rise and fall.
    pub up: Option<bool>,
    /// The last probe passed.
    pub ok: Option<bool>,
    /// What the last probe found: `200 OK` or `connection refused`.
    pub diagnostic: String,
    /// How long it took.
    pub took_ms: f64,
    /// When it ended.
    pub at: f64,
    /// Probes passed since the start.
    pub passed: u64,
    /// Probes failed since the start.
    pub failed: u64,
    /// The last probe that failed.
    pub last_failure: Option<CheckFailure>,
}

/// A probe that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckFailure {
    /// When it ended.
    pub at: f64,
    /// What it found: `connection refused`.
    pub diagnostic: String,
}

/// Dataplane counters of a VIP, service or backend.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// New flows.
    pub flows: u64,
    /// TCP SYNs among the packets.
    pub syns: u64,
    /// TCP FINs among the packets.
    pub fins: u64,
    /// TCP RSTs among the packets.
    pub rsts: u64,
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
    #[serde(rename = "port", serialize_with = "ports")]
    pub ports: Ports,
    /// Its protocol, `tcp` or `udp`.
    pub protocol: String,
    /// `draining` or `down`.
    pub state: String,
}
