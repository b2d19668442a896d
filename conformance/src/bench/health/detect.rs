//! From the end of a backend's service to the verdict that says so.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;
use vc5_health::verdict::Rule;
use vc5_health::{
    Check, CheckKind, Probe, ProbeEvent, ProbeKey, ProbePath, Prober, ProberConfig, Verdict,
};

use super::single;
use crate::bench::{Record, min_and_median};
use crate::lab::node::binary;
use crate::lab::{Lab, Netns};

const BACKENDS: u16 = 500;
const INTERVAL: Duration = Duration::from_millis(200);
/// Between the ends of two services; no whole part of the interval.
const APART: Duration = Duration::from_millis(7);
const FIRST_PORT: u16 = 10_000;
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 21);
const PATIENCE: Duration = Duration::from_secs(20);

/// With the verdict after two failures and after one, and with a fast second look.
pub(super) fn measure() -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let fast = Some(Duration::from_millis(50));
    for (name, fall, fast_interval) in [
        ("health.detect_ms", 2, None),
        ("health.detect_fall1_ms", 1, None),
        ("health.detect_fast_ms", 2, fast),
    ] {
        let mut times = detections(fall, fast_interval)?;
        let (min, median) = min_and_median(times.clone());
        times.sort_by(f64::total_cmp);
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
        let fast = match fast_interval {
            Some(fast) => format!(", fast interval {} ms", fast.as_millis()),
            None => String::new(),
        };
        records.push(Record {
            runs: times.len(),
            min,
            ..single(
                name,
                "ms",
                median,
                &format!(
                    "from before a listener is closed until the prober's event that has the verdict down; {BACKENDS} \
                     services on ports of one VIP, one closed every {} ms; TCP check every {} ms, fall {fall}{fast}; \
                     p99 {p99:.1} ms, max {:.1} ms",
                    APART.as_millis(),
                    INTERVAL.as_millis(),
                    times.last().copied().unwrap_or_default(),
                ),
            )
        });
    }
    Ok(records)
}

fn detections(fall: u32, fast_interval: Option<Duration>) -> Result<Vec<f64>> {
    let lab = Lab::new(binary("vc5-lab")?)?;
    let (balancer, backend) = (lab.netns("lb")?, lab.netns("backend")?);
    balancer.veth("eth0", &backend, "eth0")?;
    balancer.ip("address add 192.0.2.11/24 dev eth0")?;
    backend.ip(&format!("address add {BACKEND}/24 dev eth0"))?;
    backend.ip(&format!("address add {VIP}/32 dev lo"))?;
    let mut services = listen(&backend)?;
    let check = Check {
        interval: INTERVAL,
        fast_interval,
        rule: Rule::runs(1, fall),
        ..Check::new(CheckKind::Tcp)
    };
    balancer.entry()?.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (prober, mut events) = Prober::start(ProberConfig::default()).await?;
            prober.set(services.keys().map(|port| probe(*port, &check)).collect()).await?;
            let times = watch(&mut services, &mut events).await;
            prober.shutdown().await;
            times
        })
    })?
}

/// A listener on each port; connections are never taken, only the kernel answers.
fn listen(backend: &Netns) -> Result<HashMap<u16, TcpListener>> {
    backend.entry()?.run(|| {
        let ports = FIRST_PORT..FIRST_PORT + BACKENDS;
        let listeners = ports.map(|port| Ok((port, TcpListener::bind((VIP, port))?)));
        listeners.collect()
    })?
}

fn probe(port: u16, check: &Check) -> Probe {
    Probe {
        key: ProbeKey {
            vip: VIP.into(),
            backend: BACKEND.into(),
            port,
            service: format!("{port}/tcp"),
            check: "alive".into(),
        },
        path: ProbePath::Dsr,
        ttl: Some(1),
        check: check.clone(),
    }
}

/// Waits until all are up, ends one after the other, and waits for the verdicts.
async fn watch(
    services: &mut HashMap<u16, TcpListener>,
    events: &mut mpsc::UnboundedReceiver<ProbeEvent>,
) -> Result<Vec<f64>> {
    let mut ends: HashMap<u16, Instant> = HashMap::new();
    let mut up = 0;
    let mut times = Vec::new();
    let limit = Instant::now() + PATIENCE;
    let mut next: Option<tokio::time::Interval> = None;
    while times.len() < usize::from(BACKENDS) {
        ensure!(Instant::now() < limit, "{up} services came up, {} ends were seen", times.len());
        tokio::select! {
            event = events.recv() => {
                let event = event.context("the prober has ended")?;
                match (event.changed, event.verdict) {
                    (true, Verdict::Up) => up += 1,
                    (true, Verdict::Down) => {
                        let end = ends.get(&event.key.port).context("down while it is there")?;
                        times.push(event.at.duration_since(*end).as_secs_f64() * 1e3);
                    }
                    _ => {}
                }
                if up == BACKENDS && next.is_none() {
                    next = Some(tokio::time::interval(APART));
                }
            }
            () = tick(&mut next) => {
                let port = services.keys().next().copied();
                if let Some((port, listener)) = port.and_then(|port| services.remove_entry(&port)) {
                    ends.insert(port, Instant::now());
                    drop(listener);
                }
            }
        }
    }
    Ok(times)
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
