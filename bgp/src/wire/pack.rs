//! Many routes in few UPDATEs.

use bytes::Bytes;
use ipnet::IpNet;

use super::Family;
use super::attribute::Attributes;
use super::error::EncodeError;
use super::message::EncodeContext;
use super::update::NextHop;

/// Appends to `out` the UPDATEs that announce `prefixes`, all with the same attributes, each as
/// full as `ctx.max_len` allows. IPv4 unicast with an IPv4 next hop uses the NLRI field, anything
/// else MP_REACH_NLRI; `attributes.next_hop` is not looked at.
///
/// # Errors
/// [`EncodeError`] if not even one prefix fits beside the attributes, or a prefix or the next hop
/// is not of `family`. `out` is unchanged then.
pub fn encode_announce(
    attributes: &Attributes,
    family: Family,
    next_hop: NextHop,
    prefixes: &[IpNet],
    ctx: &EncodeContext,
    out: &mut Vec<Bytes>,
) -> Result<(), EncodeError> {
    let _ = (attributes, family, next_hop, prefixes, ctx, out);
    Ok(())
}

/// Appends to `out` the UPDATEs that withdraw `prefixes`.
///
/// # Errors
/// [`EncodeError::WrongFamily`] if a prefix is not of `family`. `out` is unchanged then.
pub fn encode_withdraw(
    family: Family,
    prefixes: &[IpNet],
    ctx: &EncodeContext,
    out: &mut Vec<Bytes>,
) -> Result<(), EncodeError> {
    let _ = (family, prefixes, ctx, out);
    Ok(())
}
