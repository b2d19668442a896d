//! Knowing when a withdrawal is on the wire.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::watch;

/// How far a neighbour's task has got with our own routes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) established: bool,
    /// The last change whose withdrawals are written.
    pub(super) flushed: u64,
    /// When the write that achieved this returned; `None` if nothing had to be written.
    pub(super) written_at: Option<Instant>,
}

/// Where a withdrawal was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlushReport {
    /// Established neighbours whose sockets have taken all withdrawals up to this one.
    pub peers: usize,
    /// When the last of those writes returned; `None` if no neighbour knew the route.
    pub written_at: Option<Instant>,
}

/// Resolves when every Established neighbour has the withdrawal written to its socket. Neighbours
/// that leave Established meanwhile do not count. There is no timeout: the caller adds its own.
pub struct Flush(Pin<Box<dyn Future<Output = FlushReport> + Send + Sync>>);

impl Flush {
    pub(super) fn new(sequence: u64, peers: Vec<watch::Receiver<Progress>>) -> Self {
        Self(Box::pin(async move {
            let mut report = FlushReport::default();
            for mut peer in peers {
                let done =
                    |progress: &Progress| !progress.established || progress.flushed >= sequence;
                // An error means that the task is gone, and its session with it.
                let Ok(progress) = peer.wait_for(done).await.map(|progress| *progress) else {
                    continue;
                };
                if progress.established {
                    report.peers += 1;
                    report.written_at = report.written_at.max(progress.written_at);
                }
            }
            report
        }))
    }
}

impl Future for Flush {
    type Output = FlushReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FlushReport> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Flush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flush")
    }
}
