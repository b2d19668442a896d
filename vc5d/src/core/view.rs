//! The picture of the VIPs that readers get.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vc5_health::Verdict;
use vc5_health::aggregate::ServiceState;

use super::backend::{BackendEntry, CheckEntry};
use super::service::ServiceEntry;
use super::signals::Said;
use super::state::State;
use super::vip::VipEntry;
use crate::config::model::Protocol;
use crate::gate::{Admin, State as GateState};
use crate::signal::Source;
use crate::snapshot;

/// What the core publishes.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// One per VIP address; traffic, MACs and ring slots are left to be filled in from the dataplane.
    pub vips: snapshot::Vips,
    /// Last sequence number the dataplane has acknowledged.
    pub applied: u64,
    /// The dataplane's last error, if its newest state could not be applied.
    pub apply_error: Option<String>,
    /// The last changes.
    pub history: snapshot::History,
    /// Changes since the start, by what changed.
    pub changes: BTreeMap<snapshot::Subject, u64>,
}

/// So far (seconds) may times that were told before be from those that are told now.
const DRIFT: f64 = 0.5;

/// Tells wall-clock time for moments of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub(super) instant: Instant,
    pub(super) unix: f64,
}

impl Clock {
    /// Both clocks as of now.
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix: unix.as_secs_f64() }
    }

    /// Unix seconds of a moment.
    pub fn unix(&self, at: Instant) -> f64 {
        let after = at.saturating_duration_since(self.instant).as_secs_f64();
        let before = self.instant.saturating_duration_since(at).as_secs_f64();
        self.unix + after - before
    }

    /// Whether wall-clock times that were told by `before` are still those that this one tells: the clock has not been
    /// set since, nor has the machine slept.
    pub(super) fn agrees_with(&self, before: &Self) -> bool {
        (self.unix(before.instant) - before.unix).abs() <= DRIFT
    }
}

impl State {
    /// Draws the picture, anew only of what has changed; the history is left to be filled in.
    pub fn view(&mut self, now: Instant) -> View {
        let clock = Clock::now();
        View {
            vips: self.vips.iter_mut().map(|vip| vip.picture(now, &clock)).collect(),
            applied: self.applied,
            apply_error: self.apply_error.clone(),
            history: snapshot::History::default(),
            changes: BTreeMap::new(),
        }
    }
}

pub(super) fn vip_view(vip: &VipEntry, now: Instant, clock: &Clock) -> snapshot::Vip {
    let state = match (vip.gate.state(), vip.gate.admin()) {
        (GateState::Announced, _) => snapshot::VipState::Up,
        (GateState::Withdrawing { .. }, _) => snapshot::VipState::Withdrawing,
        (_, Admin::Disabled | Admin::Drain) => snapshot::VipState::Disabled,
        (GateState::Waiting { .. }, Admin::Enabled) => snapshot::VipState::Waiting,
        (GateState::Down, Admin::Enabled) => snapshot::VipState::Down,
    };
    snapshot::Vip {
        name: vip.name.clone(),
        group: vip.group.clone(),
        address: vip.address,
        state,
        since: clock.unix(vip.since),
        reason: vip.reason(now),
        admin: vip.word.clone(),
        off: match vip.gate.admin() {
            Admin::Enabled => None,
            Admin::Drain => Some(snapshot::Off::Drain),
            Admin::Disabled => Some(snapshot::Off::Disabled),
        },
        flaps: vip.gate.flaps(),
        damping: damping_view(vip, now, clock),
        capacity: {
            let level = vip.gate.level();
            snapshot::Capacity { weight: level.weight, full: level.full, percent: level.share }
        },
        told: told_view(vip, clock),
        services: vip.services.iter().map(|s| service_view(s, clock)).collect(),
        traffic: snapshot::Traffic::default(),
    }
}

fn damping_view(vip: &VipEntry, now: Instant, clock: &Clock) -> Option<snapshot::Damping> {
    let settings = vip.gate.damping()?;
    Some(snapshot::Damping {
        penalty: vip.gate.penalty(now),
        at: clock.unix(now),
        half_life: settings.half_life.as_secs_f64(),
        suppress: settings.suppress,
        suppressed_until: vip.gate.suppressed_until(now).map(|at| clock.unix(at)),
    })
}

fn told_view(vip: &VipEntry, clock: &Clock) -> Option<snapshot::Told> {
    if vip.gate.state() != GateState::Announced {
        return None;
    }
    let advert = vip.advert();
    let community = |value: u32| format!("{}:{}", value >> 16, value & 0xffff);
    Some(snapshot::Told {
        draining: advert.draining,
        percent: vip.plan.tells_capacity().then(|| vip.gate.told().share),
        next: vip.gate.told_again().map(|at| clock.unix(at)),
        link_bandwidth: advert.link_bandwidth.map(|bandwidth| bandwidth.bytes_per_second),
        med: advert.med,
        local_pref: advert.local_pref,
        communities: advert.communities.into_iter().map(community).collect(),
    })
}

fn service_view(service: &ServiceEntry, clock: &Clock) -> snapshot::Service {
    snapshot::Service {
        ports: service.ports,
        protocol: match service.protocol {
            Protocol::Tcp => "tcp".to_owned(),
            Protocol::Udp => "udp".to_owned(),
        },
        pool: service.pool.clone(),
        backup: service.backup.clone(),
        on_backup: service.on_backup,
        up: service.state == ServiceState::Up,
        need: service.needed(),
        gating: service.gating,
        panic: service.panicking,
        healthy: service.healthy(),
        since: clock.unix(service.since),
        backends: service.backends.iter().map(|b| backend_view(b, clock)).collect(),
        traffic: snapshot::Traffic::default(),
    }
}

fn backend_view(backend: &BackendEntry, clock: &Clock) -> snapshot::Backend {
    let checks = backend.checks.iter().map(|(name, c)| (name.clone(), check_view(c, clock)));
    snapshot::Backend {
        address: backend.address,
        backup: backend.backup,
        weight: backend.weight,
        state: backend.state(),
        admin: backend.word.clone(),
        since: clock.unix(backend.since),
        reports: backend
            .signals
            .said
            .iter()
            .map(|(source, said)| report(*source, said, clock))
            .collect(),
        path_lost: backend.path.cause(),
        checks: checks.collect(),
        mac: None,
        path: None,
        ring_slots: 0,
        traffic: snapshot::Traffic::default(),
    }
}

fn report(source: Source, said: &Said, clock: &Clock) -> snapshot::Report {
    snapshot::Report {
        source,
        state: said.report.stand,
        weight: said.report.weight,
        reason: said.report.reason.clone(),
        since: clock.unix(said.since),
    }
}

fn check_view(check: &CheckEntry, clock: &Clock) -> snapshot::CheckResult {
    let last = check.last.as_ref();
    snapshot::CheckResult {
        up: match check.verdict {
            Verdict::Up => Some(true),
            Verdict::Down => Some(false),
            Verdict::Unknown => None,
        },
        ok: last.map(|event| event.outcome.ok),
        diagnostic: last.map(|event| event.outcome.diagnostic.clone()).unwrap_or_default(),
        took_ms: last.map_or(0.0, |event| event.outcome.took.as_secs_f64() * 1e3),
        at: last.map_or(0.0, |event| clock.unix(event.at)),
        passed: last.map_or(0, |event| event.passed),
        failed: last.map_or(0, |event| event.failed),
        last_failure: check.last_failure.as_ref().map(|(at, diagnostic)| snapshot::CheckFailure {
            at: clock.unix(*at),
            diagnostic: diagnostic.clone(),
        }),
    }
}
