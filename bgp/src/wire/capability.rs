//! Capabilities of an OPEN message (RFC 5492).

use bytes::Bytes;

use super::Family;

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
pub(crate) const MULTIPROTOCOL: u8 = 1;
/// Code of [`Capability::RouteRefresh`].
pub(crate) const ROUTE_REFRESH: u8 = 2;
/// Code of [`Capability::FourOctetAs`].
pub(crate) const FOUR_OCTET_AS: u8 = 65;

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
