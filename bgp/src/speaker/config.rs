//! What the owner says, and what can be wrong with it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::socket;
use crate::policy::Changes;
use crate::session::{LocalSpeaker, PeerConfig};
use crate::wire::{Community, Family};

/// The speaker as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// BGP identifier, not 0.0.0.0 (RFC 6286).
    pub router_id: Ipv4Addr,
    /// Local AS, 1 to 4294967295.
    pub local_as: u32,
    /// Addresses to listen on; none for a speaker that only dials.
    pub listen: Vec<SocketAddr>,
}

/// A route of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRoute {
    /// The destination, host bits ignored.
    pub prefix: IpNet,
    /// MULTI_EXIT_DISC before policies.
    pub med: Option<u32>,
    /// Communities before policies.
    pub communities: Vec<Community>,
    /// A label that policies can match ([`Rule::tags`](crate::policy::Rule::tags)).
    pub tag: Option<String>,
    /// Made to it after an export policy has accepted it: what the moment says of the route wins over what policies say
    /// of all.
    pub last: Changes,
}

impl LocalRoute {
    /// A route without attributes and label.
    #[must_use]
    pub fn new(prefix: IpNet) -> Self {
        Self { prefix, med: None, communities: Vec::new(), tag: None, last: Changes::default() }
    }
}

/// Why the speaker refuses something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpeakerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The local identifier or AS is not valid.
    #[error("{0}")]
    InvalidLocal(&'static str),
    /// A neighbour's configuration is not valid.
    #[error("neighbour {name}: {reason}")]
    InvalidPeer {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no neighbour of that name.
    #[error("no neighbour named {0}")]
    UnknownPeer(String),
    /// The speaker was shut down.
    #[error("the speaker is shut down")]
    Closed,
}

impl SpeakerConfig {
    pub(super) fn check(&self) -> Result<LocalSpeaker, SpeakerError> {
        if self.router_id.is_unspecified() {
            return Err(SpeakerError::InvalidLocal("the router id must not be 0.0.0.0"));
        }
        if self.local_as == 0 {
            return Err(SpeakerError::InvalidLocal("the local AS must not be 0"));
        }
        Ok(LocalSpeaker { router_id: self.router_id, local_as: self.local_as })
    }
}

pub(super) fn check_peer(config: &PeerConfig) -> Result<(), SpeakerError> {
    let fail =
        |reason: String| Err(SpeakerError::InvalidPeer { name: config.name.clone(), reason });
    if config.neighbor_as == 0 {
        return fail("the neighbour's AS must not be 0".to_owned());
    }
    if config.port == 0 {
        return fail("the neighbour's port must not be 0".to_owned());
    }
    if config.neighbor.is_unspecified() {
        return fail(format!("{} cannot be a neighbour's address", config.neighbor));
    }
    if socket::is_link_local(config.neighbor) && config.interface.is_none() {
        return fail(format!("{} needs an interface", config.neighbor));
    }
    if config.multihop == Some(0) {
        return fail("a neighbour is at least one hop away".to_owned());
    }
    if config.source_address.is_some_and(|source| source.is_ipv4() != config.neighbor.is_ipv4()) {
        return fail("the source address must be of the neighbour's family".to_owned());
    }
    let hold = config.hold_time.as_secs();
    if (1..3).contains(&hold) || hold > u16::MAX.into() || config.hold_time.subsec_nanos() != 0 {
        return fail("the hold time must be 0 or 3 to 65535 whole seconds".to_owned());
    }
    let (shortest, longest) = config.error_wait_time;
    if shortest > longest {
        return fail("the shortest error wait time is longer than the longest".to_owned());
    }
    let known = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
    match config.families.keys().find(|family| !known.contains(family)) {
        Some(family) => fail(format!("{family} is not supported")),
        None => Ok(()),
    }
}
