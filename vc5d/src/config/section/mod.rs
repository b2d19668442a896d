//! One file for each part of the configuration: which keys it has, their types, ranges and defaults.

mod agent;
mod bgp;
mod capacity;
mod channel;
mod check;
mod daemon;
mod dataplane;
mod filter;
mod pool;
mod signal;
mod vip;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::log::Log;
use super::model::{Config, Dataplane, DataplaneMode, Pool, Vip};
use super::read::{Field, Table};
use super::tree::{Entries, Place, Value};

/// Entries of the table of reals that a service is given at a time.
const REALS_STEP: usize = 16;

/// The names that may be referred to. They come from the tree, not from what was read without error, so
/// that one mistake in an object does not make every reference to it an error too.
pub(super) struct Names {
    pub(super) filters: BTreeSet<String>,
    pub(super) templates: BTreeSet<String>,
    pub(super) pools: BTreeSet<String>,
    pub(super) checks: BTreeSet<String>,
    pub(super) vips: BTreeSet<String>,
}

impl Names {
    fn of(root: &Entries) -> Self {
        let mut filters = names_in(root, &["filter"]);
        filters.extend(["all".to_owned(), "none".to_owned()]);
        Self {
            filters,
            templates: names_in(root, &["template", "bgp"]),
            pools: names_in(root, &["pool"]),
            checks: names_in(root, &["check"]),
            vips: names_in(root, &["vip"]),
        }
    }
}

fn names_in(root: &Entries, path: &[&str]) -> BTreeSet<String> {
    let mut table = root;
    for key in path {
        match table.get(*key).map(|entry| &entry.node.value) {
            Some(Value::Table(next)) => table = next,
            _ => return BTreeSet::new(),
        }
    }
    table.keys().cloned().collect()
}

/// Reads the whole tree. Where `log` ends up with an error the result is not to be used.
pub(super) fn read(entries: &Entries, file: &Path, log: &Log) -> Config {
    let names = Names::of(entries);
    let mut root = Table::root(entries, log);
    // Taken out of each file while the files were gathered; named here so that the key is known.
    root.get("include");
    let router = daemon::router(root.section("router", "router"));
    let control = daemon::control(root.section("control", "control"));
    let metrics = daemon::metrics(root.section("metrics", "metrics"));
    let agent = agent::agent(root.section("agent", "agent"));
    let dataplane = dataplane::dataplane(root.section("dataplane", "dataplane"));
    let probe = daemon::probe(root.section("probe", "probe"));
    let filters = filter::filters(root.section("filter", "filter"), &names);
    let templates = bgp::templates(root.section("template", "template"), &names);
    let bgp =
        bgp::protocols(root.section("protocol", "protocol"), &names, &templates, router.local_as);
    let pools = pool::pools(root.section("pool", "pool"), &names, dataplane.mode);
    let checks = check::checks(root.section("check", "check"));
    let shared = vip::Context { names: &names, pools: &pools, checks: &checks };
    let vips = vip::vips(root.section("vip", "vip"), &shared);
    root.end();
    unique_protocol_names(entries, log);
    room_for_reals(entries, &dataplane, &pools, &vips, log);
    Config {
        file: file.to_owned(),
        router,
        control,
        metrics,
        agent,
        dataplane,
        probe,
        filters,
        bgp,
        pools,
        checks,
        vips,
    }
}

/// BGP protocols and VIPs are shown in one list, `show protocols`, and enabled and disabled by name.
fn unique_protocol_names(root: &Entries, log: &Log) {
    let protocols = names_in(root, &["protocol", "bgp"]);
    let Some(Value::Table(vips)) = root.get("vip").map(|entry| &entry.node.value) else { return };
    for (name, entry) in vips {
        if protocols.contains(name) {
            let message = format!(
                "vip.{name}: there is a protocol.bgp.{name} as well; VIPs and BGP protocols share one space of names"
            );
            log.push(entry.key, &message);
        }
        if name == "all" {
            log.push(entry.key, "vip.all: `all` is a word of the commands; choose another name");
        }
    }
}

/// Each service has its own entries in the table of reals, in steps of [`REALS_STEP`].
fn room_for_reals(
    root: &Entries,
    dataplane: &Dataplane,
    pools: &BTreeMap<String, Pool>,
    vips: &BTreeMap<String, Vip>,
    log: &Log,
) {
    let services = vips.values().flat_map(|vip| {
        vip.addresses.iter().flat_map(move |address| {
            vip.services.iter().map(move |service| (*address, service.pool.as_str()))
        })
    });
    let entries = services.filter_map(|(address, pool)| {
        let pool = pools.get(pool)?;
        let backup = pool.backup.as_ref().and_then(|name| pools.get(name));
        let serving = [Some(pool), backup].into_iter().flatten();
        let backends: usize = serving.map(|pool| pool.backends_for(address).count()).sum();
        Some((backends / REALS_STEP + 1) * REALS_STEP)
    });
    // The first step is nobody's: id 0 stands for none.
    let needed = entries.sum::<usize>() + REALS_STEP;
    if dataplane.mode != DataplaneMode::Off && needed > dataplane.max_reals as usize {
        let place = root.get("dataplane").map_or(Place { file: 0, offset: 0 }, |entry| entry.key);
        let message = format!(
            "dataplane.max-reals: {} is too few: each service takes an entry for each backend, rounded up to {REALS_STEP}, {needed} in all",
            dataplane.max_reals
        );
        log.push(place, &message);
    }
}

/// Reads each object of a table and keeps those without errors, by name.
fn collect<'a, T>(
    table: Table<'a>,
    kind: &'static str,
    mut read: impl FnMut(&str, Table<'a>) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut objects = BTreeMap::new();
    for (name, table) in table.objects(kind) {
        if let Some(object) = read(&name, table) {
            objects.insert(name, object);
        }
    }
    objects
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

const fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn port(field: &Field<'_>) -> Option<u16> {
    field.number(1..=u16::MAX)
}
