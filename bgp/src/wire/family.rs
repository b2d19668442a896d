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

/// A set of the families whose routes this crate reads and writes. Another family can be put in, but
/// is not there afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FamilySet(u8);

impl FamilySet {
    /// No family.
    pub const NONE: Self = Self(0);
    /// IPv4 and IPv6 unicast.
    pub const ALL: Self = Self(3);

    const fn bit(family: Family) -> u8 {
        match family {
            Family::IPV4_UNICAST => 1,
            Family::IPV6_UNICAST => 2,
            _ => 0,
        }
    }

    /// Whether `family` is in the set.
    #[must_use]
    pub const fn contains(self, family: Family) -> bool {
        self.0 & Self::bit(family) != 0
    }

    /// The families of the set, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        let all = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
        all.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        Self(families.into_iter().fold(0, |bits, family| bits | Self::bit(family)))
    }
}

impl From<&[Family]> for FamilySet {
    fn from(families: &[Family]) -> Self {
        families.iter().copied().collect()
    }
}

impl From<Family> for FamilySet {
    fn from(family: Family) -> Self {
        [family].into_iter().collect()
    }
}

impl fmt::Debug for FamilySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_two_unicast_families() {
        let vpn = Family { afi: 1, safi: 128 };
        let set: FamilySet = [Family::IPV6_UNICAST, vpn].into_iter().collect();
        assert!(set.contains(Family::IPV6_UNICAST));
        assert!(!set.contains(Family::IPV4_UNICAST) && !set.contains(vpn));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Family::IPV6_UNICAST]);
        assert_eq!(FamilySet::from(&FamilySet::ALL.iter().collect::<Vec<_>>()[..]), FamilySet::ALL);
        assert_eq!(format!("{set:?}"), "{Family { afi: 2, safi: 1 }}");
    }
}
