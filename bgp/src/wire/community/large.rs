//! LARGE_COMMUNITY values (RFC 8092).

use std::fmt;
use std::str::FromStr;

use super::{ParseCommunityError, decimal};

/// One large community, written `65000:1:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LargeCommunity {
    /// Global Administrator: the AS that gave the other two their meaning.
    pub global: u32,
    /// Local Data Part 1.
    pub local1: u32,
    /// Local Data Part 2.
    pub local2: u32,
}

impl LargeCommunity {
    /// Octets on the wire.
    pub(crate) const LEN: usize = 12;

    /// A community of the form `global:local1:local2`.
    #[must_use]
    pub const fn new(global: u32, local1: u32, local2: u32) -> Self {
        Self { global, local1, local2 }
    }

    pub(crate) fn from_octets(octets: [u8; Self::LEN]) -> Self {
        let value = u128::from_be_bytes(std::array::from_fn(|place| match place {
            0..4 => 0,
            _ => octets.get(place - 4).copied().unwrap_or_default(),
        }));
        // The casts keep the low 32 bits.
        Self::new((value >> 64) as u32, (value >> 32) as u32, value as u32)
    }

    pub(crate) fn octets(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.global.to_be_bytes();
        let [e, f, g, h] = self.local1.to_be_bytes();
        let [i, j, k, l] = self.local2.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (global, rest) = text.split_once(':')?;
            let (local1, local2) = rest.split_once(':')?;
            Some(Self::new(decimal(global)?, decimal(local1)?, decimal(local2)?))
        };
        parse().ok_or_else(|| ParseCommunityError {
            text: text.to_owned(),
            expected: "a large community: expected ASN:VALUE:VALUE, each 0 to 4294967295",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_octets_round_trip() {
        let value = LargeCommunity::new(4_200_000_000, 1, 0x0102_0304);
        assert_eq!(value.to_string(), "4200000000:1:16909060");
        assert_eq!(value.to_string().parse(), Ok(value));
        assert_eq!(value.octets(), [0xFA, 0x56, 0xEA, 0, 0, 0, 0, 1, 1, 2, 3, 4]);
        assert_eq!(LargeCommunity::from_octets(value.octets()), value);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "1:2", "1:2:3:4", "1::3", "4294967296:0:0", "+1:2:3"] {
            assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
        }
    }
}
