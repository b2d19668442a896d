//! From two OPEN messages to what the session is (RFC 4271 sections 4.2 and 6.2, RFC 5492).

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::config::{LocalSpeaker, PeerConfig};
use crate::wire::notification::subcode::open as subcode;
use crate::wire::{Capability, ErrorCode, Family, Notification, Open};

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
    /// Families both sides carry, in ascending order.
    pub families: Vec<Family>,
    /// Both sides speak 4-octet AS numbers (RFC 6793).
    pub as4: bool,
    /// The neighbour answers ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// Our OPEN.
    pub sent: Open,
    /// The neighbour's OPEN.
    pub received: Open,
}

/// Our OPEN; a `plain` one has no capabilities, for neighbours that refuse them (RFC 5492
/// section 3).
pub(super) fn open_message(local: &LocalSpeaker, config: &PeerConfig, plain: bool) -> Open {
    let families: Vec<Family> = config.families.keys().copied().collect();
    let hold_time = u16::try_from(config.hold_time.as_secs()).unwrap_or(u16::MAX);
    let mut open = Open::new(local.local_as, hold_time, local.router_id, &families);
    if plain {
        open.capabilities.clear();
    }
    open
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
    Ok(Negotiated {
        peer_id: received.identifier,
        external: config.neighbor_as != local.local_as,
        hold_time: Duration::from_secs(hold_time.into()),
        keepalive_time: keepalive_time(config, hold_time),
        families,
        as4: sent.four_octet_as().is_some() && received.four_octet_as().is_some(),
        route_refresh: received.capabilities.contains(&Capability::RouteRefresh),
        sent,
        received,
    })
}

fn check(local: &LocalSpeaker, config: &PeerConfig, open: &Open) -> Result<(), Notification> {
    if open.version != 4 {
        return Err(error(subcode::UNSUPPORTED_VERSION, Bytes::from_static(&[0, 4])));
    }
    if open.effective_as() != config.neighbor_as {
        return Err(error(subcode::BAD_PEER_AS, Bytes::new()));
    }
    let internal = config.neighbor_as == local.local_as;
    let own = internal && open.identifier == local.router_id;
    if open.identifier.is_unspecified() || own {
        return Err(error(subcode::BAD_BGP_IDENTIFIER, Bytes::new()));
    }
    if matches!(open.hold_time, 1 | 2) {
        return Err(error(subcode::UNACCEPTABLE_HOLD_TIME, Bytes::new()));
    }
    Ok(())
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
