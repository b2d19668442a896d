//! Whether this node's own path to each backend stands: the interface that leads to it is there and can carry packets.
//!
//! When it is lost, probes fail for a reason that lies here and not with the backends. A backend in a connected subnet
//! (`probe = "dsr"`) hangs on the interface of that subnet; one that is routed to (`direct`) on that of its route; a
//! service on this host (`local`) on none.

mod changes;
mod driver;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use driver::watch;

use super::{PoolBackend, Signal};
use crate::config::model::{AdminState, Config, ProbePath};
use crate::preflight::machine::{Link, Machine};

/// What becomes of a VIP when the paths to its backends are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// Verdicts are held, and such backends go on counting.
    Hold,
    /// Verdicts are held, but such backends do not count: the VIP is withdrawn at once.
    Withdraw,
}

/// How a backend is led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the interface that has its subnet.
    Connected,
    /// By a route.
    Routed,
}

/// The backends whose path is this node's concern: those that a service uses.
fn targets(config: &Config) -> BTreeMap<PoolBackend, Way> {
    let mut targets = BTreeMap::new();
    let services = config.vips.values().flat_map(|vip| &vip.services);
    for pool in services.flat_map(|service| config.pool_and_backup(&service.pool)) {
        let way = match pool.probe {
            ProbePath::Dsr => Way::Connected,
            ProbePath::Direct => Way::Routed,
            ProbePath::Local => continue,
        };
        let at = |address| PoolBackend { pool: pool.name.clone(), address };
        // One that is switched off may be gone for good, and its subnet too.
        let used = pool.backends.iter().filter(|backend| backend.state != AdminState::Disabled);
        targets.extend(used.map(|backend| (at(backend.address), way)));
    }
    targets
}

/// The interface that leads to a backend, or why none does. `source` is the address from which the host would speak
/// to a routed one.
fn look(
    machine: &Machine,
    address: IpAddr,
    way: Way,
    source: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Result<String, Lost> {
    let link = match way {
        Way::Connected => machine.connected(address).ok_or(Lost::NoSubnet)?,
        Way::Routed => {
            let source = source(address).ok_or(Lost::NoRoute)?;
            match machine.holder(source) {
                Some(link) => link,
                // The address is just going; the next look tells.
                None => return Ok(String::new()),
            }
        }
    };
    can_carry(link).map(|()| link.name.clone())
}

fn can_carry(link: &Link) -> Result<(), Lost> {
    match link {
        Link { up: false, .. } => Err(Lost::Down(link.name.clone())),
        Link { running: false, loopback: false, .. } => Err(Lost::NoCarrier(link.name.clone())),
        _ => Ok(()),
    }
}

/// Why no interface leads to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lost {
    NoSubnet,
    NoRoute,
    Down(String),
    NoCarrier(String),
}

/// Remembers which paths stand.
#[derive(Debug, Default)]
struct Watch {
    paths: BTreeMap<PoolBackend, Path>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Path {
    /// The interface that led there last.
    interface: Option<String>,
    lost: Option<String>,
}

impl Watch {
    /// Takes what was seen of all backends; says what is new. A backend that is gone from the configuration is
    /// forgotten.
    fn handle(&mut self, seen: BTreeMap<PoolBackend, Result<String, Lost>>) -> Vec<Signal> {
        let mut signals = Vec::new();
        let mut before = std::mem::take(&mut self.paths);
        for (at, seen) in seen {
            let known = before.remove(&at).unwrap_or_default();
            let path = match seen {
                Ok(interface) => Path { interface: Some(interface), lost: None },
                Err(lost) => {
                    let text = words(lost, known.interface.as_deref());
                    Path { interface: known.interface.clone(), lost: Some(text) }
                }
            };
            if path.lost != known.lost {
                signals.push(Signal::Path { at: at.clone(), lost: path.lost.clone() });
            }
            self.paths.insert(at, path);
        }
        signals
    }
}

fn words(lost: Lost, before: Option<&str>) -> String {
    let was = before.map(|name| format!(" (it was by {name})")).unwrap_or_default();
    match lost {
        Lost::NoSubnet => format!("no interface has its subnet any more{was}"),
        Lost::NoRoute => format!("there is no route to it{was}"),
        Lost::Down(name) => format!("{name} is down"),
        Lost::NoCarrier(name) => format!("{name} has no carrier"),
    }
}
