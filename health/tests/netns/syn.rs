//! Half-open connections through the VIP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use vc5_health::{CheckKind, ProbePath, Verdict};

use crate::lab::{Lab, Server};
use crate::probes::{
    FAMILIES, assert_lacking, outcomes, outcomes_in, probe, sockets_in, tcp, time_waits,
};

/// Listens on port 80 and counts what it is given to accept.
fn count(lab: &Lab, ns: &'static str) -> (Server, Arc<AtomicUsize>) {
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    let serve = move |listener: TcpListener| async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    };
    (lab.serve_by(ns, TcpListener::bind(("::", 80)), serve), accepted)
}

#[test]
fn a_syn_reaches_the_chosen_backend_by_all_paths() {
    let lab = Lab::new();
    let _server = count(&lab, "b1");
    let timeout = Duration::from_secs(60);
    for (vip, b1, b2) in FAMILIES {
        let to = |label, path, to| {
            let mut one = probe(label, path, vip, to, CheckKind::Syn);
            one.check.timeout = timeout;
            one
        };
        let found = outcomes(
            &lab,
            vec![
                to("1", ProbePath::Dsr, b1),
                to("2", ProbePath::Dsr, b2),
                to("direct", ProbePath::Direct, b1),
            ],
        );
        let of = |label: &str| (found[label].0, found[label].1.as_str());
        assert_eq!(of("1"), (Verdict::Up, "SYN-ACK"), "{vip}");
        assert_eq!(of("direct"), (Verdict::Up, "SYN-ACK"), "{vip}");
        assert_eq!(of("2"), (Verdict::Down, "connection refused"), "{vip}");
        assert!(found["2"].2 < timeout);
        let found = outcomes_in(&lab, "b1", vec![to("local", ProbePath::Local, b1)]);
        assert_eq!((found["local"].0, found["local"].1.as_str()), (Verdict::Up, "SYN-ACK"));
    }
}

#[test]
fn a_missing_vip_times_out_and_an_icmp_error_counts_at_once() {
    let lab = Lab::new();
    let _server = count(&lab, "b2");
    for (vip, _, b2) in FAMILIES {
        lab.ip("b2", &format!("addr del {vip} dev lo"));
        let ask = |timeout| {
            let mut one = probe("syn", ProbePath::Dsr, vip, b2, CheckKind::Syn);
            one.ttl = None;
            one.check.timeout = timeout;
            outcomes(&lab, vec![one])["syn"].clone()
        };
        assert_lacking(&ask(Duration::from_millis(400)), vip, "waiting for the SYN-ACK");
    }
    lab.sysctl("b2", "net/ipv4/ip_forward", "1");
    lab.sysctl("b2", "net/ipv6/conf/all/forwarding", "1");
    for ((vip, _, b2), said) in
        FAMILIES.into_iter().zip(["no route to host", "network is unreachable"])
    {
        lab.ip("b2", &format!("route replace unreachable {vip}"));
        let mut one = probe("syn", ProbePath::Dsr, vip, b2, CheckKind::Syn);
        one.ttl = None;
        one.check.timeout = Duration::from_secs(60);
        let (verdict, diagnostic, took) = outcomes(&lab, vec![one])["syn"].clone();
        assert_eq!((verdict, diagnostic.as_str()), (Verdict::Down, said), "{vip}");
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
}

#[test]
fn the_server_is_never_given_a_connection() {
    let lab = Lab::new();
    let (_server, accepted) = count(&lab, "b1");
    let of = |kind: fn() -> CheckKind| {
        FAMILIES.map(|(vip, b1, _)| probe("one", ProbePath::Dsr, vip, b1, kind())).to_vec()
    };
    let left = time_waits(&lab, of(|| CheckKind::Syn), 200);
    assert!(left.is_empty(), "{left:#?}");
    let tables = lab.run("b1", async {
        ["tcp", "tcp6"]
            .map(|file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap())
    });
    const LISTEN: &str = "0A";
    let all: usize = tables.iter().map(|table| table.lines().skip(1).count()).sum();
    assert_eq!(all, sockets_in(LISTEN, &tables).len(), "nothing but the listener:\n{tables:?}");
    assert_eq!(accepted.load(Ordering::SeqCst), 0);

    // Connections that are made do arrive, so that the above is known to be able to fail.
    time_waits(&lab, of(tcp), 4);
    assert!(accepted.load(Ordering::SeqCst) > 0);
}
