//! Many short HTTP requests, and the report on them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::unix_now;

/// What to send.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where to.
    #[arg(long)]
    pub target: SocketAddrV4,
    /// How many requests.
    #[arg(long)]
    pub requests: u32,
    /// How many at once.
    #[arg(long, default_value_t = 16)]
    pub concurrency: u32,
    /// Requests begun per second; 0 for as many as go.
    #[arg(long, default_value_t = 0)]
    pub rate: u32,
    /// Bytes of each answer.
    #[arg(long, default_value_t = 64)]
    pub bytes: u64,
    /// Milliseconds until a request has failed.
    #[arg(long, default_value_t = 5000)]
    pub timeout_ms: u64,
}

impl Arguments {
    /// The words of the command line that mean this.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        [
            "load".to_owned(),
            format!("--target={}", self.target),
            format!("--requests={}", self.requests),
            format!("--concurrency={}", self.concurrency),
            format!("--rate={}", self.rate),
            format!("--bytes={}", self.bytes),
            format!("--timeout-ms={}", self.timeout_ms),
        ]
        .to_vec()
    }
}

/// One request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Request {
    /// When it began, Unix seconds.
    pub began: f64,
    /// How long it took, in seconds.
    pub took: f64,
    /// The backend that answered, or why none did.
    pub outcome: Result<String, String>,
}

/// All requests of a run, in the order they began.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// The requests.
    pub requests: Vec<Request>,
}

impl Report {
    /// Answers by backend.
    #[must_use]
    pub fn by_backend(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for name in self.requests.iter().filter_map(|request| request.outcome.as_deref().ok()) {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// Requests that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.outcome.is_err())
    }

    /// The part that began within a span of Unix time.
    #[must_use]
    pub fn between(&self, from: f64, to: f64) -> Self {
        let inside = |request: &&Request| request.began >= from && request.began < to;
        Self { requests: self.requests.iter().filter(inside).cloned().collect() }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let report = send(arguments);
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// One GET; prints the body, and the head to standard error.
pub(super) fn print(target: SocketAddrV4, path: &str) -> Result<()> {
    let mut stream = request(target, path, Duration::from_secs(5))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("answer ends early")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{}", head.lines().next().unwrap_or_default());
    eprintln!("{head}\n");
    print!("{body}");
    Ok(())
}

fn send(arguments: &Arguments) -> Report {
    let next = AtomicU32::new(0);
    let done = Mutex::new(Vec::new());
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..arguments.concurrency {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= arguments.requests {
                        return;
                    }
                    await_turn(start, number, arguments.rate);
                    let request = timed_request(arguments);
                    if let Ok(mut all) = done.lock() {
                        all.push(request);
                    }
                }
            });
        }
    });
    let mut requests = done.into_inner().unwrap_or_default();
    requests.sort_by(|one: &Request, other| one.began.total_cmp(&other.began));
    Report { requests }
}

fn await_turn(start: Instant, number: u32, rate: u32) {
    if rate > 0 {
        let due = start + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn timed_request(arguments: &Arguments) -> Request {
    let (began, start) = (unix_now(), Instant::now());
    let path = format!("/?bytes={}", arguments.bytes);
    let limit = Duration::from_millis(arguments.timeout_ms);
    let outcome = get(arguments.target, &path, arguments.bytes, limit);
    Request {
        began,
        took: start.elapsed().as_secs_f64(),
        outcome: outcome.map_err(|error| format!("{error:#}")),
    }
}

/// One GET over a fresh connection; returns the backend's name.
fn get(target: SocketAddrV4, path: &str, bytes: u64, limit: Duration) -> Result<String> {
    let mut stream = request(target, path, limit)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read")?;
    let (backend, length, body) = parse_head(&answer)?.context("answer ends early")?;
    ensure!(length == bytes, "{length} bytes announced, {bytes} asked for");
    let got = u64::try_from(answer.len() - body)?;
    ensure!(got == bytes, "{got} of {bytes} bytes came");
    Ok(backend)
}

/// Connects and sends a GET.
pub(super) fn request(target: SocketAddrV4, path: &str, limit: Duration) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::V4(target), limit).context("connect")?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .context("write")?;
    Ok(stream)
}

/// The backend's name, the announced length and where the body begins, once the head is whole.
pub(super) fn parse_head(answer: &[u8]) -> Result<Option<(String, u64, usize)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    ensure!(head.starts_with("HTTP/1.1 200 "), "{}", head.lines().next().unwrap_or_default());
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let backend = field("X-Backend").context("no X-Backend")?;
    let length = field("Content-Length").context("no Content-Length")?.parse()?;
    Ok(Some((backend, length, end + 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_when_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nX-Backend: b1\r\nContent-Length: 5\r\n\r\nalive";
        assert_eq!(parse_head(&answer[..40]).unwrap(), None);
        let body = answer.len() - 5;
        assert_eq!(parse_head(answer).unwrap(), Some(("b1".to_owned(), 5, body)));
        assert!(parse_head(b"HTTP/1.1 503 No\r\n\r\n").is_err());
    }

    #[test]
    fn a_report_is_cut_by_the_time_a_request_began() {
        let request = |began: f64, outcome: Result<&str, &str>| Request {
            began,
            took: 0.1,
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        };
        let requests =
            vec![request(1.0, Ok("b1")), request(2.0, Err("connect")), request(3.0, Ok("b1"))];
        let report = Report { requests };
        assert_eq!(report.by_backend(), BTreeMap::from([("b1", 2)]));
        assert_eq!(report.between(2.0, 3.0).failures().count(), 1);
        assert_eq!(report.between(2.5, f64::INFINITY).failures().count(), 0);
    }
}
