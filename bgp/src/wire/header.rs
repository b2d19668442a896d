//! Message header and framing of a byte stream (RFC 4271 sections 4.1 and 6.1).

use bytes::Bytes;

use super::error::{Action, EncodeError, Field, WireError};
use super::notification::{ErrorCode, subcode};

/// Octets of a message header.
pub const HEADER_LEN: usize = 19;
/// The longest message without the extended message capability, in octets.
pub const MAX_LEN: usize = 4096;
/// The longest message with the extended message capability, in octets (RFC 8654).
pub const EXTENDED_MAX_LEN: usize = 65535;

/// Message types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// OPEN.
    Open = 1,
    /// UPDATE.
    Update = 2,
    /// NOTIFICATION.
    Notification = 3,
    /// KEEPALIVE.
    Keepalive = 4,
    /// ROUTE-REFRESH (RFC 2918).
    RouteRefresh = 5,
}

/// One message as it lies in the receive buffer, header checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type from the header.
    pub kind: MessageType,
    /// The whole message, header included: `bytes.len()` octets are to be consumed.
    pub bytes: &'a [u8],
}

/// The first message in `buf`; `None` if more octets are needed. `max_len` is the longest message
/// allowed: [`MAX_LEN`], or [`EXTENDED_MAX_LEN`] if extended messages were negotiated.
///
/// # Errors
/// A header that RFC 4271 section 6.1 refuses, found as soon as the header is complete.
pub fn frame(buf: &[u8], max_len: usize) -> Result<Option<Frame<'_>>, WireError> {
    let Some((header, _)) = buf.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let [marker @ .., high, low, kind] = header;
    if marker != &[0xFF; 16] {
        let synchronized = subcode::header::CONNECTION_NOT_SYNCHRONIZED;
        return Err(header_error(Field::Marker, 0, synchronized, &[]));
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let bad_length =
        || header_error(Field::Length, 16, subcode::header::BAD_MESSAGE_LENGTH, &[*high, *low]);
    if !(HEADER_LEN..=max_len).contains(&length) {
        return Err(bad_length());
    }
    let Some(kind) = MessageType::from_octet(*kind) else {
        return Err(header_error(Field::Type, 18, subcode::header::BAD_MESSAGE_TYPE, &[*kind]));
    };
    if !kind.allows(length) {
        return Err(bad_length());
    }
    Ok(buf.get(..length).map(|bytes| Frame { kind, bytes }))
}

impl<'a> Frame<'a> {
    /// The message after its header.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

impl MessageType {
    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Open, Self::Update, Self::Notification, Self::Keepalive, Self::RouteRefresh]
            .into_iter()
            .find(|kind| *kind as u8 == octet)
    }

    /// Whether a message of this type may have `length` octets. ROUTE-REFRESH has an error code of
    /// its own for that and is judged by its decoder.
    fn allows(self, length: usize) -> bool {
        match self {
            Self::Open => (29..=MAX_LEN).contains(&length),
            Self::Update => length >= 23,
            Self::Notification => length >= 21,
            Self::Keepalive => length == HEADER_LEN,
            Self::RouteRefresh => true,
        }
    }
}

/// Appends a message of type `kind` whose body is written by `body`.
///
/// # Errors
/// That of `body`, or [`EncodeError::MessageTooLong`]; `out` is as it was then.
pub(crate) fn put(
    kind: MessageType,
    max_len: usize,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0xFF; 16]);
    out.extend_from_slice(&[0, 0, kind as u8]);
    let length = body(out).and_then(|()| message_length(kind, max_len, out.len() - start));
    match length {
        Ok(length) => put_length(out, start + 16, length),
        Err(_) => out.truncate(start),
    }
    length.map(|_| ())
}

fn message_length(kind: MessageType, max_len: usize, length: usize) -> Result<u16, EncodeError> {
    // RFC 8654 section 4: an OPEN keeps to the old limit.
    let limit = if kind == MessageType::Open { MAX_LEN } else { EXTENDED_MAX_LEN };
    let max = max_len.min(limit);
    let field = u16::try_from(length).ok().filter(|_| length <= max);
    field.ok_or(EncodeError::MessageTooLong { length, max })
}

/// Overwrites two octets at `place` with a length.
pub(crate) fn put_length(out: &mut [u8], place: usize, length: u16) {
    if let Some(field) = out.get_mut(place..place + 2) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn header_error(field: Field, offset: usize, subcode: u8, data: &[u8]) -> WireError {
    WireError {
        field,
        offset,
        action: Action::SessionReset,
        code: ErrorCode::MESSAGE_HEADER,
        subcode,
        data: Bytes::copy_from_slice(data),
    }
}
