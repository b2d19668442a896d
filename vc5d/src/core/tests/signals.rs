//! What is said of backends from outside, and this node's own path to them.

use super::*;
use crate::signal::path::OnLoss;
use crate::signal::{PoolBackend, Report, ServiceBackend, Signal, Source, Stand};
use crate::snapshot::{BackendState, Subject};

fn at(address: &str) -> PoolBackend {
    PoolBackend { pool: "web".into(), address: address.parse().unwrap() }
}

fn report(stand: Stand, weight: Option<u32>) -> Report {
    Report { stand, weight, reason: Some("warming up".into()) }
}

fn agent(address: &str, report: Option<Report>) -> Signal {
    Signal::Report { at: at(address), source: Source::Agent, report }
}

fn path(address: &str, lost: Option<&str>) -> Signal {
    Signal::Path { at: at(address), lost: lost.map(str::to_owned) }
}

fn traffic(port: u16, backend: &str, failing: Option<&str>) -> Signal {
    let backend = backend.parse().unwrap();
    let at = ServiceBackend { vip: IpAddr::V4(VIP), service: format!("{port}/tcp"), backend };
    Signal::Traffic { at, failing: failing.map(str::to_owned) }
}

impl World {
    fn hear(&mut self, signals: impl IntoIterator<Item = Signal>) -> Vec<Effect> {
        let effects = self.state.signals(self.now, signals.into_iter().collect());
        self.take(effects)
    }

    fn lose(&mut self, cause: Option<&str>) -> Vec<Effect> {
        self.hear(BACKENDS.map(|backend| path(backend, cause)))
    }

    fn neighbour(&mut self, backend: &str, state: vc5_xdp::NeighbourState) -> Vec<Effect> {
        let event = Event::Neighbour { address: backend.parse().unwrap(), state };
        let effects = self.state.dataplane(self.now, event);
        self.take(effects)
    }

    fn states(&mut self) -> Vec<BackendState> {
        let view = self.state.view(self.now);
        view.vips[0].services[0].backends.iter().map(|backend| backend.state).collect()
    }

    /// Changes of the first service and its VIP so far, as `subject from to: cause`.
    fn told(&mut self) -> Vec<String> {
        let events = self.state.take_events();
        let here = events.iter().filter(|e| e.service.as_deref().is_none_or(|s| s == "80/tcp"));
        here.map(|e| format!("{:?} {} {}: {}", e.subject, e.from, e.to, e.cause)).collect()
    }
}

fn holding() -> Config {
    let mut config = standard();
    config.probe.on_path_loss = OnLoss::Hold;
    config
}

#[test]
fn a_report_takes_a_backend_out_and_its_end_brings_it_back() {
    let mut world = World::up();
    world.told();
    world.hear([agent("10.0.0.1", Some(report(Stand::Down, None)))]);
    assert_eq!((world.live(80), world.live(443)), (1, 1), "in all services of its pool");
    assert_eq!(world.told(), ["Backend up down: agent: down: warming up"]);
    world.probe(80, "10.0.0.1", Verdict::Up);
    assert_eq!(world.live(80), 1, "a probe does not overrule it");
    world.hear([agent("10.0.0.1", None)]);
    assert_eq!((world.live(80), world.live(443)), (2, 2));
    assert_eq!(world.told(), ["Backend down up: every check passes"]);
}

#[test]
fn a_report_never_makes_a_backend_better_than_its_checks() {
    let mut world = World::up();
    world.probe(80, "10.0.0.1", Verdict::Down);
    world.hear([agent("10.0.0.1", Some(report(Stand::Up, None)))]);
    assert_eq!((world.live(80), world.live(443)), (1, 2));
}

#[test]
fn drain_and_weight_are_taken_and_told_with_their_source() {
    let mut world = World::up();
    world.told();
    world.hear([agent("10.0.0.1", Some(report(Stand::Up, Some(50))))]);
    let weight = |world: &World| world.spec(IpAddr::V4(VIP)).services[0].backends[0].weight;
    assert_eq!(weight(&world), 50);
    assert_eq!(world.told(), ["Report silent weight: agent: up, weight 50: warming up"]);
    let view = world.state.view(world.now);
    let said = &view.vips[0].services[0].backends[0].reports[0];
    assert_eq!((said.source, said.weight), (Source::Agent, Some(50)));
    world.hear([agent("10.0.0.1", Some(report(Stand::Drain, None)))]);
    assert_eq!(weight(&world), 1, "a report stands for itself");
    assert_eq!(world.states()[0], BackendState::Draining);
    assert!(world.standing);
    world.hear([agent("10.0.0.1", None)]);
    assert_eq!(world.states()[0], BackendState::Up);
}

#[test]
fn reports_on_the_last_backends_withdraw_with_their_words() {
    let mut world = World::up();
    let effects = world.hear(BACKENDS.map(|b| agent(b, Some(report(Stand::Down, None)))));
    let Some(Effect::Withdraw { reason, .. }) = effects.first() else { panic!("{effects:?}") };
    assert!(reason.contains("agent: down: warming up"), "{reason}");
}

#[test]
fn what_was_said_holds_for_what_a_reload_brings() {
    let mut world = World::up();
    world.hear([agent("10.0.0.3", Some(report(Stand::Down, None)))]);
    world.configure(&config("auto", r#""10.0.0.1", "10.0.0.2", "10.0.0.3""#));
    world.probe(80, "10.0.0.3", Verdict::Up);
    assert_eq!(world.live(80), 2);
    assert_eq!(world.states()[2], BackendState::Down);
}

#[test]
fn a_neighbour_that_does_not_answer_is_down_at_once_unless_the_pool_does_not_care() {
    use vc5_xdp::NeighbourState::{Failed, Resolved};
    let mut world = World::up();
    world.neighbour("10.0.0.1", Failed);
    assert_eq!(world.states(), [BackendState::Down, BackendState::Up]);
    let effects = world.neighbour("10.0.0.2", Failed);
    assert!(matches!(effects.first(), Some(Effect::Withdraw { .. })), "{effects:?}");
    world.neighbour("10.0.0.1", Resolved(vc5_xdp::Mac::default()));
    assert_eq!(world.states(), [BackendState::Up, BackendState::Down]);
    let mut deaf = standard();
    deaf.pools.get_mut("web").unwrap().neighbour = false;
    world.configure(&deaf);
    assert_eq!(world.states(), [BackendState::Up; 2]);
}

#[test]
fn traffic_costs_a_backend_its_place_but_never_the_service_its_route() {
    let mut world = World::up();
    world.told();
    world.hear([traffic(80, "10.0.0.1", Some("60 % of its connections are reset"))]);
    assert_eq!((world.live(80), world.live(443)), (1, 2), "in that service alone");
    let why = "traffic: down: 60 % of its connections are reset";
    let told = world.told();
    assert_eq!(told, [format!("Report silent down: {why}"), format!("Backend up down: {why}")]);
    world.probe(80, "10.0.0.2", Verdict::Down);
    assert!(world.standing, "it is taken back when it is needed");
    assert_eq!(world.states(), [BackendState::Up, BackendState::Down]);
    world.probe(80, "10.0.0.2", Verdict::Up);
    assert_eq!(world.states(), [BackendState::Down, BackendState::Up]);
    world.hear([traffic(80, "10.0.0.1", None)]);
    assert_eq!(world.states(), [BackendState::Up; 2]);
}

#[test]
fn a_lost_path_withdraws_at_once_and_is_nobodys_death() {
    let mut world = World::up();
    world.told();
    let effects = world.lose(Some("eth0 has no carrier"));
    let Some(Effect::Withdraw { reason, .. }) = effects.first() else { panic!("{effects:?}") };
    assert!(reason.contains("this node's own path to it is lost: eth0 has no carrier"), "{reason}");
    world.flushed();
    world.all(Verdict::Down);
    world.wait(Duration::from_secs(600));
    assert_eq!(world.states(), [BackendState::Up; 2]);
    let told = world.told();
    assert!(told.iter().all(|line| !line.starts_with("Backend")), "{told:?}");
    let path = "Path whole lost: this node's own path to it is lost: eth0 has no carrier";
    assert_eq!(told.iter().filter(|line| *line == path).count(), 2);
}

#[test]
fn what_fell_just_before_the_loss_was_told_fell_for_it() {
    let mut world = World::up();
    world.probe(80, "10.0.0.1", Verdict::Down);
    world.wait(Duration::from_secs(10));
    world.probe(80, "10.0.0.2", Verdict::Down);
    assert!(!world.standing);
    world.told();
    world.lose(Some("eth0 has no carrier"));
    assert_eq!(world.states(), [BackendState::Down, BackendState::Up], "the first died by itself");
    let told = world.told();
    let why = "Backend down up: this node's own path to it is lost: eth0 has no carrier";
    assert!(told.iter().any(|line| line == why), "{told:?}");
}

#[test]
fn a_path_that_is_back_counts_again_with_a_probe_that_passes_it() {
    let mut world = World::up();
    world.lose(Some("eth0 is down"));
    world.flushed();
    world.wait(Duration::from_secs(5));
    world.lose(None);
    world.acknowledge();
    world.wait(Duration::from_secs(8));
    assert!(!world.standing, "nothing has passed it yet");
    world.all(Verdict::Up);
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
}

#[test]
fn bad_news_counts_when_the_learn_time_is_over() {
    let mut world = World::up();
    world.lose(Some("eth0 is down"));
    world.flushed();
    world.lose(None);
    world.all(Verdict::Down);
    world.wait(Duration::from_secs(29));
    assert_eq!(world.states(), [BackendState::Up; 2], "still learning");
    world.wait(Duration::from_secs(1));
    assert_eq!(world.states(), [BackendState::Down; 2]);
    assert!(!world.standing);
}

#[test]
fn with_hold_the_route_stands_until_the_learn_time_is_over() {
    let mut world = World::up();
    world.configure(&holding());
    assert_eq!(world.lose(Some("eth0 is down")), []);
    world.all(Verdict::Down);
    world.wait(Duration::from_secs(600));
    assert!(world.standing);
    let view = world.state.view(world.now);
    let held = view.vips[0].services[0].backends[0].path_lost.clone().unwrap();
    assert!(held.ends_with("eth0 is down"), "{held}");
    world.lose(None);
    world.all(Verdict::Down);
    world.wait(Duration::from_secs(29));
    assert!(world.standing);
    world.wait(Duration::from_secs(1));
    assert!(!world.standing, "they are dead indeed");
}

#[test]
fn one_of_two_paths_costs_only_what_it_leads_to() {
    let mut world = World::up();
    world.hear([path("10.0.0.1", Some("eth1 is down"))]);
    assert!(world.standing);
    assert_eq!(world.state.view(world.now).vips[0].services[0].healthy, 1);
    world.neighbour("10.0.0.1", vc5_xdp::NeighbourState::Failed);
    assert_eq!(world.states(), [BackendState::Up; 2], "its silence is ours");
}

#[test]
fn the_panic_threshold_does_not_hold_a_route_against_a_lost_path() {
    let mut config = standard();
    for service in &mut config.vips.get_mut("www").unwrap().services {
        service.panic_threshold = Some(80);
    }
    let mut world = World::up();
    world.configure(&config);
    world.acknowledge();
    world.lose(Some("eth0 is down"));
    assert!(!world.standing);
}

/// One step of the property test.
#[derive(Clone, Copy, Debug)]
enum Step {
    Probe(u16, usize, bool),
    Say(usize, Option<Stand>),
    Lose(usize, bool),
    Neighbour(usize, bool),
    Traffic(u16, usize, bool),
    Acknowledge,
    Flushed,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (port, at) = (prop::sample::select(vec![80_u16, 443]), 0..2_usize);
    let stands = vec![None, Some(Stand::Up), Some(Stand::Drain), Some(Stand::Down)];
    prop_oneof![
        4 => (port.clone(), at.clone(), any::<bool>()).prop_map(|(p, b, ok)| Step::Probe(p, b, ok)),
        2 => (at.clone(), prop::sample::select(stands)).prop_map(|(b, s)| Step::Say(b, s)),
        2 => (at.clone(), any::<bool>()).prop_map(|(b, lost)| Step::Lose(b, lost)),
        1 => (at.clone(), any::<bool>()).prop_map(|(b, failed)| Step::Neighbour(b, failed)),
        1 => (port, at, any::<bool>()).prop_map(|(p, b, bad)| Step::Traffic(p, b, bad)),
        2 => Just(Step::Acknowledge),
        1 => Just(Step::Flushed),
        2 => (0..40_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// In any order of events: no route stands on backends that all are said to be down or cannot be reached, no
    /// backend changes for what a lost path makes of its probes, and traffic alone withdraws nothing.
    #[test]
    fn outside_signals_in_any_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::up();
        let (mut said, mut lost) = ([None; 2], [false; 2]);
        for step in steps {
            let (stood, before) = (world.standing, world.states());
            match step {
                Step::Probe(port, b, ok) => {
                    let verdict = if ok { Verdict::Up } else { Verdict::Down };
                    world.probe(port, BACKENDS[b], verdict);
                    if lost[b] {
                        prop_assert_eq!(&world.states(), &before);
                    }
                }
                Step::Say(b, stand) => {
                    said[b] = stand;
                    world.hear([agent(BACKENDS[b], stand.map(|stand| report(stand, None)))]);
                }
                Step::Lose(b, is) => {
                    lost[b] = is;
                    world.hear([path(BACKENDS[b], is.then_some("eth0 is down"))]);
                }
                Step::Neighbour(b, failed) => {
                    let state = match failed {
                        true => vc5_xdp::NeighbourState::Failed,
                        false => vc5_xdp::NeighbourState::Resolved(vc5_xdp::Mac::default()),
                    };
                    world.neighbour(BACKENDS[b], state);
                }
                Step::Traffic(port, b, bad) => {
                    world.hear([traffic(port, BACKENDS[b], bad.then_some("resets"))]);
                    prop_assert!(world.standing || !stood, "withdrawn for its traffic");
                }
                Step::Acknowledge => { world.acknowledge(); }
                Step::Flushed => { world.flushed(); }
                Step::Wait(seconds) => { world.wait(Duration::from_secs(seconds)); }
            }
            let usable = |b: usize| !matches!(said[b], Some(Stand::Down | Stand::Drain)) && !lost[b];
            prop_assert!(!world.standing || usable(0) || usable(1), "{:?}", world.states());
        }
        for event in world.state.take_events() {
            prop_assert!(event.subject != Subject::Report || event.from != event.to);
        }
    }
}
