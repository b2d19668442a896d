//! The ROUTE-REFRESH message (RFC 2918).

use nom::Parser;
use nom::combinator::all_consuming;
use nom::number::complete::{be_u8, be_u16};

use super::Family;
use super::error::{Action, Field, WireError};
use super::header::Frame;
use super::notification::{ErrorCode, subcode};
use super::parse::{Fault, Verdict, locate};

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

/// Reads the message. A wrong length is answered with the whole message (RFC 7313 section 5), also
/// to a peer without that RFC: no other error code fits better.
pub(crate) fn decode(frame: Frame<'_>) -> Result<RouteRefresh, WireError> {
    let mut body = all_consuming((be_u16::<_, Fault<'_>>, be_u8, be_u8));
    match body.parse(frame.body()) {
        Ok((_, (afi, subtype, safi))) => Ok(RouteRefresh { family: Family { afi, safi }, subtype }),
        Err(error) => {
            let verdict = Verdict {
                field: Field::RouteRefresh,
                action: Action::SessionReset,
                code: ErrorCode::ROUTE_REFRESH_MESSAGE,
                subcode: subcode::route_refresh::INVALID_MESSAGE_LENGTH,
                data: frame.bytes,
            };
            Err(locate(error, frame.bytes, verdict))
        }
    }
}

/// Writes the body.
pub(crate) fn put(refresh: RouteRefresh, out: &mut Vec<u8>) {
    out.extend(refresh.family.afi.to_be_bytes());
    out.extend([refresh.subtype, refresh.family.safi]);
}
