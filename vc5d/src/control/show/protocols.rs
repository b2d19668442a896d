//! `show protocols`: neighbours as type BGP, VIPs as type Static, in BIRD's columns.
//!
//! Scrapers find things here by regular expressions, so spacing and words are fixed by what they match.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::clock::Clock;
use super::super::command::NamePattern;
use super::super::reply::{Reply, code};
use crate::snapshot::{Peer, PeerChannel, PeerSession, RouteChanges, Snapshot, Vip, VipState};

/// BIRD's default preference of static routes.
pub(super) const STATIC_PREFERENCE: u32 = 200;
/// BIRD's default preference of BGP routes.
pub(super) const BGP_PREFERENCE: u32 = 100;

/// Rows, and with `all` the details after each and a blank line.
pub(super) fn protocols(
    snapshot: &Snapshot,
    all: bool,
    names: &NamePattern,
    clock: &Clock,
) -> Reply {
    let mut reply =
        Reply::one(code::PROTOCOL_HEADING, row("Name", "Proto", "Table", "State", "Since", "Info"));
    let mut found = false;
    for peer in snapshot.peers.values().filter(|peer| names.matches(&peer.name)) {
        found = true;
        reply.push(code::PROTOCOL, peer_row(peer, clock));
        if all {
            peer_detail(&mut reply, peer);
        }
    }
    for (name, vips) in by_name(snapshot).filter(|(name, _)| names.matches(name)) {
        found = true;
        reply.push(code::PROTOCOL, vip_row(name, &vips, clock));
        if all {
            vip_detail(&mut reply, &vips);
        }
    }
    if !found && *names != NamePattern::All {
        return Reply::one(code::NO_PROTOCOL, "No protocols match");
    }
    reply.done()
}

/// Names of everything that `show protocols` lists.
pub(super) fn symbols(snapshot: &Snapshot) -> Reply {
    let mut reply = Reply::new();
    for name in snapshot.peers.keys().map(String::as_str).chain(by_name(snapshot).map(|vip| vip.0))
    {
        reply.push(code::SYMBOL, format!("{name:<10} protocol"));
    }
    reply.done()
}

fn row(name: &str, proto: &str, table: &str, state: &str, since: &str, info: &str) -> String {
    format!("{name:<10} {proto:<10} {table:<10} {state:<6} {since:<12}  {info}")
}

/// The addresses of each `[vip.NAME]`: one protocol with a route for each.
fn by_name(snapshot: &Snapshot) -> impl Iterator<Item = (&str, Vec<&Vip>)> {
    let mut names: BTreeMap<&str, Vec<&Vip>> = BTreeMap::new();
    for vip in &snapshot.vips {
        names.entry(&vip.name).or_default().push(vip);
    }
    names.into_iter()
}

fn table<'a>(families: impl IntoIterator<Item = &'a str>) -> &'static str {
    let mut families = families.into_iter();
    match (families.next(), families.next()) {
        (Some("ipv4"), None) => "master4",
        (Some("ipv6"), None) => "master6",
        _ => "---",
    }
}

fn peer_row(peer: &Peer, clock: &Clock) -> String {
    let established = peer.state == "Established";
    let state = match (established, peer.enabled, peer.state.as_str()) {
        (true, ..) => "up",
        (false, false, "Idle") => "down",
        (false, false, _) => "stop",
        (false, true, _) => "start",
    };
    let error = peer.last_error.as_deref().filter(|_| !established).unwrap_or_default();
    let info = format!("{:<14}{error}", bgp_state(peer));
    let table = table(peer.channels.keys().map(String::as_str));
    row(&peer.name, "BGP", table, state, &clock.table(peer.since), &info)
}

/// The state as birdc words it: a neighbour that waits to be called is Passive, a disabled one Down.
fn bgp_state(peer: &Peer) -> &str {
    match (peer.enabled, peer.passive, peer.state.as_str()) {
        (false, _, "Idle") => "Down",
        (true, true, "Idle" | "Connect" | "Active") => "Passive",
        (_, _, state) => state,
    }
}

fn peer_detail(reply: &mut Reply, peer: &Peer) {
    let mut line = |text: String| reply.push(code::PROTOCOL_DETAIL, text);
    for (label, text) in [("Description:", &peer.description), ("Message:", &peer.message)] {
        if let Some(text) = text {
            line(format!("  {label:<15} {text}"));
        }
    }
    line(format!("  BGP state:          {}", bgp_state(peer)));
    line(format!("    Neighbor address: {}", peer.neighbor));
    line(format!("    Neighbor AS:      {}", peer.neighbor_as));
    line(format!("    Local AS:         {}", peer.local_as));
    if let Some(session) = &peer.session {
        session_detail(reply, peer, session);
    }
    let mut line = |text: String| reply.push(code::PROTOCOL_DETAIL, text);
    if let Some((left, whole)) = peer.error_wait {
        line(format!("    Error wait:       {left:.3}/{whole}"));
    }
    if let Some((left, whole)) = peer.connect_retry {
        line(format!("    Connect delay:    {left:.3}/{whole}"));
    }
    if let Some(error) = &peer.last_error {
        line(format!("    Last error:       {error}"));
    }
    for (family, channel) in &peer.channels {
        channel_detail(reply, family, channel);
    }
    reply.push(code::PROTOCOL_DETAIL, "");
}

fn session_detail(reply: &mut Reply, peer: &Peer, session: &PeerSession) {
    let mut line = |text: String| reply.push(code::PROTOCOL_DETAIL, text);
    line(format!("    Neighbor ID:      {}", session.neighbor_id));
    for (side, capabilities) in
        [("Local", &session.local_capabilities), ("Neighbor", &session.neighbor_capabilities)]
    {
        line(format!("    {side} capabilities"));
        capabilities.iter().for_each(|capability| line(format!("      {capability}")));
    }
    let kind = if peer.neighbor_as == peer.local_as { "internal" } else { "external" };
    let multihop = if peer.multihop { " multihop" } else { "" };
    let as4 = if session.as4 { " AS4" } else { "" };
    line(format!("    Session:          {kind}{multihop}{as4}"));
    line(format!("    Source address:   {}", session.source_address));
    line(format!("    Hold timer:       {:.3}/{}", session.hold.1, session.hold.0));
    line(format!("    Keepalive timer:  {:.3}/{}", session.keepalive.1, session.keepalive.0));
}

fn channel_head(reply: &mut Reply, family: &str, up: bool, preference: u32, filters: [&str; 2]) {
    let [input, output] = filters;
    let mut line = |text: String| reply.push(code::PROTOCOL_DETAIL, text);
    line(format!("  Channel {family}"));
    line(format!("    State:          {}", if up { "UP" } else { "DOWN" }));
    line(format!("    Table:          {}", table([family])));
    line(format!("    Preference:     {preference}"));
    line(format!("    Input filter:   {}", filter(input)));
    line(format!("    Output filter:  {}", filter(output)));
}

fn channel_detail(reply: &mut Reply, family: &str, channel: &PeerChannel) {
    let filters = [channel.import.as_str(), channel.export.as_str()];
    channel_head(reply, family, channel.up, BGP_PREFERENCE, filters);
    let mut line = |text: String| reply.push(code::PROTOCOL_DETAIL, text);
    let PeerChannel { imported, filtered, exported, .. } = channel;
    line(format!(
        "    Routes:         {imported} imported, {filtered} filtered, {exported} exported, \
         {imported} preferred"
    ));
    line(
        "    Route change stats:     received   rejected   filtered    ignored   accepted"
            .to_owned(),
    );
    line(changes("Import updates:", channel.import_updates, [true; 5]));
    line(changes("Import withdraws:", channel.import_withdraws, [true, true, false, true, true]));
    line(changes("Export updates:", channel.export_updates, [true, true, true, false, true]));
    line(changes("Export withdraws:", channel.export_withdraws, [true, false, false, false, true]));
    match (channel.next_hop, &channel.next_hop_error) {
        (Some(next_hop), _) => line(format!("    BGP Next hop:   {next_hop}")),
        (None, Some(error)) => line(format!("    BGP Next hop:   none ({error})")),
        (None, None) => {}
    }
}

/// One row of the five columns; BIRD puts `---` where a column has no meaning.
fn changes(label: &str, changes: RouteChanges, meant: [bool; 5]) -> String {
    let RouteChanges { received, rejected, filtered, ignored, accepted } = changes;
    let mut text = format!("      {label:<19}");
    for (value, meant) in [received, rejected, filtered, ignored, accepted].into_iter().zip(meant) {
        let cell = if meant { value.to_string() } else { "---".to_owned() };
        text.push_str(&format!(" {cell:>10}"));
    }
    text
}

/// BIRD's words for the built-in filters.
fn filter(name: &str) -> &str {
    match name {
        "all" => "ACCEPT",
        "none" => "REJECT",
        name => name,
    }
}

/// A VIP of several addresses is up when all of them are: an alert on its state then misses none.
fn vip_row(name: &str, vips: &[&Vip], clock: &Clock) -> String {
    let missing = vips.iter().find(|vip| vip.state != VipState::Up);
    let latest = vips.iter().max_by(|a, b| a.since.total_cmp(&b.since));
    let (state, since, reason) = missing.or(latest).map_or(("down", 0.0, ""), |vip| {
        let state = match vip.state {
            VipState::Up => "up",
            VipState::Waiting => "start",
            VipState::Withdrawing => "stop",
            VipState::Down | VipState::Disabled => "down",
        };
        (state, vip.since, vip.reason.as_str())
    });
    let families = families(vips);
    row(name, "Static", table(families.keys().copied()), state, &clock.table(since), reason)
}

fn families<'a>(vips: &[&'a Vip]) -> BTreeMap<&'static str, Vec<&'a Vip>> {
    let mut families: BTreeMap<&str, Vec<&Vip>> = BTreeMap::new();
    for vip in vips {
        let family = match vip.address {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        };
        families.entry(family).or_default().push(vip);
    }
    families
}

fn vip_detail(reply: &mut Reply, vips: &[&Vip]) {
    for (family, vips) in families(vips) {
        let announced = vips.iter().filter(|vip| vip.state == VipState::Up).count();
        channel_head(reply, family, announced > 0, STATIC_PREFERENCE, ["all", "none"]);
        let mut line = |text: String| reply.push(code::PROTOCOL_DETAIL, text);
        line(format!(
            "    Routes:         {announced} imported, 0 exported, {announced} preferred"
        ));
        for vip in vips {
            let fate = if vip.state == VipState::Up { "Announced:" } else { "Withheld:" };
            line(format!("    {fate:<15} {} ({})", vip.address, vip.reason));
        }
    }
    reply.push(code::PROTOCOL_DETAIL, "");
}
