//! Address families: the (AFI, SAFI) pairs of RFC 4760.

use std::fmt;

use ipnet::IpNet;

/// An address family as negotiated by the Multiprotocol capability (RFC 4760 section 8).
///
/// Any pair is representable, so that a peer's unknown families can be shown and ignored; only the
/// two unicast families have routes that this crate reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family {
    /// Address Family Identifier (1 IPv4, 2 IPv6).
    pub afi: u16,
    /// Subsequent Address Family Identifier (1 unicast).
    pub safi: u8,
}

impl Family {
    /// IPv4 unicast, (1, 1).
    pub const IPV4_UNICAST: Self = Self { afi: 1, safi: 1 };
    /// IPv6 unicast, (2, 1).
    pub const IPV6_UNICAST: Self = Self { afi: 2, safi: 1 };

    /// The unicast family that a prefix belongs to.
    #[must_use]
    pub const fn of(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::IPV4_UNICAST,
            IpNet::V6(_) => Self::IPV6_UNICAST,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4_UNICAST => f.write_str("ipv4"),
            Self::IPV6_UNICAST => f.write_str("ipv6"),
            Self { afi, safi } => write!(f, "afi {afi} safi {safi}"),
        }
    }
}
