//! The HTTP/1.1 check: a request is answered with an expected status.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Parts, SendRequest};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{CLOSED_EARLY, Clock, Finished, Target, socket, tls};
use crate::check::http::{HttpCheck, request_target};
use crate::check::tls::Tls;

/// The most that a response header may take, in bytes.
const HEADER_CAP: usize = 64 * 1024;

type Driver<S> = Pin<Box<dyn Future<Output = hyper::Result<Parts<TokioIo<S>>>> + Send>>;

/// What HTTP is carried by.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The connection under it.
    fn into_tcp(self) -> TcpStream;
}

impl Transport for TcpStream {
    fn into_tcp(self) -> TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn into_tcp(self) -> TcpStream {
        self.into_inner().0
    }
}

/// The request that a check sends.
fn request(
    check: &HttpCheck,
    vip: IpAddr,
    port: Option<u16>,
) -> Result<Request<Empty<Bytes>>, String> {
    let host = check.host.clone().unwrap_or_else(|| default_host(vip, port));
    let target = request_target(&check.path).ok_or("invalid path")?;
    let mut request = Request::builder()
        .method(check.method.as_str())
        .uri(target)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("vc5/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
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

/// RFC 9110 section 7.2: the port is left out where it is the scheme's own.
fn default_host(vip: IpAddr, port: Option<u16>) -> String {
    let host = match vip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// Asks on a fresh connection and judges the answer.
pub(super) async fn probe(
    target: Target,
    clock: Clock,
    check: &HttpCheck,
    tls: Option<&Tls>,
    vip: IpAddr,
) -> Finished {
    let own = if tls.is_some() { 443 } else { 80 };
    let port = Some(target.address.port()).filter(|port| *port != own);
    let request = match request(check, vip, port) {
        Ok(request) => request,
        Err(error) => return clock.failed(format!("cannot make the request: {error}")),
    };
    let Some(tls) = tls else {
        return match clock.stage("connecting", socket::connect(target)).await {
            Ok(stream) => ask(clock, stream, request, check).await,
            Err(diagnostic) => clock.failed(diagnostic),
        };
    };
    match tls::connect(target, clock, tls, check.host.as_deref(), vip).await {
        Ok(stream) => ask(clock, stream, request, check).await,
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

async fn ask<S: Transport>(
    clock: Clock,
    stream: S,
    request: Request<Empty<Bytes>>,
    check: &HttpCheck,
) -> Finished {
    let handshake = http1::Builder::new().max_buf_size(HEADER_CAP).handshake(TokioIo::new(stream));
    let (sender, connection) = match handshake.await {
        Ok(both) => both,
        Err(error) => return clock.failed(describe(&error)),
    };
    let mut driver = Some(Box::pin(connection.without_shutdown()) as Driver<S>);
    let mut parts = None;
    let exchange = exchange(clock, sender, request, check);
    let (diagnostic, whole) = match drive(&mut driver, &mut parts, exchange).await {
        Ok(passed) => passed,
        Err(diagnostic) => return clock.failed(diagnostic),
    };
    let mut finished = clock.finished(true, diagnostic);
    if whole {
        let deadline = clock.deadline();
        finished.closing = Some(Box::pin(async move {
            let _ = tokio::time::timeout_at(deadline, close(driver, parts)).await;
        }));
    }
    finished
}

/// Sends the request and reads the answer. Gives the diagnostic, and whether the body was read to
/// its end.
async fn exchange(
    clock: Clock,
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    check: &HttpCheck,
) -> Result<(String, bool), String> {
    let asking = async { sender.send_request(request).await.map_err(|error| describe(&error)) };
    let response = clock.stage("waiting for the response", asking).await?;
    let status = response.status();
    if !accepts(&check.expect, status) {
        return Err(format!("got {}, expected {}", status.as_u16(), list(&check.expect)));
    }
    let whole = clock.stage("reading the body", read_body(response, check)).await?;
    Ok((status_line(status), whole))
}

/// Runs `work` to its end while the connection is driven beside it.
async fn drive<S, T>(
    driver: &mut Option<Driver<S>>,
    parts: &mut Option<Parts<TokioIo<S>>>,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    loop {
        let Some(connection) = driver.as_mut() else { return work.await };
        tokio::select! {
            biased;
            done = &mut work => return done,
            ended = connection => {
                *parts = ended.ok();
                *driver = None;
            }
        }
    }
}

/// Reads the body up to the limit and looks for what must be in it; returns whether that was all of
/// it. Where nothing is looked for, nothing is kept.
async fn read_body(response: Response<Incoming>, check: &HttpCheck) -> Result<bool, String> {
    let mut body = response.into_body();
    let (mut read, mut kept) = (0, Vec::new());
    let whole = loop {
        if read >= check.body_limit {
            break body.is_end_stream();
        }
        let data = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Err(format!("{} while reading the body", describe(&error))),
            None => break true,
        };
        let part = data.get(..check.body_limit - read).unwrap_or(&data);
        read += data.len();
        if check.body.is_some() {
            kept.extend_from_slice(part);
        }
    };
    let Some(wanted) = &check.body else { return Ok(whole) };
    if kept.windows(wanted.len().max(1)).any(|window| window == wanted.as_bytes()) {
        return Ok(whole);
    }
    let part = if read > kept.len() || !whole { "first " } else { "" };
    Err(format!("{wanted:?} is not in the {part}{} bytes of the body", kept.len()))
}

/// Waits for the server's FIN. What comes before it is left unread: such a server does not close.
async fn close<S: Transport>(driver: Option<Driver<S>>, parts: Option<Parts<TokioIo<S>>>) {
    let parts = match driver {
        Some(driver) => driver.await.ok(),
        None => parts,
    };
    let Some(parts) = parts else { return };
    let mut stream = parts.io.into_inner();
    // Over TLS this may be the end that the server announces before its FIN.
    if matches!(stream.read(&mut [0]).await, Ok(read) if read > 0) {
        return;
    }
    let mut stream = stream.into_tcp();
    if matches!(stream.read(&mut [0]).await, Ok(0)) {
        socket::close_orderly(&stream);
    }
}

fn accepts(expect: &[(u16, u16)], status: StatusCode) -> bool {
    let code = status.as_u16();
    match expect {
        [] => code == 200,
        ranges => ranges.iter().any(|&(low, high)| (low..=high).contains(&code)),
    }
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

fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn describe(error: &hyper::Error) -> String {
    if let Some(io) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        match io.kind() {
            io::ErrorKind::UnexpectedEof => CLOSED_EARLY.into(),
            _ => tls::describe(io),
        }
    } else if error.is_incomplete_message() {
        CLOSED_EARLY.into()
    } else if error.is_parse_too_large() {
        "response header too large".into()
    } else if error.is_parse() {
        "not an HTTP response".into()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests;
