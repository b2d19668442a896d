//! COMMUNITIES values (RFC 1997).

use std::fmt;
use std::str::FromStr;

use super::{ParseCommunityError, decimal};

/// One community, written `65000:100` or by its well-known name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Community(pub u32);

/// Names of the IANA registry that operators write; the first name of a value is the one shown.
const WELL_KNOWN: [(Community, &str); 15] = [
    (Community::GRACEFUL_SHUTDOWN, "graceful-shutdown"),
    (Community::ACCEPT_OWN, "accept-own"),
    (Community(0xFFFF_0002), "route-filter-translated-v4"),
    (Community(0xFFFF_0003), "route-filter-v4"),
    (Community(0xFFFF_0004), "route-filter-translated-v6"),
    (Community(0xFFFF_0005), "route-filter-v6"),
    (Community::LLGR_STALE, "llgr-stale"),
    (Community::NO_LLGR, "no-llgr"),
    (Community(0xFFFF_0008), "accept-own-nexthop"),
    (Community(0xFFFF_0009), "standby-pe"),
    (Community::BLACKHOLE, "blackhole"),
    (Community::NO_EXPORT, "no-export"),
    (Community::NO_ADVERTISE, "no-advertise"),
    (Community::NO_EXPORT_SUBCONFED, "no-export-subconfed"),
    (Community::NO_PEER, "no-peer"),
];

impl Community {
    /// GRACEFUL_SHUTDOWN (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
    /// ACCEPT_OWN (RFC 7611).
    pub const ACCEPT_OWN: Self = Self(0xFFFF_0001);
    /// LLGR_STALE (RFC 9494).
    pub const LLGR_STALE: Self = Self(0xFFFF_0006);
    /// NO_LLGR (RFC 9494).
    pub const NO_LLGR: Self = Self(0xFFFF_0007);
    /// BLACKHOLE (RFC 7999).
    pub const BLACKHOLE: Self = Self(0xFFFF_029A);
    /// NO_EXPORT (RFC 1997): not to leave the AS.
    pub const NO_EXPORT: Self = Self(0xFFFF_FF01);
    /// NO_ADVERTISE (RFC 1997): not to be passed on at all.
    pub const NO_ADVERTISE: Self = Self(0xFFFF_FF02);
    /// NO_EXPORT_SUBCONFED (RFC 1997): not to leave the member AS.
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xFFFF_FF03);

    /// NOPEER (RFC 3765): not to be passed on to bilateral peers.
    pub const NO_PEER: Self = Self(0xFFFF_FF04);

    /// A community of the form `asn:value`.
    #[must_use]
    pub const fn new(asn: u16, value: u16) -> Self {
        Self((asn as u32) << 16 | value as u32)
    }

    /// The registered name, for example `no-export`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        WELL_KNOWN.iter().find(|(value, _)| *value == self).map(|(_, name)| *name)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF),
        }
    }
}

impl FromStr for Community {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((value, _)) = WELL_KNOWN.iter().find(|(_, name)| *name == text) {
            return Ok(*value);
        }
        let error = || ParseCommunityError {
            text: text.to_owned(),
            expected: "a community: expected ASN:VALUE, both 0 to 65535, or a well-known name",
        };
        let (asn, value) = text.split_once(':').ok_or_else(error)?;
        Ok(Self::new(decimal(asn).ok_or_else(error)?, decimal(value).ok_or_else(error)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["65000:100", "0:0", "65535:65535", "no-export", "graceful-shutdown"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        assert_eq!("65535:65281".parse(), Ok(Community::NO_EXPORT));
        assert_eq!(Community::new(65000, 100).0, 65000 << 16 | 100);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", ":", "1", "1:", ":1", "65536:1", "1:65536", "1:2:3", "+1:2", "no-such"] {
            assert!(text.parse::<Community>().is_err(), "{text}");
        }
    }
}
