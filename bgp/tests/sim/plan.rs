//! What a seed makes: speakers, pairs, configurations, and what their owners announce.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vc5_bgp::policy::{Changes, Policy, PrefixMatch, Rule, Source, Then};
use vc5_bgp::rib::{Origin, Route};
use vc5_bgp::session::{FamilyConfig, LocalSpeaker, PeerConfig};
use vc5_bgp::wire::{Attributes, Community, Family, Origin as WireOrigin};

use super::network::side;
use super::rng::Rng;
use super::stats::Fault;
use super::world::{Deadline, Item, World, trace};

/// Speakers with neighbours at random, none apart from the rest.
pub(crate) fn build(world: &mut World) {
    let count = world.rng.pick(&[2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6]);
    for index in 0..count {
        let local = speaker(world, index);
        world.add_node(local, index as u8);
    }
    let mut pairs = Vec::new();
    for node in 1..count {
        pairs.push((world.rng.below(node), node));
    }
    for _ in 0..count / 2 {
        let (a, b) = (world.rng.below(count), world.rng.below(count));
        let pair = (a.min(b), a.max(b));
        if a != b && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    let transit = world.rng.percent(60);
    for (a, b) in pairs {
        let families = world.rng.pick(&[1, 1, 1, 2, 3]);
        let passive = world.rng.pick(&[[false, false], [true, false], [false, true], [false; 2]]);
        let ours = neighbour(world, b, families, transit, passive[0]);
        let theirs = neighbour(world, a, families, transit, passive[1]);
        world.add_pair([(a, ours), (b, theirs)]);
    }
    let together = world.rng.percent(30);
    for end in 0..world.ends.len() {
        let at = if together { Duration::ZERO } else { world.rng.millis(0, 3000) };
        world.at(at, Item::Start(end));
    }
}

fn speaker(world: &mut World, index: usize) -> LocalSpeaker {
    let known = world.nodes.first().map(|node| node.local);
    let rng = &mut world.rng;
    let mut router_id = Ipv4Addr::new(10, rng.below(2) as u8, 0, index as u8 + 1);
    let mut local_as = 64_500 + index as u32;
    if rng.percent(15) {
        local_as += 4_200_000_000;
    }
    match known {
        Some(first) if rng.percent(20) => local_as = first.local_as,
        // RFC 6286: an identifier need be unique only within an AS.
        Some(first) if index == 1 && rng.percent(20) => router_id = first.router_id,
        _ => {}
    }
    LocalSpeaker { router_id, local_as }
}

fn neighbour(
    world: &mut World,
    node: usize,
    families: usize,
    transit: bool,
    passive: bool,
) -> PeerConfig {
    let (local, address) = (world.nodes[node].local, world.nodes[node].address);
    let rng = &mut world.rng;
    let mut config = PeerConfig::new(format!("n{node}"), address, local.local_as);
    config.passive = passive;
    config.hold_time = Duration::from_secs(rng.pick(&[3, 6, 9, 9, 20, 0]));
    config.extended_messages = rng.percent(30);
    config.enhanced_route_refresh = rng.percent(70);
    config.connect_retry_time = Duration::from_millis(rng.pick(&[500, 1000, 2000, 5000]));
    config.startup_hold_time = Duration::from_secs(10);
    config.error_wait_time = (Duration::from_secs(1), Duration::from_secs(rng.pick(&[1, 4, 8])));
    if rng.percent(10) {
        config.connect_delay_time = Duration::from_secs(1);
    }
    if rng.percent(10) {
        config.delay_open_time = rng.millis(200, 2000);
    }
    if families & 1 != 0 {
        config.families.insert(Family::IPV4_UNICAST, family(transit));
    }
    if families & 2 != 0 {
        config.families.insert(Family::IPV6_UNICAST, family(transit));
    }
    config
}

fn family(transit: bool) -> FamilyConfig {
    let mut export = Policy::all();
    if transit {
        export.rules.push(Rule { source: Some(Source::Bgp), ..Rule::always(Then::Accept) });
    }
    FamilyConfig { import: Policy::all(), export, ..FamilyConfig::default() }
}

/// Set no. `set` of the few that there are.
fn route(rng: &mut Rng, world_now: std::time::Instant) -> Route {
    let sets: [&[Community]; 3] =
        [&[], &[Community::new(64_500, 1)], &[Community::new(64_500, 1), Community::new(1, 2)]];
    let attributes = Attributes {
        origin: rng.pick(&[WireOrigin::Igp, WireOrigin::Igp, WireOrigin::Incomplete]),
        med: rng.pick(&[None, Some(10), Some(20)]),
        communities: rng.pick(&sets).to_vec(),
        ..Attributes::default()
    };
    Route {
        origin: Origin::local(),
        attributes: Arc::new(attributes),
        next_hop: None,
        since: world_now,
        path_id: 0,
    }
}

/// A prefix that only `node` announces.
fn unique(node: usize, index: usize) -> IpNet {
    format!("10.{}.{}.{}/32", 100 + node, index / 256, index % 256).parse().unwrap()
}

fn prefix(rng: &mut Rng, node: usize) -> (IpNet, bool) {
    match rng.below(4) {
        0 => (format!("10.99.{}.0/24", rng.below(3)).parse().unwrap(), false),
        1 => (format!("2001:db8:{}:{}::/64", node + 1, rng.below(3)).parse().unwrap(), true),
        _ => (unique(node, rng.below(5)), true),
    }
}

impl World {
    /// An owner announces or withdraws something.
    pub(crate) fn churn(&mut self) {
        let node = self.rng.below(self.nodes.len());
        if self.hung(node) {
            return;
        }
        if self.rng.percent(3) {
            return self.flood(node);
        }
        let (prefix, unique) = prefix(&mut self.rng, node);
        if self.nodes[node].own.contains_key(&prefix) && self.rng.percent(60) {
            self.withdraw(node, prefix, unique);
            return;
        }
        self.stats.fault(Fault::Announce);
        trace!(self, "node {node} announces {prefix}");
        let now = self.instant();
        let route = route(&mut self.rng, now);
        self.announce(node, prefix, Some(route));
        self.propagate(node);
    }

    /// Many routes change at once.
    pub(crate) fn flood(&mut self, node: usize) {
        if self.hung(node) {
            return;
        }
        self.stats.fault(Fault::Flood);
        trace!(self, "node {node} floods");
        let now = self.instant();
        for index in 300..300 + self.rng.between(10, 40) {
            let announced = self.rng.percent(60);
            let route = announced.then(|| route(&mut self.rng, now));
            self.announce(node, unique(node, index), route);
        }
        self.propagate(node);
    }

    fn withdraw(&mut self, node: usize, prefix: IpNet, unique: bool) {
        self.stats.fault(Fault::Withdraw);
        trace!(self, "node {node} withdraws {prefix}");
        let ends = self.nodes[node].ends.clone();
        let clear: Vec<_> = ends.iter().filter_map(|end| self.clear_way(*end)).collect();
        let stuck = ends.iter().any(|end| self.is_stuck(*end));
        self.announce(node, prefix, None);
        self.propagate(node);
        let version = self.nodes[node].versions[&prefix];
        for (end, conn, at, disturbed) in clear {
            let pipe = &self.conns[conn].pipes[at];
            if !unique || !pipe.out.is_empty() {
                continue;
            }
            if stuck {
                self.stats.fault(Fault::WithdrawBesideStuck);
            }
            let deadline = Deadline { end: end ^ 1, conn, disturbed, prefix, version };
            let arrival = pipe.last_arrival.max(self.now);
            assert!(
                arrival <= self.now.max(pipe.stalled_until) + pipe.delay + pipe.jitter,
                "a queue in the network"
            );
            self.at(arrival, Item::Deadline(deadline));
        }
    }

    /// A session that nothing holds up: the end, its connection, its side, and how often that was
    /// interfered with until now.
    fn clear_way(&self, end: usize) -> Option<(usize, usize, usize, u32)> {
        self.ends[end].up?;
        let at = side(self.ends[end].peer.session_role()?);
        let id = self.ends[end].links[at]?;
        let conn = &self.conns[id];
        let clear = conn.whole()
            && !conn.tainted
            && conn.pipes[at].is_clear(self.now)
            && !self.hung(self.ends[end ^ 1].node);
        clear.then_some((end, id, at, conn.disturbed))
    }

    /// A neighbour that does not read what it is sent.
    fn is_stuck(&self, end: usize) -> bool {
        let Some(role) = self.ends[end].peer.session_role() else { return false };
        let Some(id) = self.ends[end].links[side(role)] else { return false };
        let pipe = &self.conns[id].pipes[side(role)];
        pipe.unread_until > self.now || pipe.black_hole || self.hung(self.ends[end ^ 1].node)
    }

    /// Other policies that need no new session.
    pub(crate) fn change_policies(&mut self, local_as: u32, config: &mut PeerConfig) {
        // Within an AS all have to rank routes alike, or they never come to an end.
        let meds = [None, Some(7), Some(8)];
        let meds = if config.neighbor_as == local_as { &meds[..1] } else { &meds[..] };
        for family in config.families.values_mut() {
            let prefixes = vec![PrefixMatch {
                prefix: "10.0.0.0/8".parse().unwrap(),
                min: 8,
                max: if self.rng.percent(50) { 24 } else { 32 },
            }];
            let set = Changes {
                med: self.rng.pick(meds),
                add_communities: vec![Community::new(65_000, self.rng.below(3) as u16)],
                prepend: self.rng.below(2) as u8,
                ..Changes::default()
            };
            let rule = Rule { prefixes, set, ..Rule::always(Then::Continue) };
            let transit = family.export.rules.pop().filter(|rule| rule.source.is_some());
            family.export.rules = vec![rule.clone()];
            family.export.rules.extend(transit);
            let then = self.rng.pick(&[Then::Continue, Then::Reject]);
            family.import.rules = vec![Rule { then, ..rule }];
        }
    }
}
