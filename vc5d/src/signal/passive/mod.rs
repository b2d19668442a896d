//! What the packets that clients send to a backend tell of it: a pure machine over the dataplane's counters.
//!
//! Only the way to the backends leads through this node; their answers go straight to the clients. So two things can be
//! seen: SYNs after which no connection comes (`unanswered`: nobody answered, or with a reset), and RSTs of clients
//! (`resets`: they gave up, or were sent what they had not asked for). A backend where either share is too high, while it
//! is not among the others of its service together, is left out for a time, as an outlier. A cause that all share, such
//! as a flood of SYNs, is nobody's failure.

mod driver;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use driver::watch;

use super::{ServiceBackend, Signal};

/// `[pool.NAME.outliers]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `unanswered`: the share of SYNs without a connection that is too high, in percent; `None`: not looked at.
    pub unanswered: Option<u8>,
    /// `resets`: the same of RSTs for each SYN.
    pub resets: Option<u8>,
    /// `connections`: SYNs within the window without which nothing is said.
    pub connections: u64,
    /// `window`: over how long is counted.
    pub window: Duration,
    /// `eject-time`: how long a backend is left out.
    pub eject_time: Duration,
    /// `eject-max`: the largest part of a service's backends that may be left out at once, in percent.
    pub eject_max: u8,
}

/// What was counted of a backend of a service since its counters began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// SYNs sent to it.
    pub syns: u64,
    /// Connections seen beyond their SYN.
    pub flows: u64,
    /// RSTs sent to it.
    pub rsts: u64,
}

impl Counts {
    /// What has come since an earlier count; nothing if the counters began anew.
    fn since(self, before: Self) -> Self {
        Self {
            syns: self.syns.saturating_sub(before.syns),
            flows: self.flows.saturating_sub(before.flows),
            rsts: self.rsts.saturating_sub(before.rsts),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            syns: self.syns + other.syns,
            flows: self.flows + other.flows,
            rsts: self.rsts + other.rsts,
        }
    }
}

/// The counters of one service's backends at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What its pool says.
    pub settings: Settings,
    /// Its backends.
    pub backends: Vec<(ServiceBackend, Counts)>,
}

/// Looks for outliers.
#[derive(Debug, Default)]
pub struct Watch {
    backends: BTreeMap<ServiceBackend, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Counters of the window, the oldest first, with the last ones before it.
    counts: VecDeque<(Instant, Counts)>,
    /// Left out until then.
    until: Option<Instant>,
}

impl Seen {
    fn count(&mut self, now: Instant, window: Duration, counts: Counts) {
        // Counters that go back have begun anew, and what was is of no use.
        if self.counts.back().is_some_and(|(_, last)| counts.syns < last.syns) {
            self.counts.clear();
        }
        self.counts.push_back((now, counts));
        let old = |(at, _): &(Instant, Counts)| *at + window <= now;
        while self.counts.get(1).is_some_and(old) {
            self.counts.pop_front();
        }
    }

    /// What came within the window.
    fn recent(&self) -> Counts {
        let ends = self.counts.front().zip(self.counts.back());
        ends.map(|((_, first), (_, last))| last.since(*first)).unwrap_or_default()
    }
}

impl Watch {
    /// Takes the counters of all services that are looked at; says what is new. What is not among them any more is
    /// forgotten.
    pub fn handle(&mut self, now: Instant, services: &[Sample]) -> Vec<Signal> {
        let mut before = std::mem::take(&mut self.backends);
        let mut signals = Vec::new();
        for Sample { settings, backends } in services {
            for (at, counts) in backends {
                let mut seen = before.remove(at).unwrap_or_default();
                seen.count(now, settings.window, *counts);
                if seen.until.is_some_and(|until| until <= now) {
                    // What came before is forgiven: it is judged by what comes.
                    seen = Seen::default();
                    seen.count(now, settings.window, *counts);
                    signals.push(Signal::Traffic { at: at.clone(), failing: None });
                }
                self.backends.insert(at.clone(), seen);
            }
            signals.extend(self.judge(now, settings, backends));
        }
        let gone = before.into_iter().filter(|(_, seen)| seen.until.is_some());
        signals.extend(gone.map(|(at, _)| Signal::Traffic { at, failing: None }));
        signals
    }

    /// Leaves out the outliers of a service, the worst first, as far as there may be so many.
    fn judge(
        &mut self,
        now: Instant,
        settings: &Settings,
        backends: &[(ServiceBackend, Counts)],
    ) -> Vec<Signal> {
        let seen = |at: &ServiceBackend| self.backends.get(at);
        let out = |at: &ServiceBackend| seen(at).is_some_and(|seen| seen.until.is_some());
        let left_out = backends.iter().filter(|(at, _)| out(at)).count();
        let most = backends.len() * usize::from(settings.eject_max) / 100;
        let judged: Vec<(&ServiceBackend, Counts)> = backends
            .iter()
            .filter(|(at, _)| !out(at))
            .map(|(at, _)| (at, seen(at).map(Seen::recent).unwrap_or_default()))
            .collect();
        let all = judged.iter().fold(Counts::default(), |all, (_, counts)| all.plus(*counts));
        let mut outliers: Vec<(u64, &ServiceBackend, String)> = judged
            .iter()
            .filter_map(|(at, counts)| {
                let (share, why) = settings.complaint(*counts, all.since(*counts))?;
                Some((share, *at, why))
            })
            .collect();
        outliers.sort_by_key(|(share, _, _)| std::cmp::Reverse(*share));
        let mut signals = Vec::new();
        for (_, at, why) in outliers.into_iter().take(most.saturating_sub(left_out)) {
            if let Some(seen) = self.backends.get_mut(at) {
                seen.until = Some(now + settings.eject_time);
            }
            signals.push(Signal::Traffic { at: at.clone(), failing: Some(why) });
        }
        signals
    }
}

impl Settings {
    /// How bad it is and why, if a backend is an outlier among the others.
    fn complaint(&self, own: Counts, others: Counts) -> Option<(u64, String)> {
        if own.syns < self.connections || others.syns < self.connections {
            return None;
        }
        let unanswered =
            |counts: Counts| share(counts.syns.saturating_sub(counts.flows), counts.syns);
        let resets = |counts: Counts| share(counts.rsts, counts.syns);
        let too_high = |limit: Option<u8>, own: u64, others: u64| {
            limit.map(u64::from).is_some_and(|limit| own >= limit && others < limit)
        };
        let seconds = self.window.as_secs_f64();
        let of = format!("of {} connections in {seconds} s", own.syns);
        let (own_share, other_share) = (unanswered(own), unanswered(others));
        if too_high(self.unanswered, own_share, other_share) {
            let why = format!("{own_share} % {of} are not answered, {other_share} % at the others");
            return Some((own_share, why));
        }
        let (own_share, other_share) = (resets(own), resets(others));
        too_high(self.resets, own_share, other_share).then(|| {
            (
                own_share,
                format!("{own_share} % {of} are reset by clients, {other_share} % at the others"),
            )
        })
    }
}

/// In percent.
fn share(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}
