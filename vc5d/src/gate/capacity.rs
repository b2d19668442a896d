//! How much of a VIP's capacity routers are told of, so that they can send this node its share and no more.
//!
//! What is told follows the healthy capacity with hysteresis: each change is an UPDATE to every neighbour, and many
//! routers move flows when the weight of an ECMP member changes. Less is told at once, more only when it has lasted, and
//! two changes of a route that stands lie at least [`Settings::settle`] apart.

use std::time::{Duration, Instant};

/// How closely what is told follows the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The smallest change that is told, in percent of the full capacity, 1 to 100.
    pub step: u8,
    /// How long more capacity has to last before it is told, and the shortest time between two changes.
    pub settle: Duration,
}

/// A capacity: that of the service that has the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Weight of the healthy backends. A level of 0 is never told: its route is about to go.
    pub weight: u64,
    /// Weight of all configured ones.
    pub full: u64,
    /// The healthy part in percent, 0 to 100.
    pub share: u8,
    /// How many of the marks that the operator has set it is below. One more is told however small the change is.
    pub marks: u8,
}

impl Level {
    /// Whether the difference from `told` to this is worth telling.
    fn differs(&self, told: &Self, step: u8) -> bool {
        let step = u64::from(step);
        let weight = self.weight.abs_diff(told.weight).saturating_mul(100);
        let whole = self.share == 100 && told.share != 100;
        let by_share = u64::from(self.share.abs_diff(told.share)) >= step;
        let by_weight = weight >= step.saturating_mul(self.full).max(1);
        self.marks > told.marks || whole || by_share || by_weight
    }

    fn is_more_than(&self, told: &Self) -> bool {
        self.weight >= told.weight && self.share >= told.share && self.marks <= told.marks
    }

    /// The worse of both in each respect.
    fn least(self, other: Self) -> Self {
        Self {
            weight: self.weight.min(other.weight),
            full: other.full,
            share: self.share.min(other.share),
            marks: self.marks.max(other.marks),
        }
    }
}

/// What is told of the capacity of one route.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capacity {
    settings: Option<Settings>,
    now: Level,
    told: Level,
    /// When what is told was last changed.
    changed: Option<Instant>,
    /// Since when more than what is told would have been right without a break, and the least of that time.
    more: Option<(Instant, Level)>,
}

impl Capacity {
    pub(super) fn new(settings: Option<Settings>) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What routers are told.
    pub(super) fn told(&self) -> Level {
        self.told
    }

    /// The capacity as it is.
    pub(super) fn level(&self) -> Level {
        self.now
    }

    pub(super) fn set(&mut self, settings: Option<Settings>, now: Instant) {
        self.settings = settings;
        self.update(now, self.now);
    }

    /// The capacity is another one.
    pub(super) fn update(&mut self, now: Instant, level: Level) {
        self.now = level;
        let more = self.wish().filter(|wish| wish.is_more_than(&self.told));
        self.more = more.map(|wish| match self.more {
            Some((since, least)) => (since, least.least(wish)),
            None => (now, wish),
        });
    }

    /// The route is announced: with what is true now.
    pub(super) fn start(&mut self, now: Instant) {
        self.told = self.now;
        self.more = None;
        self.changed = Some(now);
    }

    /// Tells what is due; true when that changes what routers are told.
    pub(super) fn settle(&mut self, now: Instant) -> bool {
        if self.due().is_none_or(|at| at > now) {
            return false;
        }
        self.told = self.more.take().map_or(self.now, |(_, least)| least);
        self.changed = Some(now);
        self.update(now, self.now);
        true
    }

    /// When what is told changes, if nothing else happens until then.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wish()?;
        let since = self.more.map(|(since, _)| since);
        Some(self.changed.max(since)? + self.settings?.settle)
    }

    /// The present level, if it is worth telling.
    fn wish(&self) -> Option<Level> {
        let step = self.settings?.step;
        (self.now.weight > 0 && self.now.differs(&self.told, step)).then_some(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    /// So many of ten backends; one mark at half.
    fn of_ten(healthy: u8) -> Level {
        Level {
            weight: healthy.into(),
            full: 10,
            share: healthy * 10,
            marks: u8::from(healthy < 5),
        }
    }

    fn full(start: Instant, step: u8) -> Capacity {
        let mut capacity = Capacity::new(Some(Settings { step, settle: SETTLE }));
        capacity.update(start, of_ten(10));
        capacity.start(start);
        capacity
    }

    #[test]
    fn less_is_told_at_once_and_more_when_it_has_lasted() {
        let start = Instant::now();
        let mut capacity = full(start, 10);
        assert_eq!(capacity.due(), None);
        let now = start + 2 * SETTLE;
        capacity.update(now, of_ten(7));
        assert!(capacity.settle(now));
        assert_eq!(capacity.told(), of_ten(7));
        let later = now + 3 * SETTLE;
        capacity.update(later, of_ten(10));
        assert!(!capacity.settle(later));
        assert_eq!(capacity.due(), Some(later + SETTLE));
        assert!(capacity.settle(later + SETTLE));
        assert_eq!(capacity.told(), of_ten(10));
    }

    #[test]
    fn a_second_change_waits_for_its_time() {
        let start = Instant::now();
        let mut capacity = full(start, 10);
        let now = start + SETTLE;
        capacity.update(now, of_ten(8));
        assert!(capacity.settle(now));
        capacity.update(now + SECOND, of_ten(6));
        assert!(!capacity.settle(now + SECOND));
        assert_eq!(capacity.due(), Some(now + SETTLE));
        capacity.update(now + 2 * SECOND, of_ten(7));
        assert!(capacity.settle(now + SETTLE));
        assert_eq!(capacity.told(), of_ten(7), "what is true by then");
    }

    #[test]
    fn what_is_told_of_more_is_the_least_of_the_time_it_lasted() {
        let start = Instant::now();
        let mut capacity = full(start, 10);
        let mut now = start + SETTLE;
        capacity.update(now, of_ten(2));
        assert!(capacity.settle(now));
        for healthy in [4, 9, 6, 10] {
            now += SECOND;
            capacity.update(now, of_ten(healthy));
        }
        let due = capacity.due().unwrap();
        assert_eq!(due, start + SETTLE + SECOND + SETTLE);
        assert!(capacity.settle(due));
        assert_eq!(capacity.told(), of_ten(4));
        assert_eq!(capacity.due(), Some(due + SETTLE), "the rest has to last anew");
    }

    #[test]
    fn a_backend_that_comes_and_goes_moves_nothing_below_the_step() {
        let start = Instant::now();
        let mut capacity = full(start, 30);
        let mut now = start + SETTLE;
        capacity.update(now, of_ten(7));
        assert!(capacity.settle(now));
        for healthy in [8, 7, 9, 5, 6, 5] {
            now += 2 * SETTLE;
            capacity.update(now, of_ten(healthy));
            assert!(!capacity.settle(now + SETTLE), "{healthy}");
        }
        capacity.update(now, of_ten(4));
        assert!(capacity.settle(now), "below a mark");
        capacity.update(now, of_ten(5));
        assert_eq!(capacity.due(), None, "above it again takes a whole step");
        capacity.update(now, of_ten(10));
        assert!(capacity.settle(now + SETTLE), "all are back");
    }

    #[test]
    fn nothing_healthy_is_not_told() {
        let start = Instant::now();
        let mut capacity = full(start, 10);
        capacity.update(start + SETTLE, of_ten(0));
        assert_eq!(capacity.due(), None);
    }
}
