//! Accepting connections and handing them to the neighbour they come from.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;

use super::shared::Shared;

/// Wait after an error of the socket itself, most likely a lack of file descriptors.
const ERROR_WAIT: Duration = Duration::from_millis(100);

/// Accepts for ever.
pub(super) async fn run(shared: Arc<Shared>, listener: Arc<TcpListener>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if !shared.hand_over(&remote, stream) {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(target: "bgp", %remote, "connection from nobody we know");
                }
            }
            Err(error) => {
                tracing::error!(target: "bgp", %error, "cannot accept connections");
                tokio::time::sleep(ERROR_WAIT).await;
            }
        }
    }
}
