//! `[pool.NAME]` and its backends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vc5_xdp::OnDown;

use super::super::literal::is_link_local_v6;
use super::super::model::{AdminState, Backend, DataplaneMode, Pool, ProbePath};
use super::super::read::{At, Field, Table};
use super::super::tree::Place;
use super::{Names, collect, signal};

/// As many as the dataplane's table of real servers has room for (id 0 means none).
const BACKENDS_MAX: usize = 4095;

/// The words of `state`.
pub(super) const STATES: [(&str, AdminState); 3] = [
    ("enabled", AdminState::Enabled),
    ("drain", AdminState::Drain),
    ("disabled", AdminState::Disabled),
];

/// The words of `on-down`.
pub(super) const ON_DOWN: [(&str, OnDown); 2] =
    [("reselect", OnDown::Reselect), ("stick", OnDown::Stick)];

/// All pools without errors in their backends.
pub(super) fn pools(
    table: Table<'_>,
    names: &Names,
    dataplane: DataplaneMode,
) -> BTreeMap<String, Pool> {
    let mut backups = Vec::new();
    let pools = collect(table, "pool.NAME", |name, mut table| {
        let field = table.get("backup");
        let backup = field.as_ref().and_then(|field| field.reference("pool", &names.pools));
        backups.extend(field.map(|field| (name.to_owned(), field)));
        Some(Pool { backup, ..pool(name, table, dataplane)? })
    });
    for (name, field) in backups {
        let Some(pool) = pools.get(&name) else { continue };
        if let Some(wrong) = backup_fault(pool, &pools) {
            field.fail::<()>(&wrong);
        }
    }
    pools
}

/// Why the backup of a pool cannot serve in its place.
fn backup_fault(pool: &Pool, pools: &BTreeMap<String, Pool>) -> Option<String> {
    let name = pool.backup.as_ref()?;
    if *name == pool.name {
        return Some("a pool cannot be its own backup".to_owned());
    }
    let backup = pools.get(name)?;
    if backup.ttl != pool.ttl {
        return Some(format!(
            "pool `{name}` has another `ttl`; a service has one for all backends"
        ));
    }
    let all = pool.backends.len() + backup.backends.len();
    if all > BACKENDS_MAX {
        return Some(format!(
            "{all} backends with those of `{name}`; a service has at most {BACKENDS_MAX}"
        ));
    }
    let own = |address: IpAddr| pool.backends.iter().any(|b| b.address == address);
    let both = backup.backends.iter().find(|backend| own(backend.address))?;
    Some(format!("{} is in both pools", both.address))
}

fn pool(name: &str, mut table: Table<'_>, dataplane: DataplaneMode) -> Option<Pool> {
    let probe = probe_path(&mut table, dataplane);
    let backends = table.need("backends").and_then(|field| backends(&field, probe));
    let ttl = table.get("ttl").and_then(|field| match field.is_text() {
        true if field.text() == Some("keep") => Some(None),
        true => field.fail("expected 1 to 255 or \"keep\""),
        false => field.number(1..=u8::MAX).map(Some),
    });
    let on_down = table.get("on-down").and_then(|field| field.word(&ON_DOWN));
    let neighbour = table.get("neighbour").and_then(|field| field.boolean());
    let count = backends.as_ref().map_or(0, Vec::len);
    let state_file = signal::state_file(&mut table, count);
    let outliers = table.get("outliers").and_then(|field| signal::outliers(&field));
    table.end();
    Some(Pool {
        name: name.to_owned(),
        backends: backends?,
        probe,
        ttl: ttl.unwrap_or(Some(1)),
        on_down: on_down.unwrap_or(OnDown::Reselect),
        backup: None,
        neighbour: neighbour.unwrap_or(true),
        state_file,
        outliers,
    })
}

fn probe_path(table: &mut Table<'_>, dataplane: DataplaneMode) -> ProbePath {
    let paths =
        [("dsr", ProbePath::Dsr), ("direct", ProbePath::Direct), ("local", ProbePath::Local)];
    let Some(field) = table.get("probe") else { return ProbePath::Dsr };
    let path = field.word(&paths).unwrap_or(ProbePath::Dsr);
    if path == ProbePath::Local && dataplane != DataplaneMode::Off {
        field.fail::<()>("a service on this host needs dataplane.mode = \"off\"");
    }
    path
}

/// The backends, or nothing if any of them has an error.
fn backends(field: &Field<'_>, probe: ProbePath) -> Option<Vec<Backend>> {
    let written = field.items()?.len();
    if written > BACKENDS_MAX {
        return field.fail(&format!("{written} backends; a pool has at most {BACKENDS_MAX}"));
    }
    let list = field.some(|item| backend(item, probe))?;
    let mut seen: BTreeMap<IpAddr, Place> = BTreeMap::new();
    let mut backends = Vec::with_capacity(list.len());
    for At { place, value } in list {
        if let Some(first) = seen.insert(value.address, place) {
            let message =
                format!("{} is listed twice; first at {}", value.address, field.show(first));
            field.fail_at(place, &message);
            continue;
        }
        backends.push(value);
    }
    (backends.len() == written).then_some(backends)
}

fn backend(item: &Field<'_>, probe: ProbePath) -> Option<Backend> {
    if item.is_text() {
        let address = address(item, probe)?;
        return Some(Backend { address, weight: 1, state: AdminState::Enabled });
    }
    let mut table = item.table("pool.NAME.backends")?;
    let address = table.need("address").and_then(|field| address(&field, probe));
    let weight = table.get("weight").and_then(|field| field.number(1..=1000_u32));
    let state = table.get("state").and_then(|field| field.word(&STATES));
    table.end();
    Some(Backend {
        address: address?,
        weight: weight.unwrap_or(1),
        state: state.unwrap_or(AdminState::Enabled),
    })
}

fn address(field: &Field<'_>, probe: ProbePath) -> Option<IpAddr> {
    let address = field.host()?;
    if probe == ProbePath::Dsr && address.is_loopback() {
        return field.fail(&format!(
            "{address} is a loopback address; for a service on this host set probe = \"local\""
        ));
    }
    if is_link_local_v6(address) {
        return field.fail(&format!("{address}: link-local backends are not supported yet"));
    }
    Some(address)
}
