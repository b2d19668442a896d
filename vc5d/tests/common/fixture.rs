//! A daemon in the middle of its work, with something of every kind, for golden outputs.

use std::collections::BTreeMap;

use vc5_xdp::Ports;

use super::snapshot::{
    Backend, BackendState, Capacity, CheckFailure, CheckResult, DaemonState, Damping, Dataplane,
    Event, History, Interface, Leaving, Off, Peer, PeerChannel, PeerCounters, PeerSession, Report,
    Route, RouteChanges, Service, Snapshot, Source, Stand, Status, Subject, Told, Traffic, Vip,
    VipState, Word,
};

/// The present of this picture: 2026-11-24 09:00:00 UTC.
pub(crate) const NOW: f64 = 1_795_510_800.0;

/// The picture.
pub(crate) fn snapshot() -> Snapshot {
    let peers = [established(), waiting(), disabled()];
    Snapshot {
        status: Status {
            version: "0.1.0".into(),
            router_id: "10.1.10.100".parse().unwrap(),
            local_as: 65001,
            hostname: "lb1".into(),
            started: NOW - 7200.0,
            reconfigured: NOW - 60.25,
            config_file: "/etc/vc5/vc5.toml".into(),
            state: DaemonState::Running,
            reloads_ok: 3,
            reloads_failed: 1,
        },
        peers: peers.into_iter().map(|peer| (peer.name.clone(), peer)).collect(),
        routes: routes(),
        vips: vips().into_iter().collect(),
        dataplane: Some(dataplane()),
        history: history(),
        changes: [(Subject::Route, 1), (Subject::Backend, 2)].into(),
    }
}

fn peer(name: &str, neighbor: &str) -> Peer {
    Peer {
        name: name.into(),
        description: None,
        message: None,
        neighbor: neighbor.parse().unwrap(),
        neighbor_as: 65000,
        local_as: 65001,
        enabled: true,
        passive: false,
        multihop: false,
        state: "Idle".into(),
        since: NOW - 30.0,
        last_error: None,
        session: None,
        error_wait: None,
        connect_retry: None,
        channels: BTreeMap::new(),
        counters: PeerCounters::default(),
    }
}

fn established() -> Peer {
    let ipv4 = PeerChannel {
        up: true,
        import: "none".into(),
        export: "anycast".into(),
        imported: 2,
        filtered: 1,
        exported: 1,
        next_hop: Some("10.1.10.100".parse().unwrap()),
        next_hop_error: None,
        import_updates: RouteChanges { received: 5, filtered: 1, accepted: 4, ..<_>::default() },
        import_withdraws: RouteChanges { received: 2, accepted: 2, ..<_>::default() },
        export_updates: RouteChanges { received: 7, rejected: 3, accepted: 4, ..<_>::default() },
        export_withdraws: RouteChanges { received: 3, accepted: 3, ..<_>::default() },
    };
    let ipv6 = PeerChannel {
        up: true,
        import: "all".into(),
        export: "anycast".into(),
        next_hop_error: Some("eth0 has no global IPv6 address".into()),
        ..<_>::default()
    };
    Peer {
        description: Some("top of rack 1".into()),
        state: "Established".into(),
        since: NOW - 3600.0,
        session: Some(PeerSession {
            neighbor_id: "10.1.10.200".parse().unwrap(),
            source_address: "10.1.10.100".parse().unwrap(),
            hold: (9.0, 6.358),
            keepalive: (3.0, 1.508),
            local_capabilities: vec![
                "Multiprotocol".into(),
                "  AF announced: ipv4 ipv6".into(),
                "4-octet AS numbers".into(),
            ],
            neighbor_capabilities: vec!["Route refresh".into()],
            as4: true,
        }),
        channels: [("ipv4".into(), ipv4), ("ipv6".into(), ipv6)].into(),
        counters: PeerCounters {
            messages_in: 1210,
            messages_out: 1215,
            updates_in: 7,
            updates_out: 9,
            established: 2,
            dropped: 1,
        },
        ..peer("tor1", "10.1.10.200")
    }
}

fn waiting() -> Peer {
    let channel = PeerChannel { import: "none".into(), export: "anycast".into(), ..<_>::default() };
    Peer {
        state: "Active".into(),
        last_error: Some("Socket: Connection refused".into()),
        connect_retry: Some((2.5, 5.0)),
        error_wait: Some((0.75, 4.0)),
        channels: [("ipv4".into(), channel)].into(),
        counters: PeerCounters { dropped: 4, established: 4, ..<_>::default() },
        ..peer("tor2", "10.1.10.201")
    }
}

fn disabled() -> Peer {
    let channel = PeerChannel { import: "none".into(), export: "none".into(), ..<_>::default() };
    Peer {
        enabled: false,
        passive: true,
        multihop: true,
        message: Some("moving racks".into()),
        last_error: Some("Automatic shutdown: Administrative shutdown".into()),
        channels: [("ipv6".into(), channel)].into(),
        ..peer("tor3", "2001:db8:10::3")
    }
}

fn route(prefix: &str, protocol: &str) -> Route {
    Route {
        prefix: prefix.parse().unwrap(),
        protocol: protocol.into(),
        source: "vip".into(),
        since: NOW - 600.0,
        from: None,
        selected: true,
        stale: false,
        origin: "IGP".into(),
        as_path: String::new(),
        next_hop: None,
        med: Some(10),
        local_pref: None,
        communities: vec!["65000:100".into(), "65535:0".into()],
        extended_communities: Vec::new(),
        large_communities: Vec::new(),
        exported_to: vec!["tor1".into()],
    }
}

fn routes() -> Vec<Route> {
    let received = Route {
        source: "bgp".into(),
        from: Some("10.1.10.200".parse().unwrap()),
        next_hop: Some("10.1.10.200".parse().unwrap()),
        as_path: "65000 64999".into(),
        med: None,
        local_pref: Some(100),
        communities: Vec::new(),
        extended_communities: Vec::new(),
        large_communities: Vec::new(),
        exported_to: Vec::new(),
        ..route("203.0.113.0/24", "tor1")
    };
    let worse =
        Route { selected: false, stale: true, origin: "Incomplete".into(), ..received.clone() };
    vec![
        route("192.168.101.1/32", "www"),
        worse,
        received,
        Route { exported_to: Vec::new(), ..route("2001:db8:101::1/128", "www") },
    ]
}

fn check(up: Option<bool>, ok: Option<bool>, diagnostic: &str) -> CheckResult {
    let probed = ok.is_some();
    CheckResult {
        up,
        ok,
        diagnostic: diagnostic.into(),
        took_ms: if probed { 12.345 } else { 0.0 },
        at: if probed { NOW - 1.5 } else { 0.0 },
        passed: if ok == Some(true) { 300 } else { 0 },
        failed: if ok == Some(false) { 42 } else { 0 },
        last_failure: (ok == Some(false))
            .then(|| CheckFailure { at: NOW - 1.5, diagnostic: diagnostic.into() }),
    }
}

fn backend(address: &str, state: BackendState, result: CheckResult) -> Backend {
    Backend {
        address: address.parse().unwrap(),
        backup: false,
        weight: 1,
        state,
        admin: None,
        since: NOW - 900.0,
        reports: Vec::new(),
        path_lost: None,
        checks: [("alive".into(), result)].into(),
        mac: Some("02:00:00:00:00:0a".into()),
        path: Some("eth0, subnet 10.1.10.0/24".into()),
        ring_slots: if state == BackendState::Up { 32768 } else { 0 },
        traffic: Traffic { packets: 1000, bytes: 64000, flows: 100, syns: 110, fins: 90, rsts: 5 },
    }
}

fn total() -> Traffic {
    Traffic { packets: 3000, bytes: 192_000, flows: 300, syns: 330, fins: 270, rsts: 15 }
}

fn service(ports: Ports, protocol: &str, backends: Vec<Backend>) -> Service {
    let counts = |backend: &&Backend| !backend.backup && backend.state == BackendState::Up;
    let healthy = backends.iter().filter(counts).count();
    Service {
        ports,
        protocol: protocol.into(),
        backup: None,
        on_backup: false,
        pool: "web".into(),
        up: healthy > 0,
        need: 1,
        gating: true,
        panic: false,
        healthy: healthy as u32,
        since: NOW - 800.0,
        backends,
        traffic: total(),
    }
}

fn word() -> Word {
    Word {
        state: Off::Drain,
        reason: Some("kernel upgrade".into()),
        since: NOW - 900.0,
        until: Some(NOW + 900.0),
    }
}

fn vips() -> Vec<Vip> {
    let good = || check(Some(true), Some(true), "200 OK");
    let web = vec![
        backend("10.1.10.10", BackendState::Up, good()),
        backend("10.1.10.11", BackendState::Up, good()),
        backend(
            "10.1.10.12",
            BackendState::Down,
            check(Some(false), Some(false), "connection refused"),
        ),
        Backend { backup: true, ..backend("10.1.10.20", BackendState::Up, good()) },
    ];
    let fresh = Backend {
        mac: None,
        reports: vec![Report {
            source: Source::Agent,
            state: Stand::Up,
            weight: Some(5),
            reason: Some("warming up".into()),
            since: NOW - 60.0,
        }],
        ..backend("10.1.10.13", BackendState::Unknown, check(None, None, ""))
    };
    let drained =
        Backend { admin: Some(word()), ..backend("10.1.10.14", BackendState::Draining, good()) };
    let off = backend("2001:db8:10::15", BackendState::Disabled, good());
    let vip = |name: &str, address: &str, state, reason: &str, services| Vip {
        name: name.into(),
        group: None,
        address: address.parse().unwrap(),
        state,
        since: NOW - 700.0,
        reason: reason.into(),
        admin: None,
        off: None,
        flaps: 2,
        damping: Some(Damping {
            penalty: 1500.0,
            at: NOW - 60.0,
            half_life: 60.0,
            suppress: 2000,
            suppressed_until: None,
        }),
        capacity: Capacity { weight: 2, full: 3, percent: 66 },
        told: (state == VipState::Up).then(|| Told {
            percent: Some(66),
            link_bandwidth: Some(250_000.0),
            med: Some(200),
            communities: vec!["65000:66".into()],
            ..Told::default()
        }),
        services,
        traffic: total(),
    };
    vec![
        vip(
            "dns",
            "192.168.101.53",
            VipState::Down,
            "service udp/53 has 0 of 1 healthy backends",
            vec![service(Ports::One(53), "udp", vec![fresh, drained])],
        ),
        vip(
            "www",
            "192.168.101.1",
            VipState::Up,
            "all services are up",
            vec![Service { backup: Some("spare".into()), ..service(Ports::One(80), "tcp", web) }],
        ),
        Vip {
            off: Some(Off::Drain),
            admin: Some(word()),
            ..vip(
                "www",
                "2001:db8:101::1",
                VipState::Waiting,
                "up-delay ends in 3 s",
                vec![service(Ports::Range(8000, 8099), "tcp", vec![off])],
            )
        },
    ]
}

/// A backend fails and one VIP goes with it; then all is well again.
fn history() -> History {
    let event = |number, subject, from, to, cause: &str| Event {
        number,
        at: NOW - 1000.0 + number as f64 / 8.0,
        subject,
        vip: "www".into(),
        vip_address: "192.168.101.1".parse().unwrap(),
        service: matches!(subject, Subject::Backend | Subject::Service).then(|| "80/tcp".into()),
        backend: (subject == Subject::Backend).then(|| "10.1.10.12".parse().unwrap()),
        from,
        to,
        cause: cause.into(),
    };
    let refused = "0 of 3 backends up and needs 1 (10.1.10.12: connection refused)";
    let service = format!("service 80/tcp has {refused}");
    let other = Event {
        vip: "dns".into(),
        vip_address: "192.168.101.53".parse().unwrap(),
        ..event(1, Subject::Route, "absent", "down", "a new VIP is down")
    };
    let events = [
        other,
        event(2, Subject::Backend, "up", "down", "check alive: connection refused"),
        event(3, Subject::Service, "up", "down", refused),
        event(4, Subject::Vip, "up", "down", &service),
        event(5, Subject::Route, "announced", "withdrawing", &service),
        event(6, Subject::Route, "withdrawing", "down", "the withdrawal is on the wire"),
        event(7, Subject::Route, "waiting", "announced", "every service is up"),
    ];
    events.into_iter().map(std::sync::Arc::new).collect()
}

fn dataplane() -> Dataplane {
    let interface = |index, mode: &str, attached, note: Option<&str>| Interface {
        index,
        mode: mode.into(),
        mac: format!("02:00:00:00:01:{index:02x}"),
        attached,
        note: note.map(Into::into),
        reasons: [("flow".into(), 1500), ("not-vip".into(), 8)].into(),
    };
    let down = "eth1: no such device";
    Dataplane {
        interfaces: [
            ("eth0".into(), interface(2, "native", true, None)),
            ("eth1".into(), interface(3, "generic", false, Some(down))),
        ]
        .into(),
        reasons: [("flow".into(), 3000), ("not-vip".into(), 17)].into(),
        events: [("flow-inserted".into(), 300), ("flow-replaced".into(), 0)].into(),
        flows: 260,
        flow_memory: 16_777_216,
        flow_capacity: 2_097_152,
        paths: [
            ("10.1.10.10".parse().unwrap(), "eth0 vlan 10, subnet 10.1.10.0/24".into()),
            ("2001:db8:10::15".parse().unwrap(), "none: in no subnet of an interface".into()),
        ]
        .into(),
        leaving: vec![Leaving {
            address: "10.1.10.9".parse().unwrap(),
            vip: "192.168.101.1".parse().unwrap(),
            ports: Ports::One(80),
            protocol: "tcp".into(),
            state: "draining".into(),
        }],
        applied: 12,
        error: Some(down.into()),
    }
}
