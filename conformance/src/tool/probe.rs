//! A prober with very many backends of one service, and how punctual it is.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use vc5_health::{
    Check, CheckKind, Delays, HttpCheck, Probe, ProbeKey, ProbePath, Prober, ProberConfig,
};

/// Rounds before it is measured.
const FIRST_ROUNDS: u32 = 5;

/// Options of the helper.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The service's address
    #[arg(long)]
    vip: Ipv4Addr,
    /// Address of the first backend; the others follow it
    #[arg(long)]
    first: Ipv4Addr,
    /// How many backends
    #[arg(long)]
    backends: u32,
    /// tcp or http
    #[arg(long)]
    kind: String,
    /// From one probe of a backend to the next
    #[arg(long)]
    interval_ms: u64,
    /// How long to measure, after the first rounds
    #[arg(long)]
    seconds: u64,
}

/// What it found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// How long it took to install all paths and probes, in ms.
    pub set_ms: f64,
    /// Probes that ended while it was measured.
    pub finished: u64,
    /// Of those, how many failed.
    pub failed: u64,
    /// Starts that were left out since the set was installed, the first rounds included: those after which the next
    /// one of the same probe was due before they could be made.
    pub missed: u64,
    /// How long after its time by the schedule each of these probes was begun, in us: bounds, rising, with how many
    /// took less.
    pub lateness_us: Vec<(u64, u64)>,
    /// CPU time of all threads while it was measured, in s.
    pub cpu_s: f64,
    /// How long that was, in s.
    pub wall_s: f64,
    /// Resident memory at the end, in MB, and before there was any probe.
    pub rss_mb: [f64; 2],
}

/// Probes, measures and prints the report in JSON.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let report = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measure(arguments))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<Report> {
    let interval = Duration::from_millis(arguments.interval_ms);
    let idle = resident()?;
    let (prober, mut events) = Prober::start(ProberConfig::default()).await?;
    let begin = Instant::now();
    prober.set(probes(arguments, interval)?).await?;
    let set_ms = begin.elapsed().as_secs_f64() * 1e3;

    let mut seen = HashSet::new();
    let measured = Instant::now() + interval * FIRST_ROUNDS;
    while Instant::now() < measured {
        let event = events.recv().await.context("the prober has ended")?;
        seen.insert(event.key.backend);
    }
    let (begin, cpu, before) = (Instant::now(), cpu_time()?, prober.stats());
    let end = begin + Duration::from_secs(arguments.seconds);
    let mut failed = 0;
    while Instant::now() < end {
        let event = events.recv().await.context("the prober has ended")?;
        failed += u64::from(!event.outcome.ok);
    }
    let after = prober.stats();
    let report = Report {
        set_ms,
        finished: after.finished - before.finished,
        failed,
        missed: after.late,
        lateness_us: since(&before.delays, &after.delays),
        cpu_s: (cpu_time()? - cpu).as_secs_f64(),
        wall_s: begin.elapsed().as_secs_f64(),
        rss_mb: [resident()?, idle],
    };
    ensure!(seen.len() == arguments.backends as usize, "only {} backends were probed", seen.len());
    prober.shutdown().await;
    Ok(report)
}

fn probes(arguments: &Arguments, interval: Duration) -> Result<Vec<Probe>> {
    let kind = match arguments.kind.as_str() {
        "tcp" => CheckKind::Tcp,
        "http" => CheckKind::Http(HttpCheck::default()),
        other => anyhow::bail!("{other} is neither tcp nor http"),
    };
    let check = Check { interval, ..Check::new(kind) };
    let first = arguments.first.to_bits();
    let probes = (first..first + arguments.backends).map(|backend| Probe {
        key: ProbeKey {
            vip: arguments.vip.into(),
            backend: Ipv4Addr::from_bits(backend).into(),
            port: 80,
            service: "80/tcp".into(),
            check: "alive".into(),
        },
        path: ProbePath::Dsr,
        ttl: Some(1),
        check: check.clone(),
    });
    Ok(probes.collect())
}

/// Bounds in us with the counts up to them, without those of before.
fn since(before: &Delays, after: &Delays) -> Vec<(u64, u64)> {
    let both = before.cumulative().zip(after.cumulative());
    both.map(|((_, before), (bound, after))| {
        (u64::try_from(bound.as_micros()).unwrap_or(u64::MAX), after - before)
    })
    .collect()
}

/// Of all threads, also of those that have ended.
fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(microseconds)?))
}

fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}
