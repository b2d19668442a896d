//! The HTTP check: a request is answered with an expected status.

mod one;
mod two;

use std::net::IpAddr;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(super) use self::two::{describe, exchange, next};
use super::{Clock, Finished, Target, socket, tls};
use crate::check::http::{HttpCheck, HttpVersion, request_target};
use crate::check::tls::{Protocol, Tls};

/// The most that a response header may take, in bytes.
const HEADER_CAP: u32 = 64 * 1024;

/// How this program is named to servers.
pub(super) const USER_AGENT: &str = concat!("vc5/", env!("CARGO_PKG_VERSION"));

/// What is seen over HTTP: the words for it, and how the connection is closed.
type Seen = Result<(String, Option<super::Closing>), String>;

/// Asks on a fresh connection and judges the answer.
pub(super) async fn probe(
    target: Target,
    clock: Clock,
    check: &HttpCheck,
    tls: Option<&Tls>,
    vip: IpAddr,
) -> Finished {
    let host = authority(check.host.as_deref(), vip, target.address.port(), tls.is_some());
    let request = match request(check, &host, tls.is_some()) {
        Ok(request) => request,
        Err(error) => return clock.failed(format!("cannot make the request: {error}")),
    };
    let protocol = match check.version {
        HttpVersion::One => Protocol::Any,
        HttpVersion::Two => Protocol::Http2,
    };
    let seen =
        match connect(target, clock, check.host.as_deref(), vip, tls.zip(Some(protocol))).await {
            Ok(Stream::Plain(stream)) => ask(clock, stream, request, check).await,
            Ok(Stream::Tls(stream)) => ask(clock, *stream, request, check).await,
            Err(diagnostic) => Err(diagnostic),
        };
    match seen {
        Ok((diagnostic, closing)) => Finished { closing, ..clock.finished(true, diagnostic) },
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

async fn ask<S: one::Transport>(
    clock: Clock,
    stream: S,
    request: Request<()>,
    check: &HttpCheck,
) -> Seen {
    match check.version {
        HttpVersion::One => one::ask(clock, stream, request, check).await,
        HttpVersion::Two => two::ask(clock, stream, request, check).await,
    }
}

/// A connection that can be asked on.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects, over TLS if there are settings for it. `host` is what the request is for.
pub(super) async fn connect(
    target: Target,
    clock: Clock,
    host: Option<&str>,
    vip: IpAddr,
    tls: Option<(&Tls, Protocol)>,
) -> Result<Stream, String> {
    match tls {
        None => clock.stage("connecting", socket::connect(target)).await.map(Stream::Plain),
        Some((tls, protocol)) => {
            let stream = tls::connect(target, clock, tls, protocol, host, vip).await?;
            Ok(Stream::Tls(Box::new(stream)))
        }
    }
}

/// What the request is for: `host`, or else the VIP. RFC 9110 section 7.2: the port is left out
/// where it is the scheme's own.
pub(super) fn authority(host: Option<&str>, vip: IpAddr, port: u16, tls: bool) -> String {
    if let Some(host) = host {
        return host.to_owned();
    }
    let host = match vip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    if port == if tls { 443 } else { 80 } { host } else { format!("{host}:{port}") }
}

/// The request that a check sends.
fn request(check: &HttpCheck, host: &str, tls: bool) -> Result<Request<()>, String> {
    let target = request_target(&check.path).ok_or("invalid path")?;
    let builder = Request::builder().method(check.method.as_str());
    let builder = match check.version {
        HttpVersion::One => {
            builder.uri(target).header(header::HOST, host).header(header::CONNECTION, "close")
        }
        HttpVersion::Two => builder.uri(absolute(host, target, tls)?),
    };
    let request = builder.header(header::USER_AGENT, USER_AGENT).body(());
    let mut request = request.map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    if check.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        headers.remove(header::USER_AGENT);
    }
    for (name, value) in &check.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("invalid header name {name:?}"))?;
        let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
        headers.append(name, value);
    }
    Ok(request)
}

/// The parts that HTTP/2 sends as `:scheme`, `:authority` and `:path` (RFC 9113 section 8.3.1).
pub(super) fn absolute(host: &str, target: Uri, tls: bool) -> Result<Uri, String> {
    let mut parts = target.into_parts();
    parts.scheme = Some(if tls { "https" } else { "http" }.parse().map_err(|_| "invalid scheme")?);
    parts.authority = Some(host.parse().map_err(|_| format!("invalid host {host:?}"))?);
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

/// What is read of a body, up to a limit. Where nothing is looked for, nothing is kept.
struct Reading<'a> {
    check: &'a HttpCheck,
    read: usize,
    kept: Vec<u8>,
}

impl<'a> Reading<'a> {
    fn new(check: &'a HttpCheck) -> Self {
        Self { check, read: 0, kept: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.read >= self.check.body_limit
    }

    fn push(&mut self, data: &[u8]) {
        if self.check.body.is_some() || self.check.body_pattern.is_some() {
            let room = self.check.body_limit.saturating_sub(self.read);
            self.kept.extend_from_slice(data.get(..room).unwrap_or(data));
        }
        self.read += data.len();
    }

    /// Looks for what must be in the body; `whole`: this was all of it.
    fn judge(self, whole: bool) -> Result<(), String> {
        let Self { check, read, kept } = self;
        let part = if read > kept.len() || !whole { "first " } else { "" };
        let missing = |what: String| {
            Err(format!("{what} is not in the {part}{} bytes of the body", kept.len()))
        };
        if let Some(wanted) = &check.body
            && !kept.windows(wanted.len().max(1)).any(|window| window == wanted.as_bytes())
        {
            return missing(format!("{wanted:?}"));
        }
        match &check.body_pattern {
            Some(pattern) if !pattern.is_in(&kept) => missing(format!("/{pattern}/")),
            _ => Ok(()),
        }
    }
}

/// The status as the diagnostic of one that is expected, or what else it is.
fn judge_status(check: &HttpCheck, status: StatusCode) -> Result<String, String> {
    let code = status.as_u16();
    let expected = match check.expect.as_slice() {
        [] => code == 200,
        ranges => ranges.iter().any(|&(low, high)| (low..=high).contains(&code)),
    };
    if !expected {
        return Err(format!("got {code}, expected {}", list(&check.expect)));
    }
    Ok(match status.canonical_reason() {
        Some(reason) => format!("{code} {reason}"),
        None => code.to_string(),
    })
}

fn list(expect: &[(u16, u16)]) -> String {
    let range = |&(low, high): &(u16, u16)| {
        if low == high { low.to_string() } else { format!("{low}-{high}") }
    };
    match expect {
        [] => "200".into(),
        ranges => ranges.iter().map(range).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
