//! Tests of whole messages: what malformed octets lead to, and round trips.

mod headers;
pub(crate) mod malformed;
mod opens;
mod packing;
mod round_trip;
mod strategies;
mod updates;
mod words;

use super::*;

/// A context in which everything understood is negotiated.
fn context(ebgp: bool) -> DecodeContext {
    DecodeContext { ebgp, families: FamilySet::ALL, ..DecodeContext::default() }
}

/// A message of type `kind`.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LEN + body.len()).unwrap().to_be_bytes();
    [&[0xFF; 16][..], &length, &[kind], body].concat()
}

/// Reads the one message that `octets` is.
fn read(octets: &[u8], ctx: &DecodeContext) -> Result<Decoded, WireError> {
    let frame = frame(octets, 65535)?.expect("a whole message");
    assert_eq!(frame.bytes, octets);
    decode(frame, ctx)
}

/// Code, subcode and data of the NOTIFICATION that an error leads to.
fn triple(error: &WireError) -> (u8, u8, Vec<u8>) {
    let notification = error.to_notification();
    (notification.code.0, notification.subcode, notification.data.to_vec())
}
