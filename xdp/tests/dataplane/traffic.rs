//! Connections that reach backends, and follow changes.

use super::*;

#[test]
fn connections_reach_the_backends_and_follow_changes() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let mut running = Running::start(&lab, config(&lab, true)).unwrap();
    let mode = running.wait("attachment", |event| match event {
        Event::Attached { interface, mode, fallback: None } if interface == "e0" => Some(*mode),
        _ => None,
    });
    assert_eq!(mode, "native");

    running.apply_until_ready(1, desired(vec![backend(B1), backend(B2)]));
    let half = |s: &Snapshot| slots(s) == [(B1, 32768), (B2, 32768)];
    let snapshot = running.wait_snapshot("both have a share", half);
    let backends = &snapshot.vips[0].services[0].backends;
    assert_eq!(backends[0].mac.unwrap().to_string(), lab.mac("b1"));
    assert!(backends[0].path.contains("e0") && !backends[0].leaving, "{}", backends[0].path);
    assert_eq!(snapshot.vips[0].not_ready, None);
    assert_eq!((snapshot.interfaces[0].mode, snapshot.interfaces[0].attached), ("native", true));
    assert_eq!(snapshot.flow_capacity, 4096);

    let answers: Vec<String> = (0..40).map(|_| ask(&lab)).collect();
    assert!(answers.iter().any(|a| a == "b1") && answers.iter().any(|a| a == "b2"), "{answers:?}");
    let counted = |s: &Snapshot| s.vips[0].services[0].counters.syns >= 40;
    let snapshot = running.wait_snapshot("the connections are counted", counted);
    let service = &snapshot.vips[0].services[0];
    assert!(service.backends.iter().all(|b| b.counters.packets > 0));
    let syns: u64 = service.backends.iter().map(|b| b.counters.syns).sum();
    assert_eq!(service.counters.syns, syns);
    assert!(service.counters.fins >= 40 && service.counters.flows >= 40, "{:?}", service.counters);
    let by_ring = |reasons: &[vc5_xdp::ReasonCount]| {
        reasons.iter().find(|r| r.name == "ring").map(|r| r.packets)
    };
    assert!(by_ring(&snapshot.reasons).unwrap() >= 40);
    assert_eq!(by_ring(&snapshot.reasons), by_ring(&snapshot.interfaces[0].reasons));
    assert!(snapshot.events.iter().any(|(name, n)| *name == "flow-inserted" && *n >= 40));

    lab.ip("lb", &format!("neigh change {B1} dev e0 nud failed"));
    running.wait("the neighbour's failure", |event| match event {
        Event::Neighbour { address: B1, state: NeighbourState::Failed } => Some(()),
        _ => None,
    });
    running.wait_snapshot("b2 has all", |s| slots(s) == [(B1, 0), (B2, 65536)]);
    assert!((0..10).all(|_| ask(&lab) == "b2"));

    let mac = lab.mac("b1");
    lab.ip("lb", &format!("neigh replace {B1} lladdr {mac} dev e0 nud reachable"));
    running.wait_snapshot("both have a share again", half);

    assert_eq!(running.apply(2, desired(vec![backend(B1), draining(B2)])), []);
    assert_eq!(slots(&running.dataplane.snapshot()), [(B1, 65536), (B2, 0)]);
    assert!((0..10).all(|_| ask(&lab) == "b1"));

    assert_eq!(running.apply(3, desired(vec![backend(B2)])), []);
    assert_eq!(slots(&running.dataplane.snapshot()), [(B1, 0), (B2, 65536)]);
    assert!((0..10).all(|_| ask(&lab) == "b2"));

    let not_ready = running.apply(4, desired(vec![]));
    assert_eq!(not_ready, [(VIP, "tcp/8080: it has no backends".to_owned())]);
    assert_eq!(running.apply(5, Desired::default()), []);
    assert!(running.dataplane.snapshot().vips.is_empty());

    running.stop(OnStop::Remove);
    assert!(!lab.xdp_is_attached());
    assert!(!lab.pin_path().exists());
    assert!(!lab.ip("lb", "neigh show").contains("managed"));
}

#[test]
fn a_backend_that_is_left_out_keeps_its_connections_for_a_while() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let slow = DataplaneConfig { drain_time: Duration::from_secs(5), ..config(&lab, false) };
    let mut running = Running::start(&lab, slow).unwrap();
    running.apply_until_ready(1, desired(vec![backend(B1), backend(B2)]));
    running.wait_snapshot("both are there", |s| slots(s).iter().all(|(_, slots)| *slots > 0));
    let mut held = Held::with(&lab, "b2");
    running.apply(2, desired(vec![backend(B1)]));
    let snapshot = running.dataplane.snapshot();
    let b2 = &snapshot.vips[0].services[0].backends[1];
    assert_eq!((b2.address, b2.leaving, b2.state), (B2, true, RealState::Draining));
    assert!((0..10).all(|_| ask(&lab) == "b1"));
    assert_eq!(held.ask(), "b2");
    let before = snapshot.vips[0].services[0].counters.packets;
    let snapshot = running.wait_snapshot("b2 is forgotten", |s| slots(s).len() == 1);
    assert!(snapshot.vips[0].services[0].counters.packets >= before);
    assert!(
        !lab.ip("lb", "neigh show")
            .contains(&format!("{B2} dev e0 lladdr {} managed", lab.mac("b2")))
    );
}

#[test]
fn ipv6_vips_and_backends_are_forwarded_alike() {
    let vip6: IpAddr = "2001:db8:100::1".parse().unwrap();
    let (lab, _peer) = lab_with_servers(&[vip6, VIP]);
    let mut running = Running::start(&lab, config(&lab, false)).unwrap();
    let [b1, b2]: [IpAddr; 2] = ["2001:db8::11", "2001:db8::12"].map(|a| a.parse().unwrap());
    // Backends of either family serve VIPs of either.
    let both = Desired {
        vips: vec![
            vip(vip6, vec![service(vec![backend(b1), backend(b2)])]),
            vip(VIP, vec![service(vec![backend(B1), backend(b2)])]),
        ],
    };
    running.apply_until_ready(1, both);
    running.wait_snapshot("all are there", |s| slots(s).iter().all(|(_, slots)| *slots > 0));
    for vip in [vip6, VIP] {
        let answers: Vec<String> = (0..40).map(|_| Held::new(&lab, vip).name).collect();
        assert!(answers.iter().any(|a| a == "b1"), "{vip}: {answers:?}");
        assert!(answers.iter().any(|a| a == "b2"), "{vip}: {answers:?}");
    }
}

#[test]
fn a_range_of_ports_and_the_rest_have_their_services() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let mut running = Running::start(&lab, config(&lab, false)).unwrap();
    let with = |ports, address| ServiceSpec { ports, ..service(vec![backend(address)]) };
    let range = with(Ports::Range(PORT - 10, PORT + 10), B1);
    let all = with(Ports::All, B2);
    let vips = |services: &[&ServiceSpec]| Desired {
        vips: vec![vip(VIP, services.iter().map(|s| (*s).clone()).collect())],
    };
    running.apply_until_ready(1, vips(&[&range, &all]));
    assert!((0..10).all(|_| ask(&lab) == "b1"));
    running.apply_until_ready(2, vips(&[&all]));
    assert!((0..10).all(|_| ask(&lab) == "b2"));
    running.apply_until_ready(3, vips(&[&all, &with(Ports::One(PORT), B1)]));
    assert!((0..10).all(|_| ask(&lab) == "b1"));
}
