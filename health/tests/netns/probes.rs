//! What probes find.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use vc5_health::{
    Check, CheckKind, HttpCheck, Probe, ProbeEvent, ProbeKey, ProbePath, Prober, ProberConfig,
    Rule, Verdict,
};

use crate::lab::{Lab, VIP4, VIP6};

/// Both families: the VIP, and backend 1 and 2.
pub(crate) const FAMILIES: [(&str, &str, &str); 2] =
    [(VIP4, "198.51.100.11", "198.51.100.12"), (VIP6, "2001:db8:51::11", "2001:db8:51::12")];

pub(crate) fn config() -> ProberConfig {
    ProberConfig::default()
}

pub(crate) fn tcp() -> CheckKind {
    CheckKind::Tcp
}

pub(crate) fn http(path: &str) -> CheckKind {
    CheckKind::Http(HttpCheck { path: path.into(), ..HttpCheck::default() })
}

/// A probe that decides at once and repeats quickly. `label` is its check's name.
pub(crate) fn probe(label: &str, path: ProbePath, vip: &str, to: &str, kind: CheckKind) -> Probe {
    let backend: IpAddr = to.parse().unwrap();
    Probe {
        key: ProbeKey {
            vip: vip.parse().unwrap(),
            backend,
            port: 80,
            service: "80/tcp".into(),
            check: label.into(),
        },
        path,
        ttl: Some(1),
        check: Check {
            interval: Duration::from_millis(100),
            timeout: Duration::from_secs(5),
            rule: Rule::runs(1, 1),
            ..Check::new(kind)
        },
    }
}

/// The next event of each of so many keys.
pub(crate) async fn collect(
    events: &mut UnboundedReceiver<ProbeEvent>,
    keys: usize,
) -> HashMap<ProbeKey, ProbeEvent> {
    let mut latest = HashMap::new();
    while latest.len() < keys {
        let event = events.recv().await.unwrap();
        latest.insert(event.key.clone(), event);
    }
    latest
}

/// Waits for an event that is as wanted.
pub(crate) async fn wait_for(
    events: &mut UnboundedReceiver<ProbeEvent>,
    wanted: impl Fn(&ProbeEvent) -> bool,
) -> ProbeEvent {
    let found = async {
        loop {
            let event = events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), found).await.expect("no such event in 40 s")
}

/// Runs these probes in the balancer until each has ended once. Gives verdict and diagnostic by
/// label.
pub(crate) fn outcomes(
    lab: &Lab,
    probes: Vec<Probe>,
) -> HashMap<String, (Verdict, String, Duration)> {
    outcomes_in(lab, "lb", probes)
}

/// As [`outcomes`], anywhere in the lab.
pub(crate) fn outcomes_in(
    lab: &Lab,
    ns: &str,
    probes: Vec<Probe>,
) -> HashMap<String, (Verdict, String, Duration)> {
    lab.run(ns, async move {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let keys = probes.len();
        prober.set(probes).await.unwrap();
        let latest = collect(&mut events, keys).await;
        prober.shutdown().await;
        latest
            .into_values()
            .map(|e| (e.key.check, (e.verdict, e.outcome.diagnostic, e.outcome.took)))
            .collect()
    })
}

#[test]
fn probes_through_the_vip_tell_the_backends_apart() {
    let lab = Lab::new();
    let _servers = (lab.serve("b1", 80), lab.serve("b2", 80));
    for (vip, b1, b2) in FAMILIES {
        let dsr = |label, to, kind| probe(label, ProbePath::Dsr, vip, to, kind);
        let found = outcomes(
            &lab,
            vec![
                dsr("1 asked for 1", b1, http("/b1")),
                dsr("1 asked for 2", b1, http("/b2")),
                dsr("2 asked for 1", b2, http("/b1")),
                dsr("2 asked for 2", b2, http("/b2")),
                dsr("1 by tcp", b1, tcp()),
                dsr("2 by tcp", b2, tcp()),
                probe("direct", ProbePath::Direct, vip, b1, http("/b1")),
            ],
        );
        let of = |label: &str| (found[label].0, found[label].1.as_str());
        assert_eq!(of("1 asked for 1"), (Verdict::Up, "200 OK"));
        assert_eq!(of("1 asked for 2"), (Verdict::Down, "got 404, expected 200"));
        assert_eq!(of("2 asked for 1"), (Verdict::Down, "got 404, expected 200"));
        assert_eq!(of("2 asked for 2"), (Verdict::Up, "200 OK"));
        assert_eq!(of("1 by tcp"), (Verdict::Up, "connected"));
        assert_eq!(of("2 by tcp"), (Verdict::Up, "connected"));
        assert_eq!(of("direct"), (Verdict::Up, "200 OK"));
    }
}

#[test]
fn the_body_of_the_chosen_backend_is_looked_into() {
    let lab = Lab::new();
    let _servers = (lab.serve("b1", 80), lab.serve("b2", 80));
    let wanted = |text: &str| {
        CheckKind::Http(HttpCheck {
            expect: vec![(200, 299), (404, 404)],
            body: Some(text.into()),
            ..HttpCheck::default()
        })
    };
    for (vip, b1, b2) in FAMILIES {
        let found = outcomes(
            &lab,
            vec![
                probe("1", ProbePath::Dsr, vip, b1, wanted("b1")),
                probe("2", ProbePath::Dsr, vip, b2, wanted("b1")),
            ],
        );
        assert_eq!((found["1"].0, found["1"].1.as_str()), (Verdict::Up, "404 Not Found"));
        let why = "\"b1\" is not in the 2 bytes of the body";
        assert_eq!((found["2"].0, found["2"].1.as_str()), (Verdict::Down, why));
    }
}

#[test]
fn a_backend_without_the_vip_is_down_though_it_answers_on_its_own_address() {
    let lab = Lab::new();
    let _servers = (lab.serve("b1", 80), lab.serve("b2", 80));
    lab.ip("b2", &format!("addr del {VIP4}/32 dev lo"));
    lab.ip("b2", &format!("addr del {VIP6}/128 dev lo"));
    for (vip, b1, b2) in FAMILIES {
        let mut lacking = probe("2 by vip", ProbePath::Dsr, vip, b2, tcp());
        lacking.check.timeout = Duration::from_millis(400);
        let found = outcomes(
            &lab,
            vec![
                lacking,
                probe("2 direct", ProbePath::Direct, vip, b2, tcp()),
                probe("1 by vip", ProbePath::Dsr, vip, b1, tcp()),
            ],
        );
        assert_lacking(&found["2 by vip"], vip, "connecting");
        assert_eq!(found["2 direct"].0, Verdict::Up);
        assert_eq!(found["1 by vip"].0, Verdict::Up);
    }
}

#[test]
fn a_backend_without_the_vip_is_down_though_it_routes_on_to_another_holder() {
    let lab = Lab::new();
    let _servers = (lab.serve("b1", 80), lab.serve("b2", 80));
    lab.sysctl("b2", "net/ipv4/ip_forward", "1");
    lab.sysctl("b2", "net/ipv6/conf/all/forwarding", "1");
    for (vip, b1, b2) in FAMILIES {
        lab.ip("b2", &format!("addr del {vip} dev lo"));
        lab.ip("b2", &format!("route add {vip} via {b1}"));
        // Sets of their own, the least TTL first: the backend that forwards also sends a redirect
        // to the other, and one route serves all probes of a backend.
        let with = |ttl| {
            let mut one = probe("2 by vip", ProbePath::Dsr, vip, b2, http("/b1"));
            one.ttl = ttl;
            let found = outcomes(&lab, vec![one]);
            (found["2 by vip"].0, found["2 by vip"].1.clone())
        };
        assert_eq!(with(Some(1)), (Verdict::Down, "no route to host".into()));
        assert_eq!(with(Some(64)), (Verdict::Up, "200 OK".into()));
        assert_eq!(with(None), (Verdict::Up, "200 OK".into()));
    }
}

#[test]
fn refused_counts_at_once_and_a_black_hole_times_out() {
    let lab = Lab::new();
    for ((vip, b1, _), nobody) in FAMILIES.into_iter().zip(["198.51.100.99", "2001:db8:51::99"]) {
        let refused = probe("refused", ProbePath::Dsr, vip, b1, http("/"));
        let timeout = refused.check.timeout;
        let mut hole = probe("hole", ProbePath::Dsr, vip, nobody, http("/"));
        hole.check.timeout = Duration::from_millis(300);
        let found = outcomes(&lab, vec![refused, hole]);
        let (verdict, diagnostic, took) = &found["refused"];
        assert_eq!((*verdict, diagnostic.as_str()), (Verdict::Down, "connection refused"));
        assert!(*took < timeout, "{took:?}");
        let (verdict, diagnostic, took) = &found["hole"];
        assert_eq!(*verdict, Verdict::Down);
        assert_eq!(diagnostic, "timed out after 300 ms while connecting");
        assert!(*took >= Duration::from_millis(300), "{took:?}");
    }
}

/// Nobody answers for the backend's address: the kernel gives up looking for it well before the
/// probe's own time is over.
#[test]
fn an_unresolved_neighbour_counts_before_the_timeout() {
    let lab = Lab::new();
    let mut probes = Vec::new();
    for ((vip, ..), nobody) in FAMILIES.into_iter().zip(["198.51.100.99", "2001:db8:51::99"]) {
        let mut one = probe(vip, ProbePath::Dsr, vip, nobody, tcp());
        one.check.timeout = Duration::from_secs(60);
        probes.push(one);
    }
    let timeout = probes[0].check.timeout;
    let found = outcomes(&lab, probes);
    assert_eq!(found.len(), 2);
    for (vip, (verdict, diagnostic, took)) in found {
        assert_eq!((verdict, diagnostic.as_str()), (Verdict::Down, "no route to host"), "{vip}");
        assert!(took < timeout, "{vip}: {took:?}");
    }
}

/// A backend that forwards and has no way to the VIP says so by ICMP.
#[test]
fn what_icmp_says_counts_at_once() {
    let lab = Lab::new();
    lab.sysctl("b2", "net/ipv4/ip_forward", "1");
    lab.sysctl("b2", "net/ipv6/conf/all/forwarding", "1");
    // RFC 1122 section 3.2.2.1, RFC 4443 section 3.1.
    let answers = [
        ("unreachable", ["no route to host", "network is unreachable"]),
        ("prohibit", ["no route to host", "permission denied"]),
    ];
    for (index, (vip, _, b2)) in FAMILIES.into_iter().enumerate() {
        lab.ip("b2", &format!("addr del {vip} dev lo"));
        for (kind, diagnostics) in answers {
            lab.ip("b2", &format!("route replace {kind} {vip}"));
            let mut one = probe(kind, ProbePath::Dsr, vip, b2, tcp());
            one.ttl = None;
            one.check.timeout = Duration::from_secs(60);
            let timeout = one.check.timeout;
            let found = outcomes(&lab, vec![one]);
            let (verdict, diagnostic, took) = &found[kind];
            assert_eq!((*verdict, diagnostic.as_str()), (Verdict::Down, diagnostics[index]));
            assert!(*took < timeout, "{kind} {vip}: {took:?}");
        }
    }
}

#[test]
fn a_service_of_this_host_is_probed_here_and_nowhere_else() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    // Another node holds the VIP too, and would answer.
    lab.ip("lb", "route add default via 198.51.100.11");
    lab.ip("lb", "-6 route add default via 2001:db8:51::11");
    for (vip, b1, _) in FAMILIES {
        let ask = |name| {
            lab.run(name, async move {
                let (prober, mut events) = Prober::start(config()).await.unwrap();
                let local = probe("local", ProbePath::Local, vip, b1, http("/b1"));
                prober.set(vec![local]).await.unwrap();
                let event = events.recv().await.unwrap();
                prober.shutdown().await;
                (event.verdict, event.outcome.diagnostic)
            })
        };
        assert_eq!(ask("b1"), (Verdict::Up, "200 OK".into()));
        assert_eq!(ask("lb"), (Verdict::Down, format!("{vip} is not an address of this host")));
    }
}

/// Asserts that a probe with 400 ms failed as it does through a backend that lacks the VIP: nobody
/// answers. With IPv6 the backend may say that it has no route there (RFC 4443 section 3.1), as far
/// as its rate limit lets it.
pub(crate) fn assert_lacking(found: &(Verdict, String, Duration), vip: &str, doing: &str) {
    let (verdict, diagnostic, _) = found;
    let silent = format!("timed out after 400 ms while {doing}");
    let told = vip == VIP6 && diagnostic.starts_with("network is unreachable");
    assert!(*verdict == Verdict::Down && (*diagnostic == silent || told), "{vip}: {diagnostic}");
}

/// The sockets in TIME_WAIT that the balancer has after so many outcomes of these probes.
pub(crate) fn time_waits(lab: &Lab, mut probes: Vec<Probe>, outcomes: u64) -> Vec<String> {
    let tables = lab.run("lb", async move {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        for probe in &mut probes {
            probe.check.interval = Duration::from_millis(20);
        }
        prober.set(probes).await.unwrap();
        for _ in 0..outcomes {
            events.recv().await.unwrap();
        }
        assert!(prober.stats().finished >= outcomes);
        prober.shutdown().await;
        ["tcp", "tcp6"]
            .map(|file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap())
    });
    sockets_in(TIME_WAIT, &tables)
}

/// States of TCP in /proc/net/tcp.
pub(crate) const TIME_WAIT: &str = "06";

/// The lines of such tables with this state.
pub(crate) fn sockets_in(state: &str, tables: &[String]) -> Vec<String> {
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let found = lines.filter(|line| line.split_whitespace().nth(3) == Some(state));
    found.map(str::to_owned).collect()
}

#[test]
fn no_probe_leaves_time_wait_behind() {
    let lab = Lab::new();
    let _servers = (lab.serve("b1", 80), lab.serve("b2", 80));
    let mut probes = Vec::new();
    for (vip, b1, b2) in FAMILIES {
        for (backend, path) in [(b1, "/b1"), (b2, "/b2")] {
            probes.push(probe("tcp", ProbePath::Dsr, vip, backend, tcp()));
            probes.push(probe("syn", ProbePath::Dsr, vip, backend, CheckKind::Syn));
            probes.push(probe("good", ProbePath::Dsr, vip, backend, http(path)));
            probes.push(probe("bad", ProbePath::Dsr, vip, backend, http("/other")));
        }
    }
    let left = time_waits(&lab, probes, 800);
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_changed_set_keeps_known_verdicts_and_every_probe_gives_an_event() {
    let lab = Lab::new();
    let server = lab.serve("b1", 80);
    lab.run("lb", async move {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let one = probe("one", ProbePath::Dsr, VIP4, "198.51.100.11", tcp());
        let two = probe("two", ProbePath::Dsr, VIP4, "198.51.100.11", http("/b1"));
        prober.set(vec![one.clone()]).await.unwrap();
        let first = events.recv().await.unwrap();
        assert!(first.changed && first.verdict == Verdict::Up && first.passed == 1);
        let second = events.recv().await.unwrap();
        assert!(!second.changed && second.verdict == Verdict::Up && second.passed == 2);
        prober.set(vec![one.clone(), two.clone()]).await.unwrap();
        let known = wait_for(&mut events, |e| e.key == one.key).await;
        assert!(!known.changed && known.passed >= 3);
        wait_for(&mut events, |e| e.key == two.key && e.verdict == Verdict::Up).await;
        let mut swapped = two.clone();
        swapped.check.kind = http("/elsewhere");
        prober.set(vec![swapped]).await.unwrap();
        let down = wait_for(&mut events, |e| e.key == two.key && !e.outcome.ok).await;
        assert!(down.changed && down.passed > 0, "the key was known before");
        drop(server);
        prober.shutdown().await;
        while let Some(late) = events.recv().await {
            assert_eq!(late.key, two.key, "the removed probe is silent");
        }
    });
}
