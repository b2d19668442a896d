//! The program on interfaces, what keeps it from them, and pins.

use super::*;

#[test]
fn interfaces_that_go_down_or_away_are_told_of() {
    let lab = Lab::new(&[]);
    let mut running = Running::start(&lab, config(&lab, true)).unwrap();
    let attached = |event: &Event| matches!(event, Event::Attached { .. }).then_some(());
    let detached = |event: &Event| match event {
        Event::Detached { interface, reason } if interface == "e0" => Some(reason.clone()),
        _ => None,
    };
    running.wait("attachment", attached);
    lab.ip("lb", "link set e0 down");
    assert!(running.wait("going down", detached).contains("down"));
    lab.ip("lb", "link set e0 up");
    running.wait("coming up", attached);
    lab.ip("lb", "link del e0");
    running.wait("going away", |event| detached(event).filter(|reason| reason.contains("gone")));
    lab.ip("lb", &format!("link add e0 type veth peer name lb netns {}", lab.ns("switch")));
    lab.ip("switch", "link set lb up");
    lab.ip("lb", "link set e0 up");
    running.wait("coming back", attached);
    assert!(lab.xdp_is_attached());
    running.stop(OnStop::Remove);
    assert!(!lab.xdp_is_attached());
    assert!(!lab.pin_path().exists());
}

#[test]
fn a_fallback_to_generic_mode_is_said_aloud() {
    let lab = Lab::new(&[]);
    let both =
        DataplaneConfig { interfaces: vec!["e0".into(), "lo".into()], ..config(&lab, false) };
    let mut running = Running::start(&lab, both).unwrap();
    let (mode, fallback) = running.wait("attachment of lo", |event| match event {
        Event::Attached { interface, mode, fallback } if interface == "lo" => {
            Some((*mode, fallback.clone()))
        }
        _ => None,
    });
    assert_eq!(mode, "generic");
    assert!(fallback.unwrap().contains("no native XDP"));
    let interfaces = running.dataplane.snapshot().interfaces.clone();
    let modes: Vec<_> = interfaces.iter().map(|i| (i.name.as_str(), i.mode)).collect();
    assert_eq!(modes, [("e0", "native"), ("lo", "generic")]);
    assert!(interfaces[1].note.as_ref().unwrap().contains("no native XDP"));
    running.stop(OnStop::Keep);
    assert!(!lab.xdp_is_attached(), "what is not pinned ends with its owner");
}

#[test]
fn what_cannot_work_is_said_and_leaves_nothing() {
    let lab = Lab::new(&[]);
    let refused = |config: DataplaneConfig| match Running::start(&lab, config) {
        Ok(_) => panic!("it must not start"),
        Err(error) => error.to_string(),
    };

    let missing = DataplaneConfig { interfaces: vec!["e7".into()], ..config(&lab, true) };
    assert!(refused(missing).contains("interface e7 does not exist"));
    let elsewhere = DataplaneConfig {
        pin_path: Some(std::env::temp_dir().join("vc5-not-a-bpffs")),
        ..config(&lab, true)
    };
    assert!(refused(elsewhere).contains("not on a bpffs"));
    assert!(!std::env::temp_dir().join("vc5-not-a-bpffs").exists());
    assert!(refused(DataplaneConfig { interfaces: vec![], ..config(&lab, true) }).contains("name"));
    let second = DataplaneConfig {
        interfaces: vec!["e0".into(), "lo".into()],
        mode: AttachMode::Native,
        ..config(&lab, true)
    };
    let no_native = refused(second);
    assert!(no_native.contains("interface lo: its driver has no native XDP"), "{no_native}");
    assert!(!lab.pin_path().exists());
    assert!(!lab.xdp_is_attached());

    let running = Running::start(&lab, config(&lab, true)).unwrap();
    assert!(refused(config(&lab, true)).contains("in use by a running vc5d"));
    let other = DataplaneConfig {
        pin_path: Some(lab.pin_path().with_file_name("other")),
        ..config(&lab, true)
    };
    let busy = refused(other);
    assert!(busy.contains("interface e0") && busy.contains("another XDP program"), "{busy}");
    assert!(!lab.pin_path().with_file_name("other").exists());
    assert!(lab.xdp_is_attached(), "the running one is not disturbed");
    running.stop(OnStop::Remove);
    assert!(!lab.pin_path().exists());
}

#[test]
fn a_process_without_permission_is_told_which() {
    let lab = Lab::new(&[]);
    let config = config(&lab, true);
    let error = lab.within("lb", || {
        lab::drop_capabilities();
        Dataplane::start(config).unwrap_err().to_string()
    });
    assert!(error.contains("lacks CAP_BPF and CAP_NET_ADMIN"), "{error}");
    assert!(!lab.pin_path().exists());
}

#[test]
fn a_bpffs_is_mounted_where_none_is_and_unmounted_if_that_was_in_vain() {
    let lab = Lab::new(&[]);
    let path = std::path::PathBuf::from(format!("/sys/fs/bpf/{}", lab.ns("pins")));
    let mounted = || {
        std::fs::read_to_string("/proc/thread-self/mounts").unwrap().contains(" /sys/fs/bpf bpf")
    };
    lab.within("lb", || {
        lab::without_bpffs();
        assert!(!mounted());
        let config = DataplaneConfig { pin_path: Some(path.clone()), ..config(&lab, true) };
        let (dataplane, _events) = Dataplane::start(config.clone()).unwrap();
        assert!(mounted() && path.join("links").is_dir());
        dataplane.stop(OnStop::Remove).unwrap();
        assert!(!path.exists());

        lab::without_bpffs();
        assert!(!mounted());
        let unpinned = DataplaneConfig { pin_path: None, ..config.clone() };
        let (_busy, _events) = Dataplane::start(unpinned).unwrap();
        assert!(Dataplane::start(config).is_err());
        assert!(!mounted());
    });
}

#[test]
fn a_program_that_somebody_else_detaches_is_told_of() {
    let lab = Lab::new(&[]);
    let mut running = Running::start(&lab, config(&lab, true)).unwrap();
    running.wait("attachment", |e| matches!(e, Event::Attached { .. }).then_some(()));
    let link = lab.pin_path().join("links").join(lab.index("lb").to_string());
    lab::run(&format!("bpftool link detach pinned {}", link.display()));
    let reason = running.wait("detachment", |event| match event {
        Event::Detached { interface, reason } if interface == "e0" => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("somebody else"), "{reason}");
    // Nobody else's program is in its place, so it is put back.
    running.wait("attachment again", |e| matches!(e, Event::Attached { .. }).then_some(()));
    assert!(lab.xdp_is_attached() && link.exists());

    // Somebody else's stays. While the interface is down the program is not put back.
    lab.ip("lb", "link set e0 down");
    let down = |event: &Event| match event {
        Event::Detached { reason, .. } => reason.contains("down").then_some(()),
        _ => None,
    };
    running.wait("going down", down);
    lab::run(&format!("bpftool link detach pinned {}", link.display()));
    let other = lab.pin_path().with_file_name("other");
    let theirs = DataplaneConfig { pin_path: Some(other), ..config(&lab, true) };
    let theirs = Running::start(&lab, theirs).unwrap();
    lab.ip("lb", "link set e0 up");
    running.wait("detachment", |event| match event {
        Event::Detached { reason, .. } => reason.contains("somebody else").then_some(()),
        _ => None,
    });
    running.wait_snapshot("it is not attached", |s| s.interfaces.iter().all(|i| !i.attached));
    theirs.stop(OnStop::Remove);
    running.wait("attachment at last", |e| matches!(e, Event::Attached { .. }).then_some(()));
    running.stop(OnStop::Remove);
    assert!(!lab.pin_path().exists());
}
