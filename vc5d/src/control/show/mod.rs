//! From a snapshot to the reply of a `show` command: pure functions, one file for each kind of thing.

mod answers;
mod answers_json;
mod counters;
mod explain;
mod gate;
mod health;
mod history;
mod json;
mod machine;
mod protocols;
mod reasons;
mod routes;
mod said;

use vc5_xdp::{L4, NewFlow, Ports};

use super::clock::Clock;
use super::grammar::{ServiceFilter, Show};
use super::question::{Answer, ServiceName};
use super::reply::{Reply, code};
use crate::snapshot::{Snapshot, Vip};

/// Answers a `show` command in BIRD's columns.
#[must_use]
pub fn text(snapshot: &Snapshot, what: &Show, clock: &Clock) -> Reply {
    match what {
        Show::Status => machine::status(snapshot, clock),
        Show::Protocols { all, names } => protocols::protocols(snapshot, *all, names, clock),
        Show::Route(query) => routes::routes(snapshot, query, clock),
        Show::Vips => health::vips(snapshot, clock),
        Show::Vip(name) => health::vip(snapshot, name, clock),
        Show::Services => health::services(snapshot, clock),
        Show::Backends => health::backends(snapshot, clock),
        Show::History(query) => history::history(snapshot, query, clock),
        Show::Explain(name) => explain::explain(snapshot, name, clock),
        Show::Interfaces => machine::interfaces(snapshot),
        Show::Counters => counters::counters(snapshot),
        Show::Symbols => protocols::symbols(snapshot),
    }
}

/// Answers a `show` command in JSON: lines of code 1100 whose texts joined are one document.
#[must_use]
pub fn json(snapshot: &Snapshot, what: &Show) -> Reply {
    json::reply(snapshot, what)
}

/// Answers a question with what the dataplane answered.
#[must_use]
pub fn answer(answer: &Answer, as_json: bool) -> Reply {
    if as_json { json::document(answers_json::answer(answer)) } else { answers::answer(answer) }
}

/// One new flow; more may follow.
#[must_use]
pub fn new_flow(flow: &NewFlow, as_json: bool) -> Reply {
    if as_json {
        Reply::one(code::JSON_LINE, answers_json::new_flow(flow).to_string())
    } else {
        Reply::one(code::NEW_FLOW, answers::new_flow(flow))
    }
}

/// The client was too slow for so many new flows.
#[must_use]
pub fn lost_flows(lost: u64, as_json: bool) -> Reply {
    if as_json {
        Reply::one(code::JSON_LINE, serde_json::json!({ "lost": lost }).to_string())
    } else {
        Reply::one(code::NEW_FLOW, format!("{lost} new flows are not shown: too many at a time"))
    }
}

/// The services of a VIP that are meant, or the reply that there are none.
pub(super) fn services_of(
    snapshot: &Snapshot,
    wanted: &str,
    filter: ServiceFilter,
) -> Result<Vec<ServiceName>, Reply> {
    let mut found = Vec::new();
    for vip in find_vips(snapshot, wanted)? {
        let names = vip.services.iter().map(|service| {
            let protocol = if service.protocol == "udp" { L4::Udp } else { L4::Tcp };
            ServiceName { vip: vip.address, ports: service.ports, protocol }
        });
        let meant: Vec<ServiceName> = names
            .filter(|name| filter.protocol.is_none_or(|protocol| protocol == name.protocol))
            .filter(|name| filter.port.is_none_or(|port| has(name.ports, port)))
            .collect();
        // `all` are the ports that the other services have not.
        let is_rest = |name: &ServiceName| {
            let named =
                |other: &ServiceName| other.protocol == name.protocol && other.ports != Ports::All;
            filter.port.is_some() && name.ports == Ports::All && meant.iter().any(named)
        };
        found.extend(meant.iter().filter(|name| !is_rest(name)));
    }
    if found.is_empty() {
        return Err(Reply::one(code::NOT_FOUND, format!("VIP {wanted} has no such service")));
    }
    Ok(found)
}

fn has(ports: Ports, port: u16) -> bool {
    match ports {
        Ports::One(own) => own == port,
        Ports::Range(first, last) => (first..=last).contains(&port),
        Ports::All => true,
    }
}

/// The VIPs meant by a name or an address, or the reply that there is none.
fn find_vips<'a>(snapshot: &'a Snapshot, wanted: &str) -> Result<Vec<&'a Vip>, Reply> {
    let address = wanted.parse::<std::net::IpAddr>().ok();
    let found: Vec<&Vip> = snapshot
        .vips
        .iter()
        .filter(|vip| address.map_or(vip.name == wanted, |address| vip.address == address))
        .collect();
    if found.is_empty() {
        return Err(Reply::one(code::NOT_FOUND, format!("There is no VIP {wanted}")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
