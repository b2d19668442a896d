//! The NOTIFICATION message: codes, their names, and the texts that may come with a Cease
//! (RFC 4271 sections 4.5 and 6, RFC 4486, RFC 9003).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::combinator::rest;
use nom::number::complete::be_u8;

use super::error::{Field, WireError};
use super::header::{Frame, HEADER_LEN, MAX_LEN};
use super::parse::{Verdict, locate};

/// A NOTIFICATION error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u8);

impl ErrorCode {
    /// Message Header Error.
    pub const MESSAGE_HEADER: Self = Self(1);
    /// OPEN Message Error.
    pub const OPEN_MESSAGE: Self = Self(2);
    /// UPDATE Message Error.
    pub const UPDATE_MESSAGE: Self = Self(3);
    /// Hold Timer Expired.
    pub const HOLD_TIMER_EXPIRED: Self = Self(4);
    /// Finite State Machine Error.
    pub const FINITE_STATE_MACHINE: Self = Self(5);
    /// Cease.
    pub const CEASE: Self = Self(6);
    /// ROUTE-REFRESH Message Error (RFC 7313).
    pub const ROUTE_REFRESH_MESSAGE: Self = Self(7);
    /// Send Hold Timer Expired (RFC 9687).
    pub const SEND_HOLD_TIMER_EXPIRED: Self = Self(8);
}

/// Subcodes, by the error code that they belong to.
pub mod subcode {
    /// No particular subcode.
    pub const UNSPECIFIC: u8 = 0;

    /// Of [`MESSAGE_HEADER`](super::ErrorCode::MESSAGE_HEADER) (RFC 4271 section 6.1).
    pub mod header {
        /// Connection Not Synchronized.
        pub const CONNECTION_NOT_SYNCHRONIZED: u8 = 1;
        /// Bad Message Length; data: the length.
        pub const BAD_MESSAGE_LENGTH: u8 = 2;
        /// Bad Message Type; data: the type.
        pub const BAD_MESSAGE_TYPE: u8 = 3;
    }

    /// Of [`OPEN_MESSAGE`](super::ErrorCode::OPEN_MESSAGE) (RFC 4271 section 6.2).
    pub mod open {
        /// Unsupported Version Number; data: the highest version spoken, 2 octets.
        pub const UNSUPPORTED_VERSION: u8 = 1;
        /// Bad Peer AS.
        pub const BAD_PEER_AS: u8 = 2;
        /// Bad BGP Identifier.
        pub const BAD_BGP_IDENTIFIER: u8 = 3;
        /// Unsupported Optional Parameter.
        pub const UNSUPPORTED_OPTIONAL_PARAMETER: u8 = 4;
        /// Unacceptable Hold Time.
        pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
        /// Unsupported Capability: a required one is missing (RFC 5492); data: those capabilities.
        pub const UNSUPPORTED_CAPABILITY: u8 = 7;
        /// Role Mismatch (RFC 9234).
        pub const ROLE_MISMATCH: u8 = 11;
    }

    /// Of [`UPDATE_MESSAGE`](super::ErrorCode::UPDATE_MESSAGE) (RFC 4271 section 6.3).
    pub mod update {
        /// Malformed Attribute List.
        pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
        /// Unrecognized Well-known Attribute; data: the attribute.
        pub const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
        /// Missing Well-known Attribute; data: its type code.
        pub const MISSING_WELL_KNOWN: u8 = 3;
        /// Attribute Flags Error; data: the attribute.
        pub const ATTRIBUTE_FLAGS: u8 = 4;
        /// Attribute Length Error; data: the attribute.
        pub const ATTRIBUTE_LENGTH: u8 = 5;
        /// Invalid ORIGIN Attribute; data: the attribute.
        pub const INVALID_ORIGIN: u8 = 6;
        /// Invalid NEXT_HOP Attribute; data: the attribute.
        pub const INVALID_NEXT_HOP: u8 = 8;
        /// Optional Attribute Error; data: the attribute.
        pub const OPTIONAL_ATTRIBUTE: u8 = 9;
        /// Invalid Network Field.
        pub const INVALID_NETWORK_FIELD: u8 = 10;
        /// Malformed AS_PATH.
        pub const MALFORMED_AS_PATH: u8 = 11;
    }

    /// Of [`FINITE_STATE_MACHINE`](super::ErrorCode::FINITE_STATE_MACHINE) (RFC 6608).
    pub mod fsm {
        /// Unexpected message in OpenSent; data: the message type.
        pub const UNEXPECTED_IN_OPEN_SENT: u8 = 1;
        /// Unexpected message in OpenConfirm; data: the message type.
        pub const UNEXPECTED_IN_OPEN_CONFIRM: u8 = 2;
        /// Unexpected message in Established; data: the message type.
        pub const UNEXPECTED_IN_ESTABLISHED: u8 = 3;
    }

    /// Of [`CEASE`](super::ErrorCode::CEASE) (RFC 4486).
    pub mod cease {
        /// Maximum Number of Prefixes Reached; data: optionally AFI, SAFI and the limit.
        pub const MAXIMUM_PREFIXES: u8 = 1;
        /// Administrative Shutdown; data: optionally a text (RFC 9003).
        pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
        /// Peer De-configured.
        pub const PEER_DECONFIGURED: u8 = 3;
        /// Administrative Reset; data: optionally a text (RFC 9003).
        pub const ADMINISTRATIVE_RESET: u8 = 4;
        /// Connection Rejected.
        pub const CONNECTION_REJECTED: u8 = 5;
        /// Other Configuration Change.
        pub const OTHER_CONFIGURATION_CHANGE: u8 = 6;
        /// Connection Collision Resolution.
        pub const CONNECTION_COLLISION: u8 = 7;
        /// Out of Resources.
        pub const OUT_OF_RESOURCES: u8 = 8;
        /// Hard Reset (RFC 8538); data: code, subcode and data of the true reason.
        pub const HARD_RESET: u8 = 9;
        /// BFD Down (RFC 9384).
        pub const BFD_DOWN: u8 = 10;
    }

    /// Of [`ROUTE_REFRESH_MESSAGE`](super::ErrorCode::ROUTE_REFRESH_MESSAGE) (RFC 7313).
    pub mod route_refresh {
        /// Invalid Message Length; data: the whole message.
        pub const INVALID_MESSAGE_LENGTH: u8 = 1;
    }
}

/// (code, subcode, name); subcode 0 names the code itself.
const NAMES: [(u8, u8, &str); 44] = [
    (1, 0, "Invalid message header"),
    (1, 1, "Connection not synchronized"),
    (1, 2, "Bad message length"),
    (1, 3, "Bad message type"),
    (2, 0, "Invalid OPEN message"),
    (2, 1, "Unsupported version number"),
    (2, 2, "Bad peer AS"),
    (2, 3, "Bad BGP identifier"),
    (2, 4, "Unsupported optional parameter"),
    (2, 5, "Authentication failure"),
    (2, 6, "Unacceptable hold time"),
    (2, 7, "Required capability missing"),
    (2, 11, "Role mismatch"),
    (3, 0, "Invalid UPDATE message"),
    (3, 1, "Malformed attribute list"),
    (3, 2, "Unrecognized well-known attribute"),
    (3, 3, "Missing mandatory attribute"),
    (3, 4, "Invalid attribute flags"),
    (3, 5, "Invalid attribute length"),
    (3, 6, "Invalid ORIGIN attribute"),
    (3, 7, "AS routing loop"),
    (3, 8, "Invalid NEXT_HOP attribute"),
    (3, 9, "Optional attribute error"),
    (3, 10, "Invalid network field"),
    (3, 11, "Malformed AS_PATH"),
    (4, 0, "Hold timer expired"),
    (5, 0, "Finite state machine error"),
    (5, 1, "Unexpected message in OpenSent state"),
    (5, 2, "Unexpected message in OpenConfirm state"),
    (5, 3, "Unexpected message in Established state"),
    (6, 0, "Cease"),
    (6, 1, "Maximum number of prefixes reached"),
    (6, 2, "Administrative shutdown"),
    (6, 3, "Peer de-configured"),
    (6, 4, "Administrative reset"),
    (6, 5, "Connection rejected"),
    (6, 6, "Other configuration change"),
    (6, 7, "Connection collision resolution"),
    (6, 8, "Out of Resources"),
    (6, 9, "Hard reset"),
    (6, 10, "BFD session down"),
    (7, 0, "Invalid ROUTE-REFRESH message"),
    (7, 1, "Invalid ROUTE-REFRESH message length"),
    (8, 0, "Send hold timer expired"),
];

/// The name of a code and subcode, in the words that `birdc` uses; numbers where there is none.
pub(crate) fn describe(code: ErrorCode, subcode: u8) -> String {
    let name = |subcode| NAMES.iter().find(|row| (row.0, row.1) == (code.0, subcode));
    match (name(subcode), name(0)) {
        (Some(row), _) => row.2.to_owned(),
        (None, Some(row)) => format!("{} (subcode {subcode})", row.2),
        (None, None) => format!("Unknown error {}/{subcode}", code.0),
    }
}

/// A NOTIFICATION message: the reason why the connection is about to be closed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// Error code.
    pub code: ErrorCode,
    /// Error subcode, see [`subcode`]; 0 if unspecific.
    pub subcode: u8,
    /// Data, depending on code and subcode.
    pub data: Bytes,
}

/// The most octets of data that any peer can read, also one with extended messages.
pub(crate) const DATA_MAX: usize = MAX_LEN - HEADER_LEN - 2;
/// The most octets of a shutdown text (RFC 9003 section 2).
const TEXT_MAX: usize = 255;

impl Notification {
    /// A NOTIFICATION without data.
    #[must_use]
    pub const fn new(code: ErrorCode, subcode: u8) -> Self {
        Self { code, subcode, data: Bytes::new() }
    }

    /// A Cease; `subcode` is one of [`subcode::cease`].
    #[must_use]
    pub const fn cease(subcode: u8) -> Self {
        Self::new(ErrorCode::CEASE, subcode)
    }

    /// A Cease with a text for the peer's operator (RFC 9003), for administrative shutdown and
    /// reset. Text beyond 255 octets is cut at a character boundary; an empty one is left out.
    #[must_use]
    pub fn cease_with_text(subcode: u8, text: &str) -> Self {
        let text = text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or_default();
        if text.is_empty() {
            return Self::cease(subcode);
        }
        let mut data = BytesMut::with_capacity(1 + text.len());
        data.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
        data.put_slice(text.as_bytes());
        Self { code: ErrorCode::CEASE, subcode, data: data.freeze() }
    }

    /// A Cease/Hard Reset that carries `reason`: the peer must not keep our routes (RFC 8538). Data
    /// that do not fit are cut.
    #[must_use]
    pub fn hard_reset(reason: &Self) -> Self {
        let mut data = BytesMut::with_capacity(2 + reason.data.len());
        data.put_slice(&[reason.code.0, reason.subcode]);
        data.put_slice(&reason.data);
        data.truncate(DATA_MAX);
        Self { code: ErrorCode::CEASE, subcode: subcode::cease::HARD_RESET, data: data.freeze() }
    }

    /// The text of an administrative shutdown or reset. Octets that are not UTF-8 are replaced and
    /// control characters dropped; a length beyond the data means no text (RFC 9003 section 2).
    #[must_use]
    pub fn shutdown_text(&self) -> Option<String> {
        use subcode::cease::{ADMINISTRATIVE_RESET, ADMINISTRATIVE_SHUTDOWN};
        if self.code != ErrorCode::CEASE
            || ![ADMINISTRATIVE_SHUTDOWN, ADMINISTRATIVE_RESET].contains(&self.subcode)
        {
            return None;
        }
        let (&length, rest) = self.data.split_first()?;
        let text = String::from_utf8_lossy(rest.get(..usize::from(length))?);
        let text: String = text.chars().filter(|character| !character.is_control()).collect();
        (!text.is_empty()).then_some(text)
    }

    /// The reason inside a Hard Reset (RFC 8538 section 3.1).
    #[must_use]
    pub fn hard_reset_reason(&self) -> Option<Self> {
        if (self.code, self.subcode) != (ErrorCode::CEASE, subcode::cease::HARD_RESET) {
            return None;
        }
        match self.data.get(..2) {
            Some(&[code, subcode]) => {
                Some(Self { code: ErrorCode(code), subcode, data: self.data.slice(2..) })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Notification {
    /// The reason in `birdc`'s words, for example `Hold timer expired`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(self.code, self.subcode))
    }
}

/// Reads the message; its least length has been checked with the header.
pub(crate) fn decode(frame: Frame<'_>) -> Result<Notification, WireError> {
    let verdict = Verdict::reset(
        Field::Notification,
        ErrorCode::MESSAGE_HEADER,
        subcode::header::BAD_MESSAGE_LENGTH,
    );
    let (_, (code, subcode, data)) = (be_u8, be_u8, rest)
        .parse(frame.body())
        .map_err(|error| locate(error, frame.bytes, verdict))?;
    Ok(Notification { code: ErrorCode(code), subcode, data: Bytes::copy_from_slice(data) })
}

/// Writes the body.
pub(crate) fn put(notification: &Notification, out: &mut Vec<u8>) {
    out.extend([notification.code.0, notification.subcode]);
    out.extend_from_slice(&notification.data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shutdown(data: &[u8]) -> Notification {
        let data = Bytes::copy_from_slice(data);
        Notification { code: ErrorCode::CEASE, subcode: 2, data }
    }

    #[test]
    fn reasons_are_worded_like_birdc() {
        let text = |code, subcode| Notification::new(ErrorCode(code), subcode).to_string();
        assert_eq!(text(4, 0), "Hold timer expired");
        assert_eq!(text(2, 2), "Bad peer AS");
        assert_eq!(text(6, 2), "Administrative shutdown");
        assert_eq!(text(6, 77), "Cease (subcode 77)");
        assert_eq!(text(99, 3), "Unknown error 99/3");
    }

    #[test]
    fn shutdown_text_round_trips() {
        let sent = Notification::cease_with_text(2, "planned maintenance");
        assert_eq!(sent.data[0], 19);
        assert_eq!(sent.shutdown_text().as_deref(), Some("planned maintenance"));
        assert_eq!(Notification::cease_with_text(2, "").data.len(), 0);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let sent = Notification::cease_with_text(4, &"ä".repeat(200));
        assert_eq!(sent.data.len(), 1 + 254);
        assert_eq!(sent.shutdown_text(), Some("ä".repeat(127)));
    }

    #[test]
    fn bad_shutdown_text_is_tolerated() {
        assert_eq!(shutdown(&[]).shutdown_text(), None);
        assert_eq!(shutdown(&[0]).shutdown_text(), None);
        assert_eq!(shutdown(&[9, b'x']).shutdown_text(), None);
        assert_eq!(shutdown(&[3, b'a', 0xFF, b'\n']).shutdown_text().as_deref(), Some("a\u{FFFD}"));
        assert_eq!(Notification::new(ErrorCode(4), 2).shutdown_text(), None);
    }

    #[test]
    fn hard_reset_carries_its_reason() {
        let reason = Notification::cease_with_text(2, "bye");
        let sent = Notification::hard_reset(&reason);
        assert_eq!((sent.code, sent.subcode), (ErrorCode::CEASE, 9));
        assert_eq!(sent.hard_reset_reason(), Some(reason.clone()));
        assert_eq!(reason.hard_reset_reason(), None);
        let bare = Notification { data: Bytes::from_static(&[6]), ..sent };
        assert_eq!(bare.hard_reset_reason(), None);
    }
}
