//! Values of the form that decoding returns, made of a fuzzer's octets.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vc5_bgp::wire::{
    AddPath, Aggregator, AsPath, Attributes, BgpRole, Capability, Community, DecodeContext,
    ErrorCode, ExtendedCommunity, ExtendedNextHop, Family, GracefulRestart, LargeCommunity,
    LongLivedFamily, Message, MpReach, MpUnreach, NextHop, Nlri, Notification, OpaqueAttribute,
    Open, Origin, RestartFamily, RouteRefresh, SegmentKind, Update,
};

type Source<'a, 'b> = &'a mut Unstructured<'b>;

/// Any message that a neighbour of `ctx` may send.
///
/// # Errors
/// The octets are used up.
pub fn message(u: Source<'_, '_>, ctx: &DecodeContext) -> Result<Message> {
    Ok(match u.int_in_range(0..=7)? {
        0 => Message::Open(open(u)?),
        1 => Message::Keepalive,
        2 => Message::Notification(Notification {
            code: ErrorCode(u.arbitrary()?),
            subcode: u.arbitrary()?,
            data: octets(u, 200)?,
        }),
        3 => {
            let subtype = u8::arbitrary(u)?.into();
            Message::RouteRefresh(RouteRefresh { family: any_family(u)?, subtype })
        }
        _ => Message::Update(update(u, ctx)?),
    })
}

/// An UPDATE in which nothing is both announced and withdrawn.
///
/// # Errors
/// The octets are used up.
pub fn update(u: Source<'_, '_>, ctx: &DecodeContext) -> Result<Update> {
    let mut update = Update::default();
    if ctx.families.contains(Family::IPV4_UNICAST) {
        update.withdrawn = some(u, 12, |u| ipv4(u, ctx))?;
        update.nlri = some(u, 12, |u| ipv4(u, ctx))?;
    }
    let families: Vec<Family> = ctx.families.iter().collect();
    if !families.is_empty() && u.arbitrary()? {
        let family = *u.choose(&families)?;
        let next_hop = next_hop(u, family, ctx)?;
        update.mp_reach =
            Some(MpReach { family, next_hop, nlri: some(u, 12, |u| nlri(u, family, ctx))? });
    }
    if !families.is_empty() && u.arbitrary()? {
        let family = *u.choose(&families)?;
        update.mp_unreach =
            Some(MpUnreach { family, nlri: some(u, 12, |u| nlri(u, family, ctx))? });
    }
    if !update.nlri.is_empty() || update.mp_reach.is_some() {
        update.attributes = attributes(u, ctx)?;
    }
    if !update.nlri.is_empty() {
        let [a, b, c, d] = u.arbitrary::<[u8; 4]>()?;
        update.attributes.next_hop = Some(Ipv4Addr::new(128 | a & 0x1F, b, c, d));
    }
    let announced: BTreeSet<Nlri> = update
        .nlri
        .iter()
        .map(|nlri| Nlri::from(*nlri))
        .chain(update.mp_reach.iter().flat_map(|reach| reach.nlri.iter().copied()))
        .collect();
    update.withdrawn.retain(|nlri| !announced.contains(&(*nlri).into()));
    if let Some(unreach) = &mut update.mp_unreach {
        unreach.nlri.retain(|nlri| !announced.contains(nlri));
    }
    Ok(update)
}

/// A route of `family`, with a path identifier where there has to be one.
///
/// # Errors
/// The octets are used up.
pub fn nlri(u: Source<'_, '_>, family: Family, ctx: &DecodeContext) -> Result<Nlri> {
    if family == Family::IPV4_UNICAST {
        return ipv4(u, ctx).map(Nlri::from);
    }
    let length = u.int_in_range(3..=128)?;
    // Global unicast and unique local: what is a route.
    let bits = u.arbitrary::<u128>()? & !(7 << 125) | if u.arbitrary()? { 1 << 125 } else { 0 };
    let prefix =
        Ipv6Net::new(Ipv6Addr::from(bits | 1 << 124), length).expect("at most 128").trunc();
    Ok(Nlri { prefix: IpNet::V6(prefix), path_id: path_id(u, family, ctx)? })
}

fn ipv4(u: Source<'_, '_>, ctx: &DecodeContext) -> Result<Nlri<Ipv4Net>> {
    let length = u.int_in_range(0..=32)?;
    // Of class B, for neither loopback nor multicast.
    let bits = if length == 0 { 0 } else { u.arbitrary::<u32>()? & 0x3FFF_FFFF | 0x8000_0000 };
    let prefix = Ipv4Net::new(bits.into(), length).expect("at most 32").trunc();
    Ok(Nlri { prefix, path_id: path_id(u, Family::IPV4_UNICAST, ctx)? })
}

fn path_id(u: Source<'_, '_>, family: Family, ctx: &DecodeContext) -> Result<Option<u32>> {
    ctx.add_path.contains(family).then(|| u.arbitrary()).transpose()
}

/// A next hop that routes of `family` may have.
///
/// # Errors
/// The octets are used up.
pub fn next_hop(u: Source<'_, '_>, family: Family, ctx: &DecodeContext) -> Result<NextHop> {
    let narrow = family == Family::IPV4_UNICAST && (!ctx.extended_next_hop || u.arbitrary()?);
    if narrow {
        let [a, b, c, d] = u.arbitrary::<[u8; 4]>()?;
        return Ok(NextHop::Ipv4(Ipv4Addr::new(128 | a & 0x1F, b, c, d)));
    }
    let interface = u128::from(u.arbitrary::<u64>()?);
    let global = Ipv6Addr::from(0x2001_0db8 << 96 | interface);
    Ok(match u.arbitrary()? {
        true => NextHop::Ipv6(global),
        false => NextHop::Ipv6LinkLocal { global, link_local: (0xFE80 << 112 | interface).into() },
    })
}

/// Attributes without NEXT_HOP, each of a kind that a neighbour of `ctx` may send.
///
/// # Errors
/// The octets are used up.
pub fn attributes(u: Source<'_, '_>, ctx: &DecodeContext) -> Result<Attributes> {
    let mut unique = BTreeSet::new();
    let mut large = some(u, 6, |u| {
        let [global, local1, local2] = u.arbitrary::<[u32; 3]>()?;
        Ok(LargeCommunity { global, local1, local2 })
    })?;
    large.retain(|value| unique.insert((value.global, value.local1, value.local2)));
    let internal = !ctx.ebgp;
    Ok(Attributes {
        origin: *u.choose(&[Origin::Igp, Origin::Egp, Origin::Incomplete])?,
        as_path: as_path(u, ctx)?,
        next_hop: None,
        med: u.arbitrary()?,
        local_pref: if internal { u.arbitrary()? } else { None },
        atomic_aggregate: u.arbitrary()?,
        aggregator: maybe(u, |u| {
            Ok(Aggregator { asn: asn(u)?, address: u.arbitrary::<u32>()?.into() })
        })?,
        communities: some(u, 8, |u| u.arbitrary().map(Community))?,
        originator_id: if internal {
            u.arbitrary::<Option<u32>>()?.map(Ipv4Addr::from)
        } else {
            None
        },
        cluster_list: match internal {
            true => some(u, 4, |u| u.arbitrary::<u32>().map(Ipv4Addr::from))?,
            false => Vec::new(),
        },
        extended_communities: some(u, 6, |u| u.arbitrary().map(ExtendedCommunity))?,
        aigp: if internal { u.arbitrary()? } else { None },
        large_communities: large,
        only_to_customer: u.arbitrary()?,
        opaque: opaque(u)?,
    })
}

/// Unknown attributes as they are kept: Partial, one of a type, ascending.
fn opaque(u: Source<'_, '_>) -> Result<Vec<OpaqueAttribute>> {
    let codes: BTreeSet<u8> = some(u, 3, |u| u.int_in_range(200..=255))?.into_iter().collect();
    codes
        .into_iter()
        .map(|code| Ok(OpaqueAttribute { flags: 0xE0, code, value: octets(u, 300)? }))
        .collect()
}

fn as_path(u: Source<'_, '_>, ctx: &DecodeContext) -> Result<AsPath> {
    // What AS4_PATH cannot carry to a speaker of 2-octet numbers would not come back.
    if !ctx.as4 && u.arbitrary()? {
        let first = asn(u)?;
        let rest = some(u, 8, asn)?;
        return Ok(AsPath::sequence([first].into_iter().chain(rest)));
    }
    let mut kinds = vec![SegmentKind::Sequence];
    kinds.extend((!ctx.ebgp).then_some(SegmentKind::ConfedSequence));
    kinds.extend(ctx.allow_as_sets.then_some(SegmentKind::Set));
    kinds.extend((!ctx.ebgp && ctx.allow_as_sets).then_some(SegmentKind::ConfedSet));
    let count = u.int_in_range(u8::from(ctx.ebgp)..=3)?;
    let mut path = AsPath::default();
    for _ in 0..count {
        let kind = *u.choose(&kinds)?;
        let count = if u.ratio(1, 40)? { 255 } else { u.int_in_range(1..=6)? };
        let number = |_| asn(u).map(|asn| if ctx.as4 { asn } else { asn % 65535 + 1 });
        path.push(kind, (0..count).map(number).collect::<Result<Vec<_>>>()?);
    }
    Ok(path)
}

fn asn(u: Source<'_, '_>) -> Result<u32> {
    Ok(if u.arbitrary()? {
        u.arbitrary::<u32>()?.max(1)
    } else {
        u.arbitrary::<u16>()?.max(1).into()
    })
}

fn open(u: Source<'_, '_>) -> Result<Open> {
    let hold_time = u.arbitrary::<u16>()?;
    Ok(Open {
        version: 4,
        my_as: u.arbitrary::<u16>()?.max(1).into(),
        hold_time: if hold_time < 3 { 0 } else { hold_time },
        identifier: u.arbitrary::<u32>()?.max(1).into(),
        capabilities: some(u, 12, capability)?,
    })
}

/// Any capability.
///
/// # Errors
/// The octets are used up.
pub fn capability(u: Source<'_, '_>) -> Result<Capability> {
    let roles = [
        BgpRole::Provider,
        BgpRole::RouteServer,
        BgpRole::RouteServerClient,
        BgpRole::Customer,
        BgpRole::Peer,
    ];
    Ok(match u.int_in_range(0..=12)? {
        0 => Capability::Multiprotocol(any_family(u)?),
        1 => Capability::RouteRefresh,
        2 => Capability::ExtendedNextHop(some(u, 4, |u| {
            Ok(ExtendedNextHop { family: any_family(u)?, next_hop_afi: u.arbitrary()? })
        })?),
        3 => Capability::ExtendedMessage,
        4 => Capability::Role(*u.choose(&roles)?),
        5 => Capability::GracefulRestart(GracefulRestart {
            restart_state: u.arbitrary()?,
            notification: u.arbitrary()?,
            restart_time: Duration::from_secs(u.int_in_range(0..=4095)?),
            families: some(u, 4, |u| {
                Ok(RestartFamily { family: any_family(u)?, forwarding: u.arbitrary()? })
            })?,
        }),
        6 => Capability::FourOctetAs(asn(u)?),
        7 => Capability::AddPath(some(u, 4, |u| {
            let mode = u.int_in_range(1..=3_u8)?;
            Ok(AddPath { family: any_family(u)?, receive: mode & 1 != 0, send: mode & 2 != 0 })
        })?),
        8 => Capability::EnhancedRouteRefresh,
        9 => Capability::LongLivedGracefulRestart(some(u, 4, |u| {
            let stale_time = Duration::from_secs(u.int_in_range(0..=0xFF_FFFF)?);
            Ok(LongLivedFamily { family: any_family(u)?, forwarding: u.arbitrary()?, stale_time })
        })?),
        10 => Capability::Fqdn { host: text(u)?, domain: text(u)? },
        11 => Capability::SoftwareVersion(text(u)?),
        _ => Capability::Unknown { code: u.int_in_range(80..=255)?, value: octets(u, 60)? },
    })
}

fn any_family(u: Source<'_, '_>) -> Result<Family> {
    Ok(match u.int_in_range(0..=2)? {
        0 => Family::IPV4_UNICAST,
        1 => Family::IPV6_UNICAST,
        _ => Family { afi: u.arbitrary()?, safi: u.arbitrary()? },
    })
}

fn text(u: Source<'_, '_>) -> Result<String> {
    Ok(some(u, 20, |u| u.arbitrary::<char>())?.into_iter().collect())
}

fn octets(u: Source<'_, '_>, most: usize) -> Result<Bytes> {
    let count = u.int_in_range(0..=most)?.min(u.len());
    u.bytes(count).map(Bytes::copy_from_slice)
}

/// Up to `most` of what `one` makes.
///
/// # Errors
/// The octets are used up.
pub fn some<'b, T>(
    u: &mut Unstructured<'b>,
    most: u8,
    mut one: impl FnMut(&mut Unstructured<'b>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=most)?;
    (0..count).map(|_| one(u)).collect()
}

fn maybe<'b, T>(
    u: &mut Unstructured<'b>,
    one: impl FnOnce(&mut Unstructured<'b>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { one(u).map(Some) } else { Ok(None) }
}
