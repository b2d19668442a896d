//! What is wrong with received octets, where, and what RFC 4271 and RFC 7606 say to do about it.

use std::fmt;

use bytes::Bytes;

use super::notification::{DATA_MAX, ErrorCode, Notification, describe};

/// The part of a message that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The 16 octets of ones that start every message.
    Marker,
    /// The message length in the header.
    Length,
    /// The message type in the header.
    Type,
    /// OPEN: version.
    Version,
    /// OPEN: My Autonomous System, or the 4-octet AS number capability.
    MyAs,
    /// OPEN: hold time.
    HoldTime,
    /// OPEN: BGP identifier.
    Identifier,
    /// OPEN: the optional parameters as a list.
    OptionalParameters,
    /// OPEN: one capability, by code.
    Capability(u8),
    /// UPDATE: withdrawn routes and their length.
    Withdrawn,
    /// UPDATE: the path attributes as a list, and their total length.
    Attributes,
    /// UPDATE: one path attribute, by type code.
    Attribute(u8),
    /// UPDATE: network layer reachability information.
    Nlri,
    /// NOTIFICATION: error code and subcode.
    Notification,
    /// ROUTE-REFRESH: the body.
    RouteRefresh,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Marker => "marker",
            Self::Length => "message length",
            Self::Type => "message type",
            Self::Version => "version",
            Self::MyAs => "AS number",
            Self::HoldTime => "hold time",
            Self::Identifier => "BGP identifier",
            Self::OptionalParameters => "optional parameters",
            Self::Capability(code) => return write!(f, "capability {code}"),
            Self::Withdrawn => "withdrawn routes",
            Self::Attributes => "path attributes",
            Self::Attribute(code) => return super::attribute::write_name(*code, f),
            Self::Nlri => "NLRI",
            Self::Notification => "notification",
            Self::RouteRefresh => "route refresh",
        };
        f.write_str(name)
    }
}

/// How an error is handled, weakest first (RFC 7606 section 2); the strongest one of an UPDATE wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Action {
    /// Nothing was wrong.
    #[default]
    None,
    /// The offending attribute (or ignorable prefix) is dropped, the rest of the UPDATE stands.
    AttributeDiscard,
    /// All routes announced in the UPDATE are taken as withdrawn.
    TreatAsWithdraw,
    /// A NOTIFICATION is sent and the session closed.
    SessionReset,
}

/// One error found in received octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{field} at octet {offset}: {}", describe(*.code, *.subcode))]
pub struct WireError {
    /// The part of the message it is about.
    pub field: Field,
    /// Octets from the start of the message, header included.
    pub offset: usize,
    /// What has to be done.
    pub action: Action,
    /// NOTIFICATION error code.
    pub code: ErrorCode,
    /// NOTIFICATION error subcode.
    pub subcode: u8,
    /// NOTIFICATION data.
    pub data: Bytes,
}

impl WireError {
    /// The NOTIFICATION that reports this error to the peer (RFC 4271 section 6); data that do not
    /// fit are cut.
    #[must_use]
    pub fn to_notification(&self) -> Notification {
        let data = self.data.slice(..self.data.len().min(DATA_MAX));
        Notification { code: self.code, subcode: self.subcode, data }
    }
}

/// Why a message cannot be put on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message would be longer than the session allows.
    #[error("message of {length} octets, the limit is {max}")]
    MessageTooLong {
        /// Octets needed, header included.
        length: usize,
        /// Octets allowed, header included.
        max: usize,
    },
    /// A length-prefixed part does not fit its length field.
    #[error("{field} of {length} octets, the limit is {max}")]
    FieldTooLong {
        /// The part.
        field: Field,
        /// Octets needed.
        length: usize,
        /// Octets that the length field can express.
        max: usize,
    },
    /// A time is more than its field can express.
    #[error("{field}: a time of {} s, the limit is {max} s", .time.as_secs())]
    TimeTooLong {
        /// The part.
        field: Field,
        /// The time.
        time: std::time::Duration,
        /// The most seconds that the field can express.
        max: u32,
    },
    /// A prefix or next hop is not of the family it is announced under.
    #[error("address {address} does not belong to family {family}")]
    WrongFamily {
        /// The family of the message.
        family: super::Family,
        /// The prefix or next hop, as text.
        address: String,
    },
}
