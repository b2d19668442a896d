//! Adj-RIB-Out: what one neighbour is to know in one family.
//!
//! This is state, not a queue: each prefix has the set the neighbour should hold and the set it was
//! last sent, and only the difference is pending. However long a neighbour does not read, what waits
//! for it is bounded by the number of prefixes, and what it gets in the end is the newest. Pending
//! announcements lie in buckets by attribute set, so that prefixes with equal attributes share
//! UPDATEs. Withdrawals always go first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ipnet::IpNet;

use super::attrs::Interner;
use crate::wire::{Attributes, NextHop};

/// What is sent with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutSet {
    /// Attributes, ready to encode.
    pub attributes: Attributes,
    /// Next hop.
    pub next_hop: NextHop,
}

/// The next thing to put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// Withdraw these.
    Withdraw(Vec<IpNet>),
    /// Announce these, all with one set.
    Announce(Arc<OutSet>, Vec<IpNet>),
    /// The End-of-RIB marker (RFC 4724 section 2).
    EndOfRib,
    /// The demarcation before a refresh (RFC 7313 section 4).
    BeginRefresh,
    /// The demarcation after it.
    EndRefresh,
}

/// The Adj-RIB-Out of one family.
#[derive(Debug, Default)]
pub struct AdjRibOut {
    sets: Interner<OutSet>,
    entries: BTreeMap<IpNet, Entry>,
    withdrawals: BTreeSet<IpNet>,
    buckets: HashMap<Arc<OutSet>, Bucket>,
    /// Sets with a bucket, by its turn.
    turns: BTreeMap<u64, Arc<OutSet>>,
    next_turn: u64,
    end_of_rib: Mark,
    refresh: Mark,
    announced: usize,
}

/// How far a marker has got that has to follow everything that is pending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mark {
    #[default]
    None,
    /// Of a refresh: its beginning has to be marked first.
    Asked,
    Due,
    Sent,
}

/// Prefixes that wait to be announced with one set.
#[derive(Debug, Default)]
struct Bucket {
    turn: u64,
    prefixes: BTreeSet<IpNet>,
}

/// At least one of the two is there.
#[derive(Debug, Default)]
struct Entry {
    wanted: Option<Arc<OutSet>>,
    sent: Option<Arc<OutSet>>,
    /// A refresh has to send it even if the neighbour has it already.
    again: bool,
}

impl AdjRibOut {
    /// Says what the neighbour is to know about `prefix` from now on: `None` for nothing. True if
    /// that is something new.
    pub fn set(&mut self, prefix: IpNet, wanted: Option<OutSet>) -> bool {
        let wanted = wanted.map(|set| self.sets.intern(set));
        let entry = self.entries.entry(prefix).or_default();
        if entry.wanted == wanted {
            if entry.wanted.is_none() && entry.sent.is_none() {
                self.entries.remove(&prefix);
            }
            return false;
        }
        let old = std::mem::replace(&mut entry.wanted, wanted.clone());
        let sent = entry.sent.clone().filter(|_| !entry.again || wanted.is_none());
        self.announced += usize::from(wanted.is_some());
        self.announced -= usize::from(old.is_some());
        if let Some(old) = old {
            self.leave_bucket(&old, &prefix);
        }
        self.withdrawals.remove(&prefix);
        match (wanted, sent) {
            (None, None) => {
                self.entries.remove(&prefix);
            }
            (None, Some(_)) => {
                self.withdrawals.insert(prefix);
            }
            (Some(wanted), sent) if sent.as_ref() != Some(&wanted) => {
                self.enter_bucket(wanted, prefix);
            }
            (Some(_), _) => {}
        }
        true
    }

    /// Sends everything again between two marks, which is not begun before the first End-of-RIB marker
    /// is sent (ROUTE-REFRESH, RFC 7313 section 4).
    pub fn marked_refresh(&mut self) {
        self.refresh = Mark::Asked;
    }

    /// Sends everything again (ROUTE-REFRESH, RFC 2918).
    pub fn refresh(&mut self) {
        let all: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(prefix, entry)| Some((*prefix, entry.wanted.clone()?)))
            .collect();
        for (prefix, set) in all {
            if let Some(entry) = self.entries.get_mut(&prefix) {
                entry.again = true;
            }
            self.enter_bucket(set, prefix);
        }
    }

    /// Asks for an End-of-RIB marker after everything that is pending now or becomes so before.
    pub fn end_of_rib(&mut self) {
        self.end_of_rib = Mark::Due;
    }

    /// The next thing to send, with at most `max` prefixes (at least one); it counts as sent.
    pub fn next(&mut self, max: usize) -> Option<Batch> {
        self.next_withdrawal(max).or_else(|| {
            if self.refresh == Mark::Asked && self.end_of_rib == Mark::Sent {
                self.refresh = Mark::Due;
                self.refresh();
                return Some(Batch::BeginRefresh);
            }
            let Some(set) = self.turns.values().next().cloned() else {
                return self.next_mark();
            };
            let bucket = self.buckets.get(&set)?;
            let prefixes: Vec<IpNet> = bucket.prefixes.iter().take(max.max(1)).copied().collect();
            for prefix in &prefixes {
                self.leave_bucket(&set, prefix);
                if let Some(entry) = self.entries.get_mut(prefix) {
                    entry.sent = Some(set.clone());
                    entry.again = false;
                }
            }
            Some(Batch::Announce(set, prefixes))
        })
    }

    fn next_mark(&mut self) -> Option<Batch> {
        let marks =
            [(&mut self.end_of_rib, Batch::EndOfRib), (&mut self.refresh, Batch::EndRefresh)];
        let (mark, batch) = marks.into_iter().find(|(mark, _)| **mark == Mark::Due)?;
        *mark = Mark::Sent;
        Some(batch)
    }

    /// As [`next`](Self::next), withdrawals only.
    pub fn next_withdrawal(&mut self, max: usize) -> Option<Batch> {
        let prefixes: Vec<IpNet> = self.withdrawals.iter().take(max.max(1)).copied().collect();
        for prefix in &prefixes {
            self.withdrawals.remove(prefix);
            self.entries.remove(prefix);
        }
        (!prefixes.is_empty()).then_some(Batch::Withdraw(prefixes))
    }

    /// Takes back routes that could not be encoded: the neighbour must not hold an older form.
    pub fn unsendable(&mut self, prefixes: &[IpNet]) {
        for prefix in prefixes {
            self.set(*prefix, None);
        }
    }

    /// Whether a withdrawal waits to be sent.
    #[must_use]
    pub fn withdrawals_pending(&self) -> bool {
        !self.withdrawals.is_empty()
    }

    /// How many prefixes the neighbour is to know.
    #[must_use]
    pub fn len(&self) -> usize {
        self.announced
    }

    /// True if the neighbour is to know nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.announced == 0
    }

    /// The prefixes the neighbour is to know.
    pub fn prefixes(&self) -> impl Iterator<Item = &IpNet> {
        self.entries.iter().filter(|(_, entry)| entry.wanted.is_some()).map(|(prefix, _)| prefix)
    }

    fn enter_bucket(&mut self, set: Arc<OutSet>, prefix: IpNet) {
        let bucket = self.buckets.entry(set.clone()).or_default();
        if bucket.prefixes.is_empty() {
            bucket.turn = self.next_turn;
            self.turns.insert(self.next_turn, set);
            self.next_turn += 1;
        }
        bucket.prefixes.insert(prefix);
    }

    fn leave_bucket(&mut self, set: &Arc<OutSet>, prefix: &IpNet) {
        let Some(bucket) = self.buckets.get_mut(set) else { return };
        bucket.prefixes.remove(prefix);
        if bucket.prefixes.is_empty() {
            self.turns.remove(&bucket.turn);
            self.buckets.remove(set);
        }
    }
}

#[cfg(test)]
mod tests;
