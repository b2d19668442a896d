//! The clock that the program reads.

use std::io;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_has_a_usual_number_of_jiffies() {
        assert!([100, 250, 300, 1000].contains(&jiffies_hz().unwrap()));
    }

    #[test]
    fn time_does_not_run_backwards() {
        let before = coarse_ns();
        assert!(before > 0 && coarse_ns() >= before);
    }
}
