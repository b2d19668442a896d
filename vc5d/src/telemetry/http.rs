//! The HTTP server of the metrics.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Metrics;
use crate::http::{self, Limits};
use crate::snapshot::Snapshot;

const LIMITS: Limits =
    Limits { name: "metrics server", connections: 32, whole: Duration::from_secs(30) };

/// Serves `GET /metrics` until `stopped` holds true or its sender has gone.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    stopped: watch::Receiver<bool>,
) {
    let respond = move |request| std::future::ready(respond(&request, &metrics, &snapshot));
    http::serve(listener, LIMITS, respond, stopped).await;
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
