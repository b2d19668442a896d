//! What is configured: the local speaker, one neighbour, one family of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::policy::Policy;
use crate::wire::{BgpRole, Family};

/// The local end of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalSpeaker {
    /// BGP identifier, not 0.0.0.0 (RFC 6286).
    pub router_id: Ipv4Addr,
    /// Local AS, 1 to 4294967295.
    pub local_as: u32,
}

/// One neighbour. [`PeerConfig::new`] fills in the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// A unique name.
    pub name: String,
    /// Its address; a link-local one needs [`interface`](Self::interface).
    pub neighbor: IpAddr,
    /// The interface that the neighbour is on: the scope of a link-local address, and for any other
    /// the only interface that connections may use.
    pub interface: Option<String>,
    /// Its TCP port; default 179.
    pub port: u16,
    /// Its AS, not 0; the same as the local one for an internal session.
    pub neighbor_as: u32,
    /// Our end of the session; default what the kernel chooses.
    pub source_address: Option<IpAddr>,
    /// Never dial, only listen (RFC 4271 section 8.1.1, PassiveTcpEstablishment).
    pub passive: bool,
    /// The neighbour need not be on a connected subnet: how many hops away it may be, 1 to 255. `None`
    /// for a neighbour on a connected subnet.
    pub multihop: Option<u8>,
    /// Packets are sent with a TTL of 255, and only those are taken that come from no farther than
    /// the neighbour may be (GTSM, RFC 5082).
    pub ttl_security: bool,
    /// Key of TCP MD5 signatures (RFC 2385); can be changed while a session stands.
    pub password: Option<Password>,
    /// Comes back by itself after an error (RFC 4271 section 8.1.1, AllowAutomaticStart); otherwise
    /// it stays Idle until it is started. Default true.
    pub automatic_start: bool,
    /// An error found before our OPEN was sent is told to the neighbour (RFC 4271 section 8.1.1,
    /// SendNOTIFICATIONwithoutOPEN). Default true.
    pub notification_without_open: bool,
    /// Proposed hold time, 0 for none or 3 s to 65535 s, whole seconds; default 9 s.
    pub hold_time: Duration,
    /// Time between KEEPALIVEs, never more than a third of the negotiated hold time, which is the
    /// default, nor less than 1 s.
    pub keepalive_time: Option<Duration>,
    /// How long one attempt to connect may take, and the wait before the next one; default 5 s.
    pub connect_retry_time: Duration,
    /// Wait before the first attempt to connect; default none.
    pub connect_delay_time: Duration,
    /// How long a connection waits for the neighbour's OPEN before it sends its own (RFC 4271
    /// section 8.1.1, DelayOpen); default none.
    pub delay_open_time: Duration,
    /// How long the neighbour's OPEN may take to come; default 240 s.
    pub startup_hold_time: Duration,
    /// How long the neighbour's TCP may take nothing before the session is given up (RFC 9687), zero
    /// for ever; default twice the negotiated hold time.
    pub send_hold_time: Option<Duration>,
    /// Shortest and longest idle time after an error; it doubles from error to error (RFC 4271
    /// section 8.1.1, DampPeerOscillations). Default 1 s and 60 s.
    pub error_wait_time: (Duration, Duration),
    /// An error so long after the last one is the first one again (RFC 4271 section 8.1.1,
    /// DampPeerOscillations); never less than twice the longest idle time. Default 300 s.
    pub error_forget_time: Duration,
    /// Text for the neighbour's operator when the session is shut down without another one, at most
    /// 255 octets (RFC 9003).
    pub shutdown_message: Option<String>,
    /// Which of graceful restart's roles is played; default [`GracefulRestart::Aware`].
    pub graceful_restart: GracefulRestart,
    /// Messages of up to 65535 octets are understood (RFC 8654); default false.
    pub extended_messages: bool,
    /// Answers to ROUTE-REFRESH are marked at both ends where the neighbour understands it (RFC 7313);
    /// default true.
    pub enhanced_route_refresh: bool,
    /// Our part in the relation to the neighbour (RFC 9234); external sessions only.
    pub local_role: Option<BgpRole>,
    /// No session without the neighbour's role (RFC 9234 section 4.2, strict mode).
    pub require_role: bool,
    /// The name that the neighbour's operator is shown (FQDN capability).
    pub hostname: Option<String>,
    /// How many times our own AS may stand in a path that is taken (RFC 4271 section 9.1.2); default
    /// 0.
    pub allow_local_as: u8,
    /// A path from an external neighbour has to start with its AS (RFC 4271 section 6.3); default
    /// true. Route servers leave themselves out.
    pub enforce_first_as: bool,
    /// Paths with AS_SET or AS_CONFED_SET are taken (RFC 9774 says no); default false.
    pub allow_as_sets: bool,
    /// The families to carry, with their policies.
    pub families: BTreeMap<Family, FamilyConfig>,
}

/// One family of a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyConfig {
    /// What may come in.
    pub import: Policy,
    /// What may go out.
    pub export: Policy,
    /// Next hop to send; default our end of the session, or an address of the right family on the
    /// same interface.
    pub next_hop: Option<IpAddr>,
    /// Learned routes too go to internal neighbours with our own next hop.
    pub next_hop_self: bool,
    /// Routes may have a next hop of the other family (RFC 8950); IPv4 only.
    pub extended_next_hop: bool,
    /// The neighbour may announce several paths to one prefix (RFC 7911).
    pub add_path_receive: bool,
    /// How many routes the import policy may accept.
    pub import_limit: Option<PrefixLimit>,
}

impl Default for FamilyConfig {
    /// Nothing passes either way (RFC 8212).
    fn default() -> Self {
        Self {
            import: Policy::none(),
            export: Policy::none(),
            next_hop: None,
            next_hop_self: false,
            extended_next_hop: false,
            add_path_receive: false,
            import_limit: None,
        }
    }
}

/// A bound on a neighbour's routes in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrefixLimit {
    /// As many are taken.
    pub max: u32,
    /// What the next one does.
    pub action: LimitAction,
}

/// What a route beyond a [`PrefixLimit`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitAction {
    /// It is taken, and the log says so.
    Warn,
    /// It is not taken.
    Block,
    /// The session ends (Cease, Maximum Number of Prefixes Reached, RFC 4486 section 4), and a new
    /// one is tried after this time, or after that of an error.
    Restart(Option<Duration>),
    /// The session ends likewise, and stays down until the peer is started.
    Disable,
}

/// Graceful restart (RFC 4724).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GracefulRestart {
    /// Not spoken of.
    Off,
    /// We do not restart gracefully ourselves, but send and read End-of-RIB markers, keep the routes of
    /// a neighbour that does so while it restarts, and understand a hard reset (RFC 8538).
    #[default]
    Aware,
}

/// The longest key that the kernel takes, in octets.
pub(crate) const PASSWORD_MAX: usize = 80;

/// A key of TCP MD5 signatures: 1 to 80 octets. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The key; `None` unless it has 1 to 80 octets.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Option<Self> {
        let key = key.into();
        (1..=PASSWORD_MAX).contains(&key.len()).then_some(Self(key))
    }

    /// The key's octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl PeerConfig {
    /// A neighbour with default timers and no family.
    #[must_use]
    pub fn new(name: impl Into<String>, neighbor: IpAddr, neighbor_as: u32) -> Self {
        Self {
            name: name.into(),
            neighbor,
            interface: None,
            port: 179,
            neighbor_as,
            source_address: None,
            passive: false,
            multihop: None,
            ttl_security: false,
            password: None,
            automatic_start: true,
            notification_without_open: true,
            hold_time: Duration::from_secs(9),
            keepalive_time: None,
            connect_retry_time: Duration::from_secs(5),
            connect_delay_time: Duration::ZERO,
            delay_open_time: Duration::ZERO,
            startup_hold_time: Duration::from_secs(240),
            send_hold_time: None,
            error_wait_time: (Duration::from_secs(1), Duration::from_secs(60)),
            error_forget_time: Duration::from_secs(300),
            shutdown_message: None,
            graceful_restart: GracefulRestart::Aware,
            extended_messages: false,
            enhanced_route_refresh: true,
            local_role: None,
            require_role: false,
            hostname: None,
            allow_local_as: 0,
            enforce_first_as: true,
            allow_as_sets: false,
            families: BTreeMap::new(),
        }
    }

    /// Whether going from `self` to `new` needs a new session: what is agreed on in OPEN, decides about
    /// the TCP connection or about which routes can be used at all. All else applies in place.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> bool {
        // What applies in place is made the same; whatever is added later restarts unless it is here.
        let mut like_new = self.clone();
        like_new.name.clone_from(&new.name);
        like_new.password.clone_from(&new.password);
        like_new.automatic_start = new.automatic_start;
        like_new.notification_without_open = new.notification_without_open;
        like_new.connect_retry_time = new.connect_retry_time;
        like_new.connect_delay_time = new.connect_delay_time;
        like_new.delay_open_time = new.delay_open_time;
        like_new.startup_hold_time = new.startup_hold_time;
        like_new.error_wait_time = new.error_wait_time;
        like_new.error_forget_time = new.error_forget_time;
        like_new.shutdown_message.clone_from(&new.shutdown_message);
        for (family, config) in &mut like_new.families {
            if let Some(new) = new.families.get(family) {
                config.in_place(new);
            }
        }
        like_new != *new
    }
}

impl FamilyConfig {
    /// Takes over what a standing session can.
    fn in_place(&mut self, new: &Self) {
        let agreed = (self.extended_next_hop, self.add_path_receive);
        self.clone_from(new);
        (self.extended_next_hop, self.add_path_receive) = agreed;
    }
}
