//! Whether probes and the dataplane's packets can reach a backend, as the dataplane finds its ways: on a subnet that
//! is connected by one of its interfaces or by a VLAN interface on one, and in the VLAN that `[dataplane.vlans]` gives
//! to the address, if it does.

use std::net::IpAddr;

use super::Findings;
use super::machine::{Link, Machine};
use crate::config::model::{Config, Dataplane, DataplaneMode, Pool};

/// Looks whether one backend of a pool that is probed through the VIP can be reached.
pub(super) fn backend(
    config: &Config,
    pool: &Pool,
    address: IpAddr,
    machine: &Machine,
    findings: &mut Findings,
) {
    let key = format!("pool.{}.backends: {address}", pool.name);
    if let Some(link) = machine.holder(address) {
        findings.errors.push(format!(
            "{key} is this host's own address (on {}); a service on this host needs probe = \"local\" and dataplane.mode = \"off\"",
            link.name
        ));
        return;
    }
    let dataplane = &config.dataplane;
    let wanted = wanted_vlan(dataplane, address).filter(|_| dataplane.mode != DataplaneMode::Off);
    if let Some(id) = wanted {
        findings.errors.extend(
            in_vlan(dataplane, id, address, machine)
                .err()
                .map(|why| format!("{key} is in VLAN {id} by dataplane.vlans, {why}")),
        );
        return;
    }
    let Some(link) = machine.connected(address) else {
        findings.errors.push(format!(
            "{key} is outside every connected subnet: give this host an address in its subnet, or set probe = \"direct\""
        ));
        return;
    };
    if dataplane.mode != DataplaneMode::Off && !by_dataplane(dataplane, address, machine) {
        findings.warnings.push(format!(
            "{key} is behind `{}`, which is not in dataplane.interfaces: packets will not reach it",
            link.name
        ));
    }
}

/// Whether the dataplane reaches a backend, and so keeps its neighbour entry.
pub(super) fn by_dataplane(dataplane: &Dataplane, address: IpAddr, machine: &Machine) -> bool {
    dataplane.mode != DataplaneMode::Off
        && ways(dataplane, machine).any(|way| machine.is_connected(way.link, address))
}

/// The VLAN that the configuration gives to an address.
fn wanted_vlan(dataplane: &Dataplane, address: IpAddr) -> Option<u16> {
    let having = |nets: &Vec<ipnet::IpNet>| nets.iter().any(|net| net.contains(&address));
    dataplane.vlans.iter().find(|(_, nets)| having(nets)).map(|(id, _)| *id)
}

/// Whether an address has a way in this VLAN; if not, the end of the sentence that says why.
fn in_vlan(
    dataplane: &Dataplane,
    id: u16,
    address: IpAddr,
    machine: &Machine,
) -> Result<(), String> {
    let links: Vec<&Link> =
        ways(dataplane, machine).filter(|way| way.vlan == id).map(|way| way.link).collect();
    let Some(first) = links.first() else {
        let names: Vec<String> =
            dataplane.interfaces.iter().map(|name| format!("`{name}`")).collect();
        let name = dataplane.interfaces.first().map_or("IF", String::as_str);
        return Err(format!(
            "which has no interface on {}: make one with `ip link add link {name} name {name}.{id} type vlan id {id}` and give it an address in the backend's subnet",
            names.join(" or ")
        ));
    };
    if links.iter().any(|link| machine.is_connected(link, address)) {
        return Ok(());
    }
    Err(format!("and `{}` has no address in a subnet with it: give it one", first.name))
}

/// An interface on which backends are looked for.
struct Way<'a> {
    link: &'a Link,
    /// 0 for untagged.
    vlan: u16,
}

/// The dataplane's interfaces and the VLANs on them.
fn ways<'a>(dataplane: &'a Dataplane, machine: &'a Machine) -> impl Iterator<Item = Way<'a>> {
    let named = |link: &Link| dataplane.interfaces.contains(&link.name);
    machine.links.iter().filter_map(move |link| {
        if named(link) {
            return Some(Way { link, vlan: 0 });
        }
        let below = machine.link(link.lower?).filter(|below| named(below));
        below.and(link.vlan).map(|vlan| Way { link, vlan })
    })
}
