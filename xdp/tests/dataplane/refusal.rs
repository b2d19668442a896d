//! States that cannot be put in force, now or ever.

use super::*;

#[test]
fn states_that_cannot_be_are_refused_and_change_nothing() {
    let lab = Lab::new(&[]);
    let generic = DataplaneConfig { mode: AttachMode::Generic, ..config(&lab, false) };
    let mut running = Running::start(&lab, generic).unwrap();
    let far = IpAddr::from([203, 0, 113, 5]);
    let not_ready = running.apply(1, desired(vec![backend(far)]));
    assert!(
        not_ready[0].1.contains("203.0.113.5 is not reached: no connected subnet"),
        "{not_ready:?}"
    );

    running.dataplane.apply(2, desired(vec![backend(B1), backend(B1)]));
    let error = running.wait("refusal", |event| match event {
        Event::ApplyFailed { seq: 2, error } => Some(error.clone()),
        _ => None,
    });
    assert!(error.contains("backend 192.0.2.11 appears twice"), "{error}");
    let snapshot = running.dataplane.snapshot();
    assert_eq!((slots(&snapshot), snapshot.applied_seq), (vec![(far, 0)], 1));
    assert_eq!(snapshot.interfaces[0].mode, "generic");
    running.stop(OnStop::Remove);
    assert!(!lab.xdp_is_attached());
}

#[test]
fn a_state_that_failed_is_put_in_force_when_it_can_be() {
    let lab = Lab::new(&[]);
    let mut running = Running::start(&lab, config(&lab, true)).unwrap();
    // Somebody has filled the VIP table, so that ours finds no room in it.
    let table = pinned_map(&lab, "VIPS");
    let info = lab::run(&format!("bpftool -j map show pinned {}", table.display()));
    let number = |name: &str| -> u32 {
        let (_, rest) = info.split_once(&format!("\"{name}\":")).expect("it is told");
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let value = vec!["0"; number("bytes_value") as usize].join(" ");
    let batch = |verb: &str, tail: &str| {
        let line = |n: u32| {
            let [a, b, c, d] = (0x0a00_0000 + n).to_be_bytes();
            let zeros = "0 ".repeat(12);
            format!("map {verb} pinned {} key {zeros}{a} {b} {c} {d}{tail}\n", table.display())
        };
        let path = std::env::temp_dir().join(lab.ns("batch"));
        std::fs::write(&path, (0..number("max_entries")).map(line).collect::<String>()).unwrap();
        lab::run(&format!("bpftool batch file {}", path.display()));
        std::fs::remove_file(&path).unwrap();
    };
    batch("update", &format!(" value {value}"));
    running.dataplane.apply(1, desired(vec![]));
    let error = running.wait("failure", |event| match event {
        Event::ApplyFailed { seq: 1, error } => Some(error.clone()),
        _ => None,
    });
    assert!(error.contains("198.51.100.1: writing VIPS failed"), "{error}");
    batch("delete", "");
    running.wait("success", |e| matches!(e, Event::Applied { seq: 1, .. }).then_some(()));
    let failures = running.seen.iter().filter(|e| matches!(e, Event::ApplyFailed { .. })).count();
    assert_eq!(failures, 1, "the same error is told once");
    assert_eq!(running.dataplane.snapshot().applied_seq, 1);
    running.stop(OnStop::Remove);
}

/// Where the running dataplane has pinned a map.
fn pinned_map(lab: &Lab, name: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(lab.pin_path()).unwrap();
    entries.map(|e| e.unwrap().path().join(name)).find(|p| p.exists()).expect("a pinned map")
}
