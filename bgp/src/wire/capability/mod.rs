//! Capabilities of an OPEN message (RFC 5492).

mod codec;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::Family;

pub(crate) use codec::{parse, put};

/// One capability that a speaker announces.
///
/// Tuples that a capability's RFC wants ignored (an unknown ADD-PATH mode, for example) are left out
/// when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Multiprotocol extensions for one family (code 1, RFC 4760).
    Multiprotocol(Family),
    /// Route refresh (code 2, RFC 2918).
    RouteRefresh,
    /// Families whose routes may have a next hop of another AFI (code 5, RFC 8950).
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// Messages of up to 65535 octets (code 6, RFC 8654).
    ExtendedMessage,
    /// The speaker's place in the relation with its neighbour (code 9, RFC 9234).
    Role(BgpRole),
    /// Graceful restart (code 64, RFC 4724 and RFC 8538).
    GracefulRestart(GracefulRestart),
    /// 4-octet AS numbers, with the speaker's AS (code 65, RFC 6793).
    FourOctetAs(u32),
    /// Several paths to one prefix (code 69, RFC 7911).
    AddPath(Vec<AddPath>),
    /// Enhanced route refresh (code 70, RFC 7313).
    EnhancedRouteRefresh,
    /// Long-lived graceful restart (code 71, RFC 9494).
    LongLivedGracefulRestart(Vec<LongLivedFamily>),
    /// The speaker's host and domain name (code 73, draft-walton-bgp-hostname-capability), 255
    /// octets each at most.
    Fqdn {
        /// Host name.
        host: String,
        /// Domain name, often empty.
        domain: String,
    },
    /// The speaker's software and its version (code 75, draft-abraitis-bgp-version-capability), 254
    /// octets at most.
    SoftwareVersion(String),
    /// Any other capability, and one of an informational kind that cannot be read, as received.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value, 255 octets at most.
        value: Bytes,
    },
}

/// One tuple of [`Capability::ExtendedNextHop`] (RFC 8950 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedNextHop {
    /// The family of the routes.
    pub family: Family,
    /// The AFI of the next hop, 2 for IPv6.
    pub next_hop_afi: u16,
}

/// A BGP role (RFC 9234 section 4.1): what the speaker is to its neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum BgpRole {
    /// The neighbour buys transit.
    Provider = 0,
    /// A route server.
    RouteServer = 1,
    /// A client of the neighbour, which is a route server.
    RouteServerClient = 2,
    /// The neighbour sells transit.
    Customer = 3,
    /// Both exchange their own and their customers' routes.
    Peer = 4,
}

/// The value of [`Capability::GracefulRestart`] (RFC 4724 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct GracefulRestart {
    /// R: the speaker has restarted, and the neighbour need not wait for its End-of-RIB.
    pub restart_state: bool,
    /// N: graceful restart also after a NOTIFICATION, and hard resets are understood (RFC 8538).
    pub notification: bool,
    /// How long the session may take to come back, in whole seconds, 0 to 4095.
    pub restart_time: Duration,
    /// The families that are preserved; none in a speaker that only helps others.
    pub families: Vec<RestartFamily>,
}

/// One family of [`GracefulRestart`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RestartFamily {
    /// The family.
    pub family: Family,
    /// F: forwarding went on while the speaker restarted.
    pub forwarding: bool,
}

/// One family of [`Capability::LongLivedGracefulRestart`] (RFC 9494 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LongLivedFamily {
    /// The family.
    pub family: Family,
    /// F: forwarding went on while the speaker restarted.
    pub forwarding: bool,
    /// How long stale routes may be kept, in whole seconds, 0 to 16777215.
    pub stale_time: Duration,
}

/// One family of [`Capability::AddPath`] (RFC 7911 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddPath {
    /// The family.
    pub family: Family,
    /// The speaker can receive several paths to a prefix.
    pub receive: bool,
    /// The speaker can send several paths to a prefix; at least one of the two is set.
    pub send: bool,
}

/// Code of [`Capability::Multiprotocol`].
const MULTIPROTOCOL: u8 = 1;
/// Code of [`Capability::RouteRefresh`].
const ROUTE_REFRESH: u8 = 2;
/// Code of [`Capability::ExtendedNextHop`].
const EXTENDED_NEXT_HOP: u8 = 5;
/// Code of [`Capability::ExtendedMessage`].
const EXTENDED_MESSAGE: u8 = 6;
/// Code of [`Capability::Role`].
const ROLE: u8 = 9;
/// Code of [`Capability::GracefulRestart`].
const GRACEFUL_RESTART: u8 = 64;
/// Code of [`Capability::FourOctetAs`].
const FOUR_OCTET_AS: u8 = 65;
/// Code of [`Capability::AddPath`].
const ADD_PATH: u8 = 69;
/// Code of [`Capability::EnhancedRouteRefresh`].
const ENHANCED_ROUTE_REFRESH: u8 = 70;
/// Code of [`Capability::LongLivedGracefulRestart`].
const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;
/// Code of [`Capability::Fqdn`].
const FQDN: u8 = 73;
/// Code of [`Capability::SoftwareVersion`].
const SOFTWARE_VERSION: u8 = 75;

impl Capability {
    /// The capability code (IANA "Capability Codes").
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => MULTIPROTOCOL,
            Self::RouteRefresh => ROUTE_REFRESH,
            Self::ExtendedNextHop(_) => EXTENDED_NEXT_HOP,
            Self::ExtendedMessage => EXTENDED_MESSAGE,
            Self::Role(_) => ROLE,
            Self::GracefulRestart(_) => GRACEFUL_RESTART,
            Self::FourOctetAs(_) => FOUR_OCTET_AS,
            Self::AddPath(_) => ADD_PATH,
            Self::EnhancedRouteRefresh => ENHANCED_ROUTE_REFRESH,
            Self::LongLivedGracefulRestart(_) => LONG_LIVED_GRACEFUL_RESTART,
            Self::Fqdn { .. } => FQDN,
            Self::SoftwareVersion(_) => SOFTWARE_VERSION,
            Self::Unknown { code, .. } => *code,
        }
    }
}

impl BgpRole {
    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Provider, Self::RouteServer, Self::RouteServerClient, Self::Customer, Self::Peer]
            .into_iter()
            .find(|role| *role as u8 == octet)
    }

    /// The role that the neighbour has to have (RFC 9234 section 4.2).
    #[must_use]
    pub const fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }
}

impl fmt::Display for BgpRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider => "provider",
            Self::RouteServer => "rs_server",
            Self::RouteServerClient => "rs_client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        })
    }
}
