//! Adj-RIB-In: what one neighbour announced in one family, before and after the import policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use crate::wire::{Attributes, NextHop};

/// A path to a prefix: the prefix, and the neighbour's identifier of the path (RFC 7911), 0 where it
/// announces one path a prefix.
pub type PathKey = (IpNet, u32);

/// One route of a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InEntry {
    /// Attributes as received.
    pub received: Arc<Attributes>,
    /// Next hop as received.
    pub next_hop: NextHop,
    /// When it was received in this form.
    pub since: Instant,
    /// Attributes after the import policy; `None` if that refused the route.
    pub accepted: Option<Arc<Attributes>>,
    /// Not announced again since the neighbour began to announce everything anew (RFC 7313), or to
    /// restart (RFC 4724 section 4.2).
    pub stale: bool,
}

/// The Adj-RIB-In of one family.
#[derive(Debug, Default)]
pub struct AdjRibIn {
    routes: BTreeMap<PathKey, InEntry>,
    accepted: usize,
}

impl AdjRibIn {
    /// The route by a path.
    #[must_use]
    pub fn get(&self, path: &PathKey) -> Option<&InEntry> {
        self.routes.get(path)
    }

    /// Adds a route in place of the one there was, which is returned.
    pub fn insert(&mut self, path: PathKey, entry: InEntry) -> Option<InEntry> {
        self.accepted += usize::from(entry.accepted.is_some());
        let old = self.routes.insert(path, entry);
        self.forget(old)
    }

    /// Removes and returns a route.
    pub fn remove(&mut self, path: &PathKey) -> Option<InEntry> {
        let old = self.routes.remove(path);
        self.forget(old)
    }

    fn forget(&mut self, old: Option<InEntry>) -> Option<InEntry> {
        self.accepted -= usize::from(old.as_ref().is_some_and(|old| old.accepted.is_some()));
        old
    }

    /// Notes that a route was announced again as it is.
    pub fn confirm(&mut self, path: &PathKey) {
        if let Some(entry) = self.routes.get_mut(path) {
            entry.stale = false;
        }
    }

    /// All routes have to be announced again, or [`stale`](Self::stale) lists them.
    pub fn begin_refresh(&mut self) {
        self.routes.values_mut().for_each(|entry| entry.stale = true);
    }

    /// What was not announced again since [`begin_refresh`](Self::begin_refresh).
    #[must_use]
    pub fn stale(&self) -> Vec<PathKey> {
        self.routes.iter().filter(|(_, entry)| entry.stale).map(|(path, _)| *path).collect()
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = (&PathKey, &InEntry)> {
        self.routes.iter()
    }

    /// True if there is no route, accepted or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// How many routes the import policy accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    /// How many routes the import policy refused.
    #[must_use]
    pub fn filtered(&self) -> usize {
        self.routes.len() - self.accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(accepted: bool) -> InEntry {
        let received = Arc::new(Attributes::default());
        InEntry {
            accepted: accepted.then(|| received.clone()),
            received,
            next_hop: NextHop::Ipv4([192, 0, 2, 1].into()),
            since: Instant::now(),
            stale: false,
        }
    }

    #[test]
    fn accepted_and_filtered_are_counted() {
        let mut rib = AdjRibIn::default();
        let path = ("198.51.100.0/24".parse().unwrap(), 0);
        assert_eq!(rib.insert(path, entry(true)), None);
        assert_eq!((rib.accepted(), rib.filtered()), (1, 0));
        rib.insert((path.0, 1), entry(true));
        assert_eq!((rib.accepted(), rib.filtered()), (2, 0), "two paths to one prefix");
        rib.remove(&(path.0, 1));
        rib.insert(path, entry(false));
        assert_eq!((rib.accepted(), rib.filtered()), (0, 1));
        rib.insert(path, entry(true));
        assert!(rib.remove(&path).is_some() && rib.remove(&path).is_none());
        assert_eq!((rib.accepted(), rib.filtered()), (0, 0));
    }

    #[test]
    fn a_refresh_finds_what_was_not_announced_again() {
        let mut rib = AdjRibIn::default();
        let path = |last: u8| (format!("198.51.100.{last}/32").parse().unwrap(), 0);
        for last in 1..=3 {
            rib.insert(path(last), entry(true));
        }
        assert!(rib.stale().is_empty());
        rib.begin_refresh();
        rib.confirm(&path(1));
        rib.insert(path(2), entry(false));
        assert_eq!(rib.stale(), [path(3)]);
    }
}
