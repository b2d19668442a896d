//! Echo requests to this host; they need root.

use std::net::IpAddr;
use std::time::Duration;

use super::Pingers;
use crate::check::icmp::{IcmpCheck, SIZE_MAX, SIZE_MIN};
use crate::check::{Check, CheckKind};
use crate::probe::{Outcome, Shared, Target, run};

fn check(size: usize) -> Check {
    let timeout = Duration::from_secs(20);
    Check { timeout, ..Check::new(CheckKind::Icmp(IcmpCheck { size })) }
}

fn target(host: &str) -> Target {
    let host: IpAddr = host.parse().unwrap();
    Target { address: (host, 80).into(), source: None, mark: None, ttl: None }
}

#[tokio::test]
async fn this_host_answers() {
    for host in ["127.0.0.1", "::1"] {
        for size in [SIZE_MIN, 57, SIZE_MAX] {
            let target = target(host);
            let outcome = run(target, &check(size), target.address.ip()).await.outcome;
            let said = format!("echo reply of {size} bytes");
            assert_eq!((outcome.ok, outcome.diagnostic), (true, said), "{host}");
        }
    }
}

#[tokio::test]
async fn many_at_once_share_one_socket_and_leave_nobody_waiting() {
    let shared = std::sync::Arc::new(Shared::default());
    for host in ["127.0.0.1", "::1"] {
        let mut tasks = tokio::task::JoinSet::new();
        for ttl in 1..=200_u8 {
            let shared = shared.clone();
            let to = Target { ttl: (ttl > 100).then_some(ttl), ..target(host) };
            tasks.spawn(async move { ask(&shared, to).await });
        }
        for outcome in tasks.join_all().await {
            assert!(outcome.ok, "{outcome:?}");
        }
    }
    let Pingers { v4, v6 } = &shared.pingers;
    for pinger in [v4, v6] {
        let pinger = pinger.lock().unwrap().clone().unwrap();
        assert!(pinger.waiting.lock().unwrap().is_empty());
    }
}

async fn ask(shared: &Shared, target: Target) -> Outcome {
    shared.run(target, &crate::probe::alone(&check(56), target.address.ip())).await.outcome
}

#[tokio::test]
async fn a_source_that_is_not_here_fails_at_once() {
    for (host, source) in [("127.0.0.1", "192.0.2.1"), ("::1", "2001:db8::1")] {
        let target = Target { source: Some(source.parse().unwrap()), ..target(host) };
        let outcome = run(target, &check(56), target.address.ip()).await.outcome;
        assert_eq!(outcome.diagnostic, format!("{source} is not an address of this host"));
    }
}
