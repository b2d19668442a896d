//! One VIP address: its services, its gate, and the forwarding state that follows from both.

use std::net::IpAddr;
use std::time::Instant;

use vc5_health::Verdict;
use vc5_health::aggregate::{self, ServiceState};
use vc5_xdp::{BackendSpec, L4, RealState, ServiceSpec, Unknown, VipSpec};

use super::advert::{Advert, Plan};
use super::backend::BackendEntry;
use super::notes::{ABSENT, Change, Notes};
use super::service::{CONFIGURED, ServiceEntry};
use crate::admin::{Word, Words};
use crate::config::model::{AdminState, Config, Protocol, Vip};
use crate::gate::{Action, Admin, Gate, Health, Input, Level, Ready, State, Timing};
use crate::snapshot::Subject;

/// One VIP address.
#[derive(Clone, Debug)]
pub(crate) struct VipEntry {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) gate: Gate,
    /// What the dataplane says of it; its gate is told that of its group.
    pub(crate) ready: Ready,
    /// VIPs with which it moves.
    pub(crate) group: Option<String>,
    /// What the configuration says of its route.
    pub(crate) plan: Plan,
    /// What went out with its route last.
    pub(crate) advertised: Advert,
    pub(crate) since: Instant,
    pub(crate) services: Vec<ServiceEntry>,
    /// What becomes of packets that are for none of them.
    pub(crate) unknown: Unknown,
    /// Gone from the configuration; it lives on until its withdrawal is on the wire.
    pub(crate) removed: bool,
    /// `state` in the configuration.
    pub(crate) configured: AdminState,
    /// The administrator's word at the control socket.
    pub(crate) word: Option<Word>,
    /// Switched off at the control socket until the daemon ends.
    pub(crate) disabled: bool,
    /// Last state handed to the dataplane, and the sequence number it went out with.
    pub(crate) sent: Option<VipSpec>,
    pub(crate) sent_seq: u64,
    /// Changes that the core has not taken yet.
    pub(crate) notes: Notes,
}

impl VipEntry {
    /// A new VIP is down. `ready` is [`Ready::Yes`] where there is no dataplane to wait for.
    pub(crate) fn new(vip: &Vip, address: IpAddr, now: Instant, ready: Ready) -> Self {
        let mut notes = Notes::new(&vip.name, address);
        let change = Change { at: now, from: ABSENT, to: "down" };
        notes.vip(Subject::Route, change, "a new VIP is down".to_owned());
        Self {
            name: vip.name.clone(),
            address,
            gate: Gate::new(timing(vip), admin(vip.state), ready.clone()),
            ready,
            group: vip.group.clone(),
            plan: Plan::default(),
            advertised: Advert::default(),
            since: now,
            services: Vec::new(),
            unknown: vip.unknown_port,
            removed: false,
            configured: vip.state,
            word: None,
            disabled: false,
            sent: None,
            sent_seq: 0,
            notes,
        }
    }

    /// Takes over the configuration; known services and backends keep their state.
    pub(crate) fn configure(&mut self, vip: &Vip, config: &Config, words: &Words, now: Instant) {
        let learn_time = config.router.learn_time;
        self.word = words.vip(&vip.name).cloned();
        self.name.clone_from(&vip.name);
        self.notes.rename(&vip.name);
        self.removed = false;
        self.unknown = vip.unknown_port;
        self.group.clone_from(&vip.group);
        self.plan = Plan::new(vip, config.router.local_as);
        let late = self.gate.state() == State::Announced;
        let mut old = std::mem::take(&mut self.services);
        for service in &vip.services {
            let same =
                |s: &ServiceEntry| s.ports == service.ports && s.protocol == service.protocol;
            let mut entry = match old.iter().position(same) {
                Some(at) => old.swap_remove(at),
                None => ServiceEntry::new(service, now, learn_time, late),
            };
            entry.configure(self.address, service, config, words, now, &mut self.notes);
            self.services.push(entry);
        }
        for gone in old {
            let change = Change { at: now, from: gone.word(), to: ABSENT };
            self.notes.service(&gone.label(), change, CONFIGURED.to_owned());
        }
    }

    /// Tells the gate what a new configuration changes; its health comes last.
    pub(crate) fn prepare(&mut self, vip: &Vip, disabled: bool, now: Instant) {
        self.configured = vip.state;
        self.disabled = disabled;
        let admin = Input::Admin(self.effective_admin());
        for input in [Input::Removed(false), Input::Timing(timing(vip)), admin] {
            self.gate.prepare(now, input);
        }
    }

    /// The administrator's word: the strictest of the configuration's and those at the control socket.
    pub(crate) fn effective_admin(&self) -> Admin {
        match self.disabled {
            true => Admin::Disabled,
            false => admin(Word::applied_to(self.word.as_ref(), self.configured)),
        }
    }

    /// The administrator's words have changed; its health comes last, as those of backends are part of that.
    pub(crate) fn set_words(&mut self, words: &Words, now: Instant, cause: &str) {
        self.word = words.vip(&self.name).cloned();
        for service in &mut self.services {
            service.set_words(words, now, cause, &mut self.notes);
        }
        self.gate.prepare(now, Input::Admin(self.effective_admin()));
    }

    /// Why the route stands where it does, with the administrator's own words where they are the reason.
    pub(crate) fn reason(&self, now: Instant) -> String {
        format!("{}{}", self.gate.reason(now), self.own_words())
    }

    /// `: kernel upgrade`, when the administrator's word keeps the VIP down and says why.
    fn own_words(&self) -> String {
        let off = self.gate.admin() != Admin::Enabled && !self.removed;
        let reason = self.word.as_ref().filter(|_| off).and_then(|word| word.reason.as_deref());
        reason.map(|why| format!(": {why}")).unwrap_or_default()
    }

    /// Asks the gate; keeps the time of its last change of state.
    pub(crate) fn gate(&mut self, now: Instant, input: Input) -> Option<Action> {
        let before = (self.gate.state(), health_word(self.gate.health()));
        let told = self.gate.told();
        let flushed = input == Input::Flushed;
        let action = self.gate.handle(now, input);
        let change = Change { at: now, from: before.1, to: health_word(self.gate.health()) };
        let cause = match self.gate.health() {
            Health::Up => "every service is up".to_owned(),
            Health::Unknown => "a service is undecided".to_owned(),
            Health::Down(why) => why.clone(),
        };
        self.notes.vip(Subject::Vip, change, cause);
        self.note_change(before.0, now, if flushed { ON_THE_WIRE } else { "" });
        self.note_update(action, told, now);
        action
    }

    /// Keeps the cause of a change of a route that goes on standing.
    fn note_update(&mut self, action: Option<Action>, before: Level, now: Instant) {
        if action != Some(Action::Update) {
            return;
        }
        let draining = self.gate.is_draining();
        if draining != self.advertised.draining {
            let words = ["announced", "draining"];
            let [from, to] = if draining { words } else { [words[1], words[0]] };
            let cause = format!("{}{}", self.gate.cause(now), self.own_words());
            self.notes.vip(Subject::Route, Change { at: now, from, to }, cause);
        } else {
            let told = self.gate.told();
            let more = told.weight > before.weight || told.share > before.share;
            let to = if more { "told more" } else { "told less" };
            let change = Change { at: now, from: "announced", to };
            let cause = format!("routers are told of {} % of its capacity", told.share);
            self.notes.vip(Subject::Route, change, cause);
        }
    }

    /// Lets time pass for the services; true when the health may have changed.
    pub(crate) fn services_timeout(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for service in &mut self.services {
            changed |= service.timeout(now, &mut self.notes);
        }
        changed
    }

    /// Lets time pass for the gate.
    pub(crate) fn gate_timeout(&mut self, now: Instant) -> Option<Action> {
        let (before, told) = (self.gate.state(), self.gate.told());
        let action = self.gate.handle_timeout(now);
        self.note_change(before, now, NOT_TAKEN);
        self.note_update(action, told, now);
        action
    }

    /// Keeps the time and the cause of a change of the route; `ended` says how a withdrawal ended.
    fn note_change(&mut self, before: State, now: Instant, ended: &str) {
        let after = self.gate.state();
        if std::mem::discriminant(&before) == std::mem::discriminant(&after) {
            return;
        }
        self.since = now;
        let change = Change { at: now, from: route_word(before), to: route_word(after) };
        let cause = match (before, after) {
            (State::Withdrawing { .. }, State::Down) => ended.to_owned(),
            _ => format!("{}{}", self.gate.cause(now), self.own_words()),
        };
        self.notes.vip(Subject::Route, change, cause);
    }

    /// When [`VipEntry::services_timeout`] and [`VipEntry::gate_timeout`] want to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let services = self.services.iter().filter_map(ServiceEntry::poll_timeout);
        services.chain(self.gate.poll_timeout()).min()
    }

    /// Of its services that gate; an undecided one that came late does not yet.
    pub(crate) fn health(&self) -> Health {
        let gating = || self.services.iter().filter(|s| s.gating);
        if let Some(down) = gating().find(|s| s.state == ServiceState::Down) {
            return Health::Down(down.complaint());
        }
        let decided = gating().filter(|s| !s.is_pending()).map(|s| s.state);
        match aggregate::vip(decided).state {
            ServiceState::Up => Health::Up,
            ServiceState::Unknown | ServiceState::Down => Health::Unknown,
        }
    }

    /// How much of it is healthy: as much as of the service that has the least, of those that gate.
    pub(crate) fn level(&self) -> Level {
        let gating = self.services.iter().filter(|s| s.gating && !s.is_pending());
        let mut level: Option<Level> = None;
        for (weight, full) in gating.map(ServiceEntry::weights) {
            let percent = weight.min(full).saturating_mul(100).checked_div(full).unwrap_or(0);
            let share = u8::try_from(percent).unwrap_or(100);
            let so_far = level.unwrap_or(Level { weight, full, share, marks: 0 });
            level = Some(Level {
                weight: so_far.weight.min(weight),
                full: so_far.full.min(full),
                share: so_far.share.min(share),
                marks: 0,
            });
        }
        let level = level.unwrap_or_default();
        Level { marks: self.plan.marks(level.share), ..level }
    }

    /// What the dataplane should do for this VIP; `undecided` is what a backend without a verdict is.
    ///
    /// While routers may still send here, a service that has lost its last live backend keeps the state it had.
    pub(crate) fn spec(&self, undecided: RealState) -> VipSpec {
        let held = self.gate.holds_rings();
        let services = self.services.iter().filter(|s| !s.is_pending()).filter_map(|service| {
            let spec = self.service_spec(service, undecided);
            let lost = !spec.backends.iter().any(|b| b.state == RealState::Live);
            match (held && lost).then(|| self.sent_service(&spec)).flatten() {
                Some(before) => {
                    Some(ServiceSpec { serving: true, needed: spec.needed, ..before.clone() })
                }
                // The VIP must not wait for the ring of a service that it does not depend on.
                None if lost && !service.gating => None,
                None => Some(spec),
            }
        });
        VipSpec {
            address: self.address,
            up: self.gate.speaks_for_the_vip(),
            unknown: self.unknown,
            services: services.collect(),
        }
    }

    fn sent_service(&self, spec: &ServiceSpec) -> Option<&ServiceSpec> {
        let same = |s: &&ServiceSpec| s.ports == spec.ports && s.protocol == spec.protocol;
        self.sent.as_ref()?.services.iter().find(same)
    }

    fn service_spec(&self, service: &ServiceEntry, undecided: RealState) -> ServiceSpec {
        let closed =
            (self.gate.admin() == Admin::Disabled || self.removed) && !self.gate.holds_rings();
        let backends = service.backends.iter().map(|backend| {
            let state = match closed {
                true => RealState::Down,
                false if service.keeps(backend) => RealState::Live,
                false => match real_state(backend, undecided) {
                    // A backup that is not needed keeps the flows that it got while it was.
                    RealState::Live if !service.uses(backend) => RealState::Draining,
                    state => state,
                },
            };
            BackendSpec { address: backend.address, weight: backend.weight, state }
        });
        ServiceSpec {
            ports: service.ports,
            protocol: match service.protocol {
                Protocol::Tcp => L4::Tcp,
                Protocol::Udp => L4::Udp,
            },
            ttl: service.ttl,
            on_down: service.on_down,
            sticky: service.sticky,
            serving: self.gate.holds_rings(),
            needed: service.gating,
            backends: backends.collect(),
        }
    }
}

/// Only a proven backend gets new flows; one being drained keeps those it has while it works.
fn real_state(backend: &BackendEntry, undecided: RealState) -> RealState {
    match (backend.admin, backend.verdict) {
        (AdminState::Enabled, Verdict::Up) => RealState::Live,
        (AdminState::Drain, Verdict::Up) => RealState::Draining,
        (AdminState::Enabled | AdminState::Drain, Verdict::Unknown) => undecided,
        (AdminState::Enabled | AdminState::Drain, Verdict::Down) | (AdminState::Disabled, _) => {
            RealState::Down
        }
    }
}

/// How a withdrawal ended in good order.
const ON_THE_WIRE: &str = "the withdrawal is on the wire";

/// How it ended without an answer.
const NOT_TAKEN: &str = "a neighbour has not taken the withdrawal in time";

fn route_word(state: State) -> &'static str {
    match state {
        State::Down => "down",
        State::Waiting { .. } => "waiting",
        State::Announced => "announced",
        State::Withdrawing { .. } => "withdrawing",
    }
}

fn health_word(health: &Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down(_) => "down",
    }
}

fn timing(vip: &Vip) -> Timing {
    Timing {
        up_delay: vip.up_delay,
        down_delay: vip.down_delay,
        drain_time: vip.drain_time,
        damping: vip.damping,
        capacity: vip.capacity.as_ref().map(|capacity| capacity.settings),
    }
}

fn admin(state: AdminState) -> Admin {
    match state {
        AdminState::Enabled => Admin::Enabled,
        AdminState::Drain => Admin::Drain,
        AdminState::Disabled => Admin::Disabled,
    }
}
