//! `[dataplane]` and `[dataplane.vlans]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;

use super::super::literal::{hash_key, subnet};
use super::super::model::{Dataplane, DataplaneMode, OnStop};
use super::super::read::{At, Field, Table};
use super::super::tree::Place;
use super::seconds;

/// Most entries of the flow table: 2 GiB.
const FLOWS_MAX: u32 = 1 << 28;

/// As many as the kernel's table of reals can have (18 bits of a flow record).
const REALS_MAX: u32 = 1 << 18;

/// The longest time to drain; also that of the other durations here is an hour.
const DRAIN_MAX: u64 = 86_400;

pub(super) fn dataplane(mut table: Table<'_>) -> Dataplane {
    let modes = [
        ("auto", DataplaneMode::Auto),
        ("native", DataplaneMode::Native),
        ("generic", DataplaneMode::Generic),
        ("off", DataplaneMode::Off),
    ];
    let mode = table.get("mode").and_then(|field| field.word(&modes));
    let mode = mode.unwrap_or(DataplaneMode::Auto);
    let interfaces = needed_interfaces(&mut table, mode);
    let vlans = table.get("vlans").and_then(|field| vlans(&field));
    let pin_path = table.get("pin-path").and_then(|field| field.absolute_path());
    let on_stop = table
        .get("on-stop")
        .and_then(|field| field.word(&[("keep", OnStop::Keep), ("remove", OnStop::Remove)]));
    let hash_key = table.get("hash-key-file").and_then(|field| read_hash_key(&field));
    table.renamed(
        "flows-per-cpu",
        "is `flows` now, the number for all CPUs together: they share one table",
    );
    let flows = table.get("flows").and_then(|field| field.number(1024..=FLOWS_MAX));
    let max_reals = table.get("max-reals").and_then(|field| field.number(1024..=REALS_MAX));
    let settle_time =
        table.get("settle-time").and_then(|field| field.duration(seconds(1)..=seconds(3600)));
    let drain_time =
        table.get("drain-time").and_then(|field| field.duration(seconds(0)..=seconds(DRAIN_MAX)));
    let sample_new_flows = table.get("sample-new-flows").and_then(|field| sampling(&field));
    table.end();
    Dataplane {
        mode,
        interfaces,
        vlans: vlans.unwrap_or_default(),
        pin_path: pin_path.unwrap_or_else(|| PathBuf::from("/sys/fs/bpf/vc5")),
        on_stop: on_stop.unwrap_or(OnStop::Keep),
        hash_key,
        flows: flows.unwrap_or(1 << 22).next_power_of_two(),
        max_reals: max_reals.unwrap_or(1 << 16).next_power_of_two(),
        settle_time: settle_time.unwrap_or(seconds(120)),
        drain_time: drain_time.unwrap_or(seconds(300)),
        sample_new_flows: sample_new_flows.unwrap_or(Some(1024)),
    }
}

const NO_INTERFACES: &str = "no interface to attach to: set interfaces = [\"eth0\"], or mode = \"off\" for an announcer without a dataplane";

fn needed_interfaces(table: &mut Table<'_>, mode: DataplaneMode) -> Vec<String> {
    let interfaces = table.get("interfaces").map(|field| (interfaces(&field), field));
    match &interfaces {
        None if mode != DataplaneMode::Off => table.fail(NO_INTERFACES),
        Some((Some(names), field)) if names.is_empty() && mode != DataplaneMode::Off => {
            field.fail::<()>(NO_INTERFACES);
        }
        _ => {}
    }
    interfaces.and_then(|(names, _)| names).unwrap_or_default()
}

fn interfaces(field: &Field<'_>) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for item in field.items()? {
        let Some(name) = item.text() else { continue };
        // The kernel's rule for device names (dev_valid_name): IFNAMSIZ is 16 with the final zero.
        let valid = (1..=15).contains(&name.len())
            && !matches!(name, "." | "..")
            && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        if !valid {
            item.fail::<()>(&format!("`{name}` is not an interface name"));
        } else if names.iter().any(|known| known == name) {
            item.fail::<()>(&format!("`{name}` is listed twice"));
        } else {
            names.push(name.to_owned());
        }
    }
    Some(names)
}

/// VLAN ids with their subnets. An address has to say which VLAN it is in, so no two may overlap.
fn vlans(field: &Field<'_>) -> Option<BTreeMap<u16, Vec<IpNet>>> {
    let mut vlans = BTreeMap::new();
    let mut taken: Vec<(IpNet, u16, Place)> = Vec::new();
    for (key, place, value) in field.entries()? {
        let Some(id) = key.parse().ok().filter(|id| (1..=4094).contains(id)) else {
            let message = format!("`{key}` is not a VLAN id: 1 to 4094");
            field.fail_at(place, &message);
            continue;
        };
        let subnets = value.some(|item| item.literal(subnet)).unwrap_or_default();
        for At { place, value: net } in subnets {
            let overlaps = |other: &IpNet| other.contains(&net) || net.contains(other);
            if let Some((other, vlan, first)) = taken.iter().find(|(other, ..)| overlaps(other)) {
                let first = value.show(*first);
                let message = format!("{net} overlaps {other} of VLAN {vlan} ({first})");
                value.fail_at(place, &message);
            }
            taken.push((net, id, place));
            vlans.entry(id).or_insert_with(Vec::new).push(net);
        }
    }
    Some(vlans)
}

/// How many new flows one is told of: a power of two, or nothing.
fn sampling(field: &Field<'_>) -> Option<Option<u32>> {
    if field.is_text() {
        return field.word(&[("off", None)]);
    }
    field.number(1..=1_u32 << 31).map(|number| Some(number.next_power_of_two()))
}

fn read_hash_key(field: &Field<'_>) -> Option<[u8; 16]> {
    let path = field.directory().join(field.text()?);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return field.fail(&format!("{}: cannot read: {error}", path.display())),
    };
    let key = hash_key(&text);
    if key.is_none() {
        field.fail::<()>(&format!("{}: expected 32 hexadecimal digits", path.display()));
    }
    key
}
