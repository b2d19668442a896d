//! One service of a VIP: its backends taken together.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vc5_health::aggregate::{self, ServiceState};
use vc5_health::{ProbeEvent, Verdict};
use vc5_xdp::{OnDown, Ports};

use super::backend::BackendEntry;
use super::notes::{ABSENT, Change, Notes};
use crate::admin::{Word, Words};
use crate::config::model::{AdminState, Config, Need, Protocol, Service};

/// The cause of what a new configuration changes.
pub(crate) const CONFIGURED: &str = "the configuration was changed";

/// One service of a VIP.
#[derive(Clone, Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) ports: Ports,
    pub(crate) protocol: Protocol,
    pub(crate) pool: String,
    /// The pool that helps out when too few of its own are healthy.
    pub(crate) backup: Option<String>,
    /// It does: backups take new flows too.
    pub(crate) on_backup: bool,
    pub(crate) need: Need,
    /// The VIP depends on it.
    pub(crate) gating: bool,
    panic_threshold: Option<u8>,
    /// Too few backends are up to be believed: the last good ones are used on.
    pub(crate) panicking: bool,
    pub(crate) ttl: Option<u8>,
    pub(crate) on_down: OnDown,
    pub(crate) sticky: bool,
    pub(crate) backends: Vec<BackendEntry>,
    pub(crate) state: ServiceState,
    pub(crate) since: Instant,
    /// While undecided it does not gate until then; afterwards undecided counts as down.
    pub(crate) deadline: Instant,
    /// It came to a VIP that stood already: undecided does not gate.
    pub(crate) late: bool,
}

impl ServiceEntry {
    pub(crate) fn new(service: &Service, now: Instant, learn_time: Duration, late: bool) -> Self {
        Self {
            ports: service.ports,
            protocol: service.protocol,
            pool: service.pool.clone(),
            backup: None,
            on_backup: false,
            need: service.need,
            gating: service.gating,
            panic_threshold: service.panic_threshold,
            panicking: false,
            ttl: None,
            on_down: service.on_down,
            sticky: service.sticky,
            backends: Vec::new(),
            state: ServiceState::Unknown,
            since: now,
            deadline: now + learn_time,
            late,
        }
    }

    /// `80/tcp`: its name in logs, reasons and probe keys.
    pub(crate) fn label(&self) -> String {
        label(self.ports, self.protocol)
    }

    /// Takes over the configuration for the VIP address `vip`; known backends keep their verdicts.
    pub(crate) fn configure(
        &mut self,
        vip: IpAddr,
        service: &Service,
        config: &Config,
        words: &Words,
        now: Instant,
        notes: &mut Notes,
    ) {
        let learn_time = config.router.learn_time;
        let known_service = !self.backends.is_empty();
        let label = self.label();
        let change = |from, to| Change { at: now, from, to };
        let mut old = std::mem::take(&mut self.backends);
        self.need = service.need;
        self.gating = service.gating;
        self.panic_threshold = service.panic_threshold;
        self.on_down = service.on_down;
        self.sticky = service.sticky;
        self.pool.clone_from(&service.pool);
        self.backup = None;
        for pool in config.pool_and_backup(&service.pool) {
            self.ttl = pool.ttl;
            let backup = pool.name != service.pool;
            if backup {
                self.backup = Some(pool.name.clone());
            }
            for backend in pool.backends_for(vip) {
                let known = old.iter().position(|b| b.address == backend.address);
                let (mut entry, before) = match known {
                    Some(at) => {
                        let entry = old.swap_remove(at);
                        let before = entry.state().word();
                        (entry, before)
                    }
                    None => (BackendEntry::new(backend.address, &service.checks, now), ABSENT),
                };
                entry.set_configured(backend.state, now);
                entry.backup = backup;
                entry.set_word(words.backend(&pool.name, backend.address).cloned());
                entry.set_checks(service, now, learn_time);
                entry.set_weight(backend.weight);
                // A new service says enough by itself: its backends are new too.
                if known_service {
                    let change = change(before, entry.state().word());
                    notes.backend(&label, backend.address, change, CONFIGURED.to_owned());
                }
                self.backends.push(entry);
            }
        }
        for gone in old {
            let change = change(gone.state().word(), ABSENT);
            notes.backend(&label, gone.address, change, CONFIGURED.to_owned());
        }
        self.settle(now, notes);
    }

    /// The administrator's words have changed; `cause` is why those are gone that are.
    pub(crate) fn set_words(
        &mut self,
        words: &Words,
        now: Instant,
        cause: &str,
        notes: &mut Notes,
    ) {
        let label = self.label();
        let (own, backup) = (self.pool.clone(), self.backup.clone().unwrap_or_default());
        for backend in &mut self.backends {
            let before = backend.state().word();
            let pool = if backend.backup { &backup } else { &own };
            backend.set_word(words.backend(pool, backend.address).cloned());
            let change = Change { at: now, from: before, to: backend.state().word() };
            if change.from != change.to {
                backend.since = now;
                let word = backend.word.as_ref();
                let cause = word.map_or_else(|| cause.to_owned(), Word::cause);
                notes.backend(&label, backend.address, change, cause);
            }
        }
        self.settle(now, notes);
    }

    /// Its enabled backends taken together, with those of the backup pool or without.
    fn health(&self, with_backup: bool, now: Instant) -> ServiceState {
        let need = usize::try_from(self.needed()).unwrap_or(usize::MAX);
        let kept = |b: &BackendEntry| match self.keeps(b) {
            true => Verdict::Up,
            false if b.is_cut_off() => Verdict::Down,
            false => b.verdict,
        };
        let counting = self.enabled().filter(|b| with_backup || !b.backup);
        match aggregate::service(need, counting.map(kept)).state {
            ServiceState::Unknown if now >= self.deadline => ServiceState::Down,
            state => state,
        }
    }

    fn enabled(&self) -> impl Iterator<Item = &BackendEntry> {
        self.backends.iter().filter(|b| b.admin == AdminState::Enabled)
    }

    /// The backends of its own pool.
    fn own(&self) -> impl Iterator<Item = &BackendEntry> {
        self.backends.iter().filter(|b| !b.backup)
    }

    /// Backends that have to be healthy: of its own pool, as far as that has them.
    pub(crate) fn needed(&self) -> u32 {
        self.need.of(self.own().count())
    }

    /// Whether a backend may get new flows, as far as its pool goes.
    pub(crate) fn uses(&self, backend: &BackendEntry) -> bool {
        !backend.backup || self.on_backup
    }

    /// Weight of the backends that get new flows, and of all configured ones of its own pool.
    pub(crate) fn weights(&self) -> (u64, u64) {
        let serves = |b: &&BackendEntry| self.keeps(b) || (b.works() && self.uses(b));
        let healthy = self.enabled().filter(serves).map(|b| u64::from(b.weight)).sum();
        (healthy, self.own().map(|b| u64::from(b.configured_weight)).sum())
    }

    /// Whether a backend is used although it is down, because too many are.
    pub(crate) fn keeps(&self, backend: &BackendEntry) -> bool {
        let usable = backend.admin == AdminState::Enabled && !backend.is_cut_off();
        self.panicking && backend.good && usable
    }

    /// Remembers which backends are good while enough are up; with fewer, these are used on.
    fn settle_panic(&mut self) {
        let threshold = usize::from(self.panic_threshold.unwrap_or(0));
        let up = self.enabled().filter(|b| !b.backup && b.works()).count();
        let all = self.enabled().filter(|b| !b.backup).count();
        if up * 100 < threshold * all {
            let any_good = self.enabled().any(|b| b.good && !b.is_cut_off());
            self.panicking = any_good && !self.is_relieved(up);
            return;
        }
        self.panicking = false;
        for backend in &mut self.backends {
            backend.good = !backend.backup && backend.verdict == Verdict::Up;
        }
    }

    /// Whether the backup pool makes up for what its own lacks, of which so many are up: then there is no need to use
    /// what is down.
    fn is_relieved(&self, up: usize) -> bool {
        let need = usize::try_from(self.needed()).unwrap_or(usize::MAX);
        let backups = self.enabled().filter(|b| b.backup && b.works()).count();
        up < need && up + backups >= need
    }

    /// Backends that are healthy, enabled and not backups without need.
    pub(crate) fn healthy(&self) -> u32 {
        let up = self.enabled().filter(|b| b.works() && self.uses(b)).count();
        u32::try_from(up).unwrap_or(u32::MAX)
    }

    /// Works the state out anew; true when it changed.
    pub(crate) fn settle(&mut self, now: Instant, notes: &mut Notes) -> bool {
        let before = self.word();
        self.heed_traffic(now, notes);
        self.settle_panic();
        let own = self.health(false, now);
        self.on_backup = self.backup.is_some() && own == ServiceState::Down;
        let state = if self.on_backup { self.health(true, now) } else { own };
        let changed = state != self.state;
        self.state = state;
        let change = Change { at: now, from: before, to: self.word() };
        if change.from != change.to {
            notes.service(&self.label(), change, self.tally());
        }
        if changed {
            self.since = now;
            self.late &= state == ServiceState::Unknown;
        }
        changed
    }

    /// When an undecided check begins to count, or an undecided service becomes a down one.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let own = (self.state == ServiceState::Unknown).then_some(self.deadline);
        self.backends.iter().filter_map(BackendEntry::poll_timeout).chain(own).min()
    }

    /// Lets time pass; true when the state changed.
    pub(crate) fn timeout(&mut self, now: Instant, notes: &mut Notes) -> bool {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return false;
        }
        let label = self.label();
        for backend in &mut self.backends {
            let before = backend.state().word();
            if backend.settle(now) {
                let change = Change { at: now, from: before, to: backend.state().word() };
                notes.backend(&label, backend.address, change, backend.cause());
            }
        }
        self.settle(now, notes)
    }

    /// Takes a probe's result on one of its backends; says what it is now if the verdict changed.
    pub(crate) fn probed(
        &mut self,
        at: usize,
        event: ProbeEvent,
        now: Instant,
        notes: &mut Notes,
    ) -> Option<&BackendEntry> {
        let label = self.label();
        let backend = self.backends.get_mut(at)?;
        let before = backend.state().word();
        if !backend.probed(event, now) {
            return None;
        }
        let change = Change { at: now, from: before, to: backend.state().word() };
        notes.backend(&label, backend.address, change, backend.cause());
        self.settle(now, notes);
        self.backends.get(at)
    }

    /// Undecided on a VIP that stood before it came: nothing has been promised for its port yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.late && self.state == ServiceState::Unknown
    }

    /// Why it is down, in words.
    pub(crate) fn complaint(&self) -> String {
        format!("service {} has {}", self.label(), self.tally())
    }

    /// How its backends stand, and what one that fails says.
    fn tally(&self) -> String {
        let failing = self.backends.iter().find_map(|b| Some((b.address, b.failure()?)));
        let detail = failing.map(|(a, why)| format!(" ({a}: {why})")).unwrap_or_default();
        let (need, all) = (self.needed(), self.own().count());
        let healthy = self.enabled().filter(|b| !b.backup && b.works()).count();
        let backup = self.backup.as_ref().filter(|_| self.on_backup).map(|pool| {
            let backups = || self.backends.iter().filter(|b| b.backup);
            let up = backups().filter(|b| b.admin == AdminState::Enabled && b.works()).count();
            format!(", and {up} of {} of the backup pool {pool}", backups().count())
        });
        let backup = backup.unwrap_or_default();
        format!("{healthy} of {all} backends up{backup} and needs {need}{detail}")
    }

    /// Its state in one word.
    pub(crate) fn word(&self) -> &'static str {
        match self.state {
            ServiceState::Unknown => "unknown",
            ServiceState::Up if self.panicking => "panic",
            ServiceState::Up if self.on_backup => "backup",
            ServiceState::Up => "up",
            ServiceState::Down => "down",
        }
    }
}

/// `80/tcp`
pub(crate) fn label(ports: Ports, protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => format!("{ports}/tcp"),
        Protocol::Udp => format!("{ports}/udp"),
    }
}
