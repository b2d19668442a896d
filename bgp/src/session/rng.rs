//! The generator behind timer jitter, seeded by the caller so that a run can be repeated.

use std::time::Duration;

/// SplitMix64: small, fast, and good enough to spread timers.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `time` times a factor from 0.75 to 1 (RFC 4271 section 10).
    pub(super) fn jitter(&mut self, time: Duration) -> Duration {
        const STEPS: u64 = 1 << 20;
        let cut = u32::try_from(self.next() % STEPS).unwrap_or(0);
        time.mul_f64(1.0 - 0.25 * f64::from(cut) / (STEPS as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_fills_its_range_and_repeats_by_seed() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..1000).map(|_| rng.jitter(Duration::from_secs(100))).collect::<Vec<_>>()
        };
        let values = draw(7);
        assert_eq!(values, draw(7));
        assert_ne!(values, draw(8));
        let (low, high) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        assert!(*low >= Duration::from_secs(75) && *low < Duration::from_secs(76), "{low:?}");
        assert!(*high <= Duration::from_secs(100) && *high > Duration::from_secs(99), "{high:?}");
    }
}
