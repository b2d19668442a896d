//! What the daemon's HTTP servers have in common: one request a connection, bounded in size, time and number.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::control::server::until;

/// How long a client may take over its request's head.
const HEAD: Duration = Duration::from_secs(5);
/// Largest request head in bytes.
const HEAD_SIZE: usize = 16 * 1024;
/// Most header lines of a request.
pub(crate) const HEADERS: usize = 64;

/// What a server answers.
pub type Reply = Response<Full<Bytes>>;

/// What one server bounds, and its name in the log.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// As in "the metrics server cannot accept".
    pub name: &'static str,
    /// Connections at a time; more wait in the listener's queue.
    pub connections: usize,
    /// How long a connection may last in all.
    pub whole: Duration,
}

/// Answers clients by `respond` until `stopped` holds true or its sender has gone.
pub async fn serve<F>(
    listener: TcpListener,
    limits: Limits,
    respond: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    mut stopped: watch::Receiver<bool>,
) where
    F: Future<Output = Reply> + Send + 'static,
{
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            () = until(&mut stopped) => return,
            _ = clients.join_next(), if !clients.is_empty() => {}
            accepted = listener.accept(), if clients.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, limits, respond.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the {} cannot accept", limits.name);
                    // Out of descriptors, most likely: time for others to close some.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn client<F: Future<Output = Reply>>(
    stream: TcpStream,
    limits: Limits,
    respond: impl Fn(Request<Incoming>) -> F,
) {
    let service = service_fn(move |request| {
        let reply = respond(request);
        async { Ok::<_, Infallible>(reply.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limits.whole, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of the {} was dropped", limits.name),
        Err(_) => tracing::debug!("a client of the {} was too slow", limits.name),
    }
}
