//! One VIP address: its services, its gate, and the forwarding state that follows from both.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vc5_health::Verdict;
use vc5_health::aggregate::{self, ServiceState};
use vc5_xdp::{BackendSpec, L4, RealState, ServiceSpec, Unknown, VipSpec};

use super::backend::BackendEntry;
use super::service::ServiceEntry;
use crate::config::model::{AdminState, Config, Protocol, Vip};
use crate::gate::{Action, Admin, Gate, Health, Input, Ready, State};

/// One VIP address.
#[derive(Clone, Debug)]
pub(crate) struct VipEntry {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) gate: Gate,
    pub(crate) since: Instant,
    pub(crate) services: Vec<ServiceEntry>,
    /// What becomes of packets that are for none of them.
    pub(crate) unknown: Unknown,
    /// Gone from the configuration; it lives on until its withdrawal is on the wire.
    pub(crate) removed: bool,
    /// `state` in the configuration.
    pub(crate) configured: Admin,
    /// Switched off at the control socket.
    pub(crate) disabled: bool,
    /// Last state handed to the dataplane, and the sequence number it went out with.
    pub(crate) sent: Option<VipSpec>,
    pub(crate) sent_seq: u64,
}

impl VipEntry {
    /// A new VIP is down. `ready` is [`Ready::Yes`] where there is no dataplane to wait for.
    pub(crate) fn new(vip: &Vip, address: IpAddr, now: Instant, ready: Ready) -> Self {
        Self {
            name: vip.name.clone(),
            address,
            gate: Gate::new(vip.up_delay, admin(vip.state), ready),
            since: now,
            services: Vec::new(),
            unknown: vip.unknown_port,
            removed: false,
            configured: admin(vip.state),
            disabled: false,
            sent: None,
            sent_seq: 0,
        }
    }

    /// Takes over the configuration; known services and backends keep their state.
    pub(crate) fn configure(
        &mut self,
        vip: &Vip,
        config: &Config,
        now: Instant,
        learn_time: Duration,
    ) {
        self.name.clone_from(&vip.name);
        self.removed = false;
        self.unknown = vip.unknown_port;
        let late = self.gate.state() == State::Announced;
        let mut old = std::mem::take(&mut self.services);
        for service in &vip.services {
            let same =
                |s: &ServiceEntry| s.ports == service.ports && s.protocol == service.protocol;
            let mut entry = match old.iter().position(same) {
                Some(at) => old.swap_remove(at),
                None => ServiceEntry::new(service, now, learn_time, late),
            };
            entry.configure(self.address, service, config, now);
            self.services.push(entry);
        }
    }

    /// The gate's inputs that a new configuration changes.
    pub(crate) fn gate_inputs(&mut self, vip: &Vip, disabled: bool) -> [Input; 3] {
        self.configured = admin(vip.state);
        self.disabled = disabled;
        let admin = Input::Admin(self.effective_admin());
        [Input::Removed(false), Input::UpDelay(vip.up_delay), admin]
    }

    /// The administrator's word: `disable` at the control socket goes above the configuration.
    pub(crate) fn effective_admin(&self) -> Admin {
        if self.disabled { Admin::Disabled } else { self.configured }
    }

    /// Asks the gate; keeps the time of its last change of state.
    pub(crate) fn gate(&mut self, now: Instant, input: Input) -> Option<Action> {
        let before = self.gate.state();
        let action = self.gate.handle(now, input);
        self.note_change(before, now);
        action
    }

    /// Lets time pass for the services and the gate.
    pub(crate) fn timeout(&mut self, now: Instant) -> Option<Action> {
        let mut changed = false;
        for service in &mut self.services {
            changed |= service.timeout(now);
        }
        let health = self.health();
        let first = changed.then(|| self.gate(now, Input::Health(health))).flatten();
        let before = self.gate.state();
        let second = self.gate.handle_timeout(now);
        self.note_change(before, now);
        first.or(second)
    }

    fn note_change(&mut self, before: State, now: Instant) {
        if std::mem::discriminant(&before) != std::mem::discriminant(&self.gate.state()) {
            self.since = now;
        }
    }

    /// When [`VipEntry::timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let services = self.services.iter().filter_map(ServiceEntry::poll_timeout);
        services.chain(self.gate.poll_timeout()).min()
    }

    /// Every service gates; an undecided one that came late does not.
    pub(crate) fn health(&self) -> Health {
        if let Some(down) = self.services.iter().find(|s| s.state == ServiceState::Down) {
            return Health::Down(down.complaint());
        }
        let gating = self.services.iter().filter(|s| !s.is_pending()).map(|s| s.state);
        match aggregate::vip(gating).state {
            ServiceState::Up => Health::Up,
            ServiceState::Unknown | ServiceState::Down => Health::Unknown,
        }
    }

    /// What the dataplane should do for this VIP; `undecided` is what a backend without a verdict is.
    ///
    /// While routers may still send here, a service that has lost its last live backend keeps the state it had.
    pub(crate) fn spec(&self, undecided: RealState) -> VipSpec {
        let held = self.gate.holds_rings();
        let services = self.services.iter().filter(|s| !s.is_pending()).map(|service| {
            let spec = self.service_spec(service, undecided);
            let lost = !spec.backends.iter().any(|b| b.state == RealState::Live);
            match (held && lost).then(|| self.sent_service(&spec)).flatten() {
                Some(before) => ServiceSpec { serving: true, ..before.clone() },
                None => spec,
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
            let state = if closed { RealState::Down } else { real_state(backend, undecided) };
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

fn admin(state: AdminState) -> Admin {
    match state {
        AdminState::Enabled => Admin::Enabled,
        AdminState::Drain => Admin::Drain,
        AdminState::Disabled => Admin::Disabled,
    }
}
