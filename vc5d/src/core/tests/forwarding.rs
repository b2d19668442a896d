//! What the dataplane is told: both families, ports, echo, and what it is told at a start.

use std::net::Ipv6Addr;

use vc5_xdp::Unknown;

use super::*;

const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x101, 0, 0, 0, 0, 1);

/// One VIP with an address of each family over one pool with backends of both.
fn both_families() -> Config {
    let mut config = config("auto", r#""10.0.0.1", "2001:db8:10::1", "2001:db8:10::2""#);
    let www = config.vips.get_mut("www").unwrap();
    www.addresses.push(IpAddr::V6(VIP6));
    www.services.truncate(1);
    www.unknown_port = Unknown::Reject;
    www.services[0].sticky = true;
    config
}

#[test]
fn an_address_of_each_family_has_the_backends_of_its_family() {
    let config = both_families();
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&config);
    let backends = |world: &World, vip| {
        let spec = world.spec(vip);
        assert_eq!(spec.unknown, Unknown::Reject);
        assert!(spec.services.iter().all(|service| service.sticky));
        let backends = spec.services.into_iter().flat_map(|service| service.backends);
        backends.map(|b| (b.address.to_string(), b.state)).collect::<Vec<_>>()
    };
    let own = |address: &str, state| (address.to_owned(), state);
    assert_eq!(backends(&world, IpAddr::V4(VIP)), [own("10.0.0.1", RealState::Undecided)]);
    world.probe_of(IpAddr::V6(VIP6), 80, "2001:db8:10::2", Verdict::Up);
    assert_eq!(
        backends(&world, IpAddr::V6(VIP6)),
        [own("2001:db8:10::1", RealState::Undecided), own("2001:db8:10::2", RealState::Live)]
    );
    let probed: Vec<_> = translate::probes(&config)
        .into_iter()
        .map(|probe| (probe.key.vip.is_ipv6(), probe.key.backend.to_string()))
        .collect();
    let expected = [(false, "10.0.0.1"), (true, "2001:db8:10::1"), (true, "2001:db8:10::2")];
    assert_eq!(probed, expected.map(|(v6, backend)| (v6, backend.to_owned())));
}

#[test]
fn an_ipv6_vip_is_announced_withdrawn_and_emptied_like_any_other() {
    let mut config = both_families();
    config.vips.get_mut("www").unwrap().addresses = vec![IpAddr::V6(VIP6)];
    let vip = IpAddr::V6(VIP6);
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&config);
    for backend in ["2001:db8:10::1", "2001:db8:10::2"] {
        world.probe_of(vip, 80, backend, Verdict::Up);
    }
    world.wait(Duration::from_secs(60));
    assert!(!world.standing, "the dataplane has not said a word");
    let (seq, _) = world.sent.clone().unwrap();
    let not_ready = vec![(vip, "no MAC address".to_owned())];
    let event = Event::Applied { seq, took: Duration::ZERO, not_ready };
    let effects = world.state.dataplane(world.now, event);
    world.take(effects);
    assert!(!world.standing, "the dataplane says that it is not ready");
    world.acknowledge();
    assert!(world.standing);
    world.probe_of(vip, 80, "2001:db8:10::1", Verdict::Down);
    let effects = world.probe_of(vip, 80, "2001:db8:10::2", Verdict::Down);
    assert!(matches!(effects.first(), Some(Effect::Withdraw { .. })), "{effects:?}");
    assert_eq!(world.live(80), 1, "routers may still send");
    let effects = world.state.flushed(world.now, vip);
    world.take(effects);
    assert_eq!(world.live(80), 0);
}

#[test]
fn echo_is_answered_while_the_services_work_and_the_vip_is_not_off() {
    let answers = |world: &World| world.spec(IpAddr::V4(VIP)).up;
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&standard());
    assert!(!answers(&world));
    world.all(Verdict::Up);
    assert!(answers(&world), "it would be announced");
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing && answers(&world));
    world.probe(80, "10.0.0.1", Verdict::Down);
    assert!(answers(&world));
    world.probe(80, "10.0.0.2", Verdict::Down);
    assert!(!answers(&world), "also while its ring is held for routers that still send");
    world.all(Verdict::Up);
    assert!(answers(&world));
    let (_, effects) = world.state.switch(world.now, "www", true);
    world.take(effects);
    assert!(!answers(&world));
}

#[test]
fn a_service_on_a_range_is_probed_on_the_port_of_its_check() {
    let mut config = standard();
    config.checks.get_mut("alive").unwrap().port = Some(9000);
    let www = config.vips.get_mut("www").unwrap();
    www.services.truncate(1);
    www.services[0].ports = Ports::Range(8000, 8099);
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&config);
    let probes = translate::probes(&config);
    assert_eq!(probes.len(), 2);
    for probe in probes {
        assert_eq!((probe.key.port, probe.key.service.as_str()), (9000, "8000-8099/tcp"));
        let event = ProbeEvent {
            key: probe.key,
            verdict: Verdict::Up,
            changed: true,
            outcome: Outcome { ok: true, diagnostic: "open".into(), took: Duration::ZERO },
            at: world.now,
            passed: 1,
            failed: 0,
        };
        let effects = world.state.probed(world.now, event);
        world.take(effects);
    }
    let spec = world.spec(IpAddr::V4(VIP));
    assert_eq!(spec.services[0].ports, Ports::Range(8000, 8099));
    assert!(spec.services[0].backends.iter().all(|b| b.state == RealState::Live));
}

#[test]
fn what_an_earlier_run_has_left_stands_until_something_is_known() {
    let mut world = World::new(DataplaneMode::Auto);
    let attached = Event::Attached { interface: "eth0".into(), mode: "native", fallback: None };
    let effects = world.state.dataplane(world.now, attached);
    world.take(effects);
    assert_eq!(world.sent, None, "there is no configuration yet");
    let states = |world: &World| -> Vec<RealState> {
        let spec = world.spec(IpAddr::V4(VIP));
        spec.services[0].backends.iter().map(|backend| backend.state).collect()
    };
    world.configure(&config("auto", r#""10.0.0.1", { address = "10.0.0.2", state = "disabled" }"#));
    assert_eq!(states(&world), [RealState::Undecided, RealState::Down]);
    world.wait(Duration::from_secs(29));
    world.configure(&standard());
    assert_eq!(states(&world), [RealState::Undecided; 2]);
    world.probe(80, "10.0.0.1", Verdict::Down);
    assert_eq!(states(&world), [RealState::Down, RealState::Undecided]);
    world.wait(Duration::from_secs(1));
    assert_eq!(states(&world), [RealState::Down; 2], "the learn time is over");
}
