//! What is said of backends from outside: kept here, so that a backend that comes by a new configuration is met by it,
//! and applied to the backends that it is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vc5_health::Verdict;
use vc5_xdp::NeighbourState;

use super::backend::BackendEntry;
use super::notes::{Change, Notes};
use super::path::Path;
use super::service::ServiceEntry;
use super::state::{Effect, State};
use super::vip::VipEntry;
use crate::config::model::{AdminState, Config};
use crate::signal::path::OnLoss;
use crate::signal::{Report, Signal, Source, Stand};
use crate::snapshot::Subject;

/// A report, and when it was first made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) report: Report,
    pub(crate) since: Instant,
}

/// All that is said of one address.
#[derive(Clone, Debug, Default)]
struct OfAddress {
    /// By pool and source.
    reports: BTreeMap<(String, Source), Said>,
    /// By VIP address and service.
    traffic: BTreeMap<(IpAddr, String), Said>,
    neighbour: Option<Said>,
    /// By pool.
    lost: BTreeMap<String, String>,
}

/// Everything that is said.
#[derive(Debug, Default)]
pub(crate) struct Board {
    said: HashMap<IpAddr, OfAddress>,
    /// Pools that do not care for what the kernel says of neighbours.
    deaf: BTreeSet<String>,
    withdraw: bool,
    learn_time: Duration,
}

impl Board {
    /// Takes over a configuration; what was said of pools that are gone is forgotten.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.withdraw = config.probe.on_path_loss == OnLoss::Withdraw;
        self.learn_time = config.router.learn_time;
        let deaf = config.pools.values().filter(|pool| !pool.neighbour);
        self.deaf = deaf.map(|pool| pool.name.clone()).collect();
        for of in self.said.values_mut() {
            of.reports.retain(|(pool, _), _| config.pools.contains_key(pool));
            of.lost.retain(|pool, _| config.pools.contains_key(pool));
        }
    }

    /// Takes a signal; says whom it is about.
    fn take(&mut self, now: Instant, signal: Signal) -> IpAddr {
        let said = |report| Said { report, since: now };
        match signal {
            Signal::Report { at, source, report } => {
                let reports = &mut self.said.entry(at.address).or_default().reports;
                put(reports, (at.pool, source), report.map(said));
                at.address
            }
            Signal::Traffic { at, failing } => {
                let traffic = &mut self.said.entry(at.backend).or_default().traffic;
                put(traffic, (at.vip, at.service), failing.map(|why| said(Report::down(why))));
                at.backend
            }
            Signal::Path { at, lost } => {
                put(&mut self.said.entry(at.address).or_default().lost, at.pool, lost);
                at.address
            }
        }
    }

    /// The kernel's word on a neighbour; says whether it is new.
    fn neighbour(&mut self, now: Instant, address: IpAddr, state: NeighbourState) -> bool {
        let failed = state == NeighbourState::Failed;
        let of = self.said.entry(address).or_default();
        if failed == of.neighbour.is_some() {
            return false;
        }
        let report = Report::down("it does not answer on the link".to_owned());
        of.neighbour = failed.then_some(Said { report, since: now });
        true
    }

    fn standing(&self, place: &Place<'_>, address: IpAddr) -> BTreeMap<Source, Said> {
        let Some(of) = self.said.get(&address) else { return BTreeMap::new() };
        let here = |((pool, source), said): (&(String, Source), &Said)| {
            (pool == place.pool).then(|| (*source, said.clone()))
        };
        let mut all: BTreeMap<_, _> = of.reports.iter().filter_map(here).collect();
        let traffic =
            of.traffic.iter().find(|((vip, label), _)| *vip == place.vip && label == place.service);
        all.extend(traffic.map(|(_, said)| (Source::Traffic, said.clone())));
        let neighbour = of.neighbour.as_ref().filter(|_| !self.deaf.contains(place.pool));
        all.extend(neighbour.map(|said| (Source::Neighbour, said.clone())));
        all
    }

    fn lost(&self, place: &Place<'_>, address: IpAddr) -> Option<&String> {
        self.said.get(&address)?.lost.get(place.pool)
    }
}

/// Puts what there is in its place, or leaves the place empty.
fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Where a backend stands.
struct Place<'a> {
    vip: IpAddr,
    service: &'a str,
    pool: &'a str,
}

/// What is said of one backend of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) said: BTreeMap<Source, Said>,
    /// What its traffic says counts: enough others work.
    heeds_traffic: bool,
}

impl Standing {
    /// The verdict of the checks with what is said: nothing makes it better.
    pub(crate) fn over(&self, checked: Verdict, path: &Path) -> Verdict {
        if self.against(path).is_some() { Verdict::Down } else { checked }
    }

    /// Who says that it is down. While the path to it is not whole, the silence of a neighbour says nothing.
    fn against(&self, path: &Path) -> Option<(Source, &Report)> {
        let counts = |source| match source {
            Source::Traffic => self.heeds_traffic,
            Source::Neighbour => *path == Path::Whole,
            Source::Agent | Source::StateFile => true,
        };
        let down = self
            .said
            .iter()
            .find(|(source, said)| said.report.stand == Stand::Down && counts(**source));
        down.map(|(source, said)| (*source, &said.report))
    }

    /// Why it is down, if somebody says so.
    pub(crate) fn down_cause(&self, path: &Path) -> Option<String> {
        self.against(path).map(|(source, report)| format!("{source}: {report}"))
    }

    /// The administrator's word or a stricter one.
    pub(crate) fn stricter(&self, admin: AdminState) -> AdminState {
        let drains = self.said.values().any(|said| said.report.stand == Stand::Drain);
        if admin == AdminState::Enabled && drains { AdminState::Drain } else { admin }
    }

    /// The weight in place of the configured one: the least that is asked for.
    pub(crate) fn weight(&self, configured: u32) -> u32 {
        let asked = self.said.values().filter_map(|said| said.report.weight);
        asked.min().unwrap_or(configured)
    }

    /// All of it, in words.
    fn text(&self) -> String {
        let each = self.said.iter().map(|(source, said)| format!("{source}: {}", said.report));
        each.collect::<Vec<_>>().join("; ")
    }

    /// The strictest of what is said, in one word.
    fn word(&self) -> &'static str {
        let stands = || self.said.values().map(|said| said.report.stand);
        match () {
            () if stands().any(|stand| stand == Stand::Down) => Stand::Down.word(),
            () if stands().any(|stand| stand == Stand::Drain) => Stand::Drain.word(),
            () if self.said.values().any(|said| said.report.weight.is_some()) => "weight",
            () if !self.said.is_empty() => Stand::Up.word(),
            () => "silent",
        }
    }
}

impl BackendEntry {
    /// Takes over what is said of it; true when that is new.
    fn heed(&mut self, board: &Board, place: &Place<'_>, now: Instant, notes: &mut Notes) -> bool {
        let said = board.standing(place, self.address);
        let path = self.path.clone();
        self.path.set(board.lost(place, self.address), now, board.learn_time);
        self.note_path(&path, place, now, notes);
        if path == Path::Whole && self.path != Path::Whole {
            self.forgive(now);
        }
        let path = path != self.path;
        let withdraw = std::mem::replace(&mut self.needs_path, board.withdraw) != board.withdraw;
        if said == self.signals.said && !path && !withdraw {
            return false;
        }
        let (before, word) = (self.state().word(), self.signals.word());
        let said_before = self.signals.text();
        self.signals.said = said;
        self.settle_admin();
        self.set_weight(self.configured_weight);
        self.settle(now);
        let after = self.state().word();
        if before != after {
            self.since = now;
            let change = Change { at: now, from: before, to: after };
            notes.backend(place.service, self.address, change, self.said_cause());
        } else if said_before != self.signals.text() {
            let to = self.signals.word();
            let cause = match self.signals.text() {
                text if text.is_empty() => format!("no more of this: {said_before}"),
                text => text,
            };
            // The same word with another weight or reason is news too.
            let change = Change { at: now, from: if word == to { "changed" } else { word }, to };
            notes.about(Subject::Report, place.service, self.address, change, cause);
        }
        true
    }

    fn note_path(&self, before: &Path, place: &Place<'_>, now: Instant, notes: &mut Notes) {
        let change = Change { at: now, from: before.word(), to: self.path.word() };
        let cause = self.path.cause().unwrap_or_default();
        notes.about(Subject::Path, place.service, self.address, change, cause);
    }

    /// Why its state is what it is, once something was said.
    fn said_cause(&self) -> String {
        match self.signals.text() {
            text if text.is_empty() => self.path.cause().unwrap_or_else(|| self.cause()),
            text => text,
        }
    }
}

impl ServiceEntry {
    fn heed(
        &mut self,
        board: &Board,
        vip: IpAddr,
        about: &impl Fn(IpAddr) -> bool,
        now: Instant,
        notes: &mut Notes,
    ) -> Vec<IpAddr> {
        let label = self.label();
        let (own, backup) = (self.pool.clone(), self.backup.clone().unwrap_or_default());
        let mut heard = Vec::new();
        for backend in self.backends.iter_mut().filter(|backend| about(backend.address)) {
            let pool = if backend.backup { &backup } else { &own };
            let place = Place { vip, service: &label, pool };
            if backend.heed(board, &place, now, notes) {
                heard.push(backend.address);
            }
        }
        if !heard.is_empty() {
            self.settle(now, notes);
        }
        heard
    }

    /// What traffic says of backends counts only while enough others work: it may cost a backend its place, never
    /// the service its route.
    pub(super) fn heed_traffic(&mut self, now: Instant, notes: &mut Notes) {
        let said = |backend: &BackendEntry| backend.signals.said.contains_key(&Source::Traffic);
        if !self.backends.iter().any(said) {
            return;
        }
        let works = |b: &&BackendEntry| {
            !b.backup && b.admin == AdminState::Enabled && !said(b) && b.works()
        };
        let others = self.backends.iter().filter(works).count();
        let heeds = others >= usize::try_from(self.needed()).unwrap_or(usize::MAX);
        let label = self.label();
        for backend in self.backends.iter_mut().filter(|b| said(b)) {
            let before = backend.state().word();
            backend.signals.heeds_traffic = heeds;
            backend.settle(now);
            let change = Change { at: now, from: before, to: backend.state().word() };
            let cause = match heeds {
                true => backend.cause(),
                false => "too few others work to leave it out for its traffic".to_owned(),
            };
            notes.backend(&label, backend.address, change, cause);
        }
    }
}

impl VipEntry {
    /// Whether it has such a backend.
    fn uses(&self, about: &impl Fn(IpAddr) -> bool) -> bool {
        let backends = self.services.iter().flat_map(|service| &service.backends);
        backends.into_iter().any(|backend| about(backend.address))
    }

    /// Takes over what is said of its backends; what is to be logged, and whether anything was new.
    fn heed(
        &mut self,
        board: &Board,
        about: &impl Fn(IpAddr) -> bool,
        now: Instant,
    ) -> (bool, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut heard_any = false;
        for service in &mut self.services {
            let verdicts: Vec<Verdict> = service.backends.iter().map(|b| b.verdict).collect();
            let heard = service.heed(board, self.address, about, now, &mut self.notes);
            heard_any |= !heard.is_empty();
            for (backend, before) in service.backends.iter().zip(verdicts) {
                if backend.verdict != before {
                    effects.push(Effect::Backend {
                        vip: self.name.clone(),
                        service: service.label(),
                        backend: backend.address,
                        verdict: backend.verdict,
                        diagnostic: backend.cause(),
                    });
                }
            }
        }
        (heard_any, effects)
    }
}

impl State {
    /// Something new is said of backends.
    pub fn signals(&mut self, now: Instant, signals: Vec<Signal>) -> Vec<Effect> {
        let board = &mut self.board;
        let about: BTreeSet<IpAddr> =
            signals.into_iter().map(|signal| board.take(now, signal)).collect();
        let effects = self.heed(now, |address| about.contains(&address));
        self.finish(effects)
    }

    /// The kernel's word on a neighbour.
    pub(super) fn neighbour(
        &mut self,
        now: Instant,
        address: IpAddr,
        state: NeighbourState,
    ) -> Vec<Effect> {
        if !self.board.neighbour(now, address, state) {
            return Vec::new();
        }
        self.heed(now, |other| other == address)
    }

    /// A new configuration is in force: what is said holds for what is new in it too.
    pub(super) fn heed_all(&mut self, now: Instant, config: &Config) -> Vec<Effect> {
        self.board.configure(config);
        self.heed(now, |_| true)
    }

    fn heed(&mut self, now: Instant, about: impl Fn(IpAddr) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        for at in 0..self.vips.len() {
            let Some(vip) = self.vips.get_mut(at).filter(|vip| vip.uses(&about)) else { continue };
            let (heard, said) = vip.change().heed(&self.board, &about, now);
            if heard {
                effects.extend(self.regate(at, now, now));
                effects.extend(said);
            }
        }
        effects
    }
}
