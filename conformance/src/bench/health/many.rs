//! Ten thousand backends of one service.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::single;
use crate::bench::Record;
use crate::lab::node::binary;
use crate::lab::{Lab, Netns, Process, command, wait};
use crate::tool::probe::Report;

const BACKENDS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_secs(2);
/// Probes begun this long after their time, or longer, are late: of the bounds that are counted, which are powers of two,
/// the nearest to a hundredth of the interval.
const LATE_US: u64 = 16_384;
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 0);

/// Each kind of check in turn.
pub(super) fn measure(seconds: u64) -> Result<Vec<Record>> {
    command::require(&[("taskset", "util-linux")])?;
    let mut records = Vec::new();
    for kind in ["http", "tcp"] {
        let report = with(kind, seconds)?;
        records.extend(figures(kind, &report));
    }
    Ok(records)
}

fn figures(kind: &str, report: &Report) -> Vec<Record> {
    #[expect(clippy::cast_precision_loss, reason = "counts for a person")]
    let percent = |part: u64| 100.0 * part as f64 / (report.finished.max(1)) as f64;
    let bound = |share: f64| {
        let reached = |count: u64| 100.0 - percent(report.finished - count) >= share;
        report.lateness_us.iter().find(|(_, count)| reached(*count)).map_or(0, |(to, _)| *to)
    };
    let punctual = report.lateness_us.iter().find(|(to, _)| *to == LATE_US);
    let late = report.finished - punctual.map_or(0, |(_, count)| *count);
    let method = format!(
        "{BACKENDS} {kind} checks every {} s on one VIP and port, by marks and policy routes, over a veth to one \
         namespace that has all addresses; the prober alone on one CPU, the server on another; {:.0} s; neighbours are \
         permanent; {} probes ended, {} failed; a start is late when the probe begins {:.1} ms or more after \
         its time by the schedule, whatever it waits for, and however late; lateness p50 < {} us, p99 < {} us, p99.9 < \
         {} us, max < {} us; paths and probes installed in {:.0} ms; memory without probes {:.1} MB",
        INTERVAL.as_secs(),
        report.wall_s,
        report.finished,
        report.failed,
        Duration::from_micros(LATE_US).as_secs_f64() * 1e3,
        bound(50.0),
        bound(99.0),
        bound(99.9),
        bound(100.0),
        report.set_ms,
        report.rss_mb[1],
    );
    let name = |figure: &str| match kind {
        "http" => format!("health.{figure}"),
        _ => format!("health.{kind}_{figure}"),
    };
    #[expect(clippy::cast_precision_loss, reason = "counts for a person")]
    let missed = report.missed as f64;
    let cpu = 100.0 * report.cpu_s / report.wall_s;
    vec![
        single(&name("late_pct"), "%", percent(late), &method),
        single(
            &name("missed"),
            "starts",
            missed,
            "of the same run, the first rounds included: starts that could not be made before the next one of the same \
             probe was due, each whole interval counted",
        ),
        single(
            &name("cpu_pct"),
            "% of one CPU",
            cpu,
            "of the same run: user and system time of all of the prober's threads, the look at all paths every 30 s included",
        ),
        single(&name("rss_mb"), "MB", report.rss_mb[0], "of the same run: VmRSS at its end"),
    ]
}

/// One run, in a lab of its own.
fn with(kind: &str, seconds: u64) -> Result<Report> {
    let lab = Lab::new(binary("vc5-lab")?)?;
    let (balancer, backends) = (lab.netns("lb")?, lab.netns("backends")?);
    balancer.veth("eth0", &backends, "eth0")?;
    balancer.ip(&format!("address add {BALANCER}/16 dev eth0"))?;
    backends.ip("address add 10.77.255.254/16 dev eth0")?;
    backends.ip(&format!("address add {VIP}/32 dev lo"))?;
    // What a packet causes at its receiver is done where the receiver runs.
    let (prober_cpu, server_cpu) = cpus();
    for (namespace, cpu) in [(&balancer, prober_cpu), (&backends, server_cpu)] {
        let file = "/sys/class/net/eth0/queues/rx-0/rps_cpus";
        let script = format!("echo {:x} > {file}", 1_u64 << cpu);
        command::output(namespace.command("sh").args(["-c", &script]))?;
    }
    let link = backends.ip("-br link show dev eth0")?;
    let mac = link.split_whitespace().nth(2).context("no MAC address")?;
    neighbours(&balancer, mac)?;

    let mut server = backends.command("taskset");
    server.args(["-c", &server_cpu.to_string()]).arg(lab.tool());
    server.args(["quick-serve", "--listen", "[::]:80"]);
    let mut server = Process::start("server", &mut server, &lab.dir().join("server.log"))?;
    wait::until_true("server listens", Duration::from_secs(5), || {
        server.check_running()?;
        Ok(!backends.listeners(80)?.is_empty())
    })?;

    let mut prober = balancer.command("taskset");
    prober.args(["-c", &prober_cpu.to_string()]).arg(lab.tool()).arg("probe");
    prober.args(["--vip", &VIP.to_string(), "--first", &FIRST.to_string(), "--kind", kind]);
    prober.args(["--backends", &BACKENDS.to_string(), "--seconds", &seconds.to_string()]);
    prober.args(["--interval-ms", &INTERVAL.as_millis().to_string()]);
    serde_json::from_str(&command::output(&mut prober)?).context("the prober's report")
}

/// For the prober and for the server: the last CPU and the first.
fn cpus() -> (usize, usize) {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    (count - 1, 0)
}

/// All backends have one MAC address.
fn neighbours(balancer: &Netns, mac: &str) -> Result<()> {
    let mut batch = Command::new("ip");
    batch.args(["-n", balancer.name(), "-batch", "-"]).stdin(Stdio::piped());
    let mut batch = batch.spawn().context("cannot run ip -batch")?;
    let mut input = batch.stdin.take().context("ip -batch has no input")?;
    for backend in FIRST.to_bits()..FIRST.to_bits() + BACKENDS {
        let address = Ipv4Addr::from_bits(backend);
        writeln!(input, "neigh replace {address} lladdr {mac} dev eth0 nud permanent")?;
    }
    drop(input);
    ensure!(batch.wait()?.success(), "ip -batch failed");
    Ok(())
}
