//! What holds once the network is quiet, by a model of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use ipnet::IpNet;
use vc5_bgp::policy::{Direction, Source, Subject, Verdict};
use vc5_bgp::rib::{Origin, Route, compare};
use vc5_bgp::session::{Channel, Session, StateName};
use vc5_bgp::wire::{Attributes, Family, NextHop};

use super::network::side;
use super::world::{Node, World};

impl World {
    /// Everything has come together; else what is missing.
    pub(crate) fn converged(&self) -> Result<(), String> {
        for pair in 0..self.ends.len() / 2 {
            self.pair_stands(2 * pair)?;
        }
        for end in 0..self.ends.len() {
            if let Some(session) = self.ends[end].peer.session() {
                for (family, channel) in &session.channels {
                    self.adj_rib_in_is_right(end, session, *family, channel)?;
                }
            }
        }
        (0..self.nodes.len()).try_for_each(|node| self.loc_rib_is_right(node))
    }

    /// Both ends of a pair are Established on one and the same connection; or not at all, if one is
    /// disabled.
    fn pair_stands(&self, first: usize) -> Result<(), String> {
        let ends = [first, first + 1];
        let wanted = ends.iter().all(|end| self.ends[*end].enabled);
        let mut connections = BTreeSet::new();
        for index in ends {
            let end = &self.ends[index];
            let (name, state) = (self.name(index), end.peer.state());
            if wanted != (state == StateName::Established) || wanted != end.up.is_some() {
                return Err(format!("{name}: {state}, Established is wanted: {wanted}"));
            }
            if let Some(role) = end.peer.session_role() {
                connections.insert(end.links[side(role)]);
                if end.links[side(role.other())].is_some() {
                    return Err(format!("{name}: a second connection is open"));
                }
            }
        }
        if connections.len() > 1 {
            return Err(format!("{}: two sessions: {connections:?}", self.name(first)));
        }
        Ok(())
    }

    fn adj_rib_in_is_right(
        &self,
        to: usize,
        session: &Session,
        family: Family,
        channel: &Channel,
    ) -> Result<(), String> {
        let name = self.name(to);
        let receiver = &self.nodes[self.ends[to].node];
        let sender = self.ends[to ^ 1].peer.session().ok_or("no session at the other end")?;
        if !sender.channels.contains_key(&family) {
            return Err(format!("{name}: {family} is carried by one side only"));
        }
        let mut expected = BTreeMap::new();
        for (prefix, route) in
            self.nodes[self.ends[to ^ 1].node].rib.iter_best_from(Bound::Unbounded)
        {
            let usable = |(attributes, next_hop): &(Attributes, NextHop)| {
                !attributes.as_path.contains(receiver.local.local_as)
                    && !receiver.interface.iter().any(|net| net.addr() == next_hop.address())
            };
            if Family::of(prefix) == family
                && let Some(sent) = self.outgoing(to ^ 1, *prefix, route).filter(usable)
            {
                expected.insert(*prefix, sent);
            }
        }
        let policy = &self.ends[to].config.families[&family].import;
        let prepend = session.negotiated.external.then_some(self.ends[to].config.neighbor_as);
        for ((prefix, _), entry) in channel.adj_in.iter() {
            let sent = expected.remove(prefix);
            let received = (Attributes::clone(&entry.received), entry.next_hop);
            if sent.as_ref() != Some(&received) {
                return Err(format!("{name}: {prefix} is {received:?}, not {sent:?}"));
            }
            let mut accepted = received.0;
            let subject = Subject { prefix: *prefix, source: Source::Bgp, tag: None };
            let verdict = policy.evaluate(&subject, Direction::Import, prepend, &mut accepted);
            let accepted = (verdict == Verdict::Accept).then_some(accepted);
            if entry.accepted.as_deref() != accepted.as_ref() {
                return Err(format!("{name}: {prefix} is imported as {:?}", entry.accepted));
            }
        }
        if let Some(missing) = expected.keys().next() {
            return Err(format!("{name}: {missing} is missing, {} in all", expected.len()));
        }
        if !channel.end_of_rib_received {
            return Err(format!("{name}: no End-of-RIB of {family}"));
        }
        Ok(())
    }

    /// What `from` has to tell its neighbour of a best route (RFC 4271 sections 5.1 and 9.2).
    fn outgoing(&self, from: usize, prefix: IpNet, route: &Route) -> Option<(Attributes, NextHop)> {
        let node = &self.nodes[self.ends[from].node];
        let config = &self.ends[from].config;
        let settings = &config.families[&Family::of(&prefix)];
        let external = config.neighbor_as != node.local.local_as;
        let mut attributes = Attributes::clone(&route.attributes);
        let source = match &route.origin {
            Origin::Local { .. } => Source::Local,
            Origin::Learned(learned) => {
                if *learned.peer == *config.name || !external && !learned.external {
                    return None;
                }
                if external {
                    (attributes.med, attributes.local_pref) = (None, None);
                }
                Source::Bgp
            }
        };
        let subject = Subject { prefix, source, tag: None };
        let prepend = external.then_some(node.local.local_as);
        let verdict =
            settings.export.evaluate(&subject, Direction::Export, prepend, &mut attributes);
        if verdict == Verdict::Reject {
            return None;
        }
        if external {
            attributes.as_path.prepend(node.local.local_as, 1);
            attributes.local_pref = None;
        } else {
            attributes.local_pref = attributes.local_pref.or(Some(100));
        }
        attributes.next_hop = None;
        let own = if prefix.addr().is_ipv4() { node.address } else { IpAddr::V6(node.companion) };
        let kept = route.next_hop.filter(|_| !external);
        Some((attributes, kept.unwrap_or(NextHop::from(own))))
    }

    /// The best route of each prefix is the best of those in the Adj-RIBs-In and our own.
    fn loc_rib_is_right(&self, index: usize) -> Result<(), String> {
        let node = &self.nodes[index];
        let mut candidates: BTreeMap<IpNet, Vec<Route>> = BTreeMap::new();
        for (prefix, route) in &node.own {
            candidates.entry(*prefix).or_default().push(route.clone());
        }
        for end in &node.ends {
            let Some(session) = self.ends[*end].peer.session() else { continue };
            let from = Arc::new(session.learned_from().clone());
            for ((prefix, _), entry) in session.channels.values().flat_map(|c| c.adj_in.iter()) {
                let Some(attributes) = entry.accepted.clone() else { continue };
                candidates.entry(*prefix).or_default().push(Route {
                    origin: Origin::Learned(from.clone()),
                    attributes,
                    next_hop: Some(entry.next_hop),
                    since: entry.since,
                    path_id: 0,
                });
            }
        }
        for (prefix, routes) in &candidates {
            let best = routes.iter().min_by(|a, b| compare(a, b));
            let known = node.rib.best(prefix);
            let row = |route: &Route| {
                (route.peer().map(str::to_owned), route.attributes.clone(), route.next_hop)
            };
            if best.map(row) != known.map(row) {
                return Err(format!("node {index}: {prefix}: {known:?} is best, not {best:?}"));
            }
        }
        let known = node.rib.iter_best_from(Bound::Unbounded).count();
        if known != candidates.len() {
            return Err(format!("node {index}: {known} prefixes, not {}", candidates.len()));
        }
        Ok(())
    }

    /// After all peers were stopped: no timer, no connection, no route of a neighbour.
    pub(crate) fn stopped(&self) {
        for (index, end) in self.ends.iter().enumerate() {
            let name = self.name(index);
            assert_eq!(end.peer.state(), StateName::Idle, "{name} was stopped");
            assert_eq!(end.peer.poll_timeout(), None, "{name}: a stopped peer has a timer");
            assert!(!end.peer.is_running() && end.peer.session().is_none(), "{name}");
            assert_eq!((end.links, end.dialing), ([None, None], None), "{name}");
        }
        let own = |node: &Node| {
            let best = node.rib.iter_best_from(Bound::Unbounded);
            best.map(|(prefix, _)| *prefix).eq(node.own.keys().copied())
        };
        for (index, node) in self.nodes.iter().enumerate() {
            assert!(own(node), "node {index} has routes of stopped neighbours");
        }
    }
}
