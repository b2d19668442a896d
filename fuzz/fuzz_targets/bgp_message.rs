//! What decodes can be encoded again and then decodes to the same.
//!
//! The first octet chooses what the session has negotiated and whether the rest is a whole message
//! or only a type and a body, to which a good header is added.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vc5_fuzz::survive::survive;
use vc5_fuzz::{context, message};

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let octets = match rest.split_first() {
        Some((kind, body)) if choice & 0x80 == 0 => message(*kind, body),
        _ => rest.to_vec(),
    };
    survive(&octets, &context::decode(*choice));
});
