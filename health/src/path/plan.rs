//! Which rules and routes the wanted paths need. Pure: the same input gives the same plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::host::{Host, NextHop};
use super::ids::Ids;
use super::tree::{self, Rule, Space};
use super::{Pair, PathState};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// What tells two routes of ours apart: only one can be in a table for a destination. `None` is
/// the default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RouteKey {
    pub(super) family: Family,
    pub(super) table: u32,
    pub(super) destination: Option<IpAddr>,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RouteTarget {
    /// Nowhere: a probe whose route is missing must fail and not take the host's default route.
    Unreachable,
    /// To a backend.
    Via { gateway: IpAddr, interface: u32, source: Option<IpAddr> },
    /// The rp_filter helper: says by which interfaces packets from the VIP may come in.
    Link(BTreeSet<u32>),
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.destination {
            Some(ip) => write!(f, "route {ip}")?,
            None => write!(f, "route default")?,
        }
        write!(f, " in table {}", self.table)
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => write!(f, "unreachable"),
            Self::Via { gateway, interface, .. } => {
                write!(f, "via {gateway} interface {interface}")
            }
            Self::Link(interfaces) => write!(f, "interfaces {interfaces:?}"),
        }
    }
}

/// Rules and routes of ours, wanted or found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) rules: BTreeSet<(Family, Rule)>,
    pub(super) routes: BTreeMap<RouteKey, RouteTarget>,
}

/// The plan for these pairs as far as the host allows, and for each pair the mark that leads to its
/// backend or why there is none. `filtered` tells whether an interface's rp_filter is on.
pub(super) fn build(
    space: Space,
    ids: &Ids,
    host: &Host,
    pairs: &BTreeSet<Pair>,
    filtered: impl Fn(&str) -> bool,
) -> (Plan, BTreeMap<Pair, PathState>) {
    let mut plan = Plan::default();
    let mut states = BTreeMap::new();
    let mut helper = Helper::default();
    for pair in pairs {
        let Some(id) = ids.get(pair.backend) else { continue };
        let state = match host.next_hop(pair.vip, pair.backend) {
            Ok(hop) if !hop.up => Err(format!("interface {} is down", hop.name)),
            Ok(hop) => {
                helper.add(pair.vip, &hop);
                plan.routes.insert(
                    RouteKey {
                        family: Family::of(pair.vip),
                        table: space.table(id),
                        destination: Some(pair.vip),
                    },
                    RouteTarget::Via {
                        gateway: pair.backend,
                        interface: hop.interface,
                        source: hop.source,
                    },
                );
                Ok(space.mark(id))
            }
            Err(error) => Err(error.to_string()),
        };
        states.insert(*pair, state);
    }
    let helper = helper.routes(filtered);
    add_rules(&mut plan, space, ids, !helper.is_empty());
    for (vip, interfaces) in helper {
        let key =
            RouteKey { family: Family::V4, table: space.helper_table(), destination: Some(vip) };
        plan.routes.insert(key, RouteTarget::Link(interfaces));
    }
    (plan, states)
}

/// The tree of each family, and the end of each table.
fn add_rules(plan: &mut Plan, space: Space, ids: &Ids, helper: bool) {
    for family in Family::BOTH {
        let ours: Vec<u16> =
            ids.iter().filter(|(ip, _)| Family::of(*ip) == family).map(|(_, id)| id).collect();
        for &id in &ours {
            let key = RouteKey { family, table: space.table(id), destination: None };
            plan.routes.insert(key, RouteTarget::Unreachable);
        }
        let helper = helper && family == Family::V4;
        let rules = tree::rules(space, ours, helper);
        plan.rules.extend(rules.into_iter().map(|rule| (family, rule)));
    }
}

/// With rp_filter on, the kernel drops a reply from the VIP unless it has a unicast route to the
/// VIP (by the interface the reply came in, if strict). IPv6 has no such filter.
#[derive(Default)]
struct Helper {
    interfaces: BTreeMap<u32, String>,
    routes: BTreeMap<IpAddr, BTreeSet<u32>>,
}

impl Helper {
    fn add(&mut self, vip: IpAddr, hop: &NextHop) {
        if vip.is_ipv4() {
            self.interfaces.entry(hop.interface).or_insert_with(|| hop.name.clone());
            self.routes.entry(vip).or_default().insert(hop.interface);
        }
    }

    /// None where no interface has the filter. Each is asked about once: it takes as long as the
    /// plan of several backends.
    fn routes(self, filtered: impl Fn(&str) -> bool) -> BTreeMap<IpAddr, BTreeSet<u32>> {
        let needed = self.interfaces.values().any(|name| filtered(name));
        if needed { self.routes } else { BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::host::tests::host;

    const SPACE: Space = Space { mark_mask: 0xffff, table_base: 1000, rule_priority: 100 };

    fn pairs(text: &[&str]) -> BTreeSet<Pair> {
        text.iter()
            .map(|pair| {
                let (vip, backend) = pair.split_once(' ').unwrap();
                Pair { vip: vip.parse().unwrap(), backend: backend.parse().unwrap() }
            })
            .collect()
    }

    fn plan(host: &Host, text: &[&str], filtered: bool) -> (Plan, Vec<PathState>) {
        let pairs = pairs(text);
        let backends = pairs.iter().map(|pair| pair.backend).collect();
        let ids = Ids::default().updated(&backends).unwrap();
        let (plan, states) = build(SPACE, &ids, host, &pairs, |_| filtered);
        (plan, states.into_values().collect())
    }

    fn routes(plan: &Plan) -> Vec<String> {
        plan.routes.iter().map(|(key, target)| format!("{key}: {target}")).collect()
    }

    #[test]
    fn a_table_per_backend_with_all_of_its_vips() {
        let host = host(&["2 e0 up 10.0.0.1/24", "3 e1 up 10.1.0.1/24"]);
        let wanted = ["192.0.2.1 10.0.0.9", "192.0.2.2 10.0.0.9", "192.0.2.1 10.1.0.9"];
        let (plan, states) = plan(&host, &wanted, false);
        assert_eq!(
            routes(&plan),
            [
                "route default in table 1001: unreachable",
                "route 192.0.2.1 in table 1001: via 10.0.0.9 interface 2",
                "route 192.0.2.2 in table 1001: via 10.0.0.9 interface 2",
                "route default in table 1002: unreachable",
                "route 192.0.2.1 in table 1002: via 10.1.0.9 interface 3",
            ]
        );
        assert_eq!(states, [Ok(1), Ok(2), Ok(1)]);
        assert!(plan.rules.iter().all(|(family, _)| *family == Family::V4));
    }

    #[test]
    fn ipv6_has_tables_and_a_tree_of_its_own_and_no_helper() {
        let host = host(&[
            "2 e0 up 10.0.0.1/24",
            "2 e0 up 2001:db8:1::1/64",
            "3 e0.7 up 2001:db8:7::1/64",
        ]);
        let wanted = [
            "192.0.2.1 10.0.0.9",
            "2001:db8::1 2001:db8:1::9",
            "2001:db8::2 2001:db8:1::9",
            "2001:db8::1 2001:db8:7::9",
        ];
        let (plan, states) = plan(&host, &wanted, true);
        let v6: Vec<_> = routes(&plan).into_iter().skip_while(|r| !r.contains("1002")).collect();
        assert_eq!(
            v6,
            [
                "route default in table 1002: unreachable",
                "route 2001:db8::1 in table 1002: via 2001:db8:1::9 interface 2",
                "route 2001:db8::2 in table 1002: via 2001:db8:1::9 interface 2",
                "route default in table 1003: unreachable",
                "route 2001:db8::1 in table 1003: via 2001:db8:7::9 interface 3",
            ]
        );
        assert_eq!(states, [Ok(1), Ok(2), Ok(3), Ok(2)]);
        let of = |wanted| plan.rules.iter().filter(move |(f, _)| *f == wanted).map(|(_, r)| *r);
        assert_eq!(of(Family::V4).collect::<BTreeSet<_>>(), tree::rules(SPACE, [1], true));
        assert_eq!(of(Family::V6).collect::<BTreeSet<_>>(), tree::rules(SPACE, [2, 3], false));
    }

    #[test]
    fn the_helper_covers_every_interface_of_a_vip() {
        let host =
            host(&["2 e0 up 10.0.0.1/24", "3 e1 up 10.1.0.1/24", "3 e1 up 2001:db8:1::1/64"]);
        let wanted = ["192.0.2.1 10.0.0.9", "192.0.2.1 10.1.0.9", "2001:db8::1 2001:db8:1::9"];
        let (plan, _) = plan(&host, &wanted, true);
        let helpers: Vec<_> =
            routes(&plan).into_iter().filter(|r| r.contains("table 1000:")).collect();
        assert_eq!(helpers, ["route 192.0.2.1 in table 1000: interfaces {2, 3}"]);
        let lookups = plan
            .rules
            .iter()
            .filter(|(_, rule)| rule.action == tree::Action::Lookup(SPACE.helper_table()));
        assert_eq!(lookups.map(|(family, _)| *family).collect::<Vec<_>>(), [Family::V4]);
    }

    #[test]
    fn each_interface_is_asked_about_once() {
        let host = host(&["2 e0 up 10.0.0.1/24", "3 e1 up 10.1.0.1/24", "4 e2 up 10.2.0.1/24"]);
        let pairs = pairs(&[
            "192.0.2.1 10.0.0.8",
            "192.0.2.1 10.0.0.9",
            "192.0.2.2 10.0.0.9",
            "192.0.2.1 10.1.0.9",
        ]);
        let backends = pairs.iter().map(|pair| pair.backend).collect();
        let ids = Ids::default().updated(&backends).unwrap();
        let asked = std::cell::RefCell::new(Vec::new());
        let filtered = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            false
        };
        build(SPACE, &ids, &host, &pairs, filtered);
        assert_eq!(asked.into_inner(), ["e0", "e1"]);
    }

    #[test]
    fn what_the_host_cannot_reach_is_said_and_never_leaks() {
        let host = host(&["2 e0 down 10.0.0.1/24"]);
        let (plan, states) = plan(&host, &["192.0.2.1 10.0.0.9", "192.0.2.1 10.9.0.9"], true);
        assert_eq!(states[0], Err("interface e0 is down".into()));
        assert!(states[1].as_ref().unwrap_err().contains("outside every connected subnet"));
        assert_eq!(
            routes(&plan),
            [
                "route default in table 1001: unreachable",
                "route default in table 1002: unreachable",
            ]
        );
    }

    #[test]
    fn nothing_wanted_nothing_planned() {
        let (plan, _) = plan(&host(&["2 e0 up 10.0.0.1/24"]), &[], true);
        assert_eq!(plan, Plan::default());
    }
}
