//! One backend of one service: what its checks say and what the administrator says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use vc5_health::{ProbeEvent, Verdict, aggregate};

use crate::config::model::AdminState;

/// The verdict of one check and its last result.
#[derive(Clone, Debug)]
pub(crate) struct CheckEntry {
    pub(crate) verdict: Verdict,
    pub(crate) last: Option<ProbeEvent>,
}

/// One backend of one service.
#[derive(Clone, Debug)]
pub(crate) struct BackendEntry {
    pub(crate) address: IpAddr,
    pub(crate) weight: u32,
    pub(crate) admin: AdminState,
    pub(crate) checks: BTreeMap<String, CheckEntry>,
    pub(crate) verdict: Verdict,
    pub(crate) since: Instant,
}

impl BackendEntry {
    /// A new backend is undecided, and so gets no traffic, unless it has no checks at all.
    pub(crate) fn new(address: IpAddr, checks: &[String], now: Instant) -> Self {
        let fresh = CheckEntry { verdict: Verdict::Unknown, last: None };
        let checks: BTreeMap<_, _> = checks.iter().map(|c| (c.clone(), fresh.clone())).collect();
        let mut entry = Self {
            address,
            weight: 1,
            admin: AdminState::Enabled,
            checks,
            verdict: Verdict::Unknown,
            since: now,
        };
        entry.settle(now);
        entry
    }

    /// Takes over a changed list of checks; what stays keeps its verdict.
    pub(crate) fn set_checks(&mut self, checks: &[String], now: Instant) {
        self.checks.retain(|name, _| checks.contains(name));
        for name in checks {
            self.checks
                .entry(name.clone())
                .or_insert(CheckEntry { verdict: Verdict::Unknown, last: None });
        }
        self.settle(now);
    }

    /// Takes a probe's result; true when the verdict on the backend changed.
    pub(crate) fn probed(&mut self, event: ProbeEvent, now: Instant) -> bool {
        let Some(check) = self.checks.get_mut(&event.key.check) else { return false };
        check.verdict = event.verdict;
        check.last = Some(event);
        self.settle(now)
    }

    fn settle(&mut self, now: Instant) -> bool {
        let verdict = aggregate::backend(self.checks.values().map(|check| check.verdict));
        let changed = verdict != self.verdict;
        if changed {
            self.verdict = verdict;
            self.since = now;
        }
        changed
    }

    /// What the failing check found last.
    pub(crate) fn failure(&self) -> Option<&str> {
        let failing = self.checks.values().find(|check| check.verdict == Verdict::Down)?;
        failing.last.as_ref().map(|event| event.outcome.diagnostic.as_str())
    }
}
