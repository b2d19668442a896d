//! `[vip.NAME.capacity]`: what routers are told of the healthy part of a VIP.

use super::super::literal;
use super::super::model::{Capacity, CapacityLevel};
use super::super::read::{At, Field, Table};
use super::seconds;
use crate::gate::CapacitySettings;

/// What a unit of weight stands for when `link-bandwidth` is just true: 1 Mbit/s, so that 34000 of them still fit the 32
/// bits in which some routers keep it.
const UNIT: u64 = 125_000;

pub(super) fn capacity(field: &Field<'_>) -> Option<Capacity> {
    let mut table = field.table("vip.NAME.capacity")?;
    let link_bandwidth = table.get("link-bandwidth").map(|field| link_bandwidth(&field));
    let transitive = table.get("transitive").map(|field| (field.boolean(), field.place()));
    let step = table.get("step").and_then(|field| field.literal(literal::percent));
    let settle =
        table.get("settle-time").and_then(|field| field.duration(seconds(1)..=seconds(3600)));
    let levels = table.get("level").map(|field| levels(&field));
    if link_bandwidth.is_none() && levels.is_none() {
        table.fail("tells routers nothing: it needs `link-bandwidth` or `level`");
    }
    if let (None, Some((_, place))) = (link_bandwidth, transitive) {
        field.fail_at(place, "`transitive` is about the community of `link-bandwidth`");
    }
    table.end();
    Some(Capacity {
        link_bandwidth: link_bandwidth.unwrap_or(Some(None))?,
        transitive: transitive.and_then(|(value, _)| value).unwrap_or(false),
        settings: CapacitySettings {
            step: step.unwrap_or(10),
            settle: settle.unwrap_or(seconds(10)),
        },
        levels: levels.unwrap_or(Some(Vec::new()))?,
    })
}

/// `true`, or what a unit of weight stands for.
fn link_bandwidth(field: &Field<'_>) -> Option<Option<u64>> {
    match field.is_boolean() {
        true => field.boolean().map(|sent| sent.then_some(UNIT)),
        false => field.literal(literal::bit_rate).map(Some),
    }
}

fn levels(field: &Field<'_>) -> Option<Vec<CapacityLevel>> {
    let mut levels: Vec<At<CapacityLevel>> = field.some(|item| {
        let table = item.table("vip.NAME.capacity.level")?;
        level(table)
    })?;
    levels.sort_by_key(|level| level.value.below);
    for pair in levels.windows(2) {
        if let [first, second] = pair
            && first.value.below == second.value.below
        {
            let (below, first) = (second.value.below, field.show(first.place));
            let message = format!("{below}% is there twice; first at {first}");
            field.fail_at(second.place, &message);
        }
    }
    Some(levels.into_iter().map(|level| level.value).collect())
}

fn level(mut table: Table<'_>) -> Option<CapacityLevel> {
    let below = table.need("below").and_then(|field| field.literal(literal::percent));
    let med = table.get("med").and_then(|field| field.number(0..=u32::MAX));
    let local_pref = table.get("local-pref").and_then(|field| field.number(0..=u32::MAX));
    let communities = table
        .get("add-communities")
        .and_then(|field| field.some(|item| item.literal(literal::community)));
    let communities: Vec<u32> =
        communities.unwrap_or_default().into_iter().map(|item| item.value).collect();
    let says_nothing = !["med", "local-pref", "add-communities"].iter().any(|key| table.has(key));
    if says_nothing {
        table.fail("sets nothing: it needs `med`, `local-pref` or `add-communities`");
    }
    table.end();
    Some(CapacityLevel { below: below?, med, local_pref, add_communities: communities })
}
