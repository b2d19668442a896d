//! Waiting for something to become true, with an end.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(20);

/// Asks until the answer is `Some` and returns it with the time that took.
///
/// # Errors
/// After `limit`, with `what` and the last error of `ask`, if it had one.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        let answer = ask();
        if let Ok(Some(value)) = answer {
            return Ok((value, start.elapsed()));
        }
        if start.elapsed() > limit {
            let late = format!("{what}: not within {limit:?}");
            return Err(answer
                .err()
                .map_or_else(|| anyhow!(late.clone()), |error| error.context(late.clone())));
        }
        std::thread::sleep(POLL);
    }
}

/// [`until`] for a condition without a value.
///
/// # Errors
/// As [`until`].
pub fn until_true(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let ((), took) = until(what, limit, || Ok(ask()?.then_some(())))?;
    Ok(took)
}
