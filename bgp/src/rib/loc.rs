//! Loc-RIB: our own routes and the accepted ones of all neighbours, the best of each prefix first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::decision;
use crate::policy::Changes;
use crate::wire::{Attributes, NextHop};

/// A route in the Loc-RIB.
#[derive(Debug, Clone)]
pub struct Route {
    /// Where it comes from.
    pub origin: Origin,
    /// Its attributes, after the import policy.
    pub attributes: Arc<Attributes>,
    /// Where packets go; none for our own.
    pub next_hop: Option<NextHop>,
    /// Which of several paths of one neighbour to the prefix (RFC 7911), else 0.
    pub path_id: u32,
    /// When it was announced or learned.
    pub since: Instant,
}

/// Where a route comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Announced by this speaker's owner.
    Local {
        /// The owner's label for policies.
        tag: Option<Arc<str>>,
        /// What is changed after the export policy has accepted it.
        last: Option<Arc<Changes>>,
    },
    /// Learned from a neighbour.
    Learned(Arc<LearnedFrom>),
}

/// The neighbour a route was learned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedFrom {
    /// Its name in this speaker.
    pub peer: Arc<str>,
    /// Its address.
    pub address: IpAddr,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// It belongs to another AS.
    pub external: bool,
}

impl Origin {
    /// A route of our own with nothing said about it.
    #[must_use]
    pub const fn local() -> Self {
        Self::Local { tag: None, last: None }
    }
}

impl Route {
    /// The name of the neighbour it was learned from; `None` for our own.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        match &self.origin {
            Origin::Local { .. } => None,
            Origin::Learned(from) => Some(&from.peer),
        }
    }

    /// Whether it is the path `path_id` of this source.
    fn is(&self, peer: Option<&str>, path_id: u32) -> bool {
        self.peer() == peer && self.path_id == path_id
    }
}

/// The Loc-RIB.
#[derive(Debug, Default)]
pub struct LocRib {
    table: BTreeMap<IpNet, Vec<Route>>,
    /// Prefixes of our own routes: few, and wanted without a walk through all.
    local: BTreeSet<IpNet>,
}

impl LocRib {
    /// Adds a route, in place of the one from the same source. True if the best route of the prefix
    /// is another one now.
    pub fn insert(&mut self, prefix: IpNet, route: Route) -> bool {
        if route.peer().is_none() {
            self.local.insert(prefix);
        }
        let routes = self.table.entry(prefix).or_default();
        let same = |known: &Route| known.is(route.peer(), route.path_id);
        let was_best = routes.first().is_some_and(same);
        routes.retain(|known| !same(known));
        let at = routes.partition_point(|known| decision::compare(known, &route).is_le());
        routes.insert(at, route);
        at == 0 || was_best
    }

    /// Removes one path of one source: a neighbour's name, or `None` for our own. True if the best
    /// route of the prefix is another one now.
    pub fn remove(&mut self, prefix: &IpNet, peer: Option<&str>, path_id: u32) -> bool {
        if peer.is_none() {
            self.local.remove(prefix);
        }
        self.remove_if(prefix, |route| route.is(peer, path_id))
    }

    fn remove_if(&mut self, prefix: &IpNet, gone: impl Fn(&Route) -> bool) -> bool {
        let Some(routes) = self.table.get_mut(prefix) else { return false };
        let was_best = routes.first().is_some_and(&gone);
        routes.retain(|route| !gone(route));
        if routes.is_empty() {
            self.table.remove(prefix);
        }
        was_best
    }

    /// Removes what was learned from one neighbour, looking at `limit` prefixes beyond `from`.
    /// Returns those whose best route is another one now, and where to go on, if there is more.
    pub fn remove_peer(
        &mut self,
        peer: &str,
        from: Bound<IpNet>,
        limit: usize,
    ) -> (Vec<IpNet>, Option<IpNet>) {
        let range = self.table.range((from, Bound::Unbounded)).take(limit.max(1));
        let looked_at: Vec<IpNet> = range.map(|(prefix, _)| *prefix).collect();
        let next = looked_at.last().copied().filter(|_| looked_at.len() == limit.max(1));
        let changed = looked_at
            .into_iter()
            .filter(|prefix| self.remove_if(prefix, |route| route.peer() == Some(peer)));
        let changed = changed.collect();
        (changed, next)
    }

    /// The best route to `prefix`.
    #[must_use]
    pub fn best(&self, prefix: &IpNet) -> Option<&Route> {
        self.table.get(prefix)?.first()
    }

    /// Our own route to `prefix`.
    #[must_use]
    pub fn local(&self, prefix: &IpNet) -> Option<&Route> {
        self.table.get(prefix)?.iter().find(|route| route.peer().is_none())
    }

    /// The best route of every prefix beyond a bound, in the order of prefixes.
    pub fn iter_best_from(&self, from: Bound<IpNet>) -> impl Iterator<Item = (&IpNet, &Route)> {
        let rest = self.table.range((from, Bound::Unbounded));
        rest.filter_map(|(prefix, routes)| Some((prefix, routes.first()?)))
    }

    /// Our own routes.
    pub fn iter_local(&self) -> impl Iterator<Item = (&IpNet, &Route)> {
        self.local.iter().filter_map(|prefix| Some((prefix, self.local(prefix)?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn learned(peer: &str, med: u32) -> Route {
        let from = LearnedFrom {
            peer: peer.into(),
            address: "192.0.2.1".parse().unwrap(),
            router_id: Ipv4Addr::new(192, 0, 2, 1),
            external: true,
        };
        Route {
            origin: Origin::Learned(Arc::new(from)),
            attributes: Arc::new(Attributes { med: Some(med), ..Attributes::default() }),
            next_hop: None,
            path_id: 0,
            since: Instant::now(),
        }
    }

    #[test]
    fn best_follows_inserts_and_removals() {
        let prefix = net("198.51.100.0/24");
        let mut rib = LocRib::default();
        assert!(rib.insert(prefix, learned("a", 10)));
        assert!(!rib.insert(prefix, learned("b", 20)), "worse: the best one stays");
        assert!(rib.insert(prefix, learned("b", 5)), "better now");
        assert_eq!(rib.best(&prefix).unwrap().peer(), Some("b"));
        assert!(rib.insert(prefix, learned("b", 30)), "the best one got worse");
        assert_eq!(rib.best(&prefix).unwrap().peer(), Some("a"));
        assert!(!rib.remove(&prefix, Some("b"), 0));
        assert!(!rib.remove(&prefix, Some("b"), 0));
        assert!(rib.remove(&prefix, Some("a"), 0));
        assert!(rib.best(&prefix).is_none());
    }

    #[test]
    fn our_own_route_wins_and_survives_its_rivals_peer() {
        let prefix = net("198.51.100.0/24");
        let mut rib = LocRib::default();
        rib.insert(prefix, learned("a", 0));
        rib.insert(net("203.0.113.0/24"), learned("a", 0));
        let own = Route { origin: Origin::local(), ..learned("x", 50) };
        assert!(rib.insert(prefix, own));
        let (changed, next) = rib.remove_peer("a", Bound::Unbounded, 1);
        assert_eq!((changed, next), (vec![], Some(prefix)));
        let (changed, next) = rib.remove_peer("a", Bound::Excluded(prefix), 9);
        assert_eq!((changed, next), (vec![net("203.0.113.0/24")], None));
        assert!(rib.best(&prefix).unwrap().peer().is_none());
        assert_eq!(rib.iter_best_from(Bound::Unbounded).count(), 1);
        assert_eq!(rib.iter_local().count(), 1);
    }

    #[test]
    fn several_paths_of_one_neighbour() {
        let prefix = net("198.51.100.0/24");
        let mut rib = LocRib::default();
        let path = |path_id, med| Route { path_id, ..learned("a", med) };
        assert!(rib.insert(prefix, path(1, 20)));
        assert!(rib.insert(prefix, path(2, 10)));
        assert!(!rib.insert(prefix, path(3, 30)));
        assert_eq!(rib.best(&prefix).unwrap().path_id, 2);
        assert!(rib.remove(&prefix, Some("a"), 2));
        assert_eq!(rib.best(&prefix).unwrap().path_id, 1);
        let (changed, _) = rib.remove_peer("a", Bound::Unbounded, 9);
        assert_eq!(changed, [prefix]);
        assert!(rib.best(&prefix).is_none());
    }

    proptest! {
        /// The best route is the best of those there are, in whatever order they came and went.
        #[test]
        fn best_is_the_minimum(steps in prop::collection::vec((0..5u8, prop::option::of(0..4u32)), 0..40)) {
            let prefix = net("198.51.100.0/24");
            let mut rib = LocRib::default();
            let mut model: BTreeMap<String, u32> = BTreeMap::new();
            let mut last = None;
            for (peer, med) in steps {
                let peer = format!("p{peer}");
                let changed = match med {
                    Some(med) => {
                        model.insert(peer.clone(), med);
                        rib.insert(prefix, learned(&peer, med))
                    }
                    None => {
                        model.remove(&peer);
                        rib.remove(&prefix, Some(&peer), 0)
                    }
                };
                let expected = model.iter().map(|(peer, med)| (*med, peer.clone())).min();
                let best = rib.best(&prefix);
                let best = best.map(|route| {
                    (route.attributes.med.unwrap(), route.peer().unwrap().to_owned())
                });
                prop_assert_eq!(&best, &expected);
                prop_assert!(changed || best == last, "a change that nobody is told of");
                last = best;
            }
        }
    }
}
