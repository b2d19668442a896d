//! Many routes in few UPDATEs.
//!
//! One message carries either plain routes or one of the two multiprotocol attributes, never a
//! mixture (RFC 7606 section 5.1).

use bytes::Bytes;
use ipnet::IpNet;

use super::Family;
use super::attribute::{self, Attributes};
use super::error::{EncodeError, Field};
use super::header::{self, HEADER_LEN, MessageType};
use super::message::EncodeContext;
use super::nlri;
use super::update::{NextHop, put_block};

/// Octets of an UPDATE without withdrawn routes, attributes and NLRI.
const EMPTY_UPDATE: usize = HEADER_LEN + 4;
/// Octets of an attribute's header with a two-octet length.
const ATTRIBUTE_HEADER: usize = 4;

/// Appends to `out` the UPDATEs that announce `prefixes`, all with the same attributes, each as
/// full as `ctx.max_len` allows. IPv4 unicast uses the NLRI field, IPv6 unicast MP_REACH_NLRI;
/// `attributes.next_hop` is not looked at.
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
    let fixed = EMPTY_UPDATE + common.len() + overhead;
    pack(fixed, family, prefixes, ctx, out, |part, out| {
        put_block(Field::Withdrawn, out, |_| Ok(()))?;
        put_block(Field::Attributes, out, |out| {
            if plain.is_none() {
                attribute::put_reach(family, next_hop, part, out)?;
            }
            out.extend_from_slice(&common);
            Ok(())
        })?;
        if plain.is_some() {
            part.iter().for_each(|prefix| nlri::put(prefix, out));
        }
        Ok(())
    })
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
    let plain = family == Family::IPV4_UNICAST;
    let fixed = EMPTY_UPDATE + if plain { 0 } else { ATTRIBUTE_HEADER + 3 };
    pack(fixed, family, prefixes, ctx, out, |part, out| {
        put_block(Field::Withdrawn, out, |out| {
            if plain {
                part.iter().for_each(|prefix| nlri::put(prefix, out));
            }
            Ok(())
        })?;
        put_block(Field::Attributes, out, |out| match plain {
            true => Ok(()),
            false => attribute::put_unreach(family, part, out),
        })
    })
}

/// Cuts `prefixes` into runs that fit beside `fixed` octets, and appends one UPDATE for each.
fn pack(
    fixed: usize,
    family: Family,
    prefixes: &[IpNet],
    ctx: &EncodeContext,
    out: &mut Vec<Bytes>,
    body: impl Fn(&[IpNet], &mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    prefixes.iter().try_for_each(|prefix| nlri::check_family(prefix, family))?;
    let max = ctx.max_len.min(usize::from(u16::MAX));
    let already = out.len();
    let mut rest = prefixes;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(fitting(rest, max.saturating_sub(fixed)));
        let mut message = Vec::with_capacity(max.min(fixed + part.len() * 17));
        let written = header::put(MessageType::Update, max, &mut message, |out| body(part, out));
        if let Err(error) = written {
            out.truncate(already);
            return Err(error);
        }
        out.push(Bytes::from(message));
        rest = behind;
    }
    Ok(())
}

/// How many of the first prefixes fit in `room` octets, at least one: the message's own limit
/// reports one that does not fit.
fn fitting(prefixes: &[IpNet], room: usize) -> usize {
    let mut used = 0;
    let fit = prefixes.iter().take_while(|prefix| {
        used += nlri::wire_len(prefix);
        used <= room
    });
    fit.count().max(1)
}
