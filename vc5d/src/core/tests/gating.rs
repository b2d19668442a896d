//! What a VIP's health is made of: parts needed, services that do not gate, panic, and groups.

use super::*;
use crate::config::model::{Join, Need};

fn with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = standard();
    change(&mut config);
    config
}

/// The standard world with a changed configuration and all backends up.
fn up_with(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&with(change));
    world.all(Verdict::Up);
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
    world
}

fn service(config: &mut Config, at: usize) -> &mut crate::config::model::Service {
    &mut config.vips.get_mut("www").unwrap().services[at]
}

#[test]
fn a_part_of_the_backends_is_rounded_up() {
    for (percent, all, need) in [(50, 2, 1), (50, 3, 2), (1, 4, 1), (100, 7, 7), (34, 3, 2)] {
        assert_eq!(Need::Percent(percent).of(all), need, "{percent} % of {all}");
    }
    let mut world = up_with(|config| service(config, 0).need = Need::Percent(51));
    world.probe(80, "10.0.0.1", Verdict::Down);
    assert!(!world.standing);
}

#[test]
fn one_of_the_checks_is_enough_where_the_service_says_so() {
    let any = |config: &mut Config| {
        let mut deep = config.checks["alive"].clone();
        deep.name = "deep".into();
        config.checks.insert("deep".into(), deep);
        let service = service(config, 0);
        service.checks = vec!["alive".into(), "deep".into()];
        service.checks_need = Join::Any;
    };
    // One of two undecided checks is up: that decides.
    let mut world = up_with(any);
    let key = |check: &str| ProbeKey {
        vip: VIP.into(),
        backend: "10.0.0.1".parse().unwrap(),
        port: 80,
        service: "80/tcp".into(),
        check: check.into(),
    };
    world.found(key("deep"), Verdict::Down);
    assert_eq!(world.live(80), 2, "the other check passes");
    let effects = world.found(key("alive"), Verdict::Down);
    let down = |effect: &Effect| matches!(effect, Effect::Backend { verdict: Verdict::Down, .. });
    assert!(effects.iter().any(down), "{effects:?}");
    assert_eq!(world.live(80), 1);
    let events = world.state.take_events();
    let cause = &events.iter().rfind(|e| e.backend.is_some()).unwrap().cause;
    assert_eq!(cause, "none of its checks passes, check alive: down");
    world.found(key("deep"), Verdict::Up);
    assert_eq!(world.live(80), 2);

    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&with(|config| {
        any(config);
        service(config, 0).checks_need = Join::All;
    }));
    world.all(Verdict::Up);
    assert_eq!(world.live(80), 0, "all of them are needed otherwise");
}

#[test]
fn a_service_that_does_not_gate_moves_no_route() {
    let mut world = up_with(|config| service(config, 0).gating = false);
    world.probe(80, "10.0.0.1", Verdict::Down);
    world.probe(80, "10.0.0.2", Verdict::Down);
    world.acknowledge();
    assert!(world.standing);
    world.probe(443, "10.0.0.1", Verdict::Down);
    world.probe(443, "10.0.0.2", Verdict::Down);
    assert!(!world.standing);
}

#[test]
fn a_vip_does_not_wait_for_a_service_that_does_not_gate() {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&with(|config| service(config, 0).gating = false));
    world.probe(443, "10.0.0.1", Verdict::Up);
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing, "nothing is known of port 80");
    world.probe(80, "10.0.0.1", Verdict::Up);
    assert_eq!(world.live(80), 1);
}

/// Which services the dataplane was told that the VIP needs.
fn needed(world: &World) -> Vec<bool> {
    world.spec(VIP.into()).services.iter().map(|service| service.needed).collect()
}

/// The dataplane cannot reach any backend of a service, and says so where the VIP needs it.
fn unreached(world: &mut World, port: u16) {
    let lost = |s: &ServiceSpec| s.ports == Ports::One(port) && s.needed;
    let lost = world.spec(VIP.into()).services.iter().any(lost);
    let not_ready = lost.then(|| (IpAddr::V4(VIP), "no backend is reached".to_owned()));
    let event = Event::ReadinessChanged { not_ready: not_ready.into_iter().collect() };
    let effects = world.state.dataplane(world.now, event);
    world.take(effects);
}

#[test]
fn a_service_that_does_not_gate_moves_no_route_by_the_hosts_of_its_backends_either() {
    let mut world = up_with(|config| service(config, 0).gating = false);
    assert_eq!(needed(&world), [false, true]);
    unreached(&mut world, 80);
    assert!(world.standing);
    unreached(&mut world, 443);
    assert!(!world.standing);
}

#[test]
fn a_service_that_is_kept_as_it_was_is_needed_as_the_configuration_says_now() {
    let mut world = up_with(|config| service(config, 0).gating = false);
    world.probe(80, "10.0.0.1", Verdict::Down);
    world.probe(80, "10.0.0.2", Verdict::Down);
    assert_eq!((world.live(80), needed(&world)), (1, vec![false, true]));
    world.configure(&standard());
    assert!(!world.standing, "it gates, and is down");
    assert_eq!((world.live(80), needed(&world)), (1, vec![true, true]));
}

#[test]
fn the_last_good_backends_are_kept_when_too_few_are_up() {
    let mut world = up_with(|config| {
        service(config, 0).panic_threshold = Some(50);
        service(config, 1).gating = false;
    });
    world.probe(80, "10.0.0.1", Verdict::Down);
    assert_eq!(world.live(80), 1, "half is enough to be believed");
    world.probe(80, "10.0.0.2", Verdict::Down);
    assert!(world.standing);
    assert_eq!(world.live(80), 1, "the last good one");
    let view = world.state.view(world.now);
    assert!(view.vips[0].services[0].panic);
    assert_eq!(view.vips[0].services[0].healthy, 0, "it is told as it is");
    world.probe(80, "10.0.0.1", Verdict::Up);
    assert!(world.standing);
    assert_eq!(world.live(80), 1);
    assert!(!world.state.view(world.now).vips[0].services[0].panic);
}

#[test]
fn backends_that_were_never_good_are_not_kept() {
    let mut world = World::new(DataplaneMode::Off);
    world.configure(&with(|config| {
        service(config, 0).panic_threshold = Some(100);
        service(config, 1).gating = false;
    }));
    world.probe(80, "10.0.0.1", Verdict::Down);
    world.probe(80, "10.0.0.2", Verdict::Down);
    world.wait(Duration::from_secs(60));
    assert!(!world.standing);
}

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Two VIPs in one group; the second one has port 80 alone.
fn grouped() -> Config {
    with(|config| {
        let www = config.vips.get_mut("www").unwrap();
        www.group = Some("front".into());
        www.up_delay = Duration::ZERO;
        let mut other = www.clone();
        other.name = "xyz".into();
        other.addresses = vec![OTHER.into()];
        other.services.truncate(1);
        config.vips.insert("xyz".into(), other);
    })
}

/// Which of the two are announced.
fn standing(state: &State) -> [bool; 2] {
    [0, 1].map(|at| state.vips[at].gate.state() == crate::gate::State::Announced)
}

fn tell(state: &mut State, now: Instant, vip: Ipv4Addr, port: u16, verdict: Verdict) {
    for backend in BACKENDS {
        let key = ProbeKey {
            vip: vip.into(),
            backend: backend.parse().unwrap(),
            port,
            service: format!("{port}/tcp"),
            check: "alive".into(),
        };
        let outcome =
            Outcome { ok: false, diagnostic: "refused".into(), took: Duration::from_millis(1) };
        let event =
            ProbeEvent { key, verdict, changed: true, outcome, at: now, passed: 0, failed: 0 };
        state.probed(now, event);
    }
}

/// The dataplane acknowledges what it was told last; so many of the two are not ready.
fn acknowledge(state: &mut State, now: Instant, not_ready: &[Ipv4Addr]) {
    if let Some(Effect::Apply { seq, .. }) = state.poll_forwarding(now) {
        let empty = |vip: &Ipv4Addr| ((*vip).into(), "no backend has a MAC address".to_owned());
        let not_ready = not_ready.iter().map(empty).collect();
        state.dataplane(now, Event::Applied { seq, took: Duration::ZERO, not_ready });
    }
}

fn ready_but(state: &mut State, now: Instant, not_ready: &[Ipv4Addr]) {
    let lost = |vip: &Ipv4Addr| ((*vip).into(), "no backend has a MAC address".to_owned());
    let not_ready = not_ready.iter().map(lost).collect();
    state.dataplane(now, Event::ReadinessChanged { not_ready });
}

#[test]
fn vips_of_a_group_wait_for_one_anothers_rings() {
    let now = Instant::now();
    let mut state = State::new(DataplaneMode::Auto);
    state.configure(now, &grouped());
    for (vip, port) in [(VIP, 80), (VIP, 443), (OTHER, 80)] {
        tell(&mut state, now, vip, port, Verdict::Up);
    }
    acknowledge(&mut state, now, &[OTHER]);
    assert_eq!(standing(&state), [false, false], "the other one has no ring");
    let reason = state.view(now).vips[0].reason.clone();
    assert!(reason.contains("xyz 192.0.2.2 of group front: no backend has"), "{reason}");
    ready_but(&mut state, now, &[]);
    assert_eq!(standing(&state), [true, true]);
    ready_but(&mut state, now, &[VIP]);
    assert_eq!(standing(&state), [false, false], "both go with the rings of one");
    let later = now + FLUSH_LIMIT;
    state.timeout_at(later);
    acknowledge(&mut state, later, &[VIP]);
    assert_eq!(standing(&state), [false, false]);
    state.switch(later, "www", true);
    assert_eq!(standing(&state), [false, true], "what is switched off holds nobody up");
    state.switch(later, "www", false);
    assert_eq!(standing(&state), [false, true], "what comes later lets stand what stands");
    acknowledge(&mut state, later, &[]);
    assert_eq!(standing(&state), [true, true]);
}

#[test]
fn addresses_of_one_vip_that_are_switched_on_wait_for_one_anothers_rings() {
    let now = Instant::now();
    let config = with(|config| {
        let www = config.vips.get_mut("www").unwrap();
        www.group = Some("front".into());
        www.up_delay = Duration::ZERO;
        www.addresses.push(OTHER.into());
    });
    let mut state = State::new(DataplaneMode::Auto);
    state.configure(now, &config);
    for (vip, port) in [(VIP, 80), (VIP, 443), (OTHER, 80), (OTHER, 443)] {
        tell(&mut state, now, vip, port, Verdict::Up);
    }
    acknowledge(&mut state, now, &[OTHER]);
    assert_eq!(standing(&state), [false, false]);
    for disabled in [true, false] {
        assert_eq!(state.switch(now, "www", disabled), (true, Vec::new()));
        assert_eq!(standing(&state), [false, false], "the second has no ring");
    }
    ready_but(&mut state, now, &[]);
    assert_eq!(standing(&state), [true, true]);
}

#[test]
fn vips_of_a_group_come_and_go_together() {
    let now = Instant::now();
    let mut state = State::new(DataplaneMode::Off);
    state.configure(now, &grouped());
    tell(&mut state, now, VIP, 80, Verdict::Up);
    tell(&mut state, now, VIP, 443, Verdict::Up);
    assert_eq!(standing(&state), [false, false], "the other one is undecided");
    tell(&mut state, now, OTHER, 80, Verdict::Up);
    assert_eq!(standing(&state), [true, true]);
    tell(&mut state, now, VIP, 443, Verdict::Down);
    assert_eq!(standing(&state), [false, false]);
    let view = state.view(now);
    assert!(view.vips[1].reason.contains("www 192.0.2.1 of group front: service 443/tcp"));
    let later = now + FLUSH_LIMIT;
    state.timeout_at(later);
    state.configure(later, &grouped());
    assert_eq!(standing(&state), [false, false], "a reload does not forget the group");
    state.switch(later, "www", true);
    assert_eq!(standing(&state), [false, true], "what is switched off holds nobody down");
    state.switch(later, "www", false);
    assert_eq!(standing(&state), [false, false]);
}
