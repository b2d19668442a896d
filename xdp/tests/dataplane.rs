//! The dataplane on a real kernel: native XDP between network namespaces. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests panic as tests do"
)]

mod lab;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::Lab;
use tokio::sync::mpsc::UnboundedReceiver;
use vc5_xdp::{
    AttachMode, BackendSpec, Dataplane, DataplaneConfig, Desired, Error, Event, L4, NeighbourState,
    OnDown, OnStop, RealState, ServiceSpec, Snapshot, VipSpec,
};

const VIP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const PORT: u16 = 8080;
const B1: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const B2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 12);

/// Far longer than anything here takes: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(lab: &Lab, pinned: bool) -> DataplaneConfig {
    DataplaneConfig {
        interfaces: vec!["e0".into()],
        mode: AttachMode::Auto,
        pin_path: pinned.then(|| lab.pin_path()),
        hash_key: *b"a key of the lab",
        flows_per_cpu: 4096,
        settle_time: Duration::from_secs(1),
    }
}

fn backend(address: Ipv4Addr) -> BackendSpec {
    BackendSpec { address, weight: 1, state: RealState::Live }
}

fn desired(backends: Vec<BackendSpec>) -> Desired {
    let service = ServiceSpec {
        port: PORT,
        protocol: L4::Tcp,
        ttl: Some(1),
        on_down: OnDown::Reselect,
        serving: true,
        backends,
    };
    Desired { vips: vec![VipSpec { address: VIP, services: vec![service] }] }
}

/// A dataplane in the balancer's namespace.
struct Running {
    dataplane: Dataplane,
    events: UnboundedReceiver<Event>,
    seen: Vec<Event>,
}

impl Running {
    fn start(lab: &Lab, config: DataplaneConfig) -> Result<Self, Error> {
        let (dataplane, events) = lab.within("lb", || Dataplane::start(config))?;
        Ok(Self { dataplane, events, seen: Vec::new() })
    }

    /// Waits for an event that the function finds something in.
    fn wait<T>(&mut self, what: &str, found: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.events.try_recv() {
                Ok(event) => {
                    let result = found(&event);
                    self.seen.push(event);
                    if let Some(result) = result {
                        return result;
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        panic!("no {what} within {PATIENCE:?}, but {:?}", self.seen);
    }

    fn apply(&mut self, seq: u64, desired: Desired) -> Vec<(Ipv4Addr, String)> {
        self.dataplane.apply(seq, desired);
        self.wait("acknowledgement", |event| match event {
            Event::Applied { seq: s, not_ready, .. } if *s == seq => Some(not_ready.clone()),
            Event::ApplyFailed { seq, error } => panic!("apply {seq}: {error}"),
            _ => None,
        })
    }

    fn wait_ready(&mut self) {
        self.wait("readiness", |event| match event {
            Event::ReadinessChanged { not_ready } if not_ready.is_empty() => Some(()),
            _ => None,
        });
    }

    fn apply_until_ready(&mut self, seq: u64, desired: Desired) {
        if !self.apply(seq, desired).is_empty() {
            self.wait_ready();
        }
    }

    /// Waits until the snapshot looks as it should.
    fn wait_snapshot(&self, what: &str, good: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.dataplane.snapshot();
            if good(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "{what}: {snapshot:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(self, on_stop: OnStop) {
        self.dataplane.stop(on_stop).unwrap();
    }
}

fn slots(snapshot: &Snapshot) -> Vec<(Ipv4Addr, u32)> {
    let services = snapshot.vips.iter().flat_map(|v| &v.services);
    services.flat_map(|s| &s.backends).map(|b| (b.address, b.ring_slots)).collect()
}

/// A lab with backends that answer a connection by their name.
fn lab_with_servers() -> (Lab, Running) {
    lab::stay_on_one_cpu();
    let lab = Lab::new(&[("b1", 11), ("b2", 12), ("client", 100)]);
    for host in ["b1", "b2"] {
        lab.add_vip(host, &VIP.to_string());
        let listener = lab.within(host, || TcpListener::bind((VIP, PORT)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let _gone = stream.write_all(host.as_bytes());
            }
        });
    }
    lab.ip("client", &format!("route add {VIP}/32 via 192.0.2.1"));
    // The balancer's veth can only transmit if its peer runs an XDP program too: one without VIPs.
    let peer = DataplaneConfig {
        interfaces: vec!["lb".into()],
        mode: AttachMode::Native,
        ..config(&lab, false)
    };
    let (dataplane, events) = lab.within("switch", || Dataplane::start(peer).unwrap());
    (lab, Running { dataplane, events, seen: Vec::new() })
}

/// Connects from the client to the VIP and returns who answered.
fn ask(lab: &Lab) -> String {
    lab.within("client", || {
        let address = SocketAddr::from((VIP, PORT));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut name = String::new();
        stream.read_to_string(&mut name).unwrap();
        name
    })
}

fn xdp_is_attached(lab: &Lab) -> bool {
    lab.ip("lb", "link show e0").contains("xdp")
}

#[test]
fn connections_reach_the_backends_and_follow_changes() {
    let (lab, _peer) = lab_with_servers();
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
    assert_eq!(snapshot.vips[0].not_ready, None);
    assert_eq!((snapshot.interfaces[0].mode, snapshot.interfaces[0].attached), ("native", true));

    let answers: Vec<String> = (0..40).map(|_| ask(&lab)).collect();
    assert!(answers.iter().any(|a| a == "b1") && answers.iter().any(|a| a == "b2"), "{answers:?}");
    let counted = |s: &Snapshot| s.vips[0].services[0].counters.syns >= 40;
    let snapshot = running.wait_snapshot("the connections are counted", counted);
    assert!(snapshot.vips[0].services[0].backends.iter().all(|b| b.counters.packets > 0));
    assert!(snapshot.reasons.iter().any(|r| r.name == "ring" && r.packets >= 40));

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

    let draining = BackendSpec { state: RealState::Draining, ..backend(B2) };
    assert_eq!(running.apply(2, desired(vec![backend(B1), draining])), []);
    assert_eq!(slots(&running.dataplane.snapshot()), [(B1, 65536), (B2, 0)]);
    assert!((0..10).all(|_| ask(&lab) == "b1"));

    assert_eq!(running.apply(3, desired(vec![backend(B2)])), []);
    assert_eq!(slots(&running.dataplane.snapshot()), [(B2, 65536)]);
    assert!((0..10).all(|_| ask(&lab) == "b2"));

    let not_ready = running.apply(4, desired(vec![]));
    assert_eq!(not_ready, [(VIP, "tcp/8080: it has no backends".to_owned())]);
    assert_eq!(running.apply(5, Desired::default()), []);
    assert!(running.dataplane.snapshot().vips.is_empty());

    running.stop(OnStop::Remove);
    assert!(!xdp_is_attached(&lab));
    assert!(!lab.pin_path().exists());
    assert!(!lab.ip("lb", "neigh show").contains("managed"));
}

#[test]
fn a_kept_dataplane_forwards_on_until_the_next_run_takes_over() {
    let (lab, _peer) = lab_with_servers();
    let mut first = Running::start(&lab, config(&lab, true)).unwrap();
    first.apply_until_ready(1, desired(vec![backend(B1)]));
    first.stop(OnStop::Keep);
    assert_eq!(ask(&lab), "b1");

    let mut second = Running::start(&lab, config(&lab, true)).unwrap();
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
    second.wait_snapshot("it is attached", |s| s.interfaces.iter().all(|i| i.attached));

    let busy = vc5_xdp::detach(&lab.pin_path()).unwrap_err();
    assert!(busy.to_string().contains("running"), "{busy}");
    second.stop(OnStop::Keep);
    assert!(xdp_is_attached(&lab));
    lab.within("lb", || vc5_xdp::detach(&lab.pin_path()).unwrap());
    assert!(!xdp_is_attached(&lab));
    assert!(!lab.pin_path().exists());
    assert!(!lab.ip("lb", "neigh show").contains("managed"));
    lab.within("lb", || vc5_xdp::detach(&lab.pin_path()).unwrap());
}

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
    assert!(xdp_is_attached(&lab));
    running.stop(OnStop::Remove);
    assert!(!xdp_is_attached(&lab));
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
    assert!(!xdp_is_attached(&lab), "what is not pinned ends with its owner");
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
    assert!(!xdp_is_attached(&lab));

    let running = Running::start(&lab, config(&lab, true)).unwrap();
    assert!(refused(config(&lab, true)).contains("in use by a running vc5d"));
    let other = DataplaneConfig {
        pin_path: Some(lab.pin_path().with_file_name("other")),
        ..config(&lab, true)
    };
    let busy = refused(other);
    assert!(busy.contains("interface e0") && busy.contains("another XDP program"), "{busy}");
    assert!(!lab.pin_path().with_file_name("other").exists());
    assert!(xdp_is_attached(&lab), "the running one is not disturbed");
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
    assert!(xdp_is_attached(&lab) && link.exists());

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

#[test]
fn states_that_cannot_be_are_refused_and_change_nothing() {
    let lab = Lab::new(&[]);
    let generic = DataplaneConfig { mode: AttachMode::Generic, ..config(&lab, false) };
    let mut running = Running::start(&lab, generic).unwrap();
    let far = Ipv4Addr::new(203, 0, 113, 5);
    let not_ready = running.apply(1, desired(vec![backend(far)]));
    assert!(not_ready[0].1.contains("203.0.113.5 is on no connected subnet"), "{not_ready:?}");

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
    assert!(!xdp_is_attached(&lab));
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
            format!("map {verb} pinned {} key {a} {b} {c} {d}{tail}\n", table.display())
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
