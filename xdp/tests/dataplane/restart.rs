//! A process that ends, and another that goes on with what it finds.

use super::*;

/// A run that forwards for both backends and ends, with a connection to `b2` that only its flow
/// record keeps there.
fn earlier_run(lab: &Lab) -> Held {
    let mut first = Running::start(lab, config(lab, true)).unwrap();
    first.apply_until_ready(1, desired(vec![backend(B1), backend(B2)]));
    first.wait_snapshot("both are there", |s| slots(s).iter().all(|(_, slots)| *slots > 0));
    let mut held = Held::with(lab, "b2");
    first.apply(2, desired(vec![backend(B1), draining(B2)]));
    first.wait_settled();
    assert_eq!(held.ask(), "b2");
    first.stop(OnStop::Keep);
    held
}

fn maps(lab: &Lab) -> usize {
    std::fs::read_dir(lab.pin_path()).unwrap().count() - 1
}

#[test]
fn flows_stay_where_they_are_when_the_daemon_is_restarted() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let mut held = earlier_run(&lab);
    assert_eq!((held.ask(), ask(&lab)), ("b2".into(), "b1".into()), "nobody runs");

    let mut second = Running::start(&lab, config(&lab, true)).unwrap();
    assert_eq!((held.ask(), ask(&lab)), ("b2".into(), "b1".into()), "no state yet");
    let snapshot = second
        .wait_snapshot("it is attached", |s| s.interfaces.first().is_some_and(|i| i.attached));
    assert_eq!(snapshot.vips[0].address, VIP);
    assert!(snapshot.vips[0].services[0].counters.packets > 0, "counters go on");
    assert_eq!(second.apply(1, desired(vec![backend(B1), draining(B2)])), []);
    assert_eq!((held.ask(), ask(&lab)), ("b2".into(), "b1".into()), "the same state");
    assert_eq!(second.apply(2, desired(vec![backend(B1), backend(B2)])), []);
    assert_eq!(held.ask(), "b2");
    second.wait_snapshot("both are there", |s| slots(s).iter().all(|(_, slots)| *slots > 0));
    Held::with(&lab, "b2");
    assert_eq!(maps(&lab), 1, "the maps are those of the first run");
    second.stop(OnStop::Remove);
    assert!(!lab.xdp_is_attached() && !lab.pin_path().exists());
}

#[test]
fn flows_are_copied_into_a_table_of_another_size() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let mut held = earlier_run(&lab);
    for (seq, flows) in [(1, 65_536), (2, 1024)] {
        let other = DataplaneConfig { flows, max_reals: 2048, ..config(&lab, true) };
        let mut next = Running::start(&lab, other).unwrap();
        assert_eq!((held.ask(), ask(&lab)), ("b2".into(), "b1".into()), "no state yet");
        assert_eq!(next.apply(seq, desired(vec![backend(B1), draining(B2)])), []);
        assert_eq!((held.ask(), ask(&lab)), ("b2".into(), "b1".into()));
        assert_eq!(next.dataplane.snapshot().flow_capacity, u64::from(flows));
        assert_eq!(maps(&lab), 1, "the smaller maps are gone");
        next.stop(OnStop::Keep);
    }
    lab.within("lb", || vc5_xdp::detach(&lab.pin_path()).unwrap());
}

#[test]
fn with_another_key_the_earlier_program_goes_on_until_all_is_ready() {
    let (lab, _peer) = lab_with_servers(&[VIP]);
    let mut first = Running::start(&lab, config(&lab, true)).unwrap();
    first.apply_until_ready(1, desired(vec![backend(B1)]));
    first.stop(OnStop::Keep);
    assert_eq!(ask(&lab), "b1");

    let other = DataplaneConfig { hash_key: *b"another such key", ..config(&lab, true) };
    let mut second = Running::start(&lab, other).unwrap();
    assert_eq!(ask(&lab), "b1", "nothing is in force yet, so the earlier program goes on");
    let down = BackendSpec { state: RealState::Down, ..backend(B2) };
    let not_ready = second.apply(1, desired(vec![down]));
    assert!(not_ready[0].1.contains("the earlier program is still in force"), "{not_ready:?}");
    assert_eq!(ask(&lab), "b1", "nothing could be served yet, so the earlier program goes on");
    second.apply_until_ready(2, desired(vec![backend(B2)]));
    assert_eq!(ask(&lab), "b2", "the new program has taken over");
    let managed = lab.ip("lb", "neigh show");
    let count = managed.lines().filter(|line| line.contains("managed")).count();
    assert_eq!(count, 1, "the first run's entries are gone: {managed}");
    second.wait_snapshot("it is attached", |s| s.interfaces.first().is_some_and(|i| i.attached));
    assert_eq!(maps(&lab), 1);

    let busy = vc5_xdp::detach(&lab.pin_path()).unwrap_err();
    assert!(busy.to_string().contains("running"), "{busy}");
    second.stop(OnStop::Keep);
    assert!(lab.xdp_is_attached());
    lab.within("lb", || vc5_xdp::detach(&lab.pin_path()).unwrap());
    assert!(!lab.xdp_is_attached());
    assert!(!lab.pin_path().exists());
    assert!(!lab.ip("lb", "neigh show").contains("managed"));
    lab.within("lb", || vc5_xdp::detach(&lab.pin_path()).unwrap());
}

#[test]
fn an_adopted_link_in_generic_mode_is_said_aloud_too() {
    let lab = Lab::new(&[]);
    let on_lo = DataplaneConfig { interfaces: vec!["lo".into()], ..config(&lab, true) };
    Running::start(&lab, on_lo.clone()).unwrap().stop(OnStop::Keep);
    let mut running = Running::start(&lab, on_lo).unwrap();
    let fallback = running.wait("attachment of lo", |event| match event {
        Event::Attached { interface, mode: "generic", fallback } if interface == "lo" => {
            fallback.clone()
        }
        _ => None,
    });
    assert!(fallback.contains("the earlier run attached in generic mode"), "{fallback}");
    running.stop(OnStop::Remove);
}

#[test]
fn what_an_earlier_run_left_on_other_interfaces_is_removed() {
    let lab = Lab::new(&[]);
    let on_lo = DataplaneConfig { interfaces: vec!["lo".into()], ..config(&lab, true) };
    Running::start(&lab, on_lo).unwrap().stop(OnStop::Keep);
    assert!(lab.ip("lb", "link show lo").contains("xdp"));
    let running = Running::start(&lab, config(&lab, true)).unwrap();
    assert!(!lab.ip("lb", "link show lo").contains("xdp"));
    let count = |directory: std::path::PathBuf| std::fs::read_dir(directory).unwrap().count();
    assert_eq!(count(lab.pin_path().join("links")), 1);
    assert_eq!(count(lab.pin_path()), 2, "the links and the maps of this run");
    running.stop(OnStop::Remove);
    assert!(!lab.pin_path().exists());
}
