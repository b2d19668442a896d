//! The keys that say when a check asks and how many answers make a verdict.

use vc5_health::check::JITTER_MAX;
use vc5_health::verdict::OUTCOMES_MAX;
use vc5_health::{Check, Rule};

use super::super::super::literal;
use super::super::super::read::{Field, Table};
use super::super::{milliseconds, seconds};

/// A check with the keys that are there; a wrong one is noted, and counts as absent. What it asks is left as it is by
/// default.
pub(super) fn read(table: &mut Table<'_>, default: Check) -> Check {
    let longest = seconds(3600);
    let interval =
        table.get("interval").and_then(|field| field.duration(milliseconds(50)..=longest));
    let interval = interval.unwrap_or(default.interval);
    let fast_interval = table.get("fast-interval").and_then(|field| {
        let fast = field.duration(milliseconds(50)..=longest)?;
        if fast > interval {
            let interval = literal::show_duration(interval);
            return field.fail(&format!("must not be longer than the interval of {interval}"));
        }
        Some(fast)
    });
    let jitter = table
        .get("jitter")
        .and_then(|field| field.literal(|text| literal::percent_to(text, JITTER_MAX)));
    let timeout = table.get("timeout").and_then(|field| field.duration(milliseconds(10)..=longest));
    Check {
        interval,
        fast_interval,
        jitter: jitter.unwrap_or(default.jitter),
        timeout: timeout.unwrap_or(default.timeout),
        rule: rule(table, default.rule),
        kind: default.kind,
    }
}

fn rule(table: &mut Table<'_>, default: Rule) -> Rule {
    let count = |field: Field<'_>| field.number(1..=OUTCOMES_MAX);
    let rise = table.get("rise").map(count);
    let fall = table.get("fall").map(count);
    let window = table.get("window").map(count);
    // The whole is judged only where each figure is one.
    let known = [rise, fall, window].into_iter().flatten().all(|figure| figure.is_some());
    let rule = Rule {
        rise: rise.flatten().unwrap_or(default.rise),
        fall: fall.flatten().unwrap_or(default.fall),
        window: window.flatten().or(default.window),
    };
    if known && let Err(message) = rule.validate() {
        table.fail(&message);
    }
    rule
}
