//! Adj-RIB-In: what one neighbour announced in one family, before and after the import policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use crate::wire::{Attributes, NextHop};

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
}

/// The Adj-RIB-In of one family.
#[derive(Debug, Default)]
pub struct AdjRibIn {
    routes: BTreeMap<IpNet, InEntry>,
    accepted: usize,
}

impl AdjRibIn {
    /// The route to `prefix`.
    #[must_use]
    pub fn get(&self, prefix: &IpNet) -> Option<&InEntry> {
        self.routes.get(prefix)
    }

    /// Adds a route in place of the one there was, which is returned.
    pub fn insert(&mut self, prefix: IpNet, entry: InEntry) -> Option<InEntry> {
        self.accepted += usize::from(entry.accepted.is_some());
        let old = self.routes.insert(prefix, entry);
        self.forget(old)
    }

    /// Removes and returns a route.
    pub fn remove(&mut self, prefix: &IpNet) -> Option<InEntry> {
        let old = self.routes.remove(prefix);
        self.forget(old)
    }

    fn forget(&mut self, old: Option<InEntry>) -> Option<InEntry> {
        self.accepted -= usize::from(old.as_ref().is_some_and(|old| old.accepted.is_some()));
        old
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &InEntry)> {
        self.routes.iter()
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

    #[test]
    fn counts_follow_the_routes() {
        let prefix: IpNet = "192.0.2.0/24".parse().unwrap();
        let attributes = Arc::new(Attributes::default());
        let entry = |accepted: bool| InEntry {
            received: attributes.clone(),
            next_hop: NextHop::Ipv4([192, 0, 2, 1].into()),
            since: Instant::now(),
            accepted: accepted.then(|| attributes.clone()),
        };
        let mut rib = AdjRibIn::default();
        rib.insert(prefix, entry(true));
        assert_eq!((rib.accepted(), rib.filtered()), (1, 0));
        rib.insert(prefix, entry(false));
        assert_eq!((rib.accepted(), rib.filtered()), (0, 1));
        rib.insert(prefix, entry(true));
        assert!(rib.remove(&prefix).is_some() && rib.remove(&prefix).is_none());
        assert_eq!((rib.accepted(), rib.filtered()), (0, 0));
    }
}
