//! When each probe starts. Sans-IO: time comes in as an argument, so a day can be run in a moment.
//!
//! Every probe has a grid of start times, one `interval` apart, whose first lies at random within
//! the first interval, so that probes which came together do not start together; jitter puts each
//! start off from its place in the grid, and the grid stays. While a verdict is changing the steps
//! are those of the fast interval. A start whose time comes while the probe before it is still
//! under way, or while too many others are, is made as soon as it can be. Whole intervals that go
//! by meanwhile are not made up for: they are counted as late.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::check::Check;

/// Names one probe of the set. The caller's number: another one where anything about the probe is
/// another.
pub type Id = u64;

/// Names one run of one probe, so that an outcome that comes too late can be told.
pub type Run = u64;

/// How often one probe starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// As [`Check::interval`].
    pub interval: Duration,
    /// As [`Check::fast_interval`].
    pub fast: Option<Duration>,
    /// As [`Check::jitter`].
    pub jitter: u8,
}

impl From<&Check> for Pace {
    fn from(check: &Check) -> Self {
        Self { interval: check.interval, fast: check.fast_interval, jitter: check.jitter }
    }
}

impl Pace {
    /// The step of the grid, more than zero.
    fn step(self, changing: bool) -> Duration {
        let fast = self.fast.filter(|_| changing);
        fast.unwrap_or(self.interval).max(Duration::from_nanos(1))
    }
}

/// A probe to start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// What to probe.
    pub id: Id,
    /// Which run this is; to be handed back to [`Scheduler::handle_finished`].
    pub run: Run,
    /// When it was due.
    pub due: Instant,
}

/// The scheduler of a set of probes.
#[derive(Debug)]
pub struct Scheduler {
    entries: HashMap<Id, Entry>,
    /// Probes not under way, by the time of their next start.
    waiting: BTreeSet<(Instant, Id)>,
    in_flight: usize,
    limit: usize,
    next_run: Run,
    random: Random,
    late: u64,
}

#[derive(Debug)]
struct Entry {
    pace: Pace,
    /// The next start without its jitter; that of the run while there is one.
    grid: Instant,
    /// The next start.
    next: Instant,
    /// Whether the fast interval holds.
    changing: bool,
    running: Option<Run>,
}

impl Scheduler {
    /// A scheduler without probes that lets at most `limit` (at least 1) be under way at once and
    /// spreads first starts by a generator seeded with `seed`.
    #[must_use]
    pub fn new(seed: u64, limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            waiting: BTreeSet::new(),
            in_flight: 0,
            limit: limit.max(1),
            next_run: 0,
            random: Random(seed),
            late: 0,
        }
    }

    /// Replaces the set and returns the runs whose outcome is no longer wanted, because their probe
    /// is gone. Those that were there before go on undisturbed.
    pub fn handle_set(&mut self, now: Instant, probes: BTreeMap<Id, Pace>) -> Vec<Run> {
        let mut old = std::mem::take(&mut self.entries);
        for (id, pace) in probes {
            let entry = match old.remove(&id) {
                Some(entry) => entry,
                None => {
                    // Nothing is known about it yet.
                    let at = now + self.random.part_of(pace.step(true));
                    Entry { pace, grid: at, next: at, changing: true, running: None }
                }
            };
            self.entries.insert(id, entry);
        }
        self.index();
        old.values().filter_map(|entry| entry.running).collect()
    }

    /// Whether a run is the one that is under way, so that its outcome counts.
    #[must_use]
    pub fn wants(&self, id: Id, run: Run) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.running == Some(run))
    }

    /// Takes note that a run ended, and whether the verdicts that it is for may still change.
    /// Returns whether its outcome was still wanted.
    pub fn handle_finished(&mut self, id: Id, run: Run, changing: bool) -> bool {
        let Some(entry) = self.entries.get_mut(&id).filter(|e| e.running == Some(run)) else {
            return false;
        };
        entry.running = None;
        entry.changing = changing;
        let step = entry.pace.step(changing);
        entry.grid += step;
        let jitter = step.mul_f64(f64::from(entry.pace.jitter) / 100.0);
        entry.next = entry.grid + self.random.part_of(jitter);
        self.in_flight -= 1;
        self.waiting.insert((entry.next, id));
        true
    }

    /// The next probe that is due and may start; to be called until it returns `None`.
    pub fn poll_start(&mut self, now: Instant) -> Option<Start> {
        if self.in_flight >= self.limit || self.waiting.first()?.0 > now {
            return None;
        }
        let (due, id) = self.waiting.pop_first()?;
        let entry = self.entries.get_mut(&id)?;
        self.late += entry.catch_up(now);
        let run = self.next_run;
        self.next_run += 1;
        entry.running = Some(run);
        self.in_flight += 1;
        Some(Start { id, run, due })
    }

    /// When [`poll_start`](Self::poll_start) will have something next. `None` means not before
    /// another call changes something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.in_flight >= self.limit {
            return None;
        }
        self.waiting.first().map(|(at, _)| *at)
    }

    /// Probes in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Probes under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Starts missed so far.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    fn index(&mut self) {
        self.in_flight = self.entries.values().filter(|e| e.running.is_some()).count();
        let waiting = self.entries.iter().filter(|(_, entry)| entry.running.is_none());
        self.waiting = waiting.map(|(id, entry)| (entry.next, *id)).collect();
    }
}

/// SplitMix64: tiny, and any seed will do.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// Anything from nothing to the whole of a time.
    fn part_of(&mut self, whole: Duration) -> Duration {
        // 32 bits keep the product within a Duration for any interval.
        let fraction = f64::from((self.next() >> 32) as u32) / f64::from(u32::MAX);
        whole.mul_f64(fraction)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entry {
    /// A start is made `now`, at its time or after it: moves the grid to the last of its times that
    /// has come, and returns how many usual intervals have gone by since this start was due.
    fn catch_up(&mut self, now: Instant) -> u64 {
        let behind = now.saturating_duration_since(self.next);
        let step = self.pace.step(self.changing);
        // Less than `behind`, so that the clock can name it.
        let passed = step.as_nanos() * (behind.as_nanos() / step.as_nanos());
        self.grid += Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));
        let missed = behind.as_nanos() / self.pace.step(false).as_nanos();
        u64::try_from(missed).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
