//! From two OPEN messages to what the session is (RFC 4271 sections 4.2 and 6.2, RFC 5492).

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::config::{GracefulRestart, LocalSpeaker, PeerConfig};
use super::restart;
use crate::wire::notification::subcode::open as subcode;
use crate::wire::{
    self, AddPath, BgpRole, Capability, DecodeContext, EXTENDED_MAX_LEN, EncodeContext, ErrorCode,
    ExtendedNextHop, Family, FamilySet, MAX_LEN, Notification, Open,
};

/// What two speakers agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The neighbour's BGP identifier.
    pub peer_id: Ipv4Addr,
    /// The neighbour belongs to another AS.
    pub external: bool,
    /// The smaller of the two hold times; zero for none.
    pub hold_time: Duration,
    /// Time between KEEPALIVEs before jitter; zero for none.
    pub keepalive_time: Duration,
    /// How long the neighbour's TCP may take nothing (RFC 9687); zero for ever.
    pub send_hold_time: Duration,
    /// Families both sides carry, in ascending order.
    pub families: Vec<Family>,
    /// Both sides speak 4-octet AS numbers (RFC 6793).
    pub as4: bool,
    /// The neighbour answers ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// Answers to it are marked at both ends (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Messages to the neighbour may have 65535 octets: both sides said so (RFC 8654 section 4).
    pub extended_messages: bool,
    /// Messages from the neighbour may have as many: we said so.
    pub extended_messages_receive: bool,
    /// Families in which the neighbour announces several paths to a prefix (RFC 7911).
    pub add_path_receive: FamilySet,
    /// IPv4 routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// Both sides understand a hard reset (RFC 8538).
    pub hard_reset: bool,
    /// Our OPEN.
    pub sent: Open,
    /// The neighbour's OPEN.
    pub received: Open,
}

impl Negotiated {
    /// How the neighbour's messages are read.
    pub(super) fn decode_context(&self, config: &PeerConfig) -> DecodeContext {
        DecodeContext {
            as4: self.as4,
            ebgp: self.external,
            allow_as_sets: config.allow_as_sets,
            families: self.families.iter().copied().collect(),
            add_path: self.add_path_receive,
            extended_next_hop: self.extended_next_hop,
        }
    }

    /// How messages to the neighbour are written.
    pub(super) fn encode_context(&self) -> EncodeContext {
        EncodeContext {
            as4: self.as4,
            max_len: if self.extended_messages { EXTENDED_MAX_LEN } else { MAX_LEN },
            add_path: FamilySet::NONE,
            extended_next_hop: self.extended_next_hop,
        }
    }
}

/// Our OPEN; a `plain` one has no capabilities, for neighbours that refuse them (RFC 5492
/// section 3).
pub(super) fn open_message(local: &LocalSpeaker, config: &PeerConfig, plain: bool) -> Open {
    let families: Vec<Family> = config.families.keys().copied().collect();
    let hold_time = u16::try_from(config.hold_time.as_secs()).unwrap_or(u16::MAX);
    let mut open = Open::new(local.local_as, hold_time, local.router_id, &families);
    if plain {
        open.capabilities.clear();
    } else {
        open.capabilities.extend(capabilities(local, config));
    }
    open
}

/// What RFC 8950 is about.
const IPV4_BY_IPV6: ExtendedNextHop =
    ExtendedNextHop { family: Family::IPV4_UNICAST, next_hop_afi: Family::IPV6_UNICAST.afi };

/// The capabilities beyond those that every OPEN of ours has.
fn capabilities(local: &LocalSpeaker, config: &PeerConfig) -> Vec<Capability> {
    let mut all = Vec::new();
    if config.extended_messages {
        all.push(Capability::ExtendedMessage);
    }
    if config.enhanced_route_refresh {
        all.push(Capability::EnhancedRouteRefresh);
    }
    if config.families.values().any(|family| family.extended_next_hop) {
        all.push(Capability::ExtendedNextHop(vec![IPV4_BY_IPV6]));
    }
    let receiving = config.families.iter().filter(|(_, settings)| settings.add_path_receive);
    let add_path: Vec<AddPath> = receiving
        .map(|(family, _)| AddPath { family: *family, receive: true, send: false })
        .collect();
    if !add_path.is_empty() {
        all.push(Capability::AddPath(add_path));
    }
    if config.graceful_restart == GracefulRestart::Aware {
        let aware = wire::GracefulRestart { notification: true, ..Default::default() };
        all.push(Capability::GracefulRestart(aware));
    }
    // RFC 9234 section 4.1: not on internal sessions.
    let role = config.local_role.filter(|_| config.neighbor_as != local.local_as);
    all.extend(role.map(Capability::Role));
    let fqdn = |host: &String| Capability::Fqdn { host: host.clone(), domain: String::new() };
    all.extend(config.hostname.as_ref().map(fqdn));
    all
}

/// Judges the neighbour's OPEN.
///
/// # Errors
/// The NOTIFICATION to send, of code 2.
pub(super) fn negotiate(
    local: &LocalSpeaker,
    config: &PeerConfig,
    sent: Open,
    received: Open,
) -> Result<Negotiated, Notification> {
    check(local, config, &received)?;
    let mut families = received.families();
    let ours = sent.families();
    families.retain(|family| ours.contains(family) && config.families.contains_key(family));
    families.sort_unstable();
    if families.is_empty() && !config.families.is_empty() {
        return Err(error(subcode::UNSUPPORTED_CAPABILITY, wanted(config)));
    }
    let hold_time = sent.hold_time.min(received.hold_time);
    let both =
        |capability| [&sent, &received].iter().all(|open| open.capabilities.contains(capability));
    Ok(Negotiated {
        peer_id: received.identifier,
        external: config.neighbor_as != local.local_as,
        hold_time: Duration::from_secs(hold_time.into()),
        keepalive_time: keepalive_time(config, hold_time),
        send_hold_time: send_hold_time(config, hold_time),
        families,
        as4: sent.four_octet_as().is_some() && received.four_octet_as().is_some(),
        route_refresh: received.capabilities.contains(&Capability::RouteRefresh),
        enhanced_route_refresh: both(&Capability::EnhancedRouteRefresh),
        extended_messages: both(&Capability::ExtendedMessage),
        extended_messages_receive: sent.capabilities.contains(&Capability::ExtendedMessage),
        add_path_receive: add_path_receive(&sent, &received),
        extended_next_hop: extended_next_hop(&sent) && extended_next_hop(&received),
        hard_reset: notification(&sent) && notification(&received),
        sent,
        received,
    })
}

/// Families that we can receive several paths of and the neighbour sends them (RFC 7911 section 4).
fn add_path_receive(sent: &Open, received: &Open) -> FamilySet {
    let families = |open: &Open, wanted: fn(&AddPath) -> bool| -> Vec<Family> {
        let lists = open.capabilities.iter().filter_map(|capability| match capability {
            Capability::AddPath(list) => Some(list),
            _ => None,
        });
        // Of several instances the last counts.
        let last = lists.last().into_iter().flatten();
        last.filter(|add_path| wanted(add_path)).map(|add_path| add_path.family).collect()
    };
    let sending = families(received, |add_path| add_path.send);
    let receiving = families(sent, |add_path| add_path.receive);
    receiving.into_iter().filter(|family| sending.contains(family)).collect()
}

fn extended_next_hop(open: &Open) -> bool {
    open.capabilities.iter().any(|capability| {
        matches!(capability, Capability::ExtendedNextHop(list) if list.contains(&IPV4_BY_IPV6))
    })
}

/// RFC 8538 section 2, the N bit.
fn notification(open: &Open) -> bool {
    restart::capability(open).is_some_and(|restart| restart.notification)
}

/// RFC 9234 section 4.2: the roles have to be two ends of one relation.
fn check_role(config: &PeerConfig, open: &Open) -> Result<(), Notification> {
    let Some(ours) = config.local_role else { return Ok(()) };
    let mismatch = || error(subcode::ROLE_MISMATCH, Bytes::new());
    let mut theirs = open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Role(role) => Some(*role),
        _ => None,
    });
    let Some(first) = theirs.next() else {
        return if config.require_role { Err(mismatch()) } else { Ok(()) };
    };
    let wanted = match ours {
        BgpRole::Provider => BgpRole::Customer,
        BgpRole::Customer => BgpRole::Provider,
        BgpRole::RouteServer => BgpRole::RouteServerClient,
        BgpRole::RouteServerClient => BgpRole::RouteServer,
        BgpRole::Peer => BgpRole::Peer,
    };
    // Several different roles are a mismatch too.
    if first == wanted && theirs.all(|other| other == first) { Ok(()) } else { Err(mismatch()) }
}

/// What decoding cannot see: whether this OPEN is one of the neighbour that is configured.
fn check(local: &LocalSpeaker, config: &PeerConfig, open: &Open) -> Result<(), Notification> {
    if open.effective_as() != config.neighbor_as {
        return Err(error(subcode::BAD_PEER_AS, Bytes::new()));
    }
    let internal = config.neighbor_as == local.local_as;
    if internal && open.identifier == local.router_id {
        return Err(error(subcode::BAD_BGP_IDENTIFIER, Bytes::new()));
    }
    if internal { Ok(()) } else { check_role(config, open) }
}

/// A third of the hold time or what was configured, if that is less; at least 1 s (RFC 4271
/// section 4.4).
fn keepalive_time(config: &PeerConfig, hold_time: u16) -> Duration {
    if hold_time == 0 {
        return Duration::ZERO;
    }
    let third = Duration::from_secs(hold_time.into()) / 3;
    config.keepalive_time.unwrap_or(third).min(third).max(Duration::from_secs(1))
}

/// As configured, else twice the hold time; none without a hold time (RFC 9687 section 3.2).
fn send_hold_time(config: &PeerConfig, hold_time: u16) -> Duration {
    let hold_time = Duration::from_secs(hold_time.into());
    config.send_hold_time.filter(|_| !hold_time.is_zero()).unwrap_or(2 * hold_time)
}

fn error(subcode: u8, data: Bytes) -> Notification {
    Notification { code: ErrorCode::OPEN_MESSAGE, subcode, data }
}

/// The capabilities of our families, as the data of Unsupported Capability (RFC 5492 section 5).
fn wanted(config: &PeerConfig) -> Bytes {
    let mut data = BytesMut::new();
    for family in config.families.keys() {
        let code = Capability::Multiprotocol(*family).code();
        data.put_slice(&[code, 4]);
        data.put_u16(family.afi);
        data.put_slice(&[0, family.safi]);
    }
    data.freeze()
}
