//! Timers of a session, and the wait after errors.

use std::time::{Duration, Instant};

use super::config::PeerConfig;
use super::negotiation::Negotiated;
use super::rng::Rng;

/// Hold, keepalive and send hold timer from OpenConfirm on.
#[derive(Debug, Clone)]
pub(super) struct SessionTimers {
    hold_time: Duration,
    keepalive_time: Duration,
    send_hold_time: Duration,
    pub(super) hold: Option<Instant>,
    pub(super) keepalive: Option<Instant>,
    /// RFC 9687: runs while the neighbour's TCP takes nothing.
    pub(super) send_hold: Option<Instant>,
}

impl SessionTimers {
    /// Starts them with OpenConfirm. Without a hold time, `patience` is how long the neighbour's first
    /// KEEPALIVE may take: RFC 4271 lets it take for ever, and the connection with it.
    pub(super) fn start(
        now: Instant,
        negotiated: &Negotiated,
        patience: Duration,
        rng: &mut Rng,
    ) -> Self {
        let mut timers = Self {
            hold_time: negotiated.hold_time,
            keepalive_time: negotiated.keepalive_time,
            send_hold_time: negotiated.send_hold_time,
            hold: None,
            keepalive: None,
            send_hold: None,
        };
        timers.received(now);
        timers.hold.get_or_insert(now + patience);
        timers.sent(now);
        timers.restart_keepalive(now, rng);
        timers
    }

    /// Restarts the hold timer, which is never jittered.
    pub(super) fn received(&mut self, now: Instant) {
        self.hold = (!self.hold_time.is_zero()).then(|| now + self.hold_time);
    }

    /// Restarts the send hold timer.
    pub(super) fn sent(&mut self, now: Instant) {
        self.send_hold = (!self.send_hold_time.is_zero()).then(|| now + self.send_hold_time);
    }

    pub(super) fn restart_keepalive(&mut self, now: Instant, rng: &mut Rng) {
        let time = self.keepalive_time;
        self.keepalive = (!time.is_zero()).then(|| now + rng.jitter(time));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        [self.hold, self.keepalive, self.send_hold].into_iter().flatten().min()
    }
}

/// Keeps a connect retry time of zero from becoming a loop.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);

/// When the ConnectRetry timer fires that is started now (jittered, RFC 4271 section 10).
pub(super) fn retry_at(now: Instant, config: &PeerConfig, rng: &mut Rng) -> Instant {
    now + rng.jitter(config.connect_retry_time.max(SHORTEST_RETRY))
}

/// How long to stay idle after an error: doubles from error to error, and is forgotten after a quiet
/// time (RFC 4271 section 8.1.1, DampPeerOscillations).
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    last: Option<(Instant, Duration)>,
}

impl Backoff {
    /// The wait after an error at `now`.
    pub(super) fn error(&mut self, now: Instant, config: &PeerConfig) -> Duration {
        let (min, max) = config.error_wait_time;
        // Less would forget an error before the wait after it is over.
        let forget = config.error_forget_time.max(2 * max);
        let wait = match self.last {
            Some((at, wait)) if now.duration_since(at) < forget => (2 * wait).min(max),
            _ => min,
        }
        .max(min);
        self.last = Some((now, wait));
        wait
    }

    pub(super) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_its_bound_and_is_forgotten() {
        let seconds = Duration::from_secs;
        let config = PeerConfig {
            error_wait_time: (seconds(1), seconds(5)),
            ..PeerConfig::new("peer", [192, 0, 2, 1].into(), 65001)
        };
        for (forget, forgotten_after) in [(300, 300), (100, 100), (1, 10)] {
            let config = PeerConfig { error_forget_time: seconds(forget), ..config.clone() };
            let mut now = Instant::now();
            let mut backoff = Backoff::default();
            for expected in [1, 2, 4, 5, 5] {
                assert_eq!(backoff.error(now, &config), seconds(expected));
                now += seconds(forgotten_after) - Duration::from_millis(1);
            }
            now += Duration::from_millis(1);
            assert_eq!(backoff.error(now, &config), seconds(1), "{forget}");
            assert_eq!(backoff.error(now, &config), seconds(2));
            backoff.reset();
            assert_eq!(backoff.error(now, &config), seconds(1));
        }
    }
}
