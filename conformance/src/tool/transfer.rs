//! One long download, verified byte by byte.

use std::io::Read;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::load::{parse_head, request};
use super::serve::pattern;

/// How often progress is printed.
const REPORT: Duration = Duration::from_millis(50);

/// What to fetch.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where from.
    #[arg(long)]
    pub target: SocketAddrV4,
    /// How long the server is to take.
    #[arg(long)]
    pub seconds: u64,
    /// Bytes per second.
    #[arg(long, default_value_t = 200_000)]
    pub rate: u64,
    /// Milliseconds without a byte until it has failed.
    #[arg(long, default_value_t = 20_000)]
    pub timeout_ms: u64,
}

/// How far a transfer has come.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Progress {
    /// The backend that serves it.
    pub backend: String,
    /// The client's port.
    pub local_port: u16,
    /// Bytes received and verified.
    pub received: u64,
    /// Bytes announced.
    pub total: u64,
    /// Longest time without a byte, in seconds.
    pub longest_gap: f64,
    /// All bytes have come and were right.
    pub complete: bool,
    /// Why it failed.
    pub error: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut progress = Progress::default();
    let result = fetch(arguments, &mut progress);
    progress.error = result.as_ref().err().map(|error| format!("{error:#}"));
    print(&progress)?;
    result
}

fn fetch(arguments: &Arguments, progress: &mut Progress) -> Result<()> {
    let path = format!("/slow?seconds={}&rate={}", arguments.seconds, arguments.rate);
    let limit = Duration::from_millis(arguments.timeout_ms);
    let mut stream = request(arguments.target, &path, limit)?;
    progress.local_port = stream.local_addr()?.port();
    let mut buffer = vec![0; 65536];
    let mut head = Vec::new();
    let mut reported = Instant::now();
    let mut last_byte = Instant::now();
    loop {
        let count = stream.read(&mut buffer).context("read")?;
        if count == 0 {
            break;
        }
        progress.longest_gap = progress.longest_gap.max(last_byte.elapsed().as_secs_f64());
        last_byte = Instant::now();
        let bytes = buffer.get(..count).unwrap_or_default();
        if progress.total == 0 {
            head.extend_from_slice(bytes);
            if let Some((backend, total, body)) = parse_head(&head)? {
                (progress.backend, progress.total) = (backend, total);
                verify(head.get(body..).unwrap_or_default(), progress)?;
                print(progress)?;
            }
        } else {
            verify(bytes, progress)?;
        }
        if reported.elapsed() > REPORT {
            reported = Instant::now();
            print(progress)?;
        }
    }
    ensure!(progress.total > 0, "no answer");
    ensure!(
        progress.received == progress.total,
        "ended after {} of {}",
        progress.received,
        progress.total
    );
    progress.complete = true;
    Ok(())
}

fn verify(bytes: &[u8], progress: &mut Progress) -> Result<()> {
    for byte in bytes {
        let offset = progress.received;
        ensure!(*byte == pattern(offset), "wrong byte at offset {offset}");
        progress.received += 1;
    }
    Ok(())
}

fn print(progress: &Progress) -> Result<()> {
    println!("{}", serde_json::to_string(progress)?);
    Ok(())
}
