//! The ROUTE-REFRESH message (RFC 2918, RFC 7313).

use nom::Parser;
use nom::combinator::all_consuming;
use nom::number::complete::{be_u8, be_u16};

use super::Family;
use super::error::{Action, Field, WireError};
use super::header::Frame;
use super::notification::{ErrorCode, subcode};
use super::parse::{Fault, Verdict, locate};

/// A request to send all routes of a family again, or one end of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The family it is about; one that was not negotiated is to be ignored.
    pub family: Family,
    /// What it says.
    pub subtype: RefreshSubtype,
}

/// Message subtypes (RFC 7313 section 3). All but a request are to be ignored unless both sides
/// announced enhanced route refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefreshSubtype {
    /// 0: send all routes again.
    Request,
    /// 1, BoRR: all routes follow.
    BeginningOfRefresh,
    /// 2, EoRR: all routes were sent; what was not among them is gone.
    EndOfRefresh,
    /// Any other, to be ignored.
    Unknown(u8),
}

impl From<u8> for RefreshSubtype {
    fn from(octet: u8) -> Self {
        match octet {
            0 => Self::Request,
            1 => Self::BeginningOfRefresh,
            2 => Self::EndOfRefresh,
            other => Self::Unknown(other),
        }
    }
}

impl From<RefreshSubtype> for u8 {
    fn from(subtype: RefreshSubtype) -> Self {
        match subtype {
            RefreshSubtype::Request => 0,
            RefreshSubtype::BeginningOfRefresh => 1,
            RefreshSubtype::EndOfRefresh => 2,
            RefreshSubtype::Unknown(other) => other,
        }
    }
}

impl RouteRefresh {
    /// A plain request for `family`.
    #[must_use]
    pub const fn request(family: Family) -> Self {
        Self { family, subtype: RefreshSubtype::Request }
    }
}

/// Reads the message. A wrong length is answered with the whole message (RFC 7313 section 5), also
/// to a peer without that RFC: no other error code fits better.
pub(crate) fn decode(frame: Frame<'_>) -> Result<RouteRefresh, WireError> {
    let mut body = all_consuming((be_u16::<_, Fault<'_>>, be_u8.map(RefreshSubtype::from), be_u8));
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
    out.extend([refresh.subtype.into(), refresh.family.safi]);
}
