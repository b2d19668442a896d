//! What is configured: the local speaker, one neighbour, one family of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::policy::Policy;
use crate::wire::Family;

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
    /// Its address.
    pub neighbor: IpAddr,
    /// Its TCP port; default 179.
    pub port: u16,
    /// Its AS, not 0; the same as the local one for an internal session.
    pub neighbor_as: u32,
    /// Our end of the session; default what the kernel chooses.
    pub source_address: Option<IpAddr>,
    /// Never dial, only listen (RFC 4271 section 8.1.1, PassiveTcpEstablishment).
    pub passive: bool,
    /// The neighbour need not be on a connected subnet.
    pub multihop: bool,
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
    /// Shortest and longest idle time after an error; it doubles from error to error (RFC 4271
    /// section 8.1.1, DampPeerOscillations). Default 1 s and 60 s.
    pub error_wait_time: (Duration, Duration),
    /// Text for the neighbour's operator when the session is shut down without another one, at most
    /// 255 octets (RFC 9003).
    pub shutdown_message: Option<String>,
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
}

impl Default for FamilyConfig {
    /// Nothing passes either way (RFC 8212).
    fn default() -> Self {
        Self { import: Policy::none(), export: Policy::none(), next_hop: None }
    }
}

impl PeerConfig {
    /// A neighbour with default timers and no family.
    #[must_use]
    pub fn new(name: impl Into<String>, neighbor: IpAddr, neighbor_as: u32) -> Self {
        Self {
            name: name.into(),
            neighbor,
            port: 179,
            neighbor_as,
            source_address: None,
            passive: false,
            multihop: false,
            hold_time: Duration::from_secs(9),
            keepalive_time: None,
            connect_retry_time: Duration::from_secs(5),
            connect_delay_time: Duration::ZERO,
            delay_open_time: Duration::ZERO,
            startup_hold_time: Duration::from_secs(240),
            error_wait_time: (Duration::from_secs(1), Duration::from_secs(60)),
            shutdown_message: None,
            families: BTreeMap::new(),
        }
    }

    /// Whether going from `self` to `new` needs a new session: what is agreed on in OPEN or decides
    /// about the TCP connection. All else applies in place.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> bool {
        let agreed = |config: &Self| {
            (
                (config.neighbor, config.port, config.neighbor_as, config.source_address),
                (config.passive, config.multihop, config.hold_time, config.keepalive_time),
                config.families.keys().copied().collect::<Vec<_>>(),
            )
        };
        agreed(self) != agreed(new)
    }
}
