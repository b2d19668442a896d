//! The HTTP service of a backend.
//!
//! `/alive` is for health checks; `/?bytes=N` answers N bytes; `/slow?seconds=N&rate=R` sends R bytes a second for N
//! seconds. Every answer names the backend in `X-Backend` and ends the connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many times a second a slow answer is fed.
const TICKS: u64 = 20;
/// Upper bound of the bytes of one answer.
const MOST_BYTES: u64 = 1 << 30;

pub(super) fn run(name: &str, listen: SocketAddr) -> Result<()> {
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    for stream in listener.incoming() {
        let stream = stream?;
        let name = name.to_owned();
        thread::spawn(move || {
            // A client that goes away is its own affair.
            let _ = answer(&name, stream);
        });
    }
    Ok(())
}

fn answer(name: &str, mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    let target = read_request(&stream)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    match path {
        "/alive" => {
            head(&mut stream, name, "200 OK", 6)?;
            stream.write_all(b"alive\n")?;
        }
        "/" => {
            let bytes = parameter(query, "bytes").unwrap_or(64).min(MOST_BYTES);
            head(&mut stream, name, "200 OK", bytes)?;
            send_pattern(&mut stream, 0, bytes)?;
        }
        "/slow" => {
            let seconds = parameter(query, "seconds").unwrap_or(1);
            let rate = parameter(query, "rate").unwrap_or(100_000);
            slow(&mut stream, name, seconds, rate)?;
        }
        _ => head(&mut stream, name, "404 Not Found", 0)?,
    }
    Ok(())
}

/// Reads up to the empty line; returns the request target.
fn read_request(stream: &TcpStream) -> Result<String> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().context("no request")??;
    for line in lines {
        if line?.is_empty() {
            let target = first.split(' ').nth(1).context("no request target")?;
            return Ok(target.to_owned());
        }
    }
    bail!("request ends early")
}

fn parameter(query: &str, name: &str) -> Option<u64> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
}

fn head(stream: &mut TcpStream, name: &str, status: &str, length: u64) -> Result<()> {
    let text = format!(
        "HTTP/1.1 {status}\r\nX-Backend: {name}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    Ok(stream.write_all(text.as_bytes())?)
}

fn slow(stream: &mut TcpStream, name: &str, seconds: u64, rate: u64) -> Result<()> {
    let total = seconds.saturating_mul(rate).min(MOST_BYTES);
    head(stream, name, "200 OK", total)?;
    let start = Instant::now();
    let mut sent = 0;
    for tick in 1.. {
        let step = (rate / TICKS).max(1).min(total - sent);
        send_pattern(stream, sent, step)?;
        sent += step;
        if sent == total {
            break;
        }
        let next = start + Duration::from_secs(tick) / u32::try_from(TICKS)?;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn send_pattern(stream: &mut TcpStream, from: u64, count: u64) -> Result<()> {
    let bytes: Vec<u8> = (from..from + count).map(pattern).collect();
    Ok(stream.write_all(&bytes)?)
}

/// The byte at an offset of every body: a lost, repeated or misplaced piece does not fit.
#[must_use]
pub fn pattern(offset: u64) -> u8 {
    let mixed = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[0]
}
