//! The core as a pure machine, on a virtual clock.

mod admin;
mod any_order;
mod backup;
mod capacity;
mod causes;
mod forwarding;
mod gating;
mod pictures;
mod signals;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vc5_health::{Outcome, ProbeEvent, ProbeKey, Verdict};
use vc5_xdp::{Desired, Event, Ports, RealState, ServiceSpec, VipSpec};

use super::{Advert, Effect, State};
use crate::config::{self, Config, model::DataplaneMode};
use crate::gate::FLUSH_LIMIT;
use crate::translate;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const BACKENDS: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

fn config(dataplane: &str, pool: &str) -> Config {
    let text = format!(
        r#"
        [router]
        id = "10.0.0.100"
        as = 65001
        learn-time = "30s"
        [dataplane]
        mode = "{dataplane}"
        interfaces = ["eth0"]
        [pool.web]
        backends = [{pool}]
        [check.alive]
        type = "tcp"
        [vip.www]
        addresses = ["{VIP}"]
        up-delay = "5s"
        [[vip.www.service]]
        port = 80
        protocol = "tcp"
        pool = "web"
        checks = ["alive"]
        [[vip.www.service]]
        port = 443
        protocol = "tcp"
        pool = "web"
        checks = ["alive"]
        "#
    );
    config::parse(&text, Path::new("test.toml")).expect("a valid configuration")
}

fn standard() -> Config {
    config("auto", r#""10.0.0.1", "10.0.0.2""#)
}

/// The standard configuration with one more service on the VIP, on port 8080.
fn with_another_service() -> Config {
    let mut config = standard();
    let www = config.vips.get_mut("www").unwrap();
    let mut service = www.services[0].clone();
    service.ports = Ports::One(8080);
    www.services.push(service);
    config
}

/// A core with its clock, its last word to the dataplane, and whether the route stands.
struct World {
    now: Instant,
    state: State,
    sent: Option<(u64, Desired)>,
    standing: bool,
}

impl World {
    fn new(mode: DataplaneMode) -> Self {
        Self { now: Instant::now(), state: State::new(mode), sent: None, standing: false }
    }

    /// Carries effects out, checking what must hold of every list of them.
    fn take(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        effects.extend(self.state.poll_forwarding(self.now));
        let first_other = effects.iter().position(|e| !matches!(e, Effect::Withdraw { .. }));
        let last_withdraw = effects.iter().rposition(|e| matches!(e, Effect::Withdraw { .. }));
        if let (Some(other), Some(withdraw)) = (first_other, last_withdraw) {
            assert!(withdraw < other, "a withdrawal comes after something else: {effects:?}");
        }
        for effect in &effects {
            match effect {
                Effect::Withdraw { .. } => {
                    assert!(self.standing);
                    self.standing = false;
                }
                Effect::Announce { .. } => {
                    assert!(!self.standing);
                    self.standing = true;
                }
                Effect::Apply { seq, desired } => self.sent = Some((*seq, desired.clone())),
                Effect::Update { .. } => assert!(self.standing),
                Effect::Backend { .. } => {}
            }
        }
        effects
    }

    fn configure(&mut self, config: &Config) -> Vec<Effect> {
        let effects = self.state.configure(self.now, config);
        self.take(effects)
    }

    fn probe(&mut self, port: u16, backend: &str, verdict: Verdict) -> Vec<Effect> {
        self.probe_of(IpAddr::V4(VIP), port, backend, verdict)
    }

    fn probe_of(&mut self, vip: IpAddr, port: u16, backend: &str, verdict: Verdict) -> Vec<Effect> {
        let (backend, service) = (backend.parse().unwrap(), format!("{port}/tcp"));
        let key = ProbeKey { vip, backend, port, service, check: "alive".to_owned() };
        self.found(key, verdict)
    }

    fn found(&mut self, key: ProbeKey, verdict: Verdict) -> Vec<Effect> {
        let event = ProbeEvent {
            key,
            verdict,
            changed: true,
            outcome: Outcome {
                ok: verdict == Verdict::Up,
                diagnostic: format!("{verdict}"),
                took: Duration::from_millis(1),
            },
            at: self.now,
            passed: 0,
            failed: 0,
        };
        let effects = self.state.probed(self.now, event);
        self.take(effects)
    }

    fn all(&mut self, verdict: Verdict) {
        for port in [80, 443] {
            for backend in BACKENDS {
                self.probe(port, backend, verdict);
            }
        }
    }

    /// The dataplane catches up with the newest state.
    fn acknowledge(&mut self) -> Vec<Effect> {
        let Some((seq, desired)) = self.sent.clone() else { return Vec::new() };
        let empty = |vip: &&vc5_xdp::VipSpec| {
            let idle = |s: &ServiceSpec| s.backends.iter().all(|b| b.state != RealState::Live);
            vip.services.iter().any(|s| s.needed && idle(s))
        };
        let not_ready = desired.vips.iter().filter(empty).map(|v| (v.address, "empty".to_owned()));
        let event = Event::Applied { seq, took: Duration::ZERO, not_ready: not_ready.collect() };
        let effects = self.state.dataplane(self.now, event);
        self.take(effects)
    }

    fn wait(&mut self, time: Duration) -> Vec<Effect> {
        let end = self.now + time;
        let mut all = Vec::new();
        while let Some(at) = self.state.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let effects = self.state.timeout_at(self.now);
            all.extend(self.take(effects));
        }
        self.now = end;
        all
    }

    fn flushed(&mut self) -> Vec<Effect> {
        let effects = self.state.flushed(self.now, IpAddr::V4(VIP));
        self.take(effects)
    }

    fn live(&self, port: u16) -> usize {
        let Some((_, desired)) = &self.sent else { return 0 };
        let services =
            desired.vips.iter().flat_map(|v| &v.services).filter(|s| s.ports == Ports::One(port));
        services.flat_map(|s| &s.backends).filter(|b| b.state == RealState::Live).count()
    }

    /// What the dataplane was told last of an address.
    fn spec(&self, address: IpAddr) -> VipSpec {
        let (_, desired) = self.sent.as_ref().unwrap();
        desired.vips.iter().find(|vip| vip.address == address).unwrap().clone()
    }

    fn up() -> Self {
        let mut world = Self::new(DataplaneMode::Auto);
        world.configure(&standard());
        world.all(Verdict::Up);
        world.acknowledge();
        world.wait(Duration::from_secs(6));
        assert!(world.standing);
        world
    }
}

#[test]
fn a_vip_is_announced_after_verdicts_rings_and_delay() {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&standard());
    assert_eq!(world.live(80), 0, "a new backend gets no traffic");
    world.all(Verdict::Up);
    assert_eq!((world.live(80), world.live(443)), (2, 2));
    world.wait(Duration::from_secs(60));
    assert!(!world.standing, "the dataplane has not said a word");
    world.acknowledge();
    assert!(world.standing);
}

#[test]
fn an_old_acknowledgement_does_not_count() {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&standard());
    let old = world.sent.clone();
    world.all(Verdict::Up);
    let newest = std::mem::replace(&mut world.sent, old);
    let (seq, _) = world.sent.clone().unwrap();
    let event = Event::Applied { seq, took: Duration::ZERO, not_ready: Vec::new() };
    let effects = world.state.dataplane(world.now, event);
    world.take(effects);
    world.wait(Duration::from_secs(10));
    assert!(!world.standing);
    world.sent = newest;
    world.acknowledge();
    assert!(world.standing);
}

#[test]
fn previous_rings_count_only_while_routers_may_send() {
    let serving = |world: &World| {
        let (_, desired) = world.sent.clone().unwrap();
        desired.vips.iter().flat_map(|v| &v.services).all(|s| s.serving)
    };
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&standard());
    world.all(Verdict::Up);
    assert!(!serving(&world));
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing && serving(&world));
    world.all(Verdict::Down);
    assert!(!world.standing && serving(&world), "not on the wire yet");
    world.flushed();
    assert!(!serving(&world));
}

#[test]
fn without_a_dataplane_health_and_delay_decide() {
    let mut world = World::new(DataplaneMode::Off);
    world.configure(&config("off", r#""10.0.0.1", "10.0.0.2""#));
    world.all(Verdict::Up);
    world.wait(Duration::from_secs(4));
    assert!(!world.standing);
    world.wait(Duration::from_secs(1));
    assert!(world.standing);
    assert_eq!(world.sent, None);
}

#[test]
fn one_backend_less_changes_the_ring_alone() {
    let mut world = World::up();
    world.probe(80, "10.0.0.1", Verdict::Down);
    assert!(world.standing);
    assert_eq!((world.live(80), world.live(443)), (1, 2));
}

#[test]
fn the_last_backend_withdraws_first_and_keeps_its_ring_until_flushed() {
    let mut world = World::up();
    world.probe(80, "10.0.0.1", Verdict::Down);
    let effects = world.probe(80, "10.0.0.2", Verdict::Down);
    assert!(matches!(effects.first(), Some(Effect::Withdraw { .. })), "{effects:?}");
    assert_eq!(world.live(80), 1, "routers may still send");
    world.flushed();
    assert_eq!(world.live(80), 0);
    assert_eq!(world.live(443), 2);
}

#[test]
fn a_removed_vip_is_withdrawn_flushed_and_only_then_removed() {
    let mut world = World::up();
    let mut config = standard();
    config.vips.clear();
    let effects = world.configure(&config);
    assert!(matches!(effects.first(), Some(Effect::Withdraw { .. })), "{effects:?}");
    assert_eq!(world.live(80), 2);
    world.flushed();
    let (_, desired) = world.sent.clone().unwrap();
    assert_eq!(desired, Desired::default());
}

#[test]
fn a_reload_keeps_verdicts_and_the_route() {
    let mut world = World::up();
    assert_eq!(world.configure(&standard()), Vec::new());
    let more = config("auto", r#""10.0.0.1", "10.0.0.2", "10.0.0.3""#);
    let effects = world.configure(&more);
    assert!(matches!(effects.as_slice(), [Effect::Apply { .. }]), "{effects:?}");
    assert!(world.standing);
    assert_eq!(world.live(80), 2, "the new backend is not proven yet");
    world.probe(80, "10.0.0.3", Verdict::Up);
    assert_eq!(world.live(80), 3);
}

#[test]
fn a_new_service_on_a_standing_vip_gates_from_its_first_verdict() {
    let mut world = World::up();
    world.configure(&with_another_service());
    assert!(world.standing);
    world.probe(8080, "10.0.0.1", Verdict::Down);
    assert!(world.standing, "the other backend may still make it");
    let effects = world.probe(8080, "10.0.0.2", Verdict::Down);
    assert!(matches!(effects.first(), Some(Effect::Withdraw { .. })), "{effects:?}");
}

#[test]
fn an_undecided_service_counts_as_down_after_the_learn_time() {
    let mut world = World::up();
    world.configure(&with_another_service());
    world.wait(Duration::from_secs(29));
    assert!(world.standing);
    world.wait(Duration::from_secs(1));
    assert!(!world.standing);
}

#[test]
fn a_new_service_on_a_standing_vip_is_no_business_of_the_dataplane_until_it_is_decided() {
    let mut world = World::up();
    world.configure(&with_another_service());
    world.acknowledge();
    assert!(world.standing, "its empty ring is nobody's concern yet");
    world.probe(8080, "10.0.0.1", Verdict::Up);
    assert_eq!(world.live(8080), 1);
    world.acknowledge();
    assert!(world.standing);
}

#[test]
fn a_new_check_counts_from_its_first_verdict() {
    let mut world = World::up();
    let mut more = standard();
    let mut check = more.checks["alive"].clone();
    check.name = "deep".into();
    more.checks.insert("deep".into(), check);
    for service in &mut more.vips.get_mut("www").unwrap().services {
        service.checks = vec!["deep".into()];
    }
    world.configure(&more);
    world.acknowledge();
    assert!(world.standing, "what was known of the backends stands");
    assert_eq!(world.live(80), 2);
    world.wait(Duration::from_secs(31));
    assert!(!world.standing, "undecided after the learn time is undecided");
}

#[test]
fn a_backend_that_is_switched_on_again_has_to_prove_itself() {
    let off = r#""10.0.0.1", { address = "10.0.0.2", state = "disabled" }"#;
    let mut world = World::up();
    world.configure(&config("auto", off));
    assert_eq!(world.live(80), 1);
    world.configure(&standard());
    assert_eq!(world.live(80), 1, "nothing is known of it");
    world.probe(80, "10.0.0.2", Verdict::Unknown);
    world.probe(80, "10.0.0.2", Verdict::Up);
    assert_eq!(world.live(80), 2);
}

#[test]
fn a_probe_that_was_set_up_anew_does_not_unsettle_what_is_known() {
    let mut world = World::up();
    world.probe(80, "10.0.0.1", Verdict::Unknown);
    world.probe(80, "10.0.0.2", Verdict::Unknown);
    assert!(world.standing);
    assert_eq!(world.live(80), 2);
}

#[test]
fn a_renamed_vip_keeps_its_route_under_the_new_name() {
    let mut world = World::up();
    let mut renamed = standard();
    let mut vip = renamed.vips.remove("www").unwrap();
    vip.name = "web".into();
    renamed.vips.insert("web".into(), vip);
    let effects = world.configure(&renamed);
    let advert = Advert { name: "web".to_owned(), ..Advert::default() };
    assert_eq!(effects, [Effect::Update { address: IpAddr::V4(VIP), advert }]);
    assert!(world.standing);
}

#[test]
fn a_switched_off_vip_stays_off_with_a_new_address_too() {
    let mut world = World::up();
    let (_, effects) = world.state.switch(world.now, "www", true);
    world.take(effects);
    let mut more = standard();
    more.vips.get_mut("www").unwrap().addresses.push("192.0.2.9".parse().unwrap());
    world.configure(&more);
    let off = |vip: &super::drawn::Drawn| vip.gate.admin() == crate::gate::Admin::Disabled;
    assert!(world.state.vips.iter().all(off));
}

#[test]
fn a_vip_that_comes_back_before_it_is_gone_is_announced_again() {
    let mut world = World::up();
    let mut none = standard();
    none.vips.clear();
    world.configure(&none);
    assert!(!world.standing);
    world.configure(&standard());
    world.flushed();
    world.all(Verdict::Up);
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
}

#[test]
fn what_the_dataplane_cannot_apply_is_the_reason() {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&standard());
    world.all(Verdict::Up);
    let (seq, _) = world.sent.clone().unwrap();
    let event = Event::ApplyFailed { seq, error: "no memory".into() };
    let effects = world.state.dataplane(world.now, event);
    world.take(effects);
    let view = world.state.view(world.now);
    assert!(view.vips[0].reason.contains("no memory"), "{}", view.vips[0].reason);
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
}

#[test]
fn a_program_that_is_gone_withdraws_and_its_return_announces() {
    let mut world = World::up();
    let gone = Event::Detached { interface: "eth0".into(), reason: "replaced by others".into() };
    let effects = world.state.dataplane(world.now, gone);
    world.take(effects);
    assert!(!world.standing);
    world.flushed();
    world.acknowledge();
    let back = Event::Attached { interface: "eth0".into(), mode: "native", fallback: None };
    let effects = world.state.dataplane(world.now, back);
    world.take(effects);
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
}

#[test]
fn the_administrator_switches_a_vip_off_and_on() {
    let mut world = World::up();
    let (known, effects) = world.state.switch(world.now, "www", true);
    assert!(known);
    world.take(effects);
    assert!(!world.standing);
    world.configure(&standard());
    world.wait(Duration::from_secs(60));
    assert!(!world.standing, "a reload does not switch it on");
    let (_, effects) = world.state.switch(world.now, "www", false);
    world.take(effects);
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
    assert!(!world.state.switch(world.now, "nobody", true).0);
}

#[test]
fn every_check_has_a_probe_and_every_probe_a_backend() {
    let config = standard();
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&config);
    let probes = translate::probes(&config);
    assert_eq!(probes.len(), 4);
    for probe in probes {
        let effects = world.probe(probe.key.port, &probe.key.backend.to_string(), Verdict::Up);
        assert!(matches!(effects.first(), Some(Effect::Backend { .. })), "{effects:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Probe(u16, usize, Verdict),
    Acknowledge,
    Flushed,
    Wait(u64),
    Detach(bool),
    Reload(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![Just(Verdict::Up), Just(Verdict::Up), Just(Verdict::Down)];
    prop_oneof![
        6 => (prop_oneof![Just(80u16), Just(443)], 0usize..2, verdict)
            .prop_map(|(port, backend, verdict)| Step::Probe(port, backend, verdict)),
        3 => Just(Step::Acknowledge),
        2 => Just(Step::Flushed),
        3 => (0u64..6000).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Detach),
        1 => (0usize..3).prop_map(Step::Reload),
    ]
}

proptest! {
    /// In any order of events: no ring of a VIP that routers may send to is ever emptied, announcements and
    /// withdrawals alternate, and withdrawals come first (both checked by `World::take`).
    #[test]
    fn a_ring_is_never_emptied_before_its_route_is_gone(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new(DataplaneMode::Auto);
        world.configure(&standard());
        let mut withdrawn_at = None;
        for step in steps {
            let stood = world.standing;
            let sent_before = world.sent.clone();
            match step {
                Step::Probe(port, backend, verdict) => {
                    world.probe(port, BACKENDS[backend], verdict);
                }
                Step::Acknowledge => {
                    world.acknowledge();
                }
                Step::Flushed => {
                    world.flushed();
                    withdrawn_at = None;
                }
                Step::Wait(ms) => {
                    world.wait(Duration::from_millis(ms));
                }
                Step::Detach(gone) => {
                    let interface = "eth0".to_owned();
                    let event = if gone {
                        Event::Detached { interface, reason: "test".into() }
                    } else {
                        Event::Attached { interface, mode: "native", fallback: None }
                    };
                    let effects = world.state.dataplane(world.now, event);
                    world.take(effects);
                }
                Step::Reload(kind) => {
                    let pools = [
                        r#""10.0.0.1", "10.0.0.2""#,
                        r#""10.0.0.2", "10.0.0.1""#,
                        r#""10.0.0.1", { address = "10.0.0.2", weight = 3 }"#,
                    ];
                    world.configure(&config("auto", pools[kind]));
                }
            }
            if stood && !world.standing {
                withdrawn_at = Some(world.now);
            }
            let held = withdrawn_at.is_some_and(|at| world.now < at + FLUSH_LIMIT);
            if world.standing {
                prop_assert!(world.live(80) > 0 && world.live(443) > 0);
            } else if held && sent_before.is_some() {
                prop_assert!(world.live(80) > 0 && world.live(443) > 0, "emptied too early");
            }
        }
    }
}
