//! Whether the kernel's neighbour tables (ARP and NDP) have room for the backends.
//!
//! A backend on a connected subnet needs an entry while it is probed. Those of the dataplane's backends are its own,
//! and exempt from the limits, as permanent ones are; the others share them with all that the host talks to, in all
//! network namespaces.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::machine::{Machine, NeighbourLimits};
use super::{Findings, reach, rules};
use crate::config::model::{AdminState, Config, ProbePath};

/// Everything that the limits of this host are too small for.
pub(super) fn examine(config: &Config, machine: &Machine) -> Findings {
    let mut findings = Findings::default();
    let (ipv4, ipv6): (Vec<IpAddr>, Vec<IpAddr>) =
        needed(config, machine).into_iter().partition(IpAddr::is_ipv4);
    for (family, addresses, limits) in
        [("IPv4", ipv4, machine.neighbours.ipv4), ("IPv6", ipv6, machine.neighbours.ipv6)]
    {
        if let Some(limits) = limits {
            judge(family, addresses.len(), limits, &mut findings);
        }
    }
    findings
}

/// The backends that need an entry to which the limits apply.
fn needed(config: &Config, machine: &Machine) -> BTreeSet<IpAddr> {
    let pools = rules::used_pools(config);
    let pools = pools.values().filter(|pool| pool.probe != ProbePath::Local);
    let backends = pools.flat_map(|pool| &pool.backends);
    backends
        .filter(|backend| backend.state != AdminState::Disabled)
        .map(|backend| backend.address)
        .filter(|address| machine.holder(*address).is_none())
        .filter(|address| machine.connected(*address).is_some())
        .filter(|address| !machine.neighbours.exempt.contains(address))
        .filter(|address| !reach::by_dataplane(&config.dataplane, *address, machine))
        .collect()
}

/// `gc_thresh3` entries are never exceeded; beyond `gc_thresh2` each new one may cost another that is older than 5 s
/// (arp(7)). At least one is for something else, a router or a neighbour in BGP. `gc_thresh1` does not matter: entries
/// in use outlive what begins there.
fn judge(family: &str, needed: usize, limits: NeighbourLimits, findings: &mut Findings) {
    let fits = |limit: u32| u32::try_from(needed).is_ok_and(|needed| needed < limit);
    let remedy = || remedy(family, needed);
    let head = format!(
        "pool: {needed} {family} backends on connected subnets need a neighbour entry each"
    );
    if !fits(limits.most) {
        findings.errors.push(format!(
            "{head}, and this host has room for {} with all else that it talks to (gc_thresh3): probes would fail at random; {}",
            limits.most,
            remedy()
        ));
    } else if !fits(limits.forced) {
        findings.warnings.push(format!(
            "{head}, and this host clears entries beyond {} with all else that it talks to (gc_thresh2): backends will be resolved again and again; {}",
            limits.forced,
            remedy()
        ));
    }
}

/// Room for twice as many, and for as much again in times of need.
fn remedy(family: &str, needed: usize) -> String {
    let forced = (2 * needed).next_power_of_two();
    let key = format!("net.{}.neigh.default", family.to_lowercase());
    format!(
        "raise it with `sysctl -w {key}.gc_thresh2={forced} {key}.gc_thresh3={}` (on the host, if this is a container)",
        2 * forced
    )
}
