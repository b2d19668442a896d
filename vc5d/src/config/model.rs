//! The configuration after loading: templates merged, names resolved, defaults filled in, every value checked.
//!
//! Nothing in here can be wrong in itself; what depends on the machine (interfaces, subnets, sockets) is
//! checked when it is applied.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use vc5_bgp::session::{GracefulRestart, Password, PrefixLimit};
use vc5_bgp::wire::{BgpRole, ExtendedCommunity, LargeCommunity};
pub use vc5_health::{CheckKind, Join};
use vc5_xdp::{OnDown, Ports, Unknown};

use crate::agent;
use crate::gate::{CapacitySettings, DampingSettings};
use crate::signal::path::OnLoss;
use crate::signal::{file, passive};

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// `[router]`
    pub router: Router,
    /// `[control]`
    pub control: Control,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[agent]`: where services report the state of backends themselves.
    pub agent: agent::Settings,
    /// `[dataplane]`
    pub dataplane: Dataplane,
    /// `[probe]`: marks, tables and rules that carry probes to their backends.
    pub probe: ProbeSettings,
    /// `[filter.NAME]`, with the built-in `all` and `none`.
    pub filters: BTreeMap<String, Filter>,
    /// `[protocol.bgp.NAME]`, templates merged in.
    pub bgp: BTreeMap<String, BgpProtocol>,
    /// `[pool.NAME]`
    pub pools: BTreeMap<String, Pool>,
    /// `[check.NAME]`
    pub checks: BTreeMap<String, Check>,
    /// `[vip.NAME]`
    pub vips: BTreeMap<String, Vip>,
}

impl Config {
    /// The pools that serve with a pool: itself, and its backup.
    pub fn pool_and_backup(&self, name: &str) -> impl Iterator<Item = &Pool> {
        let own = self.pools.get(name);
        let backup = own.and_then(|pool| self.pools.get(pool.backup.as_ref()?));
        own.into_iter().chain(backup)
    }
}

/// `[router]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// BGP identifier; also the node's name in logs.
    pub id: Ipv4Addr,
    /// Local AS, 1 to 4294967295.
    pub local_as: u32,
    /// `listen`: addresses for passive BGP sessions; default `["0.0.0.0:179", "[::]:179"]`, empty list for none.
    pub listen: Vec<SocketAddr>,
    /// `learn-time`: after the start, how long verdicts may come in before an undecided service counts as down.
    pub learn_time: Duration,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Path of the Unix socket; default `/run/vc5/vc5.ctl`.
    pub socket: PathBuf,
    /// `state-directory`: what outlives the daemon; default `/var/lib/vc5`.
    pub state_directory: PathBuf,
    /// `history`: how many changes are kept for `show history`, 0 to 1000000; default 4096.
    pub history: usize,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// `listen`: default `127.0.0.1:9324`; `"off"` for none.
    pub listen: Option<SocketAddr>,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataplaneMode {
    /// Native, falling back to generic, said aloud.
    Auto,
    /// The driver's own XDP, or an error.
    Native,
    /// The kernel's generic hook.
    Generic,
    /// No dataplane: a health-gated announcer.
    Off,
}

/// What SIGTERM leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// The pinned program goes on forwarding.
    Keep,
    /// Everything of ours is removed.
    Remove,
}

/// `[dataplane]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataplane {
    /// `mode`; default `auto`.
    pub mode: DataplaneMode,
    /// `interfaces`; at least one unless the mode is off.
    pub interfaces: Vec<String>,
    /// `[dataplane.vlans]`: the subnets of each VLAN that comes tagged; empty when no interface is a trunk.
    pub vlans: BTreeMap<u16, Vec<IpNet>>,
    /// `pin-path`: a directory on a bpffs; default `/sys/fs/bpf/vc5`.
    pub pin_path: PathBuf,
    /// `on-stop`; default `keep`.
    pub on_stop: OnStop,
    /// `hash-key-file`: 16 bytes as 32 hex digits; a fixed default key works and warns.
    pub hash_key: Option<[u8; 16]>,
    /// `flows`, in all: 1024 to 268435456, rounded up to a power of two; default 4194304.
    pub flows: u32,
    /// `max-reals`: 1024 to 262144, rounded up to a power of two; default 65536.
    pub max_reals: u32,
    /// `settle-time`: how long the previous ring is asked after a change; default 120 s.
    pub settle_time: Duration,
    /// `drain-time`: how long a backend that left the configuration keeps its flows; default 300 s.
    pub drain_time: Duration,
    /// `sample-new-flows`: of how many new flows one is told of, a power of two; default 1024, `None` for `"off"`.
    pub sample_new_flows: Option<u32>,
}

/// `[probe]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// `mark-mask`: contiguous, at least 16 bits; default `0x7fff8000`.
    pub mark_mask: u32,
    /// `table-base`: first routing table id; default 0x56430000.
    pub table_base: u32,
    /// `rule-priority`: the first of the rule priorities used; default 20000.
    pub rule_priority: u32,
    /// `on-path-loss`: what this node's own loss of the way to backends means; default `withdraw`.
    pub on_path_loss: OnLoss,
}

/// A filter: ordered rules, first match decides, else the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The name.
    pub name: String,
    /// What happens to a route that no rule matches.
    pub default: FilterAction,
    /// The rules in order.
    pub rules: Vec<FilterRule>,
}

/// The end of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterAction {
    /// The route passes.
    Accept,
    /// The route stops here.
    Reject,
    /// What was set stays set; the next rule is asked.
    Continue,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// One of our VIPs.
    Vip,
    /// Learned by BGP.
    Bgp,
}

/// One `[[filter.NAME.rule]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// `match.source`
    pub source: Option<RouteSource>,
    /// `match.prefix`: BIRD's prefix sets: prefix, shortest and longest length. Empty matches all.
    pub prefixes: Vec<PrefixMatch>,
    /// `match.vip`: names of VIPs. Empty matches all.
    pub vips: Vec<String>,
    /// `set.med`
    pub med: Option<u32>,
    /// `set.local-pref`
    pub local_pref: Option<u32>,
    /// `set.add-communities`, as the 32-bit value of RFC 1997.
    pub add_communities: Vec<u32>,
    /// `set.add-extended-communities`
    pub add_extended_communities: Vec<ExtendedCommunity>,
    /// `set.add-large-communities`
    pub add_large_communities: Vec<LargeCommunity>,
    /// `set.prepend`: how many times the local AS is prepended more, 0 to 32.
    pub prepend: u8,
    /// `then`
    pub then: FilterAction,
}

/// `"192.0.2.0/24{25,32}"`; `"P"` alone is `P{len,len}`, `"P+"` is `P{len,max}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixMatch {
    /// The covering prefix.
    pub prefix: IpNet,
    /// Shortest length that matches.
    pub min: u8,
    /// Longest length that matches.
    pub max: u8,
}

/// One address family of a BGP protocol: `ipv4 = { import = "FILTER", export = "FILTER" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Name of a filter, `none`, or `all`.
    pub import: String,
    /// Name of a filter, `none`, or `all`.
    pub export: String,
    /// `next-hop-address`
    pub next_hop: Option<IpAddr>,
    /// `next-hop-self`: for learned routes too, towards internal neighbours.
    pub next_hop_self: bool,
    /// `extended-next-hop`: RFC 8950, IPv4 only.
    pub extended_next_hop: bool,
    /// `add-paths = "rx"`: RFC 7911.
    pub add_paths: bool,
    /// `import-limit`
    pub import_limit: Option<PrefixLimit>,
}

/// `[protocol.bgp.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpProtocol {
    /// The name.
    pub name: String,
    /// `description`
    pub description: Option<String>,
    /// `neighbor`
    pub neighbor: IpAddr,
    /// `neighbor-port`; default 179.
    pub port: u16,
    /// `neighbor-as`
    pub neighbor_as: u32,
    /// `source-address`
    pub source_address: Option<IpAddr>,
    /// `passive`
    pub passive: bool,
    /// `interface`, or what stands behind a link-local `neighbor`.
    pub interface: Option<String>,
    /// `multihop`: how many hops away it may be; `None` for a directly connected neighbour.
    pub multihop: Option<u8>,
    /// `ttl-security`: RFC 5082.
    pub ttl_security: bool,
    /// `password` or `password-file`: RFC 2385.
    pub password: Option<Password>,
    /// `disable-after-error`: stays down after an error until it is enabled.
    pub disable_after_error: bool,
    /// `graceful-restart`; default `aware`.
    pub graceful_restart: GracefulRestart,
    /// `extended-messages`: RFC 8654.
    pub extended_messages: bool,
    /// `enhanced-route-refresh`: RFC 7313; default true.
    pub enhanced_route_refresh: bool,
    /// `local-role`: RFC 9234.
    pub local_role: Option<BgpRole>,
    /// `require-roles`: no session without the neighbour's role.
    pub require_roles: bool,
    /// `advertise-hostname`
    pub advertise_hostname: bool,
    /// `allow-local-as`: how often our AS may stand in a path; default 0.
    pub allow_local_as: u8,
    /// `enforce-first-as`; default true.
    pub enforce_first_as: bool,
    /// `allow-as-sets`
    pub allow_as_sets: bool,
    /// `delay-open-time`; default 0 s.
    pub delay_open_time: Duration,
    /// `send-hold-time`: RFC 9687; default twice the negotiated hold time.
    pub send_hold_time: Option<Duration>,
    /// `hold-time`: 0 or at least 3 s; default 9 s.
    pub hold_time: Duration,
    /// `keepalive-time`; default a third of the negotiated hold time.
    pub keepalive_time: Option<Duration>,
    /// `connect-retry-time`; default 5 s.
    pub connect_retry_time: Duration,
    /// `connect-delay-time`; default 0 s.
    pub connect_delay_time: Duration,
    /// `startup-hold-time`: default 240 s (RFC 4271 section 8.2.2's large value).
    pub startup_hold_time: Duration,
    /// `error-wait-time`: shortest and longest idle hold; default 1 s and 60 s.
    pub error_wait_time: (Duration, Duration),
    /// `error-forget-time`: an error so long after the last one is the first one again; default
    /// 300 s.
    pub error_forget_time: Duration,
    /// `shutdown-message`: RFC 9003, at most 255 octets.
    pub shutdown_message: Option<String>,
    /// `ipv4`
    pub ipv4: Option<Channel>,
    /// `ipv6`
    pub ipv6: Option<Channel>,
}

/// The administrator's word on a backend or a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminState {
    /// In use.
    Enabled,
    /// No new flows, existing ones go on.
    Drain,
    /// Out of use.
    Disabled,
}

/// How a probe reaches its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePath {
    /// Through the VIP on that backend.
    Dsr,
    /// To the backend's own address.
    Direct,
    /// To the VIP, held by this host itself.
    Local,
}

/// One backend of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its own address. It serves the VIPs of its family.
    pub address: IpAddr,
    /// `weight`: 1 to 1000, default 1.
    pub weight: u32,
    /// `state`
    pub state: AdminState,
}

/// `[pool.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The name.
    pub name: String,
    /// In the order of the file; at most 4095.
    pub backends: Vec<Backend>,
    /// `probe`; default `dsr`.
    pub probe: ProbePath,
    /// `ttl`: TTL written on layer 2, 1 to 255; `None` for `"keep"`. Default 1.
    pub ttl: Option<u8>,
    /// `on-down`, for services that do not say it themselves; default `reselect`.
    pub on_down: OnDown,
    /// `backup`: the pool that helps out when too few of this one are healthy.
    pub backup: Option<String>,
    /// `neighbour`: a backend that does not answer on the link is down; default true.
    pub neighbour: bool,
    /// `state-file`; default none.
    pub state_file: Option<file::Settings>,
    /// `outliers`: what the traffic of a backend may say of it; default none.
    pub outliers: Option<passive::Settings>,
}

impl Pool {
    /// The backends that can serve a VIP: packets keep their family on the way. Where the host itself holds the
    /// VIP, the backend's address is only a name.
    pub fn backends_for(&self, vip: IpAddr) -> impl Iterator<Item = &Backend> {
        let fits = move |backend: &&Backend| {
            self.probe == ProbePath::Local || backend.address.is_ipv4() == vip.is_ipv4()
        };
        self.backends.iter().filter(fits)
    }
}

/// `[check.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The name.
    pub name: String,
    /// `port`: default the service's.
    pub port: Option<u16>,
    /// `type` and its parameters, when it asks, and what makes a verdict.
    pub check: vc5_health::Check,
}

impl Check {
    /// The port that it asks for a service on these ports: 0 where it asks none. In a valid configuration there is
    /// always one.
    pub fn port_for(&self, ports: Ports) -> Option<u16> {
        let own = match ports {
            Ports::One(port) => Some(port),
            Ports::Range(..) | Ports::All => None,
        };
        match self.check.kind {
            CheckKind::Icmp(_) => Some(0),
            CheckKind::Exec(_) => Some(self.port.or(own).unwrap_or(0)),
            _ => self.port.or(own),
        }
    }
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// How many backends of a service have to be healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// So many.
    Count(u32),
    /// This part of the configured ones, in percent from 1 to 100, rounded up.
    Percent(u8),
}

impl Need {
    /// How many those are of `all`, at least 1.
    #[must_use]
    pub fn of(self, all: usize) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let count = (all * usize::from(percent)).div_ceil(100).max(1);
                u32::try_from(count).unwrap_or(u32::MAX)
            }
        }
    }
}

/// One `[[vip.NAME.service]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `port`: one, a range, or all that no other service of the VIP has. They do not overlap otherwise.
    pub ports: Ports,
    /// `protocol`
    pub protocol: Protocol,
    /// `pool`
    pub pool: String,
    /// `need`: healthy backends without which the service is down; default 1.
    pub need: Need,
    /// `gating`: the VIP is announced only while it is up; default true.
    pub gating: bool,
    /// `panic-threshold`: with a smaller part of its backends up, the last good ones are used on; in percent.
    pub panic_threshold: Option<u8>,
    /// `sticky`: the addresses alone choose the backend.
    pub sticky: bool,
    /// `on-down`; default that of the pool.
    pub on_down: OnDown,
    /// `checks`: empty means always healthy. Where `ports` are several, each check has a port.
    pub checks: Vec<String>,
    /// `checks-need`: whether a backend has to pass all of them or one; default all.
    pub checks_need: Join,
}

/// `[vip.NAME.capacity]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// `link-bandwidth`: octets per second that a unit of weight stands for; `None`: the community is not sent.
    pub link_bandwidth: Option<u64>,
    /// `transitive`: the community is of the form that passes the border of an AS; default false.
    pub transitive: bool,
    /// `step` and `settle-time`; default 10 % and 10 s.
    pub settings: CapacitySettings,
    /// `level`, by ascending `below`, which are all different.
    pub levels: Vec<CapacityLevel>,
}

impl Capacity {
    /// The level that holds when so many percent are healthy, if any does.
    #[must_use]
    pub fn level(&self, share: u8) -> Option<&CapacityLevel> {
        self.levels.iter().find(|level| share < level.below)
    }
}

/// One `[[vip.NAME.capacity.level]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityLevel {
    /// `below`: it holds while less than this part is healthy, in percent from 1 to 100.
    pub below: u8,
    /// `med`
    pub med: Option<u32>,
    /// `local-pref`
    pub local_pref: Option<u32>,
    /// `add-communities`, as the 32-bit value of RFC 1997.
    pub add_communities: Vec<u32>,
}

/// `[vip.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The name.
    pub name: String,
    /// `addresses`: each becomes a route of its own.
    pub addresses: Vec<IpAddr>,
    /// `up-delay`: how long it must have been healthy before it is announced; default 5 s.
    pub up_delay: Duration,
    /// `down-delay`: how long it may be unhealthy before it is withdrawn; default 0 s.
    pub down_delay: Duration,
    /// `drain-time`: how long it stands with GRACEFUL_SHUTDOWN when it is drained; default 10 s.
    pub drain_time: Duration,
    /// `damping`; default none.
    pub damping: Option<DampingSettings>,
    /// `drain-local-pref`: LOCAL_PREF of its route while it is drained; default 0.
    pub drain_local_pref: u32,
    /// `capacity`: what routers are told of the healthy part; default nothing.
    pub capacity: Option<Capacity>,
    /// `group`: VIPs of one group are announced and withdrawn together.
    pub group: Option<String>,
    /// `state`
    pub state: AdminState,
    /// `unknown-port`: what becomes of packets that are for none of the services; default `drop`.
    pub unknown_port: Unknown,
    /// In the order of the file.
    pub services: Vec<Service>,
}
