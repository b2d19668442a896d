//! One backend of one service: what its checks say and what the administrator says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vc5_health::{Join, ProbeEvent, Verdict, aggregate};

use super::path::Path;
use super::signals::Standing;
use crate::admin::Word;
use crate::config::model::{AdminState, Service};
use crate::snapshot::BackendState;

/// The kernel tells of a lost carrier up to a second late.
const HINDSIGHT: Duration = Duration::from_secs(2);

/// The verdict of one check and its last result.
#[derive(Clone, Debug)]
pub(crate) struct CheckEntry {
    pub(crate) verdict: Verdict,
    pub(crate) last: Option<ProbeEvent>,
    /// The last probe that failed: when it ended, and what it found.
    pub(crate) last_failure: Option<(Instant, String)>,
    /// It came to a backend that had a verdict already: until then, undecided does not count.
    late_until: Option<Instant>,
    /// When it last fell from up to down.
    fell: Option<Instant>,
}

impl CheckEntry {
    fn new(late_until: Option<Instant>) -> Self {
        Self { verdict: Verdict::Unknown, last: None, last_failure: None, late_until, fell: None }
    }

    fn counts(&self, now: Instant) -> bool {
        self.verdict != Verdict::Unknown || self.late_until.is_none_or(|until| until <= now)
    }
}

/// One backend of one service.
#[derive(Clone, Debug)]
pub(crate) struct BackendEntry {
    pub(crate) address: IpAddr,
    /// It is of the backup pool.
    pub(crate) backup: bool,
    pub(crate) weight: u32,
    /// The administrator's word: the stricter of the configuration's and that at the control socket.
    pub(crate) admin: AdminState,
    configured: AdminState,
    pub(crate) configured_weight: u32,
    pub(crate) word: Option<Word>,
    /// What is said of it besides.
    pub(crate) signals: Standing,
    /// This node's own path to it.
    pub(crate) path: Path,
    /// Without a path it does not count for the gate.
    pub(crate) needs_path: bool,
    pub(crate) checks: BTreeMap<String, CheckEntry>,
    /// Whether it has to pass all of them.
    checks_need: Join,
    /// What its checks say by themselves.
    checked: Verdict,
    pub(crate) verdict: Verdict,
    pub(crate) since: Instant,
    /// It was up when its service last had enough backends not to panic.
    pub(crate) good: bool,
    /// When the verdict was last worked out.
    settled: Instant,
}

impl BackendEntry {
    /// A new backend is undecided, and so gets no traffic, unless it has no checks at all.
    pub(crate) fn new(address: IpAddr, checks: &[String], now: Instant) -> Self {
        let fresh = |name: &String| (name.clone(), CheckEntry::new(None));
        let checks: BTreeMap<_, _> = checks.iter().map(fresh).collect();
        let mut entry = Self {
            address,
            backup: false,
            weight: 1,
            admin: AdminState::Enabled,
            configured: AdminState::Enabled,
            configured_weight: 1,
            word: None,
            signals: Standing::default(),
            path: Path::default(),
            needs_path: false,
            checks,
            checks_need: Join::All,
            checked: Verdict::Unknown,
            verdict: Verdict::Unknown,
            since: now,
            good: false,
            settled: now,
        };
        entry.settle(now);
        entry
    }

    /// Takes over the checks of its service and how many it needs of them; what stays keeps its verdict. A check that is new to a backend with a
    /// verdict counts from its own first verdict, or as undecided when `learn_time` is over.
    pub(crate) fn set_checks(&mut self, service: &Service, now: Instant, learn_time: Duration) {
        let checks = &service.checks;
        self.checks_need = service.checks_need;
        let late_until = (self.verdict != Verdict::Unknown).then(|| now + learn_time);
        self.checks.retain(|name, _| checks.contains(name));
        for name in checks {
            self.checks.entry(name.clone()).or_insert_with(|| CheckEntry::new(late_until));
        }
        self.settle(now);
    }

    /// `state` in the configuration. A backend that was switched off there was not probed: it has to prove itself anew.
    pub(crate) fn set_configured(&mut self, admin: AdminState, now: Instant) {
        let off = |state| state == AdminState::Disabled;
        if off(self.configured) != off(admin) {
            self.checks.values_mut().for_each(|check| *check = CheckEntry::new(None));
            self.settle(now);
        }
        self.configured = admin;
        self.settle_admin();
    }

    /// `weight` in the configuration; a report may stand against it.
    pub(crate) fn set_weight(&mut self, configured: u32) {
        self.configured_weight = configured;
        self.weight = self.signals.weight(configured);
    }

    /// Works out anew whether it may be used.
    pub(crate) fn settle_admin(&mut self) {
        let admin = Word::applied_to(self.word.as_ref(), self.configured);
        self.admin = self.signals.stricter(admin);
    }

    /// The administrator's word at the control socket. Probes go on meanwhile.
    pub(crate) fn set_word(&mut self, word: Option<Word>) {
        self.word = word;
        self.settle_admin();
    }

    /// Takes a probe's result; true when the verdict on the backend changed, or whether it counts.
    pub(crate) fn probed(&mut self, event: ProbeEvent, now: Instant) -> bool {
        let worked = self.works();
        let Some(check) = self.checks.get_mut(&event.key.check) else { return false };
        // A probe that was set up anew starts undecided; what is known stands until it decides.
        if event.verdict != Verdict::Unknown && self.path.believes(&event) {
            let falls = (check.verdict, event.verdict) == (Verdict::Up, Verdict::Down);
            check.fell = if falls { Some(event.at) } else { check.fell };
            check.verdict = event.verdict;
        }
        if !event.outcome.ok && self.path.blames() {
            check.last_failure = Some((event.at, event.outcome.diagnostic.clone()));
        }
        check.last = Some(event);
        self.settle(now) || self.works() != worked
    }

    /// Whether it is up and this node can reach it, as far as that matters.
    pub(crate) fn works(&self) -> bool {
        self.verdict == Verdict::Up && !self.is_cut_off()
    }

    /// Whether it does not count for the gate, because this node's own path to it is lost or not proven again.
    pub(crate) fn is_cut_off(&self) -> bool {
        let proven = |check: &CheckEntry| {
            check.last.as_ref().is_some_and(|last| last.outcome.ok && self.path.proven_at(last.at))
        };
        let proven = match self.path {
            Path::Whole => true,
            Path::Lost(_) => false,
            Path::Learning { .. } if self.checks.is_empty() => true,
            Path::Learning { .. } if self.checks_need == Join::Any => {
                self.checks.values().any(proven)
            }
            Path::Learning { .. } => self.checks.values().all(proven),
        };
        self.needs_path && !proven
    }

    /// When an undecided check begins to count.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let undecided = self.checks.values().filter(|check| check.verdict == Verdict::Unknown);
        // What has passed has been settled already.
        let late = undecided.filter_map(|check| check.late_until);
        late.filter(|until| *until > self.settled).chain(self.path.poll_timeout()).min()
    }

    /// Works the verdict out anew; true when it changed.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        self.settled = now;
        if self.path.timeout(now) {
            self.believe_the_last();
        }
        let mut counting = self.checks.values().filter(|check| check.counts(now)).peekable();
        if counting.peek().is_some() || self.checks.is_empty() {
            self.checked =
                aggregate::backend(self.checks_need, counting.map(|check| check.verdict));
        }
        let verdict = self.signals.over(self.checked, &self.path);
        let changed = verdict != self.verdict;
        if changed {
            self.verdict = verdict;
            self.since = now;
        }
        changed
    }

    /// The path to it is lost: what fell just before fell for that, before the kernel has told of it.
    pub(crate) fn forgive(&mut self, now: Instant) {
        let recent = |check: &&mut CheckEntry| {
            check.fell.is_some_and(|fell| now.saturating_duration_since(fell) <= HINDSIGHT)
        };
        let fallen = self.checks.values_mut().filter(|check| check.verdict == Verdict::Down);
        fallen.filter(recent).for_each(|check| check.verdict = Verdict::Up);
    }

    /// What probes found last counts from now on, bad or good.
    fn believe_the_last(&mut self) {
        for check in self.checks.values_mut() {
            let last = check.last.as_ref().map(|event| event.verdict);
            check.verdict = last.filter(|v| *v != Verdict::Unknown).unwrap_or(check.verdict);
        }
    }

    /// What keeps it from counting: this node's own path, what is said of it, or what the failing check found when it
    /// failed last.
    pub(crate) fn failure(&self) -> Option<String> {
        let path = self.path.cause().filter(|_| self.is_cut_off());
        path.or_else(|| self.signals.down_cause(&self.path))
            .or_else(|| self.failing().map(|(_, diagnostic)| diagnostic.to_owned()))
    }

    fn failing(&self) -> Option<(&str, &str)> {
        let down = |(_, check): &(&String, &CheckEntry)| check.verdict == Verdict::Down;
        let (name, check) = self.checks.iter().find(down)?;
        check.last_failure.as_ref().map(|(_, diagnostic)| (name.as_str(), diagnostic.as_str()))
    }

    /// Its state in one word: the verdict with the administrator's word.
    pub(crate) fn state(&self) -> BackendState {
        match (self.admin, self.verdict) {
            (AdminState::Disabled, _) => BackendState::Disabled,
            (AdminState::Drain, _) => BackendState::Draining,
            (AdminState::Enabled, Verdict::Up) => BackendState::Up,
            (AdminState::Enabled, Verdict::Down) => BackendState::Down,
            (AdminState::Enabled, Verdict::Unknown) => BackendState::Unknown,
        }
    }

    /// Why its verdict is what it is.
    pub(crate) fn cause(&self) -> String {
        if let Some(cause) = self.signals.down_cause(&self.path) {
            return cause;
        }
        match (self.verdict, self.failing()) {
            (Verdict::Down, Some((check, why))) if self.checks_need == Join::Any => {
                format!("none of its checks passes, check {check}: {why}")
            }
            (Verdict::Down, Some((check, why))) => format!("check {check}: {why}"),
            (Verdict::Down, None) => "a check is down".to_owned(),
            (Verdict::Up, _) if self.checks.is_empty() => "it has no checks".to_owned(),
            (Verdict::Up, _) if self.checks_need == Join::Any => "a check passes".to_owned(),
            (Verdict::Up, _) => "every check passes".to_owned(),
            (Verdict::Unknown, _) => "a check has no verdict".to_owned(),
        }
    }
}
