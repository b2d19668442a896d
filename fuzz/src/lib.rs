//! What the targets share: what may have been negotiated, the properties that every message has, and
//! how structured values are made from a fuzzer's octets.

pub mod context;
pub mod generate;
pub mod machine;
pub mod survive;
pub mod traffic;

// The model of the forwarding path and the world in which its tests put it, without the rest of the
// crate that they belong to, which would be instrumented and built for nothing.
#[path = "../../xdp/src/model/mod.rs"]
pub mod model;
#[path = "../../xdp/tests/common/mod.rs"]
pub mod path;
// By this name the world knows the model.
extern crate self as vc5_xdp;

/// The longest message that the length field can express.
pub const LONGEST: usize = 65535;

/// A message of type `kind`, its header right.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap_or(u16::MAX);
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}
