//! How punctual a prober is.

use std::time::Duration;

/// Bounds of 1 us, 2 us, 4 us and so on; the last is beyond half an hour.
const BOUNDS: usize = 32;

/// How long after their time probes were begun, counted by powers of two of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    counts: [u64; BOUNDS],
    longest: Duration,
}

impl Delays {
    pub(super) fn add(&mut self, delay: Duration) {
        let us = u32::try_from(delay.as_micros()).unwrap_or(u32::MAX);
        let bound = usize::try_from(32 - us.leading_zeros()).unwrap_or(BOUNDS).min(BOUNDS - 1);
        if let Some(count) = self.counts.get_mut(bound) {
            *count += 1;
        }
        self.longest = self.longest.max(delay);
    }

    /// Bounds, rising, each with how many delays were shorter; longer ones than the last bound are
    /// counted there too.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut sum = 0;
        self.counts.iter().zip(0_u32..).map(move |(count, power)| {
            sum += count;
            (Duration::from_micros(1 << power), sum)
        })
    }

    /// The longest of all.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_powers_of_two() {
        let mut delays = Delays::default();
        for us in [0, 1, 2, 3, 1000, 1024, u64::MAX] {
            delays.add(Duration::from_micros(us));
        }
        let shorter = |us| {
            let bound = Duration::from_micros(us);
            delays.cumulative().find(|(to, _)| *to == bound).map(|(_, count)| count)
        };
        let seen = [1, 2, 4, 512, 1024, 2048, 1 << 31].map(|us| shorter(us).unwrap());
        assert_eq!(seen, [1, 2, 4, 4, 5, 6, 7]);
        assert_eq!(delays.longest(), Duration::from_micros(u64::MAX));
    }
}
