//! The core's state as a pure machine: events in, effects out, in the order in which they must happen.
//!
//! Of all that one event causes, withdrawals come first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use vc5_health::{ProbeEvent, ProbeKey};
use vc5_xdp::{Desired, Event as DataplaneEvent, RealState};

use super::advert::Advert;
use super::drawn::Drawn;
use super::notes::{ABSENT, Change, Event};
use super::service::CONFIGURED;
use super::signals::Board;
use super::vip::VipEntry;
use crate::admin::Words;
use crate::config::model::{Config, DataplaneMode};
use crate::gate::{Action, Input, Ready, State as GateState};
use crate::snapshot::Subject;

/// Something the driver must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Withdraw the route and report back by [`State::flushed`]. `cause` is when the fact became known.
    Withdraw {
        /// The VIP.
        address: IpAddr,
        /// When the event that led to it was observed.
        cause: Instant,
        /// The gate's reason, for the record.
        reason: String,
    },
    /// Announce a route that stands anew: what goes out with it has changed.
    Update {
        /// The VIP.
        address: IpAddr,
        /// What goes out with it.
        advert: Advert,
    },
    /// Announce the route.
    Announce {
        /// The VIP.
        address: IpAddr,
        /// What goes out with it.
        advert: Advert,
        /// The gate's reason, for the record.
        reason: String,
    },
    /// Hand this state to the dataplane.
    Apply {
        /// Its number; acknowledged by the dataplane.
        seq: u64,
        /// The whole of it.
        desired: Desired,
    },
    /// The verdict on a backend changed.
    Backend {
        /// Name of the VIP.
        vip: String,
        /// `80/tcp`
        service: String,
        /// The backend.
        backend: IpAddr,
        /// Its new verdict.
        verdict: vc5_health::Verdict,
        /// What the check found.
        diagnostic: String,
    },
}

/// How far the first verdicts have come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learning {
    /// There is no configuration yet.
    NotYet,
    /// They may come in until then.
    Until(Instant),
    /// What has no verdict now is as good as down.
    Over,
}

/// The core's state.
#[derive(Debug)]
pub struct State {
    dataplane: bool,
    pub(super) vips: Vec<Drawn>,
    index: HashMap<ProbeKey, (usize, usize, usize)>,
    seq: u64,
    pub(super) applied: u64,
    not_ready: BTreeMap<IpAddr, String>,
    /// Interfaces that lost the program, with the reason.
    detached: BTreeMap<String, String>,
    pub(super) apply_error: Option<String>,
    sent: Option<Desired>,
    /// While they come in, a backend without one may have flows of an earlier run, and stays as that run left it.
    learning: Learning,
    /// The administrator's words on backends and VIPs.
    words: Arc<Words>,
    /// Names of VIPs that were switched off at the control socket.
    disabled: BTreeSet<String>,
    stopping: bool,
    /// VIPs that went from the configuration live on here until their withdrawal is on the wire.
    leaving: bool,
    /// What is said of backends from outside.
    pub(super) board: Board,
    /// Changes of VIPs that are gone, until they are taken.
    events: Vec<Event>,
}

impl State {
    /// Nothing configured yet.
    pub fn new(mode: DataplaneMode) -> Self {
        Self {
            dataplane: mode != DataplaneMode::Off,
            vips: Vec::new(),
            index: HashMap::new(),
            seq: 0,
            applied: 0,
            not_ready: BTreeMap::new(),
            detached: BTreeMap::new(),
            apply_error: None,
            sent: None,
            learning: Learning::NotYet,
            words: Arc::default(),
            disabled: BTreeSet::new(),
            stopping: false,
            leaving: false,
            board: Board::default(),
            events: Vec::new(),
        }
    }

    /// Takes over a configuration.
    pub fn configure(&mut self, now: Instant, config: &Config) -> Vec<Effect> {
        if self.learning == Learning::NotYet {
            self.learning = Learning::Until(now + config.router.learn_time);
        }
        let mut old = std::mem::take(&mut self.vips);
        self.disabled.retain(|name| config.vips.contains_key(name));
        for vip in config.vips.values() {
            let disabled = self.disabled.contains(&vip.name);
            for address in &vip.addresses {
                let mut entry = match old.iter().position(|v| v.address == *address) {
                    Some(at) => old.swap_remove(at),
                    None => VipEntry::new(vip, *address, now, self.first_ready()).into(),
                };
                entry.change().configure(vip, config, &self.words, now);
                entry.change().prepare(vip, disabled, now);
                self.vips.push(entry);
            }
        }
        let mut effects = self.heed_all(now, config);
        // Health comes when all are there: that of a group is that of its members.
        effects.extend(self.regate_all(now));
        effects.extend(self.vips.iter_mut().filter_map(|vip| update(vip.change())));
        self.leaving = !old.is_empty();
        for mut entry in old {
            let vip = entry.change();
            vip.removed = true;
            let action = vip.gate(now, Input::Removed(true));
            effects.extend(effect(vip, action, now, now));
            self.vips.push(entry);
        }
        self.index = self.build_index(config);
        self.finish(effects)
    }

    /// A probe came back.
    pub fn probed(&mut self, now: Instant, event: ProbeEvent) -> Vec<Effect> {
        let Some(&(v, s, b)) = self.index.get(&event.key) else { return Vec::new() };
        let Some(vip) = self.vips.get_mut(v).map(Drawn::change) else { return Vec::new() };
        let Some(service) = vip.services.get_mut(s) else { return Vec::new() };
        let label = service.label();
        let (cause, diagnostic) = (event.at, event.outcome.diagnostic.clone());
        let Some(backend) = service.probed(b, event, now, &mut vip.notes) else {
            return Vec::new();
        };
        let note = Effect::Backend {
            vip: vip.name.clone(),
            service: label,
            backend: backend.address,
            verdict: backend.verdict,
            diagnostic,
        };
        let mut effects = self.regate(v, now, cause);
        effects.push(note);
        self.finish(effects)
    }

    /// The dataplane said something.
    pub fn dataplane(&mut self, now: Instant, event: DataplaneEvent) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            DataplaneEvent::Applied { seq, not_ready, .. } => {
                self.applied = seq;
                self.apply_error = None;
                self.not_ready = not_ready.into_iter().collect();
            }
            DataplaneEvent::ReadinessChanged { not_ready } => {
                self.not_ready = not_ready.into_iter().collect();
            }
            DataplaneEvent::ApplyFailed { error, .. } => self.apply_error = Some(error),
            DataplaneEvent::Detached { interface, reason } => {
                self.detached.insert(interface, reason);
            }
            DataplaneEvent::Attached { interface, .. } => {
                self.detached.remove(&interface);
            }
            DataplaneEvent::Neighbour { address, state } => {
                effects = self.neighbour(now, address, state);
            }
        }
        let mut changed = Vec::new();
        for at in 0..self.vips.len() {
            let Some(ready) = self.vips.get(at).and_then(|vip| self.readiness(vip)) else {
                continue;
            };
            if let Some(vip) = self.vips.get_mut(at).filter(|vip| vip.ready != ready) {
                vip.change().ready = ready;
                changed.push(at);
            }
        }
        effects.extend(self.settle_readiness(&changed, now));
        self.finish(effects)
    }

    /// The last withdrawal of a VIP is on the wire.
    pub fn flushed(&mut self, now: Instant, address: IpAddr) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(vip) = self.vips.iter_mut().find(|v| v.address == address) {
            let vip = vip.change();
            let action = vip.gate(now, Input::Flushed);
            effects.extend(effect(vip, action, now, now));
        }
        self.finish(effects)
    }

    /// When [`State::timeout_at`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let learned = match self.learning {
            Learning::Until(end) => Some(end),
            Learning::NotYet | Learning::Over => None,
        };
        self.vips.iter().filter_map(|vip| vip.poll_timeout()).chain(learned).min()
    }

    /// Time has passed.
    pub fn timeout_at(&mut self, now: Instant) -> Vec<Effect> {
        if let Learning::Until(end) = self.learning
            && end <= now
        {
            self.learning = Learning::Over;
        }
        let mut effects = Vec::new();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for at in 0..self.vips.len() {
            let vip = self.vips.get_mut(at).filter(|vip| due(vip.poll_timeout()));
            if vip.is_some_and(|vip| vip.change().services_timeout(now)) {
                effects.extend(self.regate(at, now, now));
            }
        }
        for vip in self.vips.iter_mut().filter(|vip| due(vip.gate.poll_timeout())) {
            let vip = vip.change();
            let action = vip.gate_timeout(now);
            effects.extend(effect(vip, action, now, now));
        }
        self.finish(effects)
    }

    /// The administrator switches a VIP off or on; says whether there is one of that name.
    pub fn switch(&mut self, now: Instant, name: &str, disabled: bool) -> (bool, Vec<Effect>) {
        let mut named = Vec::new();
        let present = self.vips.iter_mut().enumerate().filter(|(_, vip)| !vip.removed);
        for (at, vip) in present.filter(|(_, vip)| vip.name == name) {
            let vip = vip.change();
            vip.disabled = disabled;
            vip.gate.prepare(now, Input::Admin(vip.effective_admin()));
            named.push(at);
        }
        let known = !named.is_empty();
        if known && disabled {
            self.disabled.insert(name.to_owned());
        } else {
            self.disabled.remove(name);
        }
        // All of that name are switched: in a group none of them may move ahead of another.
        let effects = self.regate_each(&named, now);
        (known, self.finish(effects))
    }

    /// The administrator's words have changed. `cause` is why words are gone that stood.
    pub fn set_words(&mut self, now: Instant, words: Arc<Words>, cause: &str) -> Vec<Effect> {
        self.words = words;
        for vip in &mut self.vips {
            vip.change().set_words(&self.words, now, cause);
        }
        let effects = self.regate_all(now);
        self.finish(effects)
    }

    /// The daemon stops: everything is withdrawn; the dataplane is left as it is.
    pub fn stop(&mut self, now: Instant) -> Vec<Effect> {
        self.stopping = true;
        let mut effects = Vec::new();
        for vip in &mut self.vips {
            let vip = vip.change();
            let action = vip.gate(now, Input::Stop);
            effects.extend(effect(vip, action, now, now));
        }
        effects
    }

    /// Changes since the last time with their causes, in the order of time.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.collect();
        self.events.sort_by_key(|event| event.at);
        std::mem::take(&mut self.events)
    }

    fn collect(&mut self) {
        for vip in self.vips.iter_mut().filter(|vip| !vip.notes.is_empty()) {
            self.events.extend(vip.change().notes.drain());
        }
    }

    fn first_ready(&self) -> Ready {
        if self.dataplane {
            Ready::No("the dataplane has not acknowledged its rings yet".to_owned())
        } else {
            Ready::Yes
        }
    }

    /// What the dataplane's last word means for a VIP; `None` while its newest state is not acknowledged.
    fn readiness(&self, vip: &VipEntry) -> Option<Ready> {
        if !self.dataplane {
            return None;
        }
        if let Some((interface, reason)) = self.detached.first_key_value() {
            return Some(Ready::No(format!("the dataplane is off {interface}: {reason}")));
        }
        let announced = vip.gate.state() == GateState::Announced;
        if self.applied < vip.sent_seq && !announced {
            let failed = |why: &String| Ready::No(format!("the dataplane cannot apply it: {why}"));
            return self.apply_error.as_ref().map(failed);
        }
        let why = self.not_ready.get(&vip.address);
        Some(why.map_or(Ready::Yes, |why| Ready::No(why.clone())))
    }

    /// Forgets what is gone, and puts withdrawals first.
    pub(super) fn finish(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let gone = |v: &Drawn| v.removed && v.gate.state() == GateState::Down;
        // To look at all of them would hold up the withdrawal of one.
        if self.leaving && self.vips.iter().any(gone) {
            for vip in self.vips.iter_mut().filter(|vip| gone(vip)) {
                let change = Change { at: vip.since, from: "down", to: ABSENT };
                vip.change().notes.vip(Subject::Route, change, CONFIGURED.to_owned());
            }
            self.collect();
            self.vips.retain(|v| !gone(v));
            self.leaving = self.vips.iter().any(|v| v.removed);
            self.reindex();
        }
        withdrawals_first(&mut effects);
        effects
    }

    /// The dataplane's new state, if it differs from what it was told last. To be asked after the effects of all
    /// events at hand have been carried out: it costs time in proportion to the whole configuration.
    pub fn poll_forwarding(&mut self, now: Instant) -> Option<Effect> {
        // Before the first configuration an empty state would take away what an earlier run has left.
        if !self.dataplane || self.stopping || self.learning == Learning::NotYet {
            return None;
        }
        let undecided = match self.learning {
            Learning::NotYet | Learning::Over => RealState::Down,
            Learning::Until(_) => RealState::Undecided,
        };
        let specs: Vec<_> = self.vips.iter().map(|vip| vip.spec(undecided)).collect();
        let desired = Desired { vips: specs.clone() };
        if self.sent.as_ref() == Some(&desired) {
            return None;
        }
        self.seq += 1;
        let mut pending = Vec::new();
        for (at, (vip, spec)) in self.vips.iter_mut().zip(specs).enumerate() {
            if vip.sent.as_ref() == Some(&spec) {
                continue;
            }
            let vip = vip.change();
            vip.sent = Some(spec);
            vip.sent_seq = self.seq;
            // What is already announced stays up on its old rings until the new ones are acknowledged.
            if vip.gate.state() != GateState::Announced {
                vip.ready = Ready::No("the dataplane is building its rings".to_owned());
                pending.push(at);
            }
        }
        let effects = self.settle_readiness(&pending, now);
        debug_assert!(effects.is_empty(), "a route that does not stand has to wait: {effects:?}");
        self.sent = Some(desired.clone());
        Some(Effect::Apply { seq: self.seq, desired })
    }

    fn build_index(&self, config: &Config) -> HashMap<ProbeKey, (usize, usize, usize)> {
        let mut index = HashMap::new();
        for (v, vip) in self.vips.iter().enumerate().filter(|(_, vip)| !vip.removed) {
            for (s, service) in vip.services.iter().enumerate() {
                for (b, backend) in service.backends.iter().enumerate() {
                    for (name, check) in
                        backend.checks.keys().filter_map(|n| Some((n, config.checks.get(n)?)))
                    {
                        let Some(port) = check.port_for(service.ports) else { continue };
                        let key = ProbeKey {
                            vip: vip.address,
                            backend: backend.address,
                            port,
                            service: service.label(),
                            check: name.clone(),
                        };
                        index.insert(key, (v, s, b));
                    }
                }
            }
        }
        index
    }

    /// Positions moved: the index follows the addresses.
    fn reindex(&mut self) {
        let at: HashMap<IpAddr, usize> =
            self.vips.iter().enumerate().map(|(i, v)| (v.address, i)).collect();
        self.index.retain(|key, position| match at.get(&key.vip) {
            Some(v) => {
                position.0 = *v;
                true
            }
            None => false,
        });
    }
}

/// One event may ask several times for the same route. A withdrawal is then the last that was asked, since nothing
/// follows it before it is on the wire; a route that was announced by the same event has never been out.
fn withdrawals_first(effects: &mut Vec<Effect>) {
    effects.sort_by_key(|effect| !matches!(effect, Effect::Withdraw { .. }));
    let withdrawn: BTreeSet<IpAddr> = effects
        .iter()
        .map_while(|effect| match effect {
            Effect::Withdraw { address, .. } => Some(*address),
            _ => None,
        })
        .collect();
    if withdrawn.is_empty() {
        return;
    }
    let announced: BTreeSet<IpAddr> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Announce { address, .. } => Some(*address),
            _ => None,
        })
        .collect();
    effects.retain(|effect| match effect {
        Effect::Withdraw { address, .. } => !announced.contains(address),
        Effect::Announce { address, .. } | Effect::Update { address, .. } => {
            !withdrawn.contains(address)
        }
        _ => true,
    });
}

pub(super) fn effect(
    vip: &mut VipEntry,
    action: Option<Action>,
    now: Instant,
    cause: Instant,
) -> Option<Effect> {
    let (address, reason) = (vip.address, vip.reason(now));
    match action? {
        Action::Withdraw => Some(Effect::Withdraw { address, cause, reason }),
        Action::Announce => {
            vip.advertised = vip.advert();
            Some(Effect::Announce { address, advert: vip.advertised.clone(), reason })
        }
        Action::Update => update(vip),
    }
}

/// What makes a route that stands go out as it is to be now, if that is something else.
fn update(vip: &mut VipEntry) -> Option<Effect> {
    if vip.gate.state() != GateState::Announced {
        return None;
    }
    let advert = vip.advert();
    let changed = advert != vip.advertised;
    vip.advertised.clone_from(&advert);
    changed.then_some(Effect::Update { address: vip.address, advert })
}
