//! One probe over one fresh socket.
//!
//! All backends of a VIP and port share one space of source ports on this host, so no probe may
//! leave a socket in TIME_WAIT here. Every socket is therefore set to close by RST, and only where
//! the peer closed first is that taken back.

#[cfg(test)]
mod alone;
mod dns;
mod exec;
mod grpc;
mod http;
mod icmp;
mod socket;
mod syn;
mod tcp;
mod tls;
mod udp;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

#[cfg(test)]
pub(crate) use self::alone::{alone, run};
use crate::check::{CheckKind, Probe};

const CLOSED_EARLY: &str = "connection closed too early";

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the backend passed.
    pub ok: bool,
    /// One short line that says what was seen, such as `200 OK` or `connection refused`.
    pub diagnostic: String,
    /// From the start of the connect to the answer.
    pub took: Duration,
}

/// Where a probe connects to, and by which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The address and port to connect to.
    pub address: SocketAddr,
    /// The address to connect from; `None` lets the route choose.
    pub source: Option<IpAddr>,
    /// The firewall mark of the socket; `None` leaves it unmarked and needs no privilege.
    pub mark: Option<u32>,
    /// TTL or hop limit of what is sent, 1 to 255; `None` leaves the system's default.
    pub ttl: Option<u8>,
}

/// A probe that has its outcome but may still have a connection to see closed.
pub struct Finished {
    /// What was found.
    pub outcome: Outcome,
    closing: Option<Closing>,
}

/// What is left to do about a connection.
type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finished").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

impl Finished {
    /// Waits until the peer has closed the connection, or until the probe's time is over. Dropping
    /// the future instead resets the connection.
    pub async fn close(self) {
        if let Some(closing) = self.closing {
            closing.await;
        }
    }
}

/// Commands that run at once for one prober.
const COMMANDS: usize = 256;

/// What the probes of one prober have in common.
#[derive(Debug)]
pub struct Shared {
    pingers: icmp::Pingers,
    /// A turn for each command that may run.
    commands: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self { pingers: icmp::Pingers::default(), commands: Semaphore::new(COMMANDS) }
    }
}

impl Shared {
    /// Runs one probe to its outcome, which takes at most the timeout of its check. A command may
    /// have to wait for its turn before, which is never held against the backend.
    pub async fn run(&self, target: Target, probe: &Probe) -> Finished {
        let Probe { key, check, .. } = probe;
        let vip = key.vip;
        let _turn = match check.kind {
            // An error would mean that the turns are over, which they never are.
            CheckKind::Exec(_) => self.commands.acquire().await.ok(),
            _ => None,
        };
        let clock = Clock { begun: Instant::now(), timeout: check.timeout };
        self.start(target, clock, probe, vip).await
    }

    /// Each kind in a box of its own: together they would be as large as the largest, and a task is
    /// moved several times before it runs.
    fn start<'a>(
        &'a self,
        target: Target,
        clock: Clock,
        probe: &'a Probe,
        vip: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>> {
        match &probe.check.kind {
            CheckKind::Tcp => Box::pin(tcp::probe(target, clock)),
            CheckKind::Syn => Box::pin(syn::probe(target, clock)),
            CheckKind::Http(check) => Box::pin(http::probe(target, clock, check, None, vip)),
            CheckKind::Https(check, tls) => {
                Box::pin(http::probe(target, clock, check, Some(tls), vip))
            }
            CheckKind::Grpc(check) => Box::pin(grpc::probe(target, clock, check, vip)),
            CheckKind::Tls(tls) => Box::pin(tls::probe(target, clock, tls, vip)),
            CheckKind::Udp(check) => Box::pin(udp::probe(target, clock, check)),
            CheckKind::Dns(check) => Box::pin(dns::probe(target, clock, check)),
            CheckKind::Icmp(check) => Box::pin(icmp::probe(target, clock, check, &self.pingers)),
            CheckKind::Exec(check) => Box::pin(exec::probe(target, clock, check, probe)),
        }
    }
}

/// The time that a probe has, and its ways to end.
#[derive(Debug, Clone, Copy)]
struct Clock {
    begun: Instant,
    timeout: Duration,
}

impl Clock {
    fn deadline(self) -> Instant {
        self.begun + self.timeout
    }

    /// Runs one stage of the probe; an error is the diagnostic.
    async fn stage<T>(
        self,
        doing: &str,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        match tokio::time::timeout_at(self.deadline(), work).await {
            Ok(done) => done,
            Err(_) => Err(format!("timed out after {} ms while {doing}", self.timeout.as_millis())),
        }
    }

    fn finished(self, ok: bool, diagnostic: String) -> Finished {
        let outcome = Outcome { ok, diagnostic, took: self.begun.elapsed() };
        Finished { outcome, closing: None }
    }

    fn failed(self, diagnostic: String) -> Finished {
        self.finished(false, diagnostic)
    }
}
