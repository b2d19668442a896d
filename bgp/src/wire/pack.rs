//! Many routes in few UPDATEs.
//!
//! One message carries either plain routes or one of the two multiprotocol attributes, never a
//! mixture (RFC 7606 section 5.1).

use bytes::Bytes;

use super::attribute::{self, Attributes};
use super::error::{EncodeError, Field};
use super::header::{self, EXTENDED_MAX_LEN, HEADER_LEN, MessageType};
use super::message::EncodeContext;
use super::update::{NextHop, put_block};
use super::{Family, Nlri, nlri};

/// Octets of an UPDATE without withdrawn routes, attributes and NLRI.
const EMPTY_UPDATE: usize = HEADER_LEN + 4;
/// Octets of an attribute's header with a two-octet length.
const ATTRIBUTE_HEADER: usize = 4;

/// Appends to `out` the UPDATEs that announce `routes`, all with the same attributes, each as
/// full as `ctx.max_len` allows. IPv4 unicast uses the NLRI field, IPv6 unicast MP_REACH_NLRI;
/// `attributes.next_hop` is not looked at. An IPv4 route with an IPv6 next hop goes into MP_REACH_NLRI
/// where that was negotiated (RFC 8950).
///
/// `routes` are prefixes, or [`Nlri`] with path identifiers. These are written if `ctx` says so, 0
/// where there is none.
///
/// # Errors
/// [`EncodeError`] if not even one prefix fits beside the attributes, or a prefix or the next hop
/// is not of `family`. `out` is unchanged then.
pub fn encode_announce<R: Copy + Into<Nlri>>(
    attributes: &Attributes,
    family: Family,
    next_hop: NextHop,
    routes: &[R],
    ctx: &EncodeContext,
    out: &mut Vec<Bytes>,
) -> Result<(), EncodeError> {
    let plain = match (family, next_hop) {
        (Family::IPV4_UNICAST, NextHop::Ipv4(address)) => Some(address),
        _ => None,
    };
    let mut common = Vec::new();
    let with_next_hop = Attributes { next_hop: plain, ..attributes.clone() };
    attribute::put_all(&with_next_hop, plain.is_some(), ctx, &mut common)?;
    let overhead = match plain {
        Some(_) => 0,
        None => ATTRIBUTE_HEADER + attribute::reach_overhead(next_hop),
    };
    let add_path = ctx.add_path.contains(family);
    let fixed = EMPTY_UPDATE + common.len() + overhead;
    pack(fixed, family, routes, ctx, out, |part, out| {
        put_block(Field::Withdrawn, out, |_| Ok(()))?;
        put_block(Field::Attributes, out, |out| {
            if plain.is_none() {
                attribute::put_reach(family, next_hop, part, ctx, out)?;
            }
            out.extend_from_slice(&common);
            Ok(())
        })?;
        if plain.is_some() {
            part.iter().for_each(|nlri| nlri::put(*nlri, add_path, out));
        }
        Ok(())
    })
}

/// Appends to `out` the UPDATEs that withdraw `routes`, of the form that [`encode_announce`] takes.
///
/// # Errors
/// [`EncodeError::WrongFamily`] if a prefix is not of `family`. `out` is unchanged then.
pub fn encode_withdraw<R: Copy + Into<Nlri>>(
    family: Family,
    routes: &[R],
    ctx: &EncodeContext,
    out: &mut Vec<Bytes>,
) -> Result<(), EncodeError> {
    let plain = family == Family::IPV4_UNICAST;
    let add_path = ctx.add_path.contains(family);
    let fixed = EMPTY_UPDATE + if plain { 0 } else { ATTRIBUTE_HEADER + 3 };
    pack(fixed, family, routes, ctx, out, |part, out| {
        put_block(Field::Withdrawn, out, |out| {
            if plain {
                part.iter().for_each(|nlri| nlri::put(*nlri, add_path, out));
            }
            Ok(())
        })?;
        put_block(Field::Attributes, out, |out| match plain {
            true => Ok(()),
            false => attribute::put_unreach(family, part, ctx, out),
        })
    })
}

/// Cuts `routes` into runs that fit beside `fixed` octets, and appends one UPDATE for each.
fn pack<R: Copy + Into<Nlri>>(
    fixed: usize,
    family: Family,
    routes: &[R],
    ctx: &EncodeContext,
    out: &mut Vec<Bytes>,
    body: impl Fn(&[Nlri], &mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let routes: Vec<Nlri> = routes.iter().map(|route| (*route).into()).collect();
    routes.iter().try_for_each(|nlri| nlri::check_family(&nlri.prefix, family))?;
    let add_path = ctx.add_path.contains(family);
    let longest = nlri::longest(family, add_path);
    let already = out.len();
    let mut rest = routes.as_slice();
    while !rest.is_empty() {
        let room = ctx.max_len.saturating_sub(fixed);
        let (part, behind) = rest.split_at(fitting(rest, add_path, room));
        let size = ctx.max_len.min(fixed + part.len() * longest);
        let mut message = Vec::with_capacity(size.min(EXTENDED_MAX_LEN));
        let written =
            header::put(MessageType::Update, ctx.max_len, &mut message, |out| body(part, out));
        if let Err(error) = written {
            out.truncate(already);
            return Err(error);
        }
        out.push(Bytes::from(message));
        rest = behind;
    }
    Ok(())
}

/// How many of the first routes fit in `room` octets, at least one: the message's own limit
/// reports one that does not fit.
fn fitting(routes: &[Nlri], add_path: bool, room: usize) -> usize {
    let mut used = 0;
    let fit = routes.iter().take_while(|nlri| {
        used += nlri::wire_len(nlri, add_path);
        used <= room
    });
    fit.count().max(1)
}
