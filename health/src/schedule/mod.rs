//! When each probe starts. Sans-IO: time comes in as an argument, so a day can be run in a moment.
//!
//! Every probe has a grid of start times, one `interval` apart, whose first lies at random within
//! the first interval, so that probes which came together do not start together. A start whose
//! time comes while the probe before it is still under way, or while too many others are, is not
//! made up for: it is counted as late and the probe waits for the next time of its grid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::check::{Probe, ProbeKey};

/// Names one run of one probe, so that an outcome that comes too late can be told.
pub type Run = u64;

/// A probe to start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// What to probe.
    pub probe: Arc<Probe>,
    /// Which run this is; to be handed back to [`Scheduler::handle_finished`].
    pub run: Run,
}

/// The scheduler of a set of probes.
#[derive(Debug)]
pub struct Scheduler {
    entries: BTreeMap<ProbeKey, Entry>,
    /// Probes not under way, by the time of their next start.
    waiting: BTreeSet<(Instant, ProbeKey)>,
    in_flight: usize,
    limit: usize,
    next_run: Run,
    random: u64,
    late: u64,
}

#[derive(Debug)]
struct Entry {
    probe: Arc<Probe>,
    next: Instant,
    running: Option<Run>,
}

impl Scheduler {
    /// A scheduler without probes that lets at most `limit` (at least 1) be under way at once and
    /// spreads first starts by a generator seeded with `seed`.
    #[must_use]
    pub fn new(seed: u64, limit: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            in_flight: 0,
            limit: limit.max(1),
            next_run: 0,
            random: seed,
            late: 0,
        }
    }

    /// Replaces the set and returns the runs whose outcome is no longer wanted, because their probe
    /// is gone or asks something else now. A probe that did not change goes on undisturbed; one
    /// whose interval did not change keeps its grid. Of two probes with one key the last counts.
    pub fn handle_set(&mut self, now: Instant, probes: Vec<Arc<Probe>>) -> Vec<Run> {
        let mut old = std::mem::take(&mut self.entries);
        let mut abandoned = Vec::new();
        let probes: BTreeMap<_, _> = probes.into_iter().map(|p| (p.key.clone(), p)).collect();
        for (key, probe) in probes {
            let entry = match old.remove(&key) {
                Some(entry) if entry.probe == probe => entry,
                Some(entry) => {
                    abandoned.extend(entry.running);
                    let same_grid = entry.probe.check.interval == probe.check.interval;
                    let next = if same_grid { entry.next } else { self.first(now, &probe) };
                    Entry { probe, next, running: None }
                }
                None => Entry { next: self.first(now, &probe), probe, running: None },
            };
            self.entries.insert(key, entry);
        }
        abandoned.extend(old.values().filter_map(|entry| entry.running));
        self.index();
        abandoned
    }

    /// Takes note that a run ended. Returns whether its outcome is still wanted.
    pub fn handle_finished(&mut self, now: Instant, key: &ProbeKey, run: Run) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|e| e.running == Some(run)) else {
            return false;
        };
        entry.running = None;
        self.in_flight -= 1;
        self.late += entry.skip_to(now);
        self.waiting.insert((entry.next, key.clone()));
        true
    }

    /// The next probe that is due and may start; to be called until it returns `None`.
    pub fn poll_start(&mut self, now: Instant) -> Option<Start> {
        if self.in_flight >= self.limit || self.waiting.first()?.0 > now {
            return None;
        }
        let (_, key) = self.waiting.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        // The start that is made now is in time unless later ones are due as well.
        self.late += entry.skip_to(now).saturating_sub(1);
        let run = self.next_run;
        self.next_run += 1;
        entry.running = Some(run);
        self.in_flight += 1;
        Some(Start { probe: entry.probe.clone(), run })
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
        self.waiting = self
            .entries
            .iter()
            .filter(|(_, e)| e.running.is_none())
            .map(|(key, e)| (e.next, key.clone()))
            .collect();
    }

    fn first(&mut self, now: Instant, probe: &Probe) -> Instant {
        // 32 bits keep the product within a Duration for any interval.
        let fraction = f64::from((self.random() >> 32) as u32) / f64::from(u32::MAX);
        now + probe.check.interval.mul_f64(fraction)
    }

    /// SplitMix64: tiny, and any seed will do.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entry {
    /// Moves `next` along the grid to after `now`; returns by how many intervals.
    fn skip_to(&mut self, now: Instant) -> u64 {
        let interval = self.probe.check.interval.max(Duration::from_nanos(1));
        let Some(behind) = now.checked_duration_since(self.next) else { return 0 };
        let steps = behind.as_nanos() / interval.as_nanos() + 1;
        let ahead = interval.as_nanos() - behind.as_nanos() % interval.as_nanos();
        self.next = now + Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX));
        u64::try_from(steps).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
