//! What readers see: pictures of the past moment that nobody waits for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;

use super::shared::{CHUNK, Shared};
use crate::rib::{Origin, Route};
use crate::session::{
    ChannelCounters, LocalSpeaker, MessageCounters, Peer, PeerConfig, Session, StateName,
};
use crate::wire::{Attributes, Capability, Family, NextHop};

/// The whole speaker.
#[derive(Debug, Clone)]
pub struct SpeakerSnapshot {
    /// The local end.
    pub local: LocalSpeaker,
    /// Neighbours by name.
    pub peers: BTreeMap<String, Arc<PeerSnapshot>>,
    /// Our own routes by prefix.
    pub local_routes: Vec<LocalRouteSnapshot>,
    /// Routes that import policies accepted, by neighbour and prefix.
    pub received_routes: Vec<ReceivedRoute>,
    /// Connections from addresses that are no neighbour's, since the start.
    pub refused_connections: u64,
}

/// One neighbour.
#[derive(Debug, Clone)]
pub struct PeerSnapshot {
    /// Its configuration.
    pub config: Arc<PeerConfig>,
    /// Not disabled.
    pub enabled: bool,
    /// The state as a whole.
    pub state: StateName,
    /// When that state was entered.
    pub since: SystemTime,
    /// Why the last attempt or session ended, worded like `birdc`'s last error; none while a session
    /// stands.
    pub last_error: Option<String>,
    /// The message of the last `disable` or `restart`.
    pub message: Option<String>,
    /// The session; only when Established.
    pub session: Option<SessionSnapshot>,
    /// While idle after an error: when that ends, and how long it is in all.
    pub error_wait: Option<(Instant, Duration)>,
    /// When the neighbour is dialled again, or the present attempt given up.
    pub connect_retry: Option<Instant>,
    /// The configured families.
    // Boxed: a node of the map has room for eleven of what is in it, and most neighbours have one.
    pub channels: BTreeMap<Family, Box<ChannelSnapshot>>,
    /// Message counters since the neighbour was added.
    pub counters: MessageCounters,
}

/// What an Established session agreed on.
#[derive(Debug, Clone)]
pub struct SessionSnapshot {
    /// The neighbour's BGP identifier.
    pub neighbor_id: Ipv4Addr,
    /// Our end of the TCP connection.
    pub source_address: IpAddr,
    /// The neighbour belongs to another AS.
    pub external: bool,
    /// Negotiated hold time, zero for none.
    pub hold_time: Duration,
    /// When it would run out.
    pub hold_expires: Option<Instant>,
    /// Time between KEEPALIVEs before jitter, zero for none.
    pub keepalive_time: Duration,
    /// When the next one is due.
    pub keepalive_due: Option<Instant>,
    /// Our capabilities.
    pub local_capabilities: Vec<Capability>,
    /// The neighbour's capabilities.
    pub neighbor_capabilities: Vec<Capability>,
    /// Both sides speak 4-octet AS numbers.
    pub as4: bool,
}

/// One family of a neighbour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelSnapshot {
    /// Negotiated and up.
    pub up: bool,
    /// The import policy's name.
    pub import: String,
    /// The export policy's name.
    pub export: String,
    /// Routes held from the neighbour.
    pub imported: usize,
    /// Routes held from the neighbour that the import policy refused.
    pub filtered: usize,
    /// Routes the neighbour is to know.
    pub exported: usize,
    /// The next hop we send.
    pub next_hop: Option<IpAddr>,
    /// Why there is no next hop and so nothing is exported.
    pub next_hop_error: Option<String>,
    /// The neighbour sent its End-of-RIB marker (RFC 4724).
    pub end_of_rib_received: bool,
    /// The import limit was reached, and the routes have not become fewer since.
    pub import_limit_hit: bool,
    /// Route changes in this session.
    pub counters: ChannelCounters,
}

/// One of our own routes.
#[derive(Debug, Clone)]
pub struct LocalRouteSnapshot {
    /// The destination.
    pub prefix: IpNet,
    /// The owner's label.
    pub tag: Option<Arc<str>>,
    /// When it was announced in this form.
    pub since: SystemTime,
    /// Attributes as they are without export policies: with [`LocalRoute::last`](super::LocalRoute::last).
    pub attributes: Arc<Attributes>,
    /// Names of the neighbours whose Adj-RIB-Out has it.
    pub exported_to: Vec<String>,
}

/// A route that was learned and accepted.
#[derive(Debug, Clone)]
pub struct ReceivedRoute {
    /// The destination.
    pub prefix: IpNet,
    /// The neighbour's name.
    pub peer: Arc<str>,
    /// The neighbour's address.
    pub from: IpAddr,
    /// When it was learned in this form.
    pub since: SystemTime,
    /// Attributes after the import policy.
    pub attributes: Arc<Attributes>,
    /// Its next hop.
    pub next_hop: NextHop,
    /// Which of several paths of the neighbour (RFC 7911), else 0.
    pub path_id: u32,
    /// It is the best route to the destination.
    pub selected: bool,
    /// Kept from before the neighbour's restart or refresh and not announced anew as yet (RFC 4724
    /// section 4.2, RFC 7313).
    pub stale: bool,
}

/// What a neighbour's task publishes: its picture, and the parts of others that it knows.
#[derive(Debug)]
pub(super) struct PeerPublication {
    peer: Arc<PeerSnapshot>,
    received: Vec<ReceivedRoute>,
    /// In ascending order.
    exported: Vec<IpNet>,
}

/// Instants as times of day, all by one reading of both clocks.
struct Clock {
    now: Instant,
    wall: SystemTime,
}

impl Clock {
    fn read() -> Self {
        Self { now: Instant::now(), wall: SystemTime::now() }
    }

    fn time(&self, instant: Instant) -> SystemTime {
        let ago = self.now.saturating_duration_since(instant);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

impl SpeakerSnapshot {
    pub(super) fn take(shared: &Shared) -> Self {
        let clock = Clock::read();
        let publications = shared.publications();
        let mut received: Vec<ReceivedRoute> =
            publications.values().flat_map(|peer| &peer.received).cloned().collect();
        for piece in received.chunks_mut(CHUNK) {
            let core = shared.core();
            for route in piece {
                let best = core.rib.best(&route.prefix);
                route.selected = best.is_some_and(|best| {
                    best.peer() == Some(&*route.peer) && best.path_id == route.path_id
                });
            }
        }
        let ours: Vec<(IpNet, Route)> = {
            let core = shared.core();
            core.rib.iter_local().map(|(prefix, route)| (*prefix, route.clone())).collect()
        };
        let local_routes = ours.into_iter().map(|(prefix, route)| {
            let since = clock.time(route.since);
            let (tag, attributes) = as_ours(route);
            LocalRouteSnapshot {
                prefix,
                tag,
                since,
                attributes,
                exported_to: publications
                    .iter()
                    .filter(|(_, peer)| peer.exported.binary_search(&prefix).is_ok())
                    .map(|(name, _)| name.clone())
                    .collect(),
            }
        });
        Self {
            local: shared.local,
            local_routes: local_routes.collect(),
            received_routes: received,
            refused_connections: shared.refused.load(Ordering::Relaxed),
            peers: publications
                .into_iter()
                .map(|(name, published)| (name, published.peer.clone()))
                .collect(),
        }
    }
}

/// The label of a route of our own, and its attributes with what is changed on every way out.
fn as_ours(route: Route) -> (Option<Arc<str>>, Arc<Attributes>) {
    match route.origin {
        Origin::Local { tag, last: Some(last) } => {
            let mut attributes = Attributes::clone(&route.attributes);
            last.apply(None, &mut attributes);
            (tag, Arc::new(attributes))
        }
        Origin::Local { tag, last: None } => (tag, route.attributes),
        Origin::Learned(_) => (None, route.attributes),
    }
}

impl PeerPublication {
    /// The present state of a neighbour.
    pub(super) fn of(peer: &Peer, message: Option<&str>) -> Self {
        let clock = Clock::read();
        let session = peer.session();
        let mut exported: Vec<IpNet> = session
            .iter()
            .flat_map(|session| session.channels.values())
            .flat_map(|channel| channel.adj_out.prefixes())
            .copied()
            .collect();
        exported.sort_unstable();
        Self {
            peer: Arc::new(peer_snapshot(peer, session, message, &clock)),
            received: received(peer, &clock),
            exported,
        }
    }
}

fn peer_snapshot(
    peer: &Peer,
    session: Option<&Session>,
    message: Option<&str>,
    clock: &Clock,
) -> PeerSnapshot {
    let config = peer.config().clone();
    PeerSnapshot {
        enabled: peer.is_running(),
        state: peer.state(),
        since: clock.time(peer.since()),
        last_error: peer.last_error().map(ToString::to_string),
        message: message.map(str::to_owned),
        session: session.map(|session| session_snapshot(peer, session)),
        error_wait: peer.idle_hold(),
        connect_retry: peer.connect_retry(),
        channels: channels(&config, session),
        counters: peer.counters(),
        config,
    }
}

fn session_snapshot(peer: &Peer, session: &Session) -> SessionSnapshot {
    let negotiated = &session.negotiated;
    let (hold_expires, keepalive_due) = peer.session_timers();
    SessionSnapshot {
        neighbor_id: negotiated.peer_id,
        source_address: session.local,
        external: negotiated.external,
        hold_time: negotiated.hold_time,
        hold_expires,
        keepalive_time: negotiated.keepalive_time,
        keepalive_due,
        local_capabilities: negotiated.sent.capabilities.clone(),
        neighbor_capabilities: negotiated.received.capabilities.clone(),
        as4: negotiated.as4,
    }
}

fn channels(
    config: &PeerConfig,
    session: Option<&Session>,
) -> BTreeMap<Family, Box<ChannelSnapshot>> {
    let row = |(family, settings): (&Family, &crate::session::FamilyConfig)| {
        let mut snapshot = ChannelSnapshot {
            import: settings.import.name.clone(),
            export: settings.export.name.clone(),
            ..ChannelSnapshot::default()
        };
        if let Some(channel) = session.and_then(|session| session.channels.get(family)) {
            snapshot.up = true;
            snapshot.imported = channel.adj_in.accepted();
            snapshot.filtered = channel.adj_in.filtered();
            snapshot.exported = channel.adj_out.len();
            snapshot.end_of_rib_received = channel.end_of_rib_received;
            snapshot.import_limit_hit = channel.import_limit_hit;
            snapshot.counters = channel.counters;
            match &channel.next_hop {
                Ok(next_hop) => snapshot.next_hop = Some(next_hop.address()),
                Err(reason) => snapshot.next_hop_error = Some(reason.clone()),
            }
        }
        (*family, Box::new(snapshot))
    };
    config.families.iter().map(row).collect()
}

/// Also of a neighbour that restarts and has no session for the moment.
fn received(peer: &Peer, clock: &Clock) -> Vec<ReceivedRoute> {
    let name: Arc<str> = peer.config().name.as_str().into();
    let channels = peer.session().into_iter().flat_map(|session| session.channels.values());
    let entries = channels.flat_map(|channel| channel.adj_in.iter());
    entries
        .chain(peer.retained())
        .filter_map(|((prefix, path_id), entry)| {
            Some(ReceivedRoute {
                prefix: *prefix,
                peer: name.clone(),
                from: peer.config().neighbor,
                since: clock.time(entry.since),
                attributes: entry.accepted.clone()?,
                next_hop: entry.next_hop,
                path_id: *path_id,
                selected: false,
                stale: entry.stale,
            })
        })
        .collect()
}
