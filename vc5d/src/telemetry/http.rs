//! The HTTP server of the metrics: one request a connection, bounded in size, time and number.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Metrics;
use crate::control::server::until;
use crate::snapshot::Snapshot;

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS: usize = 32;
/// How long a client may take over its request's head.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may last in all.
const WHOLE: Duration = Duration::from_secs(30);
/// Largest request head in bytes.
const HEAD_SIZE: usize = 16 * 1024;
/// Most header lines of a request.
const HEADERS: usize = 64;

/// Serves `GET /metrics` until `stopped` holds true or its sender has gone.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            () = until(&mut stopped) => return,
            _ = clients.join_next(), if !clients.is_empty() => {}
            accepted = listener.accept(), if clients.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, metrics.clone(), snapshot.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the metrics server cannot accept");
                    // Out of descriptors, most likely: time for others to close some.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn client(stream: TcpStream, metrics: Arc<Metrics>, snapshot: Arc<ArcSwap<Snapshot>>) {
    let service = service_fn(|request| {
        let response = respond(&request, &metrics, &snapshot);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a metrics client was dropped"),
        Err(_) => tracing::debug!("a metrics client was too slow"),
    }
}

fn respond(
    request: &Request<Incoming>,
    metrics: &Metrics,
    snapshot: &ArcSwap<Snapshot>,
) -> Response<Full<Bytes>> {
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => {
            text(StatusCode::OK, "vc5: metrics are at /metrics\n")
        }
        (&Method::GET | &Method::HEAD, "/metrics") => scrape(metrics, &snapshot.load()),
        (_, "/" | "/metrics") => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "not found; metrics are at /metrics\n"),
    };
    response.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain"));
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

fn scrape(metrics: &Metrics, snapshot: &Snapshot) -> Response<Full<Bytes>> {
    match metrics.render(snapshot) {
        Ok(body) => {
            let mut response = Response::new(Full::from(body));
            let format = HeaderValue::from_static(prometheus::TEXT_FORMAT);
            response.headers_mut().insert(CONTENT_TYPE, format);
            response
        }
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; see the log\n")
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
