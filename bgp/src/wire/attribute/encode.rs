//! Attributes to octets, always in the same form: ascending by code, the two-octet length only
//! where one octet does not do.

use super::table::{Row, TABLE};
use super::{Attributes, OpaqueAttribute, code, flag};
use crate::wire::error::{EncodeError, Field};
use crate::wire::message::EncodeContext;

/// Appends all attributes, NEXT_HOP only if `with_next_hop`.
pub(crate) fn put_all(
    attributes: &Attributes,
    with_next_hop: bool,
    ctx: &EncodeContext,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let is_wanted = |row: &Row| with_next_hop || row.code != code::NEXT_HOP;
    if attributes.opaque.is_empty() {
        // Apart, so that the loop is unrolled and its calls are inlined.
        for row in TABLE {
            if is_wanted(row) {
                (row.encode)(row, attributes, ctx.as4, out)?;
            }
        }
        return Ok(());
    }
    let mut opaque = attributes.opaque.iter().peekable();
    for row in TABLE {
        while let Some(earlier) = opaque.next_if(|other| other.code < row.code) {
            put_opaque(earlier, out)?;
        }
        if is_wanted(row) {
            (row.encode)(row, attributes, ctx.as4, out)?;
        }
    }
    opaque.try_for_each(|rest| put_opaque(rest, out))
}

fn put_opaque(attribute: &OpaqueAttribute, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let flags = attribute.flags & (flag::OPTIONAL | flag::TRANSITIVE | flag::PARTIAL);
    put(flags, attribute.code, &attribute.value, out)
}

/// Appends one attribute.
pub(super) fn put(flags: u8, code: u8, value: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    put_header(flags, code, value.len(), out)?;
    out.extend_from_slice(value);
    Ok(())
}

/// Appends the header of an attribute whose value has `length` octets.
pub(super) fn put_header(
    flags: u8,
    code: u8,
    length: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if let Ok(short) = u8::try_from(length) {
        out.extend_from_slice(&[flags, code, short]);
        return Ok(());
    }
    let field = Field::Attribute(code);
    let max = usize::from(u16::MAX);
    let wide =
        u16::try_from(length).map_err(|_| EncodeError::FieldTooLong { field, length, max })?;
    let [high, low] = wide.to_be_bytes();
    out.extend_from_slice(&[flags | flag::EXTENDED_LENGTH, code, high, low]);
    Ok(())
}
