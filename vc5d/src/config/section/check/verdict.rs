//! The keys that say when a check asks and how many answers make a verdict, and whose figures hold without them.

use vc5_health::check::JITTER_MAX;
use vc5_health::verdict::OUTCOMES_MAX;
use vc5_health::{Check, CheckKind, Rule};

use super::super::super::literal;
use super::super::super::read::{Field, Table};
use super::super::{milliseconds, seconds};

/// What the keys default to.
#[derive(Clone, Copy)]
pub(super) enum Profile {
    /// As this daemon does it.
    Own,
    /// As the predecessor did it.
    Vc5,
}

/// In percent of the interval.
const JITTER: u8 = 10;

/// Whose figures hold.
pub(super) fn profile(table: &mut Table<'_>) -> Profile {
    let profile = table.get("profile").and_then(|field| field.word(&[("vc5", Profile::Vc5)]));
    profile.unwrap_or(Profile::Own)
}

/// A check with the keys that are there; a wrong one is noted, and counts as absent. What it asks is left to be
/// filled in.
pub(super) fn read(table: &mut Table<'_>, profile: Profile) -> Check {
    let default = defaults(profile);
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

fn defaults(profile: Profile) -> Check {
    let own = Check { jitter: JITTER, ..Check::new(CheckKind::Tcp) };
    match profile {
        Profile::Own => own,
        Profile::Vc5 => Check {
            interval: seconds(2),
            timeout: seconds(2),
            jitter: 0,
            rule: Rule { rise: 5, fall: 2, window: Some(5) },
            ..own
        },
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
