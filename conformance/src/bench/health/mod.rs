//! Checks: ten thousand backends on one core, and how soon a backend that is gone is known to be.

mod detect;
mod many;

use anyhow::Result;

use super::Record;

/// How long the ten thousand are measured, in s, unless told otherwise.
pub const SECONDS: u64 = 600;

/// All of it; `seconds` is for each kind of check of the ten thousand.
///
/// # Errors
/// The lab cannot be built, or the prober ends.
pub fn run(seconds: u64) -> Result<Vec<Record>> {
    let mut records = many::measure(seconds)?;
    records.extend(detect::measure()?);
    Ok(records)
}

/// A record of one figure.
fn single(name: &str, unit: &'static str, value: f64, method: &str) -> Record {
    Record {
        name: name.into(),
        value,
        unit: unit.into(),
        min: value,
        median: value,
        runs: 1,
        floor: None,
        peer: None,
        peer_value: None,
        method: method.into(),
    }
}
