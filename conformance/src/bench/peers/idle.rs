//! What sessions cost that have nothing to say but KEEPALIVE.
//!
//! The speaker runs in a process of its own, this very program once more, so that the figures are its alone.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::bird::Bird;
use super::routers::{Routers, Thread};
use super::{HOLD, speaker};
use crate::bench::{Record, min_and_median};

/// The argument with which the program becomes the speaker.
pub const ARGUMENT: &str = "--idle-speaker";

const ROUTERS: usize = 500;
const WINDOWS: usize = 3;
const WINDOW: Duration = Duration::from_secs(5);
/// After the last session came up.
const SETTLE: Duration = Duration::from_secs(2);
const READY: &str = "established";

/// Neighbours, an address a line, come from standard input, then an empty line; the end comes by the end of it.
///
/// # Errors
/// When the speaker does not start or a line is no address.
pub fn child() -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut routers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        routers.push(line.trim().parse::<SocketAddr>()?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _speaker = runtime.block_on(speaker::established(&routers))?;
    println!("{READY}");
    input.read_to_end(&mut Vec::new())?;
    Ok(())
}

pub(super) fn measure(thread: &Thread) -> Result<[Record; 2]> {
    let routers = thread.routers(2, ROUTERS)?;
    let ours = {
        let (child, _input) = start_child(&routers)?;
        windows(child.0.id())?
    };
    let bird = {
        let mut bird = Bird::start("idle", &routers.addresses)?;
        bird.wait_established(ROUTERS)?;
        windows(bird.pid())?
    };
    let method = format!(
        "{ROUTERS} Established sessions with loopback routers in another process, hold time {} s, so a KEEPALIVE each \
         way every {} s, nothing else to do; the speaker alone in a process, {WINDOWS} windows of {} s each",
        HOLD.as_secs(),
        HOLD.as_secs() / 3,
        WINDOW.as_secs()
    );
    let record = |name: &str, unit: &'static str, ours: Vec<f64>, bird: Vec<f64>, how: &str| {
        let (min, median) = min_and_median(ours);
        Record {
            name: name.into(),
            value: min,
            unit: unit.into(),
            min,
            median,
            runs: WINDOWS,
            floor: None,
            peer: Some("BIRD 2, min".into()),
            peer_value: Some(min_and_median(bird).0),
            method: format!("{method}; {how}"),
        }
    };
    Ok([
        record(
            "bgp.idle500_cpu_pct",
            "% of one CPU",
            ours.0,
            bird.0,
            "time on a CPU of all its threads, from /proc/PID/task/*/schedstat",
        ),
        record("bgp.idle500_rss_mb", "MB", ours.1, bird.1, "VmRSS after each window"),
    ])
}

/// Ends with its standard input; killed if it does not.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_child(routers: &Routers) -> Result<(Killed, ChildStdin)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Killed(command.spawn()?);
    let mut input = child.0.stdin.take().context("no standard input")?;
    for address in &routers.addresses {
        writeln!(input, "{address}")?;
    }
    writeln!(input)?;
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().context("no standard output")?).read_line(&mut line)?;
    ensure!(line.trim() == READY, "the speaker with {ROUTERS} neighbours did not get ready");
    Ok((child, input))
}

/// CPU in percent and memory in MB, for each window.
fn windows(pid: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    std::thread::sleep(SETTLE);
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        let (begin, before) = (Instant::now(), on_cpu(pid)?);
        std::thread::sleep(WINDOW);
        let used = on_cpu(pid)?.saturating_sub(before).as_secs_f64();
        cpu.push(100.0 * used / begin.elapsed().as_secs_f64());
        memory.push(resident(pid)?);
    }
    Ok((cpu, memory))
}

fn on_cpu(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) else {
        bail!("no VmRSS of process {pid}");
    };
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}
