//! What a dataplane is asked, and its answers.

use vc5_xdp::{TcpKind, TraceQuestion, Tuple};

use super::*;

fn tuple(held: &Held) -> Tuple {
    Tuple {
        source: held.source().ip(),
        source_port: held.source().port(),
        destination: VIP,
        port: PORT,
        protocol: L4::Tcp,
    }
}

fn question(tuple: Tuple, flags: TcpKind) -> TraceQuestion {
    let Tuple { source, source_port, destination, port, protocol } = tuple;
    let (interface, vlan) = (None, None);
    TraceQuestion::Tuple {
        source,
        source_port,
        destination,
        port,
        protocol,
        flags,
        interface,
        vlan,
    }
}

fn address_of(name: &str) -> IpAddr {
    if name == "b1" { B1 } else { B2 }
}

fn two_backends(lab: &Lab, pinned: bool) -> Running {
    let mut running = Running::start(lab, config(lab, pinned)).unwrap();
    running.apply_until_ready(1, desired(vec![backend(B1), backend(B2)]));
    running.wait_snapshot("both are there", |s| slots(s).iter().all(|(_, slots)| *slots > 0));
    running.wait_settled();
    running
}

#[test]
fn a_trace_tells_where_a_packet_goes_and_changes_nothing() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let running = two_backends(&lab, true);
    let mut held = Held::new(&lab, VIP);
    held.ask();
    let known = tuple(&held);
    let answer = running.dataplane.trace(question(known, TcpKind::Data)).unwrap();
    let backend = address_of(&held.name);
    assert_eq!((answer.verdict, answer.reason, answer.backend), ("sent", "flow", Some(backend)));
    let record = answer.record.unwrap();
    assert_eq!((record.backend, record.closing), (Some(backend), false));
    let departure = answer.departure.unwrap();
    assert_eq!((departure.interface.as_str(), departure.vlan), ("e0", None));
    assert_eq!(departure.destination.to_string(), lab.mac(&held.name));
    assert_eq!(&answer.frame[..6], &departure.destination.0);
    assert_eq!(answer.frame[22], 1, "the TTL");

    // A flow that nobody has seen.
    let new = Tuple { source: "203.0.113.9".parse().unwrap(), ..known };
    for _ in 0..2 {
        let answer = running.dataplane.trace(question(new, TcpKind::Data)).unwrap();
        assert_eq!((answer.verdict, answer.reason, answer.record), ("sent", "ring", None));
        assert_eq!(answer.service, Some((VIP, Ports::One(PORT), L4::Tcp)));
        assert_eq!(answer.slot.map(u64::from), answer.hash.map(|hash| hash >> 48));
        let view = running.dataplane.maglev(VIP, Ports::One(PORT), L4::Tcp).unwrap();
        assert_eq!(view.ring, answer.ring);
        let member = view.members.iter().find(|m| Some(m.member) == answer.member).unwrap();
        assert_eq!(Some(member.address), answer.backend);
    }
    assert_eq!(running.dataplane.flow(new).unwrap().record, None, "it was not remembered");

    let stranger = Tuple { destination: B1, ..new };
    let answer = running.dataplane.trace(question(stranger, TcpKind::Syn)).unwrap();
    assert_eq!((answer.verdict, answer.reason, answer.departure), ("pass", "not-vip", None));
    let closed = Tuple { port: 1, ..new };
    let answer = running.dataplane.trace(question(closed, TcpKind::Syn)).unwrap();
    assert_eq!((answer.verdict, answer.reason), ("drop", "unknown-port"));
    let bytes = vec![0xff; 60];
    let frame = |interface| TraceQuestion::Frame { bytes: bytes.clone(), interface };
    let answer = running.dataplane.trace(frame(Some("e0".into()))).unwrap();
    assert_eq!((answer.verdict, answer.reason, &answer.frame), ("pass", "not-our-mac", &bytes));
    let error = running.dataplane.trace(frame(Some("e7".into()))).unwrap_err();
    assert!(error.to_string().contains("e7 is no interface of the dataplane"), "{error}");
    let short = TraceQuestion::Frame { bytes: vec![0; 5], interface: None };
    assert!(running.dataplane.trace(short).unwrap_err().to_string().contains("5 bytes"));
}

#[test]
fn the_ring_and_the_flows_of_a_service_are_told() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let running = two_backends(&lab, false);
    let view = running.dataplane.maglev(VIP, Ports::One(PORT), L4::Tcp).unwrap();
    let members: Vec<_> =
        view.members.iter().map(|m| (m.address, m.member, m.weight, m.slots, m.share)).collect();
    assert_eq!(members, [(B1, 1, 1, 32768, 0.5), (B2, 2, 1, 32768, 0.5)]);
    assert_eq!((view.shared_by, view.digest.is_some()), (1, true));
    let error = running.dataplane.maglev(VIP, Ports::All, L4::Tcp).unwrap_err();
    assert!(error.to_string().contains("there is no service"), "{error}");

    let mut held: Vec<Held> = (0..8).map(|_| Held::new(&lab, VIP)).collect();
    held.iter_mut().for_each(|held| drop(held.ask()));
    let flows = running.dataplane.flows().unwrap();
    assert_eq!((flows.capacity, flows.stale), (4096, 0));
    assert!(flows.used >= 8, "{flows:?}");
    assert_eq!(flows.ages.iter().map(|class| class.flows).sum::<u64>(), flows.used);
    assert_eq!(flows.shares.iter().map(|share| share.flows).sum::<u64>(), flows.used);
    assert!(flows.shares.iter().all(|share| share.vip == VIP));
    for held in &held {
        let record = running.dataplane.flow(tuple(held)).unwrap().record.unwrap();
        assert_eq!(record.backend, Some(address_of(&held.name)));
        assert!(record.idle < Duration::from_secs(60), "{record:?}");
    }
    let trace = running.dataplane.trace(question(tuple(&held[0]), TcpKind::Data));
    assert!(trace.unwrap_err().to_string().contains("pin path"));
}

#[test]
fn new_flows_are_told_by_sampling() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let running = two_backends(&lab, false);
    let mut samples = running.dataplane.samples();
    let held = Held::new(&lab, VIP);
    let deadline = std::time::Instant::now() + PATIENCE;
    let flow = loop {
        match samples.try_recv() {
            Ok(flow) if flow.tuple == tuple(&held) => break flow,
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
        assert!(std::time::Instant::now() < deadline, "it is not told");
    };
    assert_eq!((flow.backend, flow.reason), (Some(address_of(&held.name)), "embryonic"));
}
