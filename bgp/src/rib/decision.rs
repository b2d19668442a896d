//! The decision process (RFC 4271 section 9.1) over routes that are all usable.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr};

use super::loc::{Origin, Route};

/// LOCAL_PREF of a route that carries none.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// Orders routes to one prefix, the better one first. A total order, so that the result does not
/// depend on when the routes came: MED is compared between any neighbours ("always compare MED"),
/// since comparing it only within a neighbouring AS is not transitive (RFC 4271 section 9.1.2.2 c).
#[must_use]
pub fn compare(a: &Route, b: &Route) -> Ordering {
    let (a, b) = (Rank::of(a), Rank::of(b));
    a.cmp(&b)
}

/// The steps of the decision process in order; smaller is better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    learned: bool,
    unpreferred: u32,
    path_length: usize,
    origin: crate::wire::Origin,
    med: u32,
    internal: bool,
    router_id: Ipv4Addr,
    /// RFC 4456 section 9: a reflected route counts as its originator's, the fewer reflectors the
    /// better.
    reflections: usize,
    address: Option<IpAddr>,
    name: Option<&'a str>,
    path_id: u32,
}

impl<'a> Rank<'a> {
    fn of(route: &'a Route) -> Self {
        let attributes = &route.attributes;
        let from = match &route.origin {
            Origin::Local { .. } => None,
            Origin::Learned(from) => Some(from),
        };
        Self {
            learned: from.is_some(),
            unpreferred: u32::MAX - attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            path_length: attributes.as_path.path_length(),
            origin: attributes.origin,
            med: attributes.med.unwrap_or(0),
            internal: from.is_some_and(|from| !from.external),
            router_id: attributes
                .originator_id
                .or(from.map(|from| from.router_id))
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
            reflections: attributes.cluster_list.len(),
            address: from.map(|from| from.address),
            name: from.map(|from| &*from.peer),
            path_id: route.path_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::rib::LearnedFrom;
    use crate::wire::{AsPath, Attributes, Origin as WireOrigin};

    fn from(last: u8, external: bool) -> LearnedFrom {
        LearnedFrom {
            peer: format!("p{last}").into(),
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            router_id: Ipv4Addr::new(10, 0, 0, last),
            external,
        }
    }

    fn route(from: LearnedFrom, attributes: Attributes) -> Route {
        Route {
            origin: Origin::Learned(Arc::new(from)),
            attributes: Arc::new(attributes),
            next_hop: None,
            path_id: 0,
            since: Instant::now(),
        }
    }

    /// Each route loses to the one before it by exactly one step.
    #[test]
    fn steps_in_order() {
        let base = || Attributes { as_path: AsPath::sequence([1]), ..Attributes::default() };
        let reflected = |originator: u8| Attributes {
            originator_id: Some(Ipv4Addr::new(10, 0, 0, originator)),
            ..base()
        };
        let clusters = |count| vec![Ipv4Addr::new(10, 0, 0, 200); count];
        let ranked = [
            Route { origin: Origin::local(), ..route(from(9, true), base()) },
            route(from(9, false), Attributes { local_pref: Some(101), ..base() }),
            route(from(1, true), base()),
            route(from(2, true), base()),
            route(from(1, false), base()),
            // Reflected: from 2 and by one reflector, by another neighbour, by two, from 3.
            route(from(1, false), Attributes { cluster_list: clusters(1), ..reflected(2) }),
            route(from(9, false), Attributes { cluster_list: clusters(1), ..reflected(2) }),
            route(from(1, false), Attributes { cluster_list: clusters(2), ..reflected(2) }),
            route(from(1, false), Attributes { cluster_list: clusters(1), ..reflected(3) }),
            route(from(1, true), Attributes { med: Some(1), ..base() }),
            route(from(1, true), Attributes { origin: WireOrigin::Egp, ..base() }),
            route(from(1, true), Attributes { as_path: AsPath::sequence([1, 1]), ..base() }),
            route(from(1, true), Attributes { local_pref: Some(99), ..base() }),
        ];
        for (index, better) in ranked.iter().enumerate() {
            for worse in &ranked[index + 1..] {
                assert_eq!(compare(better, worse), Ordering::Less, "{better:?} {worse:?}");
                assert_eq!(compare(worse, better), Ordering::Greater);
            }
            assert_eq!(compare(better, better), Ordering::Equal);
        }
    }
}
