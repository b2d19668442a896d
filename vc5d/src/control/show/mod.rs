//! From a snapshot to the reply of a `show` command: pure functions, one file for each kind of thing.

mod health;
mod json;
mod machine;
mod protocols;
mod routes;

use super::clock::Clock;
use super::grammar::Show;
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
        Show::Interfaces => machine::interfaces(snapshot),
        Show::Symbols => protocols::symbols(snapshot),
    }
}

/// Answers a `show` command in JSON: lines of code 1100 whose texts joined are one document.
#[must_use]
pub fn json(snapshot: &Snapshot, what: &Show) -> Reply {
    json::reply(snapshot, what)
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
