//! A prober with very many backends of one service, and how punctual it is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use vc5_health::{
    Check, CheckKind, HttpCheck, Probe, ProbeEvent, ProbeKey, ProbePath, Prober, ProberConfig,
};

/// Rounds of which the earliest start of each probe tells when it is due.
const ROUNDS_TO_LEARN: u32 = 5;

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
    /// Starts that were left out, since the set was installed.
    pub missed: u64,
    /// How much later than due probes were begun, in us: each time with how many were not later.
    pub lateness_us: Vec<(u64, u64)>,
    /// CPU time while it was measured, in s.
    pub cpu_s: f64,
    /// How long that was, in s.
    pub wall_s: f64,
    /// Resident memory at the end, in MB, and before there was any probe.
    pub rss_mb: [f64; 2],
}

/// Counts by powers of two of microseconds.
#[derive(Debug)]
struct Histogram([u64; 33]);

impl Histogram {
    fn add(&mut self, late: Duration) {
        let us = u32::try_from(late.as_micros()).unwrap_or(u32::MAX);
        let bucket = usize::try_from(32 - us.leading_zeros()).unwrap_or_default();
        if let Some(count) = self.0.get_mut(bucket) {
            *count += 1;
        }
    }

    /// Upper bounds with the counts up to them.
    fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut sum = 0;
        let sums = self.0.iter().enumerate().map(|(bucket, count)| {
            sum += count;
            (1 << bucket, sum)
        });
        sums.collect()
    }
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

    let mut due: HashMap<IpAddr, Instant> = HashMap::new();
    let learned = Instant::now() + interval * ROUNDS_TO_LEARN;
    while Instant::now() < learned {
        let event = events.recv().await.context("the prober has ended")?;
        lateness(&mut due, &event, interval);
    }
    let (begin, cpu) = (Instant::now(), cpu_time()?);
    let end = begin + Duration::from_secs(arguments.seconds);
    let (mut finished, mut failed, mut histogram) = (0, 0, Histogram([0; 33]));
    while Instant::now() < end {
        let event = events.recv().await.context("the prober has ended")?;
        finished += 1;
        failed += u64::from(!event.outcome.ok);
        histogram.add(lateness(&mut due, &event, interval));
    }
    let report = Report {
        set_ms,
        finished,
        failed,
        missed: prober.stats().late,
        lateness_us: histogram.cumulative(),
        cpu_s: (cpu_time()? - cpu).as_secs_f64(),
        wall_s: begin.elapsed().as_secs_f64(),
        rss_mb: [resident()?, idle],
    };
    ensure!(due.len() == arguments.backends as usize, "only {} backends were probed", due.len());
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

/// How much later a probe was begun than it was due. Probes come a whole number of intervals apart, and none comes
/// early: so the earliest so far is the nearest to the time that it is due.
fn lateness(
    due: &mut HashMap<IpAddr, Instant>,
    event: &ProbeEvent,
    interval: Duration,
) -> Duration {
    let begun = event.at.checked_sub(event.outcome.took).unwrap_or(event.at);
    let anchor = due.entry(event.key.backend).or_insert(begun);
    let since = begun.saturating_duration_since(*anchor).as_nanos();
    let over = since % interval.as_nanos();
    let over = Duration::from_nanos(u64::try_from(over).unwrap_or_default());
    if over > interval / 2 {
        *anchor = begun;
        return Duration::ZERO;
    }
    over
}

fn cpu_time() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_powers_of_two() {
        let mut histogram = Histogram([0; 33]);
        for us in [0, 1, 2, 3, 1000] {
            histogram.add(Duration::from_micros(us));
        }
        let at = |bound| histogram.cumulative().iter().find(|(to, _)| *to == bound).unwrap().1;
        assert_eq!((at(1), at(2), at(4), at(512), at(1024)), (1, 2, 4, 4, 5));
    }
}
