//! Flap damping of one route, with the figures of route damping (RFC 2439 section 4.2): each flap adds a penalty
//! that decays with its half-life; above one limit the route is suppressed until the penalty is below another.

use std::time::{Duration, Instant};

/// How flaps are damped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// After this time half of the penalty is left.
    pub half_life: Duration,
    /// What each flap adds.
    pub penalty: u32,
    /// Above this the route is suppressed.
    pub suppress: u32,
    /// At this the suppression ends; less than `suppress`.
    pub reuse: u32,
    /// The suppression ends this long after the last flap at the latest.
    pub max_suppress: Duration,
}

impl Settings {
    /// The highest penalty that is kept: what decays to `reuse` within `max_suppress` (RFC 2439 section 4.2).
    pub fn ceiling(&self) -> f64 {
        let half_lives = self.max_suppress.as_secs_f64() / self.half_life.as_secs_f64();
        f64::from(self.reuse) * half_lives.exp2()
    }
}

/// The penalty of one route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damping {
    settings: Settings,
    /// The penalty when it was last worked out.
    figure: f64,
    at: Instant,
    until: Option<Instant>,
}

impl Damping {
    /// A route that has not flapped.
    pub(super) fn new(settings: Settings, now: Instant) -> Self {
        Self { settings, figure: 0.0, at: now, until: None }
    }

    /// Other settings from now on; the penalty so far counts on.
    pub(super) fn set(&mut self, settings: Settings, now: Instant) {
        self.figure = self.figure(now);
        self.at = now;
        self.settings = settings;
        self.until = self.suppressed_until(now).map(|_| self.reuse_at());
    }

    /// The penalty.
    pub(super) fn figure(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        self.figure * (-age / self.settings.half_life.as_secs_f64()).exp2()
    }

    /// The route was withdrawn.
    pub(super) fn flap(&mut self, now: Instant) {
        let figure = self.figure(now) + f64::from(self.settings.penalty);
        self.figure = figure.min(self.settings.ceiling());
        self.at = now;
        let suppressed = self.suppressed_until(now).is_some();
        if suppressed || self.figure > f64::from(self.settings.suppress) {
            self.until = Some(self.reuse_at());
        }
    }

    /// Until when the route is suppressed, if it is.
    pub(super) fn suppressed_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// When the penalty will have decayed to `reuse`.
    fn reuse_at(&self) -> Instant {
        let half_lives = (self.figure / f64::from(self.settings.reuse)).log2().max(0.0);
        let wait = self.settings.half_life.mul_f64(half_lives).min(self.settings.max_suppress);
        self.at + wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn settings() -> Settings {
        Settings {
            half_life: 15 * MINUTE,
            penalty: 1000,
            suppress: 2000,
            reuse: 750,
            max_suppress: 60 * MINUTE,
        }
    }

    #[test]
    fn the_third_flap_in_a_row_suppresses() {
        let start = Instant::now();
        let mut damping = Damping::new(settings(), start);
        damping.flap(start);
        damping.flap(start);
        assert_eq!(damping.suppressed_until(start), None, "2000 is not above 2000");
        damping.flap(start);
        // log2(3000 / 750) = 2 half-lives.
        assert_eq!(damping.suppressed_until(start), Some(start + 30 * MINUTE));
        assert_eq!(damping.suppressed_until(start + 30 * MINUTE), None);
        assert!((damping.figure(start + 15 * MINUTE) - 1500.0).abs() < 1e-6);
    }

    #[test]
    fn no_number_of_flaps_suppresses_for_longer_than_the_limit() {
        let start = Instant::now();
        let mut damping = Damping::new(settings(), start);
        for _ in 0..1000 {
            damping.flap(start);
        }
        assert_eq!(damping.figure(start), 12_000.0, "750 * 2^(60/15)");
        assert_eq!(damping.suppressed_until(start), Some(start + 60 * MINUTE));
    }

    #[test]
    fn slow_flaps_do_not_add_up() {
        let start = Instant::now();
        let mut damping = Damping::new(settings(), start);
        for day in 0..100 {
            let now = start + day * 60 * MINUTE;
            damping.flap(now);
            assert_eq!(damping.suppressed_until(now), None);
        }
    }

    #[test]
    fn other_settings_take_over_the_penalty() {
        let start = Instant::now();
        let mut damping = Damping::new(settings(), start);
        (0..3).for_each(|_| damping.flap(start));
        damping.set(Settings { half_life: MINUTE, ..settings() }, start);
        assert_eq!(damping.suppressed_until(start), Some(start + 2 * MINUTE));
    }
}
