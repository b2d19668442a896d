//! The clock that the program reads.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::time::Duration;

/// Lines of `/proc/timer_list` in which the jiffies of the first CPU are looked for.
const MOST_LINES: usize = 10_000;

/// Nanoseconds of `CLOCK_MONOTONIC_COARSE`.
pub(crate) fn coarse_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call. The clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Jiffies a second: how often `CLOCK_MONOTONIC_COARSE` advances.
///
/// # Errors
/// When the kernel does not know the clock.
pub(crate) fn jiffies_hz() -> io::Result<u32> {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call.
    if unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let ns = u64::try_from(resolution.tv_nsec).unwrap_or(0).max(1);
    Ok(u32::try_from((1_000_000_000 + ns / 2) / ns).unwrap_or(u32::MAX))
}

/// The kernel's `jiffies_64`, or a guess at it that is off by as much as the clock was corrected.
pub(crate) fn jiffies() -> u64 {
    listed_jiffies().unwrap_or_else(|| {
        let hz = u64::from(jiffies_hz().unwrap_or(250));
        // It begins five minutes before it would wrap in 32 bits (INITIAL_JIFFIES).
        (1 << 32) - 300 * hz + coarse_ns() / (1_000_000_000 / hz)
    })
}

/// Only root may read it.
fn listed_jiffies() -> Option<u64> {
    let list = File::open("/proc/timer_list").ok()?;
    let line = |line: io::Result<String>| line.ok()?.trim().strip_prefix("jiffies: ")?.parse().ok();
    BufReader::new(list).lines().take(MOST_LINES).find_map(line)
}

/// So many jiffies.
pub(crate) fn of_jiffies(jiffies: u64) -> Duration {
    Duration::from_secs(jiffies) / jiffies_hz().unwrap_or(250)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_has_a_usual_number_of_jiffies() {
        assert!([100, 250, 300, 1000].contains(&jiffies_hz().unwrap()));
    }

    #[test]
    fn jiffies_are_about_where_they_must_be() {
        let hz = u64::from(jiffies_hz().unwrap());
        let guess = (1u64 << 32) - 300 * hz + coarse_ns() / (1_000_000_000 / hz);
        assert!(jiffies().abs_diff(guess) < 600 * hz, "{} and {guess}", jiffies());
        assert_eq!(of_jiffies(10 * hz), Duration::from_secs(10));
    }

    #[test]
    fn time_does_not_run_backwards() {
        let before = coarse_ns();
        assert!(before > 0 && coarse_ns() >= before);
    }
}
