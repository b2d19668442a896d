//! Capabilities of an OPEN message (RFC 5492).

use bytes::Bytes;
use nom::Parser;
use nom::combinator::{all_consuming, value};
use nom::number::complete::{be_u8, be_u16, be_u32};

use super::Family;
use super::error::{EncodeError, Field};
use super::notification::{ErrorCode, subcode};
use super::parse::{Fault, Judge, Parsed, Verdict, counted};

/// One capability that a speaker announces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Multiprotocol extensions for one family (code 1, RFC 4760).
    Multiprotocol(Family),
    /// Route refresh (code 2, RFC 2918).
    RouteRefresh,
    /// 4-octet AS numbers, with the speaker's AS (code 65, RFC 6793).
    FourOctetAs(u32),
    /// Any other capability, kept as received.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value, 255 octets at most.
        value: Bytes,
    },
}

/// Code of [`Capability::Multiprotocol`].
const MULTIPROTOCOL: u8 = 1;
/// Code of [`Capability::RouteRefresh`].
const ROUTE_REFRESH: u8 = 2;
/// Code of [`Capability::FourOctetAs`].
const FOUR_OCTET_AS: u8 = 65;

impl Capability {
    /// The capability code (IANA "Capability Codes").
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => MULTIPROTOCOL,
            Self::RouteRefresh => ROUTE_REFRESH,
            Self::FourOctetAs(_) => FOUR_OCTET_AS,
            Self::Unknown { code, .. } => *code,
        }
    }
}

/// Reads one capability; one of a known code has to have the length that its RFC gives it.
pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Capability> {
    let (rest, code) = be_u8(input)?;
    let verdict =
        Verdict::reset(Field::Capability(code), ErrorCode::OPEN_MESSAGE, subcode::UNSPECIFIC);
    let (rest, octets) = counted(be_u8).parse(rest).judge(verdict)?;
    Ok((rest, known_or_not(code, octets).judge(verdict)?.1))
}

fn known_or_not(code: u8, octets: &[u8]) -> Parsed<'_, Capability> {
    match code {
        MULTIPROTOCOL => {
            let family = (be_u16, be_u8, be_u8).map(|(afi, _, safi)| Family { afi, safi });
            all_consuming(family.map(Capability::Multiprotocol)).parse(octets)
        }
        ROUTE_REFRESH => value(Capability::RouteRefresh, nom::combinator::eof).parse(octets),
        FOUR_OCTET_AS => {
            all_consuming(be_u32::<_, Fault<'_>>.map(Capability::FourOctetAs)).parse(octets)
        }
        _ => Ok((&[], Capability::Unknown { code, value: Bytes::copy_from_slice(octets) })),
    }
}

/// Writes one capability.
pub(crate) fn put(capability: &Capability, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.push(capability.code());
    match capability {
        Capability::Multiprotocol(family) => {
            let [high, low] = family.afi.to_be_bytes();
            out.extend([4, high, low, 0, family.safi]);
        }
        Capability::RouteRefresh => out.push(0),
        Capability::FourOctetAs(number) => {
            out.push(4);
            out.extend(number.to_be_bytes());
        }
        Capability::Unknown { code, value } => {
            let length = u8::try_from(value.len()).map_err(|_| EncodeError::FieldTooLong {
                field: Field::Capability(*code),
                length: value.len(),
                max: usize::from(u8::MAX),
            })?;
            out.push(length);
            out.extend_from_slice(value);
        }
    }
    Ok(())
}
