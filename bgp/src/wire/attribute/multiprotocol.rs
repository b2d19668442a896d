//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760, RFC 2545).

use std::net::{Ipv4Addr, Ipv6Addr};

use nom::Parser;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u128};

use super::scan::{Raw, Scan};
use super::{code, encode, flag};
use crate::wire::Family;
use crate::wire::error::{Action, EncodeError};
use crate::wire::message::{DecodeContext, EncodeContext};
use crate::wire::nlri::{self, Nlri, Routes};
use crate::wire::notification::subcode::update as subcode;
use crate::wire::parse::{Complete, Parsed, counted, fault};
use crate::wire::update::NextHop;

/// MP_REACH_NLRI where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub(crate) family: Family,
    pub(crate) next_hop: NextHop,
    pub(crate) routes: Routes<'a>,
}

/// MP_UNREACH_NLRI where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unreach<'a> {
    pub(crate) family: Family,
    pub(crate) routes: Routes<'a>,
}

/// Checks MP_REACH_NLRI. RFC 4760 section 7 would allow to go on without the family; we reset, as
/// every peer supports that.
pub(super) fn check_reach<'a>(
    raw: &Raw<'a>,
    ctx: &DecodeContext,
    scan: &mut Scan<'a>,
) -> Complete<'a, ()> {
    let (rest, family) = family(raw.value)?;
    if !ctx.families.contains(family) {
        scan.foreign_routes = true;
        return not_negotiated(raw);
    }
    let (rest, next_hop) = counted(be_u8).parse(rest)?;
    let next_hop = parse_next_hop(next_hop, family, ctx)?;
    let (rest, _reserved) = be_u8(rest)?;
    let routes = Routes::check(rest, family, ctx.add_path)?;
    scan.reach = Some(Reach { family, next_hop, routes });
    Ok(())
}

/// Checks MP_UNREACH_NLRI.
pub(super) fn check_unreach<'a>(
    raw: &Raw<'a>,
    ctx: &DecodeContext,
    scan: &mut Scan<'a>,
) -> Complete<'a, ()> {
    let (rest, family) = family(raw.value)?;
    if !ctx.families.contains(family) {
        return not_negotiated(raw);
    }
    scan.unreach = Some(Unreach { family, routes: Routes::check(rest, family, ctx.add_path)? });
    Ok(())
}

fn family(input: &[u8]) -> Parsed<'_, Family> {
    (be_u16, be_u8).map(|(afi, safi)| Family { afi, safi }).parse(input)
}

/// Routes of a family that was not negotiated are passed over.
fn not_negotiated<'a>(raw: &Raw<'a>) -> Complete<'a, ()> {
    Err(raw.error(Action::AttributeDiscard, subcode::OPTIONAL_ATTRIBUTE).fault(raw.octets))
}

/// A next hop of the family, or of IPv6 where that was negotiated (RFC 8950 section 3).
fn parse_next_hop<'a>(
    input: &'a [u8],
    family: Family,
    ctx: &DecodeContext,
) -> Complete<'a, NextHop> {
    let extended = ctx.extended_next_hop || family == Family::IPV6_UNICAST;
    let (_, next_hop) = match input.len() {
        4 if family == Family::IPV4_UNICAST => ipv4.map(NextHop::Ipv4).parse(input)?,
        16 if extended => ipv6.map(NextHop::Ipv6).parse(input)?,
        32 if extended => (ipv6, ipv6)
            .map(|(global, link_local)| NextHop::Ipv6LinkLocal { global, link_local })
            .parse(input)?,
        _ => return Err(fault(input)),
    };
    Ok(next_hop)
}

fn ipv4(input: &[u8]) -> Parsed<'_, Ipv4Addr> {
    be_u32.map(Ipv4Addr::from).parse(input)
}

fn ipv6(input: &[u8]) -> Parsed<'_, Ipv6Addr> {
    be_u128.map(Ipv6Addr::from).parse(input)
}

/// Octets of an MP_REACH_NLRI value without its prefixes.
pub(crate) fn reach_overhead(next_hop: NextHop) -> usize {
    5 + match next_hop {
        NextHop::Ipv4(_) => 4,
        NextHop::Ipv6(_) => 16,
        NextHop::Ipv6LinkLocal { .. } => 32,
    }
}

/// Writes MP_REACH_NLRI.
pub(crate) fn put_reach(
    family: Family,
    next_hop: NextHop,
    routes: &[Nlri],
    ctx: &EncodeContext,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let fits = match next_hop {
        NextHop::Ipv4(_) => family == Family::IPV4_UNICAST,
        NextHop::Ipv6(_) | NextHop::Ipv6LinkLocal { .. } => {
            family == Family::IPV6_UNICAST
                || family == Family::IPV4_UNICAST && ctx.extended_next_hop
        }
    };
    if !fits {
        return Err(EncodeError::WrongFamily { family, address: next_hop.to_string() });
    }
    let length = reach_overhead(next_hop) + routes_len(family, routes, ctx);
    encode::put_header(flag::OPTIONAL, code::MP_REACH_NLRI, length, out)?;
    put_family(family, out);
    match next_hop {
        NextHop::Ipv4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        NextHop::Ipv6(address) => {
            out.push(16);
            out.extend(address.octets());
        }
        NextHop::Ipv6LinkLocal { global, link_local } => {
            out.push(32);
            out.extend(global.octets());
            out.extend(link_local.octets());
        }
    }
    out.push(0);
    put_routes(family, routes, ctx, out)
}

/// Writes MP_UNREACH_NLRI.
pub(crate) fn put_unreach(
    family: Family,
    routes: &[Nlri],
    ctx: &EncodeContext,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let length = 3 + routes_len(family, routes, ctx);
    encode::put_header(flag::OPTIONAL, code::MP_UNREACH_NLRI, length, out)?;
    put_family(family, out);
    put_routes(family, routes, ctx, out)
}

fn put_family(family: Family, out: &mut Vec<u8>) {
    out.extend(family.afi.to_be_bytes());
    out.push(family.safi);
}

fn routes_len(family: Family, routes: &[Nlri], ctx: &EncodeContext) -> usize {
    let add_path = ctx.add_path.contains(family);
    routes.iter().map(|nlri| nlri::wire_len(nlri, add_path)).sum()
}

fn put_routes(
    family: Family,
    routes: &[Nlri],
    ctx: &EncodeContext,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let add_path = ctx.add_path.contains(family);
    for nlri in routes {
        nlri::check_family(&nlri.prefix, family)?;
        nlri::put(*nlri, add_path, out);
    }
    Ok(())
}
