//! The UPDATE message (RFC 4271 section 4.3, RFC 4760).

mod decode;
mod encode;
mod view;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

pub(crate) use encode::{put, put_block};
pub use view::UpdateView;

use super::attribute::Attributes;
use super::error::{Action, WireError};
use super::{Family, Nlri};

/// An UPDATE message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Update {
    /// IPv4 unicast routes withdrawn.
    pub withdrawn: Vec<Nlri<Ipv4Net>>,
    /// Attributes of all routes announced here; [`Attributes::default`] if none is.
    pub attributes: Attributes,
    /// IPv4 unicast routes announced; their next hop is `attributes.next_hop`.
    pub nlri: Vec<Nlri<Ipv4Net>>,
    /// Routes announced by MP_REACH_NLRI.
    pub mp_reach: Option<MpReach>,
    /// Routes withdrawn by MP_UNREACH_NLRI.
    pub mp_unreach: Option<MpUnreach>,
}

/// MP_REACH_NLRI: routes of any family with their next hop (RFC 4760 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MpReach {
    /// The family of the routes.
    pub family: Family,
    /// Where to send packets for them.
    pub next_hop: NextHop,
    /// The routes.
    pub nlri: Vec<Nlri>,
}

/// MP_UNREACH_NLRI: routes of any family that are gone (RFC 4760 section 4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MpUnreach {
    /// The family of the routes.
    pub family: Family,
    /// The routes; none in an End-of-RIB marker.
    pub nlri: Vec<Nlri>,
}

/// A next hop in the forms that the two unicast families use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NextHop {
    /// 4 octets.
    Ipv4(Ipv4Addr),
    /// 16 octets.
    Ipv6(Ipv6Addr),
    /// 32 octets: global and link-local (RFC 2545 section 3). Peers without a global address put
    /// `::` or the link-local one in the first place.
    Ipv6LinkLocal {
        /// The first address.
        global: Ipv6Addr,
        /// The second address.
        link_local: Ipv6Addr,
    },
}

impl NextHop {
    /// The address to show and to compare: of a pair, the global one unless it is `::`.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        match *self {
            Self::Ipv4(address) => IpAddr::V4(address),
            Self::Ipv6(address) => IpAddr::V6(address),
            Self::Ipv6LinkLocal { global, link_local } if global.is_unspecified() => {
                IpAddr::V6(link_local)
            }
            Self::Ipv6LinkLocal { global, .. } => IpAddr::V6(global),
        }
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6(address),
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Ipv6LinkLocal { global, link_local } => write!(f, "{global} {link_local}"),
        }
    }
}

impl Update {
    /// The End-of-RIB marker of a family (RFC 4724 section 2).
    #[must_use]
    pub fn end_of_rib(family: Family) -> Self {
        let mp_unreach =
            (family != Family::IPV4_UNICAST).then(|| MpUnreach { family, nlri: Vec::new() });
        Self { mp_unreach, ..Self::default() }
    }

    /// The family whose End-of-RIB marker this is. Of a received message ask
    /// [`DecodedUpdate::end_of_rib`], which knows what the octets were before errors were handled.
    #[must_use]
    pub fn is_end_of_rib(&self) -> Option<Family> {
        let bare = self.withdrawn.is_empty()
            && self.nlri.is_empty()
            && self.mp_reach.is_none()
            && self.attributes == Attributes::default();
        match &self.mp_unreach {
            _ if !bare => None,
            None => Some(Family::IPV4_UNICAST),
            Some(unreach) => unreach.nlri.is_empty().then_some(unreach.family),
        }
    }

    /// All routes withdrawn, of both encodings.
    pub fn withdrawals(&self) -> impl Iterator<Item = Nlri> + '_ {
        let multiprotocol = self.mp_unreach.iter().flat_map(|unreach| &unreach.nlri).copied();
        self.withdrawn.iter().copied().map(Nlri::from).chain(multiprotocol)
    }

    /// All routes announced, of both encodings, each with its next hop.
    pub fn announcements(&self) -> impl Iterator<Item = (Nlri, NextHop)> + '_ {
        let next_hop = self.attributes.next_hop.map(NextHop::Ipv4);
        let plain = self.nlri.iter().filter_map(move |nlri| Some(((*nlri).into(), next_hop?)));
        let multiprotocol = self
            .mp_reach
            .iter()
            .flat_map(|reach| reach.nlri.iter().map(|nlri| (*nlri, reach.next_hop)));
        plain.chain(multiprotocol)
    }
}

/// A received UPDATE after its errors have been handled as RFC 7606 demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedUpdate {
    /// What is left to act on: discarded attributes are gone, and under
    /// [`Action::TreatAsWithdraw`] every announced route is listed as withdrawn.
    pub update: Update,
    /// Set if the message was exactly the End-of-RIB marker of that family.
    pub end_of_rib: Option<Family>,
    /// Everything found wrong, in the order found, for the log.
    pub errors: Vec<WireError>,
    /// The strongest action among `errors`; never [`Action::SessionReset`].
    pub action: Action,
}
