//! Attributes to octets, always in the same form: ascending by code, the two-octet length only
//! where one octet does not do.

use super::table::TABLE;
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
    let mut opaque = attributes.opaque.iter().peekable();
    for row in &TABLE {
        while let Some(earlier) = opaque.next_if(|other| other.code < row.code) {
            put_opaque(earlier, out)?;
        }
        if row.code == code::NEXT_HOP && !with_next_hop {
            continue;
        }
        put_if(row.flags, row.code, out, |out| Ok((row.encode)(attributes, ctx.as4, out)))?;
    }
    opaque.try_for_each(|rest| put_opaque(rest, out))
}

fn put_opaque(attribute: &OpaqueAttribute, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let flags = attribute.flags & (flag::OPTIONAL | flag::TRANSITIVE | flag::PARTIAL);
    put(flags, attribute.code, out, |out| {
        out.extend_from_slice(&attribute.value);
        Ok(())
    })
}

/// Appends one attribute whose value is written by `value`.
pub(crate) fn put(
    flags: u8,
    code: u8,
    out: &mut Vec<u8>,
    value: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    put_if(flags, code, out, |out| value(out).map(|()| true))
}

/// As [`put`], but takes everything back if `value` returns false.
fn put_if(
    flags: u8,
    code: u8,
    out: &mut Vec<u8>,
    value: impl FnOnce(&mut Vec<u8>) -> Result<bool, EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend([flags, code, 0]);
    if !value(out)? {
        out.truncate(start);
        return Ok(());
    }
    let length = out.len() - start - 3;
    let wide = u16::try_from(length).map_err(|_| EncodeError::FieldTooLong {
        field: Field::Attribute(code),
        length,
        max: usize::from(u16::MAX),
    })?;
    let [high, low] = wide.to_be_bytes();
    let header: &[u8] = match high {
        0 => &[flags, code, low],
        _ => &[flags | flag::EXTENDED_LENGTH, code, high, low],
    };
    out.splice(start..start + 3, header.iter().copied());
    Ok(())
}
