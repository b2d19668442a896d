//! EXTENDED COMMUNITIES values (RFC 4360).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::{ParseCommunityError, decimal};

/// One extended community: eight octets, of which the first one or two say what the rest means.
///
/// Written `rt:65000:100` (route target), `ro:65000:100` (route origin), both also with an IPv4
/// address in place of the AS, or `generic:0x43000000:0x1` (RFC 4360 sections 3 to 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedCommunity(pub [u8; 8]);

/// A link bandwidth community (draft-ietf-idr-link-bandwidth): how much traffic a path can take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkBandwidth {
    /// Passed on beyond the AS. The draft's original form is not.
    pub transitive: bool,
    /// The AS that attached it; AS_TRANS (23456) where its number has more than 16 bits.
    pub asn: u16,
    /// Octets per second, not negative and finite.
    pub bytes_per_second: f32,
}

/// Type: the community is not passed on beyond the AS (RFC 4360 section 2).
const NON_TRANSITIVE: u8 = 0x40;
/// Types whose administrator is a 2-octet AS, an IPv4 address, a 4-octet AS (RFC 4360, RFC 5668).
const AS2: u8 = 0;
const IPV4: u8 = 1;
const AS4: u8 = 2;
/// Subtypes with a name of their own.
const SUBTYPES: [(u8, &str); 2] = [(2, "rt"), (3, "ro")];
/// Subtype of a link bandwidth.
const LINK_BANDWIDTH: u8 = 4;

impl ExtendedCommunity {
    /// A link bandwidth.
    #[must_use]
    pub const fn link_bandwidth(value: LinkBandwidth) -> Self {
        let kind = if value.transitive { AS2 } else { AS2 | NON_TRANSITIVE };
        let [a, b] = value.asn.to_be_bytes();
        let [c, d, e, f] = value.bytes_per_second.to_be_bytes();
        Self([kind, LINK_BANDWIDTH, a, b, c, d, e, f])
    }

    /// The link bandwidth that this community says. One that is negative or no number is none.
    #[must_use]
    pub fn as_link_bandwidth(self) -> Option<LinkBandwidth> {
        let [kind, LINK_BANDWIDTH, a, b, c, d, e, f] = self.0 else { return None };
        let bytes_per_second = f32::from_be_bytes([c, d, e, f]);
        let sane = bytes_per_second.is_finite() && bytes_per_second.is_sign_positive();
        (kind & !NON_TRANSITIVE == AS2 && sane).then_some(LinkBandwidth {
            transitive: self.is_transitive(),
            asn: u16::from_be_bytes([a, b]),
            bytes_per_second,
        })
    }

    /// Whether the community is passed on beyond the AS (RFC 4360 section 6).
    #[must_use]
    pub const fn is_transitive(self) -> bool {
        self.0[0] & NON_TRANSITIVE == 0
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, subtype, a, b, c, d, e, g] = self.0;
        let name = SUBTYPES.iter().find(|row| row.0 == subtype).map(|row| row.1);
        match (name, kind) {
            (Some(name), AS2) => {
                let [asn, value] =
                    [u16::from_be_bytes([a, b]).into(), u32::from_be_bytes([c, d, e, g])];
                write!(f, "{name}:{asn}:{value}")
            }
            (Some(name), IPV4) => {
                let value = u16::from_be_bytes([e, g]);
                write!(f, "{name}:{}:{value}", Ipv4Addr::new(a, b, c, d))
            }
            (Some(name), AS4) => {
                let [asn, value] =
                    [u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, g]).into()];
                write!(f, "{name}:{asn}:{value}")
            }
            _ => {
                let high = u32::from_be_bytes([kind, subtype, a, b]);
                write!(f, "generic:{high:#x}:{:#x}", u32::from_be_bytes([c, d, e, g]))
            }
        }
    }
}

impl FromStr for ExtendedCommunity {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseCommunityError {
            text: text.to_owned(),
            expected: "an extended community: expected rt:ASN:VALUE, ro:ASN:VALUE (both also with \
                       an IPv4 address in place of ASN) or generic:0xHIGH:0xLOW",
        })
    }
}

fn parse(text: &str) -> Option<ExtendedCommunity> {
    let (kind, rest) = text.split_once(':')?;
    let (administrator, value) = rest.split_once(':')?;
    if kind == "generic" {
        let [a, b, c, d] = hexadecimal(administrator)?.to_be_bytes();
        let [e, f, g, h] = hexadecimal(value)?.to_be_bytes();
        return Some(ExtendedCommunity([a, b, c, d, e, f, g, h]));
    }
    let subtype = SUBTYPES.iter().find(|row| row.1 == kind)?.0;
    if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        return Some(narrow(IPV4, subtype, address.octets(), decimal(value)?));
    }
    let asn = decimal::<u32>(administrator)?;
    match u16::try_from(asn) {
        Ok(asn) => {
            let [a, b] = asn.to_be_bytes();
            let [c, d, e, f] = decimal::<u32>(value)?.to_be_bytes();
            Some(ExtendedCommunity([AS2, subtype, a, b, c, d, e, f]))
        }
        Err(_) => Some(narrow(AS4, subtype, asn.to_be_bytes(), decimal(value)?)),
    }
}

/// A community with four octets of administrator and two of value.
fn narrow(kind: u8, subtype: u8, [a, b, c, d]: [u8; 4], value: u16) -> ExtendedCommunity {
    let [e, f] = value.to_be_bytes();
    ExtendedCommunity([kind, subtype, a, b, c, d, e, f])
}

fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x")?;
    let plain = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let rows = [
            ("rt:65000:100", [0, 2, 0xFD, 0xE8, 0, 0, 0, 100]),
            ("ro:192.0.2.1:7", [1, 3, 192, 0, 2, 1, 0, 7]),
            ("rt:4200000000:1", [2, 2, 0xFA, 0x56, 0xEA, 0, 0, 1]),
            ("generic:0x43000000:0x1", [0x43, 0, 0, 0, 0, 0, 0, 1]),
            // A target that is not transitive has no short form.
            ("generic:0x4002fde8:0x64", [0x40, 2, 0xFD, 0xE8, 0, 0, 0, 100]),
        ];
        for (text, octets) in rows {
            assert_eq!(ExtendedCommunity(octets).to_string(), text);
            assert_eq!(text.parse(), Ok(ExtendedCommunity(octets)));
        }
    }

    #[test]
    fn other_text_is_refused() {
        let bad = [
            "",
            "rt",
            "rt:1",
            "rt:1:",
            "rt:1:4294967296",
            "rt:65536:65536",
            "xx:1:2",
            "rt:1.2.3.4:65536",
            "generic:1:2",
            "generic:0x1:0x123456789",
            "generic:0x:0x1",
            "generic:0x+1:0x1",
        ];
        for text in bad {
            assert!(text.parse::<ExtendedCommunity>().is_err(), "{text}");
        }
    }

    #[test]
    fn link_bandwidth_round_trips() {
        let value =
            LinkBandwidth { transitive: false, asn: 65000, bytes_per_second: 125_000_000.0 };
        let community = ExtendedCommunity::link_bandwidth(value);
        assert_eq!(community.0, [0x40, 4, 0xFD, 0xE8, 0x4C, 0xEE, 0x6B, 0x28]);
        assert_eq!(community.as_link_bandwidth(), Some(value));
        assert!(!community.is_transitive());
        let passed_on = LinkBandwidth { transitive: true, ..value };
        let community = ExtendedCommunity::link_bandwidth(passed_on);
        assert_eq!((community.0[0], community.as_link_bandwidth()), (0, Some(passed_on)));
    }

    #[test]
    fn nonsense_is_no_link_bandwidth() {
        for [c, d] in [[0xBF, 0x80], [0x7F, 0x80], [0x7F, 0xC0], [0x80, 0]] {
            assert_eq!(ExtendedCommunity([0x40, 4, 0, 1, c, d, 0, 0]).as_link_bandwidth(), None);
        }
        assert_eq!(ExtendedCommunity([0x40, 5, 0, 1, 0, 0, 0, 0]).as_link_bandwidth(), None);
        assert_eq!(ExtendedCommunity([0x41, 4, 0, 1, 0, 0, 0, 0]).as_link_bandwidth(), None);
    }
}
