//! `[filter.NAME]` and its rules.

use std::collections::BTreeMap;
use std::str::FromStr;

use vc5_bgp::wire::ParseCommunityError;

use super::super::literal::{community, prefix_match};
use super::super::model::{Filter, FilterAction, FilterRule, RouteSource};
use super::super::read::{At, Table};
use super::{Names, collect};

const ACTIONS: [(&str, FilterAction); 3] = [
    ("accept", FilterAction::Accept),
    ("reject", FilterAction::Reject),
    ("continue", FilterAction::Continue),
];

/// All filters, with the built-in `all` and `none`.
pub(super) fn filters(table: Table<'_>, names: &Names) -> BTreeMap<String, Filter> {
    let mut filters = collect(table, "filter.NAME", |name, table| {
        if matches!(name, "all" | "none") {
            table.fail("is built in; choose another name");
        }
        Some(filter(name, table, names))
    });
    for (name, default) in [("all", FilterAction::Accept), ("none", FilterAction::Reject)] {
        let built_in = Filter { name: name.to_owned(), default, rules: Vec::new() };
        filters.insert(name.to_owned(), built_in);
    }
    filters
}

fn filter(name: &str, mut table: Table<'_>, names: &Names) -> Filter {
    let ends = [("accept", FilterAction::Accept), ("reject", FilterAction::Reject)];
    let default = table.get("default").and_then(|field| field.word(&ends));
    let rules = table
        .get("rule")
        .and_then(|field| field.list(|item| Some(rule(item.table("filter.NAME.rule")?, names))));
    table.end();
    Filter {
        name: name.to_owned(),
        default: default.unwrap_or(FilterAction::Reject),
        rules: values(rules),
    }
}

fn values<T>(list: Option<Vec<At<T>>>) -> Vec<T> {
    list.unwrap_or_default().into_iter().map(|item| item.value).collect()
}

fn rule(mut table: Table<'_>, names: &Names) -> FilterRule {
    let mut conditions = table.section("match", "filter.NAME.rule.match");
    let sources = [("vip", RouteSource::Vip), ("bgp", RouteSource::Bgp)];
    let source = conditions.get("source").and_then(|field| field.word(&sources));
    // An empty list would read as "matches nothing" and act as "matches everything".
    let prefixes =
        conditions.get("prefix").and_then(|field| field.some(|item| item.literal(prefix_match)));
    let vips = conditions
        .get("vip")
        .and_then(|field| field.some(|item| item.reference("vip", &names.vips)));
    conditions.end();
    let actions = table.section("set", "filter.NAME.rule.set");
    let mut rule = FilterRule {
        source,
        prefixes: values(prefixes),
        vips: values(vips),
        med: None,
        local_pref: None,
        add_communities: Vec::new(),
        add_extended_communities: Vec::new(),
        add_large_communities: Vec::new(),
        prepend: 0,
        then: FilterAction::Reject,
    };
    let sets_nothing = actions.is_empty();
    set(actions, &mut rule);
    if let Some(then) = table.need("then").and_then(|field| field.word(&ACTIONS)) {
        rule.then = then;
        if then == FilterAction::Continue && sets_nothing {
            table.fail("does nothing: it sets nothing and continues");
        }
    }
    table.end();
    rule
}

fn set(mut actions: Table<'_>, rule: &mut FilterRule) {
    rule.med = actions.get("med").and_then(|field| field.number(0..=u32::MAX));
    rule.local_pref = actions.get("local-pref").and_then(|field| field.number(0..=u32::MAX));
    let communities =
        actions.get("add-communities").and_then(|field| field.list(|item| item.literal(community)));
    rule.add_communities = values(communities);
    let extended = actions
        .get("add-extended-communities")
        .and_then(|field| field.list(|item| item.literal(by_its_type)));
    rule.add_extended_communities = values(extended);
    let large = actions
        .get("add-large-communities")
        .and_then(|field| field.list(|item| item.literal(by_its_type)));
    rule.add_large_communities = values(large);
    rule.prepend =
        actions.get("prepend").and_then(|field| field.number(0..=32_u8)).unwrap_or_default();
    actions.end();
}

/// What the codec's own types read.
fn by_its_type<T: FromStr<Err = ParseCommunityError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: ParseCommunityError| error.to_string())
}
