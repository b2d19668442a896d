//! The ROUTE-REFRESH message (RFC 2918).

use super::Family;

/// A request to send all routes of a family again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The family asked for; one that was not negotiated is to be ignored.
    pub family: Family,
    /// 0 a request; others belong to RFC 7313 and are to be ignored unless negotiated.
    pub subtype: u8,
}

impl RouteRefresh {
    /// A plain request for `family`.
    #[must_use]
    pub const fn request(family: Family) -> Self {
        Self { family, subtype: 0 }
    }
}
