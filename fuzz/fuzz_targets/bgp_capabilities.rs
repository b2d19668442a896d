//! The same capabilities mean the same in whatever parameters an OPEN carries them.
//!
//! The input is a list of capabilities as it lies in the message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vc5_bgp::wire::{DecodeContext, Decoded, ErrorCode, Open};
use vc5_fuzz::message;
use vc5_fuzz::survive::survive;

/// Version 4, AS 64500, hold time 90 s, identifier 192.0.2.2.
const FIXED: [u8; 9] = [4, 0xFB, 0xF4, 0, 90, 192, 0, 2, 2];
const CAPABILITIES: u8 = 2;
/// In place of length and type of the parameters: the form of RFC 9072.
const EXTENDED: [u8; 2] = [255, 255];

fuzz_target!(|list: &[u8]| {
    let Ok(length) = u16::try_from(list.len()) else { return };
    if length > 4000 {
        return;
    }
    let extended = read(&wide(&parameter(list, true)));
    if let Ok(short) = u8::try_from(length)
        && short <= 253
    {
        assert_eq!(read(&narrow(&parameter(list, false))), extended);
    }
    // One parameter each makes no difference either, where the list can be cut.
    if let Some(pieces) = pieces(list) {
        let each =
            |wide| pieces.iter().flat_map(|piece| parameter(piece, wide)).collect::<Vec<_>>();
        if each(true).len() < 4000 {
            assert_eq!(read(&wide(&each(true))), extended);
        }
        if each(false).len() <= 254 {
            assert_eq!(read(&narrow(&each(false))), extended);
        }
    }
});

/// The OPEN, or code and subcode of its error.
fn read(parameters: &[u8]) -> Result<Open, (ErrorCode, u8)> {
    let octets = message(1, &[&FIXED[..], parameters].concat());
    match survive(&octets, &DecodeContext::default()) {
        Some(Ok(Decoded::Open(open))) => Ok(open),
        Some(Err(error)) => Err((error.code, error.subcode)),
        other => panic!("{other:?} out of an OPEN"),
    }
}

fn parameter(value: &[u8], wide: bool) -> Vec<u8> {
    let length = (value.len() as u16).to_be_bytes();
    [&[CAPABILITIES][..], if wide { &length } else { &length[1..] }, value].concat()
}

fn narrow(parameters: &[u8]) -> Vec<u8> {
    [&[parameters.len() as u8][..], parameters].concat()
}

fn wide(parameters: &[u8]) -> Vec<u8> {
    [&EXTENDED[..], &(parameters.len() as u16).to_be_bytes(), parameters].concat()
}

/// Each capability by itself; `None` if the last one is cut off.
fn pieces(mut list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut pieces = Vec::new();
    while let [_, length, ..] = list {
        let (piece, rest) = list.split_at_checked(2 + usize::from(*length))?;
        pieces.push(piece);
        list = rest;
    }
    list.is_empty().then_some(pieces)
}
