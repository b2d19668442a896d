//! What the neighbour sends: mostly what a session needs to get far, and now and then rubbish.

use std::net::Ipv4Addr;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use vc5_bgp::session::Peer;
use vc5_bgp::wire::{
    AddPath, Capability, DecodeContext, EncodeContext, ErrorCode, ExtendedNextHop, Family,
    FamilySet, GracefulRestart, MAX_LEN, Message, Notification, Open, RestartFamily, RouteRefresh,
    encode,
};

use super::US;
use crate::generate;

const THEIR_ID: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A piece of the neighbour's stream.
pub(super) fn octets(u: &mut Unstructured<'_>, peer: &Peer, external: bool) -> Result<Vec<u8>> {
    let message = match u.int_in_range(0..=15)? {
        0..=4 => Message::Open(open(u, peer)?),
        5..=8 => Message::Keepalive,
        9..=11 => return update(u, peer, external),
        12 => Message::RouteRefresh(RouteRefresh {
            family: *u.choose(&[Family::IPV4_UNICAST, Family::IPV6_UNICAST])?,
            subtype: u.int_in_range(0..=3)?.into(),
        }),
        13 => Message::Notification(Notification::new(
            ErrorCode(u.int_in_range(0..=8)?),
            u.int_in_range(0..=10)?,
        )),
        14 => return broken(u, peer),
        _ => {
            let count = u.int_in_range(0..=40)?.min(u.len());
            return u.bytes(count).map(<[u8]>::to_vec);
        }
    };
    Ok(written(&message, &EncodeContext::default()))
}

fn written(message: &Message, ctx: &EncodeContext) -> Vec<u8> {
    // What is too long to be written is not sent.
    encode(message, ctx).map(|octets| octets.to_vec()).unwrap_or_default()
}

/// A KEEPALIVE.
pub(super) fn keepalive() -> Vec<u8> {
    written(&Message::Keepalive, &EncodeContext::default())
}

/// The OPEN of the neighbour that is configured, able to do this and that.
pub(super) fn good_open(u: &mut Unstructured<'_>, peer: &Peer) -> Result<Vec<u8>> {
    let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
    let hold_time = *u.choose(&[90, 3, 0])?;
    let mut open = Open::new(peer.config().neighbor_as, hold_time, THEIR_ID, &families);
    let both = |family| AddPath { family, receive: true, send: true };
    let hop = ExtendedNextHop { family: Family::IPV4_UNICAST, next_hop_afi: 2 };
    for capability in [
        Capability::AddPath(families.map(both).to_vec()),
        Capability::ExtendedNextHop(vec![hop]),
        Capability::ExtendedMessage,
        Capability::EnhancedRouteRefresh,
        Capability::GracefulRestart(GracefulRestart {
            notification: true,
            restart_time: Duration::from_secs(30),
            families: families.map(|family| RestartFamily { family, forwarding: true }).to_vec(),
            ..GracefulRestart::default()
        }),
    ] {
        if u.arbitrary()? {
            open.capabilities.push(capability);
        }
    }
    Ok(written(&Message::Open(open), &EncodeContext::default()))
}

fn open(u: &mut Unstructured<'_>, peer: &Peer) -> Result<Open> {
    let wrong: u8 = u.arbitrary()?;
    let asn = if wrong < 10 { 64_999 } else { peer.config().neighbor_as };
    let identifier = match wrong {
        250.. => US.router_id,
        200.. => [192, 0, 2, 0].into(),
        _ => THEIR_ID,
    };
    let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
    let families = &families[u.int_in_range(0..=1)?..];
    let mut open = Open::new(asn, *u.choose(&[90, 3, 9, 0])?, identifier, families);
    if u.ratio(1, 8)? {
        // An old speaker; of an AS that needs 4 octets, nobody that is configured.
        open.capabilities.retain(|capability| !matches!(capability, Capability::FourOctetAs(_)));
    }
    open.capabilities.extend(generate::some(u, 3, generate::capability)?);
    Ok(open)
}

/// As the session has agreed, from the neighbour's own AS, with some of few prefixes.
pub(super) fn update(u: &mut Unstructured<'_>, peer: &Peer, external: bool) -> Result<Vec<u8>> {
    let agreed = peer.session().map(|session| &session.negotiated);
    let ctx = DecodeContext {
        as4: agreed.is_none_or(|agreed| agreed.as4),
        ebgp: external,
        allow_as_sets: false,
        families: agreed.map_or(FamilySet::ALL, |agreed| agreed.families.iter().copied().collect()),
        add_path: agreed.map_or(FamilySet::NONE, |agreed| agreed.add_path_receive),
        extended_next_hop: agreed.is_some_and(|agreed| agreed.extended_next_hop),
    };
    let mut update = generate::update(u, &ctx)?;
    let announces = !update.nlri.is_empty() || update.mp_reach.is_some();
    if announces && external {
        update.attributes.as_path.prepend(peer.config().neighbor_as, 1);
    }
    // Prefixes that come again: a change, and a withdrawal of something known.
    let few = |net: ipnet::Ipv4Net| {
        let last = net.addr().octets()[1] % 8;
        ipnet::Ipv4Net::new([203, 0, 113, last].into(), 32).expect("at most 32")
    };
    for nlri in update.nlri.iter_mut().chain(&mut update.withdrawn) {
        nlri.prefix = few(nlri.prefix);
        nlri.path_id = nlri.path_id.map(|id| id % 3);
    }
    let writing = EncodeContext { max_len: MAX_LEN, ..crate::context::encode(&ctx) };
    Ok(written(&Message::Update(update), &writing))
}

/// A message with one octet changed.
fn broken(u: &mut Unstructured<'_>, peer: &Peer) -> Result<Vec<u8>> {
    let message = Message::Open(open(u, peer)?);
    let mut octets = written(&message, &EncodeContext::default());
    if !octets.is_empty() {
        let at = u.choose_index(octets.len())?;
        octets[at] = u.arbitrary()?;
    }
    Ok(octets)
}
