//! VIPs with their gates, services, backends and checks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use vc5_xdp::Ports;

use super::{Off, Source, Stand, Word};

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
pub(super) fn ports<S: Serializer>(ports: &Ports, serializer: S) -> Result<S::Ok, S::Error> {
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
