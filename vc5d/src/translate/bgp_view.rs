//! From the speaker's picture of itself to the one that readers get.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vc5_bgp::session::{ChannelCounters, RouteChanges};
use vc5_bgp::speaker::{
    ChannelSnapshot, LocalRouteSnapshot, PeerSnapshot, ReceivedRoute, SessionSnapshot,
    SpeakerSnapshot,
};
use vc5_bgp::wire::{Attributes, BgpRole, Capability, Family};

use crate::config::model::Config;
use crate::snapshot::{self, Peer, PeerChannel, PeerCounters, PeerSession, Route};

/// Neighbours and routes. Remaining times are as of `now`; descriptions come from the configuration.
pub fn bgp_view(
    speaker: &SpeakerSnapshot,
    config: &Config,
    now: Instant,
) -> (BTreeMap<String, Peer>, Vec<Route>) {
    let peers = speaker.peers.iter().map(|(name, peer)| {
        let description = config.bgp.get(name).and_then(|bgp| bgp.description.clone());
        (name.clone(), peer_view(peer, description, speaker.local.local_as, now))
    });
    let local = speaker.local_routes.iter().map(local_view);
    let received = speaker.received_routes.iter().map(received_view);
    let mut routes: Vec<_> = local.chain(received).collect();
    routes.sort_by(|a, b| {
        (a.prefix, !a.selected, &a.protocol).cmp(&(b.prefix, !b.selected, &b.protocol))
    });
    (peers.collect(), routes)
}

fn peer_view(
    peer: &PeerSnapshot,
    description: Option<String>,
    local_as: u32,
    now: Instant,
) -> Peer {
    let config = &peer.config;
    let retry = config.connect_retry_time.as_secs_f64();
    Peer {
        name: config.name.clone(),
        description,
        message: peer.message.clone(),
        neighbor: config.neighbor,
        neighbor_as: config.neighbor_as,
        local_as,
        enabled: peer.enabled,
        passive: config.passive,
        multihop: config.multihop.is_some(),
        state: peer.state.to_string(),
        since: unix(peer.since),
        last_error: peer.last_error.clone(),
        session: peer.session.as_ref().map(|session| session_view(session, now)),
        error_wait: peer.error_wait.map(|(until, whole)| (left(until, now), whole.as_secs_f64())),
        connect_retry: peer.connect_retry.map(|at| (left(at, now), retry)),
        channels: peer.channels.iter().map(|(f, c)| (f.to_string(), channel_view(c))).collect(),
        counters: PeerCounters {
            messages_in: peer.counters.messages_in,
            messages_out: peer.counters.messages_out,
            updates_in: peer.counters.updates_in,
            updates_out: peer.counters.updates_out,
            established: peer.counters.established,
            dropped: peer.counters.dropped,
        },
    }
}

fn session_view(session: &SessionSnapshot, now: Instant) -> PeerSession {
    let timer = |whole: Duration, at: Option<Instant>| {
        (whole.as_secs_f64(), at.map_or(0.0, |at| left(at, now)))
    };
    PeerSession {
        neighbor_id: session.neighbor_id,
        source_address: session.source_address,
        hold: timer(session.hold_time, session.hold_expires),
        keepalive: timer(session.keepalive_time, session.keepalive_due),
        local_capabilities: capability_lines(&session.local_capabilities),
        neighbor_capabilities: capability_lines(&session.neighbor_capabilities),
        as4: session.as4,
    }
}

/// Capabilities in birdc's words. Unknown ones are named by their IANA code.
fn capability_lines(capabilities: &[Capability]) -> Vec<String> {
    let families: Vec<_> = capabilities
        .iter()
        .filter_map(|capability| match capability {
            Capability::Multiprotocol(family) => Some(family.to_string()),
            _ => None,
        })
        .collect();
    let mut lines = Vec::new();
    if !families.is_empty() {
        lines.push("Multiprotocol".to_owned());
        lines.push(format!("  AF announced: {}", families.join(" ")));
    }
    for capability in capabilities {
        capability_line(capability, &mut lines);
    }
    lines
}

fn capability_line(capability: &Capability, lines: &mut Vec<String>) {
    let mut line = |text: &str| lines.push(text.to_owned());
    match capability {
        Capability::Multiprotocol(_) => {}
        Capability::RouteRefresh => line("Route refresh"),
        Capability::ExtendedNextHop(list) => {
            line("Extended next hop");
            let families = list.iter().map(|next_hop| next_hop.family);
            line(&format!("  IPv6 nexthop: {}", words(families)));
        }
        Capability::ExtendedMessage => line("Extended message"),
        Capability::Role(role) => line(&format!("Role: {}", role_word(*role))),
        Capability::GracefulRestart(restart) => {
            line("Graceful restart");
            if !restart.families.is_empty() {
                line(&format!("  Restart time: {}", restart.restart_time.as_secs()));
                let families = restart.families.iter().map(|family| family.family);
                line(&format!("  AF supported: {}", words(families)));
                let kept = restart.families.iter().filter(|family| family.forwarding);
                line(&format!("  AF preserved: {}", words(kept.map(|family| family.family))));
            }
        }
        Capability::FourOctetAs(_) => line("4-octet AS numbers"),
        Capability::AddPath(list) => {
            line("ADD-PATH");
            let receive = list.iter().filter(|add_path| add_path.receive);
            line(&format!("  RX: {}", words(receive.map(|add_path| add_path.family))));
            let send = list.iter().filter(|add_path| add_path.send);
            line(&format!("  TX: {}", words(send.map(|add_path| add_path.family))));
        }
        Capability::EnhancedRouteRefresh => line("Enhanced refresh"),
        Capability::LongLivedGracefulRestart(_) => line("Long-lived graceful restart"),
        Capability::Fqdn { host, .. } => line(&format!("Hostname: {host}")),
        Capability::SoftwareVersion(version) => line(&format!("Software version: {version}")),
        other => line(&format!("Capability {}", other.code())),
    }
}

fn words(families: impl Iterator<Item = Family>) -> String {
    families.map(|family| family.to_string()).collect::<Vec<_>>().join(" ")
}

fn role_word(role: BgpRole) -> &'static str {
    match role {
        BgpRole::Provider => "provider",
        BgpRole::RouteServer => "rs_server",
        BgpRole::RouteServerClient => "rs_client",
        BgpRole::Customer => "customer",
        BgpRole::Peer => "peer",
    }
}

fn channel_view(channel: &ChannelSnapshot) -> PeerChannel {
    let ChannelCounters { import_updates, import_withdraws, export_updates, export_withdraws } =
        channel.counters;
    PeerChannel {
        up: channel.up,
        import: channel.import.clone(),
        export: channel.export.clone(),
        imported: count(channel.imported),
        filtered: count(channel.filtered),
        exported: count(channel.exported),
        next_hop: channel.next_hop,
        next_hop_error: channel.next_hop_error.clone(),
        import_updates: changes(import_updates),
        import_withdraws: changes(import_withdraws),
        export_updates: changes(export_updates),
        export_withdraws: changes(export_withdraws),
    }
}

fn changes(changes: RouteChanges) -> snapshot::RouteChanges {
    snapshot::RouteChanges {
        received: changes.received,
        rejected: changes.rejected,
        filtered: changes.filtered,
        ignored: changes.ignored,
        accepted: changes.accepted,
    }
}

fn local_view(route: &LocalRouteSnapshot) -> Route {
    Route {
        protocol: route.tag.as_deref().unwrap_or("local").to_owned(),
        exported_to: route.exported_to.clone(),
        selected: true,
        ..base("vip", route.prefix, route.since, &route.attributes)
    }
}

fn received_view(route: &ReceivedRoute) -> Route {
    Route {
        protocol: route.peer.to_string(),
        from: Some(route.from),
        selected: route.selected,
        stale: route.stale,
        next_hop: Some(route.next_hop.address()),
        ..base("bgp", route.prefix, route.since, &route.attributes)
    }
}

fn base(source: &str, prefix: ipnet::IpNet, since: SystemTime, attributes: &Attributes) -> Route {
    Route {
        prefix,
        protocol: String::new(),
        source: source.to_owned(),
        since: unix(since),
        from: None,
        selected: false,
        stale: false,
        origin: attributes.origin.to_string(),
        as_path: attributes.as_path.to_string(),
        next_hop: None,
        med: attributes.med,
        local_pref: attributes.local_pref,
        communities: attributes
            .communities
            .iter()
            .map(|community| format!("{}:{}", community.0 >> 16, community.0 & 0xffff))
            .collect(),
        extended_communities: strings(&attributes.extended_communities),
        large_communities: strings(&attributes.large_communities),
        exported_to: Vec::new(),
    }
}

fn strings(list: &[impl ToString]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn left(at: Instant, now: Instant) -> f64 {
    at.saturating_duration_since(now).as_secs_f64()
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
