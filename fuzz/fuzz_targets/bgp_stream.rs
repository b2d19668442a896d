//! A stream gives the same messages and ends in the same error however it is cut.
//!
//! The first octet says how many octets follow that are the sizes of the pieces, taken in turn; the
//! rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vc5_bgp::wire::{DecodeContext, Decoded, FamilySet, MAX_LEN, WireError, decode, frame};

type Read = Result<Decoded, WireError>;

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let Some((sizes, stream)) = rest.split_at_checked(usize::from(count % 16)) else { return };
    let (whole, left) = read(std::iter::once(stream));
    let (cut, also_left) = read(pieces(stream, sizes));
    assert_eq!(cut, whole);
    assert_eq!(also_left, left);
    assert_eq!(frame(&stream[stream.len() - left..], MAX_LEN), Ok(None));
});

fn pieces<'a>(mut stream: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().map(|size| usize::from(*size) + 1).cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().unwrap_or(1).min(stream.len());
        let piece = stream.split_off(..size)?;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Everything read until the stream or the session ends, and how many octets are left over; those
/// behind an error count for nothing.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Read>, usize) {
    let ctx = DecodeContext { families: FamilySet::ALL, ..DecodeContext::default() };
    let (mut buffer, mut messages) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let (message, consumed) = match frame(&buffer, MAX_LEN) {
                Ok(None) => break,
                Ok(Some(frame)) => (decode(frame, &ctx), frame.bytes.len()),
                Err(error) => (Err(error), 0),
            };
            let closed = message.is_err();
            messages.push(message);
            if closed {
                return (messages, 0);
            }
            buffer.drain(..consumed);
        }
    }
    (messages, buffer.len())
}
