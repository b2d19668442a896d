//! The judgement: a configuration against a host, without asking anybody.

use super::machine::{Link, Machine};
use super::{Findings, reach};
use crate::config::model::{AdminState, Config, DataplaneMode, Pool, ProbePath, Vip};
use std::collections::{BTreeMap, BTreeSet};

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Everything that is wrong with the host for this configuration.
pub(super) fn examine(config: &Config, machine: &Machine) -> Findings {
    let mut findings = Findings::default();
    let pools = used_pools(config);
    permissions(config, &pools, machine, &mut findings);
    if config.dataplane.mode == DataplaneMode::Off {
        let blind = pools.values().filter(|pool| pool.outliers.is_some());
        findings.warnings.extend(blind.map(|pool| {
            let name = &pool.name;
            format!(
                "pool.{name}.outliers: there is no traffic to look at with dataplane.mode = \"off\""
            )
        }));
    } else {
        interfaces(config, machine, &mut findings);
    }
    for pool in pools.values().filter(|pool| pool.probe == ProbePath::Dsr) {
        // A disabled backend is neither asked nor sent anything; it may be gone.
        let used = pool.backends.iter().filter(|backend| backend.state != AdminState::Disabled);
        for backend in used {
            reach::backend(config, pool, backend.address, machine, &mut findings);
        }
    }
    for vip in config.vips.values() {
        local(vip, &pools, machine, &mut findings);
    }
    findings
}

/// The pools that services use; no packet goes to the others.
pub(super) fn used_pools(config: &Config) -> BTreeMap<&str, &Pool> {
    let services = config.vips.values().flat_map(|vip| &vip.services);
    let pools = services.flat_map(|service| config.pool_and_backup(&service.pool));
    let names: BTreeSet<&str> = pools.map(|pool| pool.name.as_str()).collect();
    let pools = config.pools.values().map(|pool| (pool.name.as_str(), pool));
    pools.filter(|(name, _)| names.contains(name)).collect()
}

fn permissions(
    config: &Config,
    pools: &BTreeMap<&str, &Pool>,
    machine: &Machine,
    findings: &mut Findings,
) {
    let bpf = machine.may(CAP_BPF) || machine.may(CAP_SYS_ADMIN);
    if config.dataplane.mode != DataplaneMode::Off && !(bpf && machine.may(CAP_NET_ADMIN)) {
        findings.errors.push(
            "dataplane: no permission to load and attach BPF programs: run as root or with CAP_BPF and CAP_NET_ADMIN, or set mode = \"off\""
                .to_owned(),
        );
    }
    let dsr = pools.values().find(|pool| pool.probe == ProbePath::Dsr);
    if let Some(pool) = dsr
        && !machine.may(CAP_NET_ADMIN)
    {
        findings.errors.push(format!(
            "pool.{}.probe: no permission to mark and route probes: run as root or with CAP_NET_ADMIN, or set probe = \"direct\"",
            pool.name
        ));
    }
}

fn interfaces(config: &Config, machine: &Machine, findings: &mut Findings) {
    for name in &config.dataplane.interfaces {
        match machine.links.iter().find(|link| link.name == *name) {
            None => {
                let mut others: Vec<&str> = machine
                    .links
                    .iter()
                    .filter(|link| !link.loopback)
                    .map(|link| link.name.as_str())
                    .collect();
                others.sort_unstable();
                let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                findings.errors.push(format!(
                    "dataplane.interfaces: there is no interface `{name}`; this host has: {others}"
                ));
            }
            // The program has to see what the bond or bridge sees, and packets leave by that one.
            Some(Link { controller: Some(controller), .. }) => {
                let other = machine.link(*controller).map_or("?", |link| &link.name);
                findings.warnings.push(format!(
                    "dataplane.interfaces: `{name}` is a port of `{other}`: no backend is reached by it; name `{other}` instead"
                ));
            }
            Some(link) if !link.up => findings.warnings.push(format!(
                "dataplane.interfaces: `{name}` is down; bring it up with: ip link set {name} up"
            )),
            Some(link) if !link.running => findings.warnings.push(format!(
                "dataplane.interfaces: `{name}` has no carrier; check its cable or peer"
            )),
            Some(_) => {}
        }
    }
}

/// Whether this host holds the VIP where it must not, or does not where it must.
fn local(vip: &Vip, pools: &BTreeMap<&str, &Pool>, machine: &Machine, findings: &mut Findings) {
    let pool_with = |path: ProbePath| {
        vip.services
            .iter()
            .filter_map(|service| pools.get(service.pool.as_str()))
            .find(|pool| pool.probe == path)
    };
    for address in &vip.addresses {
        let key = format!("vip.{}.addresses", vip.name);
        let length = if address.is_ipv4() { 32 } else { 128 };
        match machine.holder(*address) {
            Some(link) => {
                if let Some(pool) = pool_with(ProbePath::Dsr) {
                    findings.errors.push(format!(
                        "{key}: {address} is an address of this host (on {0}), so probes would never leave it: remove it with `ip addr del {address}/{length} dev {0}`, or set another probe for pool `{1}`",
                        link.name, pool.name
                    ));
                }
            }
            None => {
                if pool_with(ProbePath::Local).is_some() {
                    findings.warnings.push(format!(
                        "{key}: {address} is not an address of this host: checks will fail until `ip addr add {address}/{length} dev lo`"
                    ));
                }
            }
        }
    }
}
