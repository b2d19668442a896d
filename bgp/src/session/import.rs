//! Received UPDATEs into the Adj-RIB-In (RFC 4271 section 9, RFC 7606).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::config::{LocalSpeaker, PeerConfig};
use super::established::Session;
use super::event::PeerEvent;
use crate::policy::{Direction, Policy, Source, Subject, Verdict};
use crate::rib::{InEntry, Interner, Origin, Route};
use crate::wire::{Action, Attributes, DecodedUpdate, Family, NextHop};

/// What an import needs beside the session.
pub(super) struct Importer<'a> {
    pub(super) now: Instant,
    pub(super) local: &'a LocalSpeaker,
    pub(super) config: &'a PeerConfig,
    pub(super) events: &'a mut VecDeque<PeerEvent>,
}

impl Session {
    /// Acts on one UPDATE, whose errors have been turned into withdrawals where they had to be.
    pub(super) fn receive(&mut self, decoded: DecodedUpdate, importer: &mut Importer<'_>) {
        let DecodedUpdate { mut update, end_of_rib, errors, action } = decoded;
        for error in errors {
            tracing::debug!(target: "bgp", peer = %self.from.peer, %error, "malformed UPDATE");
        }
        if let Some(family) = end_of_rib {
            if let Some(channel) = self.channels.get_mut(&family) {
                channel.end_of_rib_received = true;
            }
            return;
        }
        let announced: Vec<(IpNet, NextHop)> =
            update.announcements().map(|(nlri, next_hop)| (nlri.prefix, next_hop)).collect();
        let both: HashSet<IpNet> = announced.iter().map(|(prefix, _)| *prefix).collect();
        for prefix in update.withdrawals().map(|nlri| nlri.prefix) {
            // RFC 4271 section 4.3: a prefix in both lists counts as announced.
            if !both.contains(&prefix) {
                self.withdraw(prefix, action == Action::TreatAsWithdraw, importer);
            }
        }
        if announced.is_empty() {
            return;
        }
        update.attributes.next_hop = None;
        let attributes = self.sets.intern(update.attributes);
        let looped = attributes.as_path.contains(importer.local.local_as);
        for (prefix, next_hop) in announced {
            if looped || next_hop.address() == self.local {
                self.withdraw(prefix, true, importer);
            } else {
                self.announce(prefix, &attributes, next_hop, importer);
            }
        }
    }

    /// Removes a route; `refused` if it was announced but is not usable.
    fn withdraw(&mut self, prefix: IpNet, refused: bool, importer: &mut Importer<'_>) {
        let Some(channel) = self.channels.get_mut(&Family::of(&prefix)) else { return };
        let counters = &mut channel.counters;
        let old = channel.adj_in.remove(&prefix);
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
        if old.is_some_and(|old| old.accepted.is_some()) {
            importer.events.push_back(PeerEvent::Unlearned(prefix));
        }
    }

    fn announce(
        &mut self,
        prefix: IpNet,
        attributes: &Arc<Attributes>,
        next_hop: NextHop,
        importer: &mut Importer<'_>,
    ) {
        let family = Family::of(&prefix);
        let Some(channel) = self.channels.get_mut(&family) else { return };
        let Some(config) = importer.config.families.get(&family) else { return };
        let prepend_as = self.from.external.then_some(importer.config.neighbor_as);
        let accepted = import(&config.import, prefix, prepend_as, attributes, &mut self.sets);
        let counters = &mut channel.counters.import_updates;
        counters.received += 1;
        let since = importer.now;
        let entry = InEntry { received: attributes.clone(), next_hop, since, accepted };
        match (channel.adj_in.get(&prefix), &entry.accepted) {
            (Some(old), _) if (InEntry { since, ..old.clone() }) == entry => {
                counters.ignored += 1;
                return;
            }
            (_, None) => counters.filtered += 1,
            (_, Some(_)) => counters.accepted += 1,
        }
        let old = channel.adj_in.insert(prefix, entry.clone());
        importer.events.extend(change(&self.from, prefix, old.as_ref(), &entry));
    }

    /// Applies the import policies anew to everything the neighbour announced.
    pub(super) fn reimport(&mut self, importer: &mut Importer<'_>) {
        let prepend_as = self.from.external.then_some(importer.config.neighbor_as);
        for (family, channel) in &mut self.channels {
            let Some(config) = importer.config.families.get(family) else { continue };
            let entries: Vec<_> =
                channel.adj_in.iter().map(|(prefix, entry)| (*prefix, entry.clone())).collect();
            for (prefix, old) in entries {
                let accepted =
                    import(&config.import, prefix, prepend_as, &old.received, &mut self.sets);
                if accepted != old.accepted {
                    let entry = InEntry { accepted, ..old.clone() };
                    channel.adj_in.insert(prefix, entry.clone());
                    importer.events.extend(change(&self.from, prefix, Some(&old), &entry));
                }
            }
        }
    }
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
    from: &Arc<crate::rib::LearnedFrom>,
    prefix: IpNet,
    old: Option<&InEntry>,
    new: &InEntry,
) -> Option<PeerEvent> {
    match &new.accepted {
        Some(attributes) => {
            let route = Route {
                origin: Origin::Learned(from.clone()),
                attributes: attributes.clone(),
                next_hop: Some(new.next_hop),
                since: new.since,
            };
            Some(PeerEvent::Learned(prefix, route))
        }
        None if old.is_some_and(|old| old.accepted.is_some()) => Some(PeerEvent::Unlearned(prefix)),
        None => None,
    }
}
