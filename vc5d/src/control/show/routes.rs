//! `show route` in BIRD's form: a table for each family, a line for each route.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::super::clock::Clock;
use super::super::grammar::{Destination, RouteQuery};
use super::super::reply::{Reply, code};
use super::protocols::{BGP_PREFERENCE, STATIC_PREFERENCE};
use crate::snapshot::{Route, Snapshot};

/// A table of BIRD's and its routes by destination.
struct Table<'a> {
    name: &'static str,
    routes: BTreeMap<IpNet, Vec<&'a Route>>,
}

/// Routes or, with `count`, how many.
pub(super) fn routes(snapshot: &Snapshot, query: &RouteQuery, clock: &Clock) -> Reply {
    let tables = select(snapshot, query);
    if query.count {
        return count(snapshot, &tables);
    }
    let nothing = tables.iter().all(|table| table.routes.is_empty());
    if nothing && query.destination != Destination::Any {
        return Reply::one(code::NOT_FOUND, "Network not found");
    }
    let mut reply = Reply::new();
    for table in tables.iter().filter(|table| !table.routes.is_empty()) {
        if !reply.lines().is_empty() {
            reply.push(code::ROUTE, "");
        }
        reply.push(code::ROUTE, format!("Table {}:", table.name));
        for (prefix, routes) in &table.routes {
            for (index, route) in routes.iter().enumerate() {
                // BIRD names a destination once; further routes to it begin with blanks.
                let prefix = if index == 0 { prefix.to_string() } else { String::new() };
                reply.push(code::ROUTE, head(&prefix, route, clock));
                if let Some(next_hop) = route.next_hop {
                    reply.push(code::ROUTE, format!("\tvia {next_hop}"));
                }
                if query.all {
                    attributes(&mut reply, route);
                }
            }
        }
    }
    reply.done()
}

/// The routes that a query means, in the order of their prefixes.
pub(super) fn selected<'a>(snapshot: &'a Snapshot, query: &RouteQuery) -> Vec<&'a Route> {
    let tables = select(snapshot, query);
    tables.into_iter().flat_map(|table| table.routes.into_values().flatten()).collect()
}

fn select<'a>(snapshot: &'a Snapshot, query: &RouteQuery) -> [Table<'a>; 2] {
    let mut tables = [
        Table { name: "master4", routes: BTreeMap::new() },
        Table { name: "master6", routes: BTreeMap::new() },
    ];
    let best = match query.destination {
        Destination::For(net) => longest(snapshot, net),
        Destination::Exact(net) => Some(net),
        Destination::Any => None,
    };
    let [ipv4, ipv6] = &mut tables;
    for route in &snapshot.routes {
        let wanted = query.destination == Destination::Any || best == Some(route.prefix);
        if wanted && by_protocol(route, query) {
            let table = if matches!(route.prefix, IpNet::V4(_)) { &mut *ipv4 } else { &mut *ipv6 };
            table.routes.entry(route.prefix).or_default().push(route);
        }
    }
    for routes in tables.iter_mut().flat_map(|table| table.routes.values_mut()) {
        routes.sort_by_key(|route| !route.selected);
    }
    tables
}

fn by_protocol(route: &Route, query: &RouteQuery) -> bool {
    let from = query.protocol.as_ref().is_none_or(|name| *name == route.protocol);
    let to = query.export.as_ref().is_none_or(|name| route.exported_to.contains(name));
    from && to
}

fn longest(snapshot: &Snapshot, net: IpNet) -> Option<IpNet> {
    let covering = snapshot.routes.iter().map(|route| route.prefix);
    covering.filter(|prefix| prefix.contains(&net)).max_by_key(IpNet::prefix_len)
}

/// `192.0.2.1/32         unicast [www 2026-11-24 09:00:00] * (200)`
fn head(prefix: &str, route: &Route, clock: &Clock) -> String {
    let from = route.from.map(|from| format!(" from {from}")).unwrap_or_default();
    let selected = if route.selected { " *" } else { "" };
    let since = clock.table(route.since);
    let protocol = &route.protocol;
    let (preference, path) = if route.source == "bgp" {
        (BGP_PREFERENCE, format!(" [{}{}]", last_as(&route.as_path), origin_letter(&route.origin)))
    } else {
        (STATIC_PREFERENCE, String::new())
    };
    format!("{prefix:<20} unicast [{protocol} {since}{from}]{selected} ({preference}){path}")
}

/// `AS65001`, the AS that the route began in; nothing for our own AS.
fn last_as(path: &str) -> String {
    let last = path.split_whitespace().next_back().filter(|last| last.parse::<u32>().is_ok());
    last.map(|last| format!("AS{last}")).unwrap_or_default()
}

fn origin_letter(origin: &str) -> &'static str {
    match origin {
        "IGP" => "i",
        "EGP" => "e",
        _ => "?",
    }
}

fn attributes(reply: &mut Reply, route: &Route) {
    let bgp = route.source == "bgp";
    let kind = if bgp { "BGP univ" } else { "static univ" };
    reply.push(code::ROUTE_TYPE, format!("\tType: {kind}"));
    let mut line = |text: String| reply.push(code::ROUTE_ATTRIBUTE, text);
    line(format!("\tBGP.origin: {}", route.origin));
    line(format!("\tBGP.as_path: {}", route.as_path));
    if let Some(next_hop) = route.next_hop {
        line(format!("\tBGP.next_hop: {next_hop}"));
    }
    if let Some(med) = route.med {
        line(format!("\tBGP.med: {med}"));
    }
    if let Some(preference) = route.local_pref {
        line(format!("\tBGP.local_pref: {preference}"));
    }
    if !route.communities.is_empty() {
        let communities: Vec<String> =
            route.communities.iter().map(|text| format!("({})", text.replace(':', ","))).collect();
        line(format!("\tBGP.community: {}", communities.join(" ")));
    }
    let rest = [("ext", &route.extended_communities), ("large", &route.large_communities)];
    for (kind, list) in rest.into_iter().filter(|(_, list)| !list.is_empty()) {
        let all: Vec<String> =
            list.iter().map(|text| format!("({})", text.replace(':', ", "))).collect();
        line(format!("\tBGP.{kind}_community: {}", all.join(" ")));
    }
    if route.stale {
        line("\tStale: kept while its neighbour restarts or refreshes".to_owned());
    }
    if !route.exported_to.is_empty() {
        line(format!("\tExported to: {}", route.exported_to.join(", ")));
    }
}

fn count(snapshot: &Snapshot, tables: &[Table<'_>]) -> Reply {
    let mut reply = Reply::new();
    let (mut shown_in_all, mut networks_in_all) = (0, 0);
    for table in tables {
        let ipv4 = table.name == "master4";
        let total =
            snapshot.routes.iter().filter(|route| matches!(route.prefix, IpNet::V4(_)) == ipv4);
        let total = total.count();
        let shown: usize = table.routes.values().map(Vec::len).sum();
        let networks = table.routes.len();
        shown_in_all += shown;
        networks_in_all += networks;
        let name = table.name;
        reply.push(
            code::ROUTE,
            format!("{shown} of {total} routes for {networks} networks in table {name}"),
        );
    }
    let total = snapshot.routes.len();
    reply.push(
        code::ROUTE_COUNT,
        format!(
            "Total: {shown_in_all} of {total} routes for {networks_in_all} networks in {} tables",
            tables.len()
        ),
    );
    reply
}
