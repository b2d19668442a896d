//! The task that keeps the desk: asks come in from both doors, signals go out to the core.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};

use super::desk::Desk;
use super::{Answer, Ask, Refused, Settings, http, socket};
use crate::config::model::Config;
use crate::control;
use crate::core::CoreRequest;
use crate::telemetry::Metrics;

/// Asks that may wait for the desk.
const QUEUE: usize = 256;

/// The listeners, bound before the daemon begins its work.
#[derive(Debug, Default)]
pub struct Doors {
    pub(super) socket: Option<UnixListener>,
    pub(super) http: Option<TcpListener>,
}

impl Doors {
    /// Binds what is configured.
    ///
    /// # Errors
    /// What cannot be bound, by the key in the configuration.
    pub async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let unix = |path| control::bind(path).context("[agent] socket");
        Ok(Self {
            http: match settings.listen {
                Some(address) => Some(listen(address).await?),
                None => None,
            },
            socket: settings.socket.as_deref().map(unix).transpose()?,
        })
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("[agent] listen: cannot listen on {address}"))
}

/// How a door asks.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    asks: mpsc::Sender<(Ask, oneshot::Sender<Answer>)>,
    metrics: Arc<Metrics>,
}

impl Counter {
    /// Has the desk do something; returns when the core has been told.
    pub(super) async fn ask(&self, ask: Result<Ask, Refused>) -> Answer {
        let answer = match ask {
            Ok(ask) => self.at_the_desk(ask).await,
            Err(refused) => Err(refused),
        };
        self.metrics.observe_agent(answer.is_ok());
        answer
    }

    async fn at_the_desk(&self, ask: Ask) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.asks.send((ask, reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }
}

/// Serves both doors until `stopped` holds true or the core is gone.
pub async fn serve(
    doors: Doors,
    mut configs: watch::Receiver<Arc<Config>>,
    core: mpsc::Sender<CoreRequest>,
    metrics: Arc<Metrics>,
    stopped: watch::Receiver<bool>,
) {
    let (asks, mut queue) = mpsc::channel(QUEUE);
    let counter = Counter { asks, metrics };
    if let Some(listener) = doors.socket {
        tokio::spawn(socket::serve(listener, counter.clone(), stopped.clone()));
    }
    if let Some(listener) = doors.http {
        tokio::spawn(http::serve(listener, counter.clone(), configs.clone(), stopped));
    }
    drop(counter);
    let mut desk = Desk::new(&configs.borrow_and_update());
    loop {
        let (signals, reply) = tokio::select! {
            ask = queue.recv() => match ask {
                Some((ask, reply)) => {
                    let (answer, signal) = desk.handle(Instant::now(), ask);
                    (signal.into_iter().collect(), Some((reply, answer)))
                }
                None => return,
            },
            known = configs.changed() => match known {
                Ok(()) => (desk.configure(&configs.borrow_and_update()), None),
                Err(_) => return,
            },
            () = sleep_until(desk.poll_timeout()) => (desk.timeout(Instant::now()), None),
        };
        for signal in &signals {
            tracing::info!(target: "signal", "{signal}");
        }
        if !signals.is_empty() && core.send(CoreRequest::Signals(signals)).await.is_err() {
            return;
        }
        if let Some((reply, answer)) = reply {
            let _ = reply.send(answer);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
