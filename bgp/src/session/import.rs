//! Received UPDATEs into the Adj-RIB-In (RFC 4271 section 9, RFC 7606).

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::config::{LimitAction, LocalSpeaker, PeerConfig, PrefixLimit};
use super::established::{Channel, Session};
use super::event::PeerEvent;
use crate::policy::{Direction, Policy, Source, Subject, Verdict};
use crate::rib::{InEntry, Interner, LearnedFrom, Origin, PathKey, Route};
use crate::wire::{Action, AsPath, Attributes, BgpRole, DecodedUpdate, Family, NextHop, Nlri};

/// What an import needs beside the session.
pub(super) struct Importer<'a> {
    pub(super) now: Instant,
    pub(super) local: &'a LocalSpeaker,
    pub(super) config: &'a PeerConfig,
    pub(super) events: &'a mut VecDeque<PeerEvent>,
}

/// A neighbour announced more than it may, and the session has to end for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) family: Family,
    pub(super) max: u32,
    pub(super) action: LimitAction,
}

impl Session {
    /// Acts on one UPDATE, whose errors have been turned into withdrawals where they had to be.
    pub(super) fn receive(
        &mut self,
        decoded: DecodedUpdate,
        importer: &mut Importer<'_>,
    ) -> Option<Breach> {
        let DecodedUpdate { mut update, end_of_rib, errors, action } = decoded;
        for error in errors {
            tracing::debug!(target: "bgp", peer = %self.from.peer, %error, "malformed UPDATE");
        }
        if let Some(family) = end_of_rib {
            if let Some(channel) = self.channels.get_mut(&family) {
                channel.end_of_rib_received = true;
            }
            self.restarted(family, importer);
            return None;
        }
        let announced: Vec<(PathKey, NextHop)> =
            update.announcements().map(|(nlri, next_hop)| (path(nlri), next_hop)).collect();
        let both: HashSet<PathKey> = announced.iter().map(|(path, _)| *path).collect();
        for path in update.withdrawals().map(path) {
            // RFC 4271 section 4.3: a prefix in both lists counts as announced.
            if !both.contains(&path) {
                self.withdraw(path, action == Action::TreatAsWithdraw, importer);
            }
        }
        if announced.is_empty() {
            return None;
        }
        update.attributes.next_hop = None;
        let leak = self.is_leak(&update.attributes, importer.config);
        if self.role(importer.config).is_some_and(comes_from_above) {
            update.attributes.only_to_customer.get_or_insert(importer.config.neighbor_as);
        }
        let attributes = self.sets.intern(update.attributes);
        let usable = !leak && self.usable(&attributes, importer);
        for (path, next_hop) in announced {
            if usable && self.reachable(next_hop, importer.config) {
                let breach = self.announce(path, &attributes, next_hop, importer);
                if breach.is_some() {
                    return breach;
                }
            } else {
                self.withdraw(path, true, importer);
            }
        }
        None
    }

    /// Our role towards an external neighbour (RFC 9234 section 4).
    pub(super) fn role(&self, config: &PeerConfig) -> Option<BgpRole> {
        config.local_role.filter(|_| self.from.external)
    }

    /// Whether the neighbour passes on what was for its customers only (RFC 9234 section 5, ingress).
    fn is_leak(&self, attributes: &Attributes, config: &PeerConfig) -> bool {
        match (self.role(config), attributes.only_to_customer) {
            (Some(BgpRole::Provider | BgpRole::RouteServer), Some(_)) => true,
            (Some(BgpRole::Peer), Some(asn)) => asn != config.neighbor_as,
            _ => false,
        }
    }

    /// Whether routes with these attributes can be used at all: no loop (RFC 4271 section 9.1.2), not
    /// our own reflected to us (RFC 4456 section 8), and from an external neighbour a path that it
    /// stands at the start of (RFC 4271 section 6.3).
    fn usable(&self, attributes: &Attributes, importer: &Importer<'_>) -> bool {
        let config = importer.config;
        let own = occurrences(&attributes.as_path, importer.local.local_as);
        let first = !self.from.external
            || !config.enforce_first_as
            || attributes.as_path.first_as() == Some(config.neighbor_as);
        let reflected = attributes.originator_id == Some(importer.local.router_id);
        first && !reflected && own <= usize::from(config.allow_local_as)
    }

    /// Whether a next hop can be one (RFC 4271 sections 5.1.3 and 6.3): it is not ourselves, and where
    /// the neighbour is on a connected subnet, so is the next hop of its routes.
    fn reachable(&self, next_hop: NextHop, config: &PeerConfig) -> bool {
        let address = next_hop.address();
        let ours = |net: &IpNet| net.addr() == address;
        if address == self.local || self.interface.iter().any(ours) {
            return false;
        }
        let scoped = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        if !self.from.external || config.multihop.is_some() || scoped {
            return true;
        }
        let mut subnets = self
            .interface
            .iter()
            .filter(|net| net.addr().is_ipv4() == address.is_ipv4())
            .peekable();
        // Without an address of that family on the interface there is nothing to compare with.
        subnets.peek().is_none() || subnets.any(|net| net.contains(&address))
    }

    /// Removes a route; `refused` if it was announced but is not usable.
    fn withdraw(&mut self, path: PathKey, refused: bool, importer: &mut Importer<'_>) {
        let Some(channel) = self.channels.get_mut(&Family::of(&path.0)) else { return };
        let old = channel.adj_in.remove(&path);
        let counters = &mut channel.counters;
        if refused {
            counters.import_updates.received += 1;
            counters.import_updates.rejected += 1;
        } else {
            counters.import_withdraws.received += 1;
            match &old {
                Some(_) => counters.import_withdraws.accepted += 1,
                None => counters.import_withdraws.ignored += 1,
            }
        }
        channel.relax(Family::of(&path.0), importer.config);
        if old.is_some_and(|old| old.accepted.is_some()) {
            importer.events.push_back(PeerEvent::Unlearned(path.0, path.1));
        }
    }

    fn announce(
        &mut self,
        path: PathKey,
        attributes: &Arc<Attributes>,
        next_hop: NextHop,
        importer: &mut Importer<'_>,
    ) -> Option<Breach> {
        let family = Family::of(&path.0);
        let channel = self.channels.get_mut(&family)?;
        let config = importer.config.families.get(&family)?;
        let prepend_as = self.from.external.then_some(importer.config.neighbor_as);
        let accepted = import(&config.import, path.0, prepend_as, attributes, &mut self.sets);
        channel.counters.import_updates.received += 1;
        let since = importer.now;
        let entry =
            InEntry { received: attributes.clone(), next_hop, since, accepted, stale: false };
        let old = channel.adj_in.get(&path);
        if old.is_some_and(|old| InEntry { since, stale: false, ..old.clone() } == entry) {
            channel.counters.import_updates.ignored += 1;
            channel.adj_in.confirm(&path);
            return None;
        }
        let one_more = entry.accepted.is_some() && old.is_none_or(|old| old.accepted.is_none());
        let admission = if one_more { channel.admit(family, importer) } else { Admission::Granted };
        let counters = &mut channel.counters.import_updates;
        match (admission, &entry.accepted) {
            (Admission::Ends(breach), _) => return Some(breach),
            (Admission::Blocked, _) => {
                counters.rejected += 1;
                // What stood there before is gone for the neighbour too.
                channel.adj_in.remove(&path);
                return None;
            }
            (Admission::Granted, None) => counters.filtered += 1,
            (Admission::Granted, Some(_)) => counters.accepted += 1,
        }
        let old = channel.adj_in.insert(path, entry.clone());
        importer.events.extend(change(&self.from, path, old.as_ref(), &entry));
        None
    }

    /// Applies the import policies anew to everything the neighbour announced.
    pub(super) fn reimport(&mut self, importer: &mut Importer<'_>) -> Option<Breach> {
        let prepend_as = self.from.external.then_some(importer.config.neighbor_as);
        for (family, channel) in &mut self.channels {
            let Some(config) = importer.config.families.get(family) else { continue };
            let entries: Vec<_> =
                channel.adj_in.iter().map(|(path, entry)| (*path, entry.clone())).collect();
            for (path, old) in entries {
                let accepted =
                    import(&config.import, path.0, prepend_as, &old.received, &mut self.sets);
                if accepted == old.accepted {
                    continue;
                }
                if accepted.is_some() && old.accepted.is_none() {
                    match channel.admit(*family, importer) {
                        Admission::Granted => {}
                        Admission::Blocked => continue,
                        Admission::Ends(breach) => return Some(breach),
                    }
                }
                let entry = InEntry { accepted, ..old.clone() };
                channel.adj_in.insert(path, entry.clone());
                importer.events.extend(change(&self.from, path, Some(&old), &entry));
            }
            channel.relax(*family, importer.config);
        }
        None
    }

    /// The neighbour has announced all of a family anew: what it left out is gone (RFC 7313 section
    /// 4, EoRR).
    pub(super) fn end_refresh(&mut self, family: Family, importer: &mut Importer<'_>) {
        let Some(channel) = self.channels.get(&family) else { return };
        for path in channel.adj_in.stale() {
            self.withdraw(path, false, importer);
        }
    }
}

/// Whether there is room for one more route.
enum Admission {
    Granted,
    Blocked,
    Ends(Breach),
}

impl Channel {
    fn admit(&mut self, family: Family, importer: &Importer<'_>) -> Admission {
        let config = importer.config;
        let limit = config.families.get(&family).and_then(|family| family.import_limit);
        let Some(limit) = limit else { return Admission::Granted };
        if !self.reaches(limit) {
            return Admission::Granted;
        }
        if !std::mem::replace(&mut self.import_limit_hit, true) {
            tracing::warn!(
                target: "bgp", peer = %config.name, %family, max = limit.max, "import limit reached"
            );
        }
        match limit.action {
            LimitAction::Warn => Admission::Granted,
            LimitAction::Block => Admission::Blocked,
            action => Admission::Ends(Breach { family, max: limit.max, action }),
        }
    }

    /// Forgets that the limit was hit once there is room again.
    fn relax(&mut self, family: Family, config: &PeerConfig) {
        let limit = config.families.get(&family).and_then(|family| family.import_limit);
        self.import_limit_hit &= limit.is_some_and(|limit| self.reaches(limit));
    }

    fn reaches(&self, limit: PrefixLimit) -> bool {
        self.adj_in.accepted() >= usize::try_from(limit.max).unwrap_or(usize::MAX)
    }
}

/// Whether routes of the neighbour are for our customers only.
fn comes_from_above(ours: BgpRole) -> bool {
    matches!(ours, BgpRole::Customer | BgpRole::Peer | BgpRole::RouteServerClient)
}

fn path(nlri: Nlri) -> PathKey {
    (nlri.prefix, nlri.path_id.unwrap_or(0))
}

fn occurrences(path: &AsPath, asn: u32) -> usize {
    path.asns().filter(|other| *other == asn).count()
}

fn import(
    policy: &Policy,
    prefix: IpNet,
    prepend_as: Option<u32>,
    received: &Attributes,
    sets: &mut Interner<Attributes>,
) -> Option<Arc<Attributes>> {
    let subject = Subject { prefix, source: Source::Bgp, tag: None };
    let mut attributes = received.clone();
    let verdict = policy.evaluate(&subject, Direction::Import, prepend_as, &mut attributes);
    (verdict == Verdict::Accept).then(|| sets.intern(attributes))
}

/// What the Loc-RIB has to be told.
fn change(
    from: &Arc<LearnedFrom>,
    path: PathKey,
    old: Option<&InEntry>,
    new: &InEntry,
) -> Option<PeerEvent> {
    let (prefix, path_id) = path;
    match &new.accepted {
        Some(attributes) => {
            let route = Route {
                origin: Origin::Learned(from.clone()),
                attributes: attributes.clone(),
                next_hop: Some(new.next_hop),
                path_id,
                since: new.since,
            };
            Some(PeerEvent::Learned(prefix, route))
        }
        None if old.is_some_and(|old| old.accepted.is_some()) => {
            Some(PeerEvent::Unlearned(prefix, path_id))
        }
        None => None,
    }
}
