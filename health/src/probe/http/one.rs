//! HTTP/1.1 (RFC 9112) on a connection of its own.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Parts, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::super::{CLOSED_EARLY, Clock, socket, tls};
use super::{HEADER_CAP, Reading, Seen, judge_status};
use crate::check::http::HttpCheck;

const NOT_HTTP: &str = "not an HTTP response";

type Driver<S> = Pin<Box<dyn Future<Output = Ended<S>> + Send>>;

/// How a connection ended: with what is left of it, or by an error.
type Ended<S> = hyper::Result<Parts<TokioIo<S>>>;

/// What HTTP is carried by.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
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

/// A connection, which only moves while it is driven.
struct Connection<S> {
    driver: Option<Driver<S>>,
    ended: Option<Ended<S>>,
}

/// Why there is no answer.
enum Trouble {
    /// Said by this direction.
    Said(String),
    /// The connection ended first, and knows why.
    Cut,
}

pub(super) async fn ask<S: Transport>(
    clock: Clock,
    stream: S,
    request: Request<()>,
    check: &HttpCheck,
) -> Seen {
    let builder = http1::Builder::new().max_buf_size(HEADER_CAP as usize).to_owned();
    let both = builder.handshake(TokioIo::new(stream)).await.map_err(|error| describe(&error));
    let (sender, connection) = both?;
    let driver: Driver<S> = Box::pin(connection.without_shutdown());
    let mut connection = Connection { driver: Some(driver), ended: None };
    match connection.drive(exchange(clock, sender, request, check)).await {
        Ok((diagnostic, false)) => Ok((diagnostic, None)),
        Ok((diagnostic, true)) => {
            let deadline = clock.deadline();
            let closing = Box::pin(async move {
                let _ = tokio::time::timeout_at(deadline, connection.close()).await;
            });
            Ok((diagnostic, Some(closing)))
        }
        Err(Trouble::Said(diagnostic)) => Err(diagnostic),
        Err(Trouble::Cut) => Err(match connection.end().await {
            Some(Err(error)) => unasked(&error),
            Some(Ok(parts)) if !parts.read_buf.is_empty() => NOT_HTTP.into(),
            Some(Ok(_)) | None => CLOSED_EARLY.into(),
        }),
    }
}

/// Sends the request and reads the answer. Gives the diagnostic, and whether the body was read to
/// its end.
async fn exchange(
    clock: Clock,
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<()>,
    check: &HttpCheck,
) -> Result<(String, bool), Trouble> {
    let mut cut = false;
    let asking = async {
        let answer = sender.send_request(request.map(|()| Empty::new())).await;
        answer.map_err(|error| {
            let first = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
            cut = error.is_canceled() && first.is_none();
            first.map_or_else(|| describe(&error), unasked)
        })
    };
    let response = clock.stage("waiting for the response", asking).await;
    let response = match response {
        Err(_) if cut => return Err(Trouble::Cut),
        answer => answer.map_err(Trouble::Said)?,
    };
    let diagnostic = judge_status(check, response.status()).map_err(Trouble::Said)?;
    let reading = clock.stage("reading the body", read_body(response, check)).await;
    Ok((diagnostic, reading.map_err(Trouble::Said)?))
}

/// Reads the body up to the limit; returns whether that was all of it.
async fn read_body(response: Response<Incoming>, check: &HttpCheck) -> Result<bool, String> {
    let mut body = response.into_body();
    let mut reading = Reading::new(check);
    let whole = loop {
        if reading.is_full() {
            break body.is_end_stream();
        }
        match body.frame().await {
            Some(Ok(frame)) => reading.push(&frame.into_data().unwrap_or_default()),
            Some(Err(error)) => return Err(format!("{} while reading the body", describe(&error))),
            None => break true,
        }
    };
    reading.judge(whole).map(|()| whole)
}

impl<S: Transport> Connection<S> {
    /// Runs `work` to its end while the connection is driven beside it.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let Some(connection) = self.driver.as_mut() else { return work.await };
            tokio::select! {
                biased;
                done = &mut work => return done,
                ended = connection => {
                    self.ended = Some(ended);
                    self.driver = None;
                }
            }
        }
    }

    /// How it ended, once it has.
    async fn end(self) -> Option<Ended<S>> {
        match self.driver {
            Some(driver) => Some(driver.await),
            None => self.ended,
        }
    }

    /// Waits for the server's FIN. What comes before it is left unread: such a server does not
    /// close.
    async fn close(self) {
        let Some(Ok(parts)) = self.end().await else { return };
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
        NOT_HTTP.into()
    } else {
        error.to_string()
    }
}

/// Words for the error of a connection that ended before the request was on it: of the transport,
/// or because the server spoke first.
fn unasked(error: &hyper::Error) -> String {
    match error.source() {
        None if !error.is_incomplete_message() => NOT_HTTP.into(),
        _ => describe(error),
    }
}
