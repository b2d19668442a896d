//! UPDATE to octets.

use super::Update;
use crate::wire::attribute;
use crate::wire::error::{EncodeError, Field};
use crate::wire::header::put_length;
use crate::wire::message::EncodeContext;
use crate::wire::{Family, nlri};

/// Writes the body. MP_REACH_NLRI and MP_UNREACH_NLRI come first (RFC 7606 section 5.1), the other
/// attributes ascend by code, and there are none if nothing is announced.
pub(crate) fn put(
    update: &Update,
    ctx: &EncodeContext,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let add_path = ctx.add_path.contains(Family::IPV4_UNICAST);
    put_block(Field::Withdrawn, out, |out| {
        for nlri in &update.withdrawn {
            nlri::put((*nlri).into(), add_path, out);
        }
        Ok(())
    })?;
    put_block(Field::Attributes, out, |out| {
        if let Some(reach) = &update.mp_reach {
            attribute::put_reach(reach.family, reach.next_hop, &reach.nlri, ctx, out)?;
        }
        if let Some(unreach) = &update.mp_unreach {
            attribute::put_unreach(unreach.family, &unreach.nlri, ctx, out)?;
        }
        if update.nlri.is_empty() && update.mp_reach.is_none() {
            return Ok(());
        }
        attribute::put_all(&update.attributes, !update.nlri.is_empty(), ctx, out)
    })?;
    for nlri in &update.nlri {
        nlri::put((*nlri).into(), add_path, out);
    }
    Ok(())
}

/// Writes what `content` writes, with its length in two octets before it.
pub(crate) fn put_block(
    field: Field,
    out: &mut Vec<u8>,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend([0, 0]);
    content(out)?;
    let length = out.len() - start - 2;
    let max = usize::from(u16::MAX);
    let wide =
        u16::try_from(length).map_err(|_| EncodeError::FieldTooLong { field, length, max })?;
    put_length(out, start, wide);
    Ok(())
}
