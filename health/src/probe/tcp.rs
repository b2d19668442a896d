//! The TCP check: a connection can be made.

use super::{Clock, Finished, Target, socket};

/// Connects, and closes by RST at once: the peer needs no TIME_WAIT either.
pub(super) async fn probe(target: Target, clock: Clock) -> Finished {
    match clock.stage("connecting", socket::connect(target)).await {
        Ok(_stream) => clock.finished(true, "connected".into()),
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{Check, CheckKind};
    use crate::probe::{Target, run};
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    fn check() -> Check {
        Check { timeout: Duration::from_secs(5), ..Check::new(CheckKind::Tcp) }
    }

    #[tokio::test]
    async fn connects_and_resets() {
        for host in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((host, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let target = Target { address, source: None, mark: None, ttl: None };
            let finished = run(target, &check(), address.ip()).await;
            assert!(finished.outcome.ok, "{finished:?}");
            assert_eq!(finished.outcome.diagnostic, "connected");
            finished.close().await;
            let (mut peer, _) = listener.accept().await.unwrap();
            let error = peer.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn refused_counts_at_once() {
        for host in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((host, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let target = Target { address, source: None, mark: None, ttl: None };
            let outcome = run(target, &check(), address.ip()).await.outcome;
            assert!(!outcome.ok);
            assert_eq!(outcome.diagnostic, "connection refused");
            assert!(outcome.took < check().timeout);
        }
    }
}
