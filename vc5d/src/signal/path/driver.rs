//! Looks at the host when something has changed there, and tells the core.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::changes::Changes;
use super::{Lost, Watch, look, targets};
use crate::config::model::Config;
use crate::core::CoreRequest;
use crate::preflight::machine::Machine;
use crate::signal::PoolBackend;

/// How often is looked without a sign of change.
const REFRESH: Duration = Duration::from_secs(10);

/// At most so often is looked, however much changes.
const PAUSE: Duration = Duration::from_millis(100);

/// A port to which nothing is ever sent: only the route to it is asked for.
const DISCARD: u16 = 9;

/// Watches the paths of all backends until the core is gone.
pub async fn watch(mut configs: watch::Receiver<Arc<Config>>, core: mpsc::Sender<CoreRequest>) {
    let changes = match Changes::listen() {
        Ok(changes) => Some(changes),
        Err(error) => {
            tracing::warn!(target: "signal", "cannot listen for changes of interfaces: {error}");
            None
        }
    };
    let mut paths = Watch::default();
    loop {
        let config = Arc::clone(&configs.borrow_and_update());
        match tokio::task::spawn_blocking(move || see(&config)).await {
            Ok(Ok(seen)) => {
                let signals = paths.handle(seen);
                for signal in &signals {
                    tracing::warn!(target: "signal", "{signal}");
                }
                if !signals.is_empty() && core.send(CoreRequest::Signals(signals)).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => tracing::warn!(target: "signal", "cannot list interfaces: {error}"),
            Err(error) => tracing::error!(target: "signal", "looking at interfaces: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            () = changed(changes.as_ref()) => {}
            known = configs.changed() => if known.is_err() { return },
            () = core.closed() => return,
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

async fn changed(changes: Option<&Changes>) {
    let Some(changes) = changes else { return std::future::pending().await };
    if let Err(error) = changes.next().await {
        tracing::warn!(target: "signal", "changes of interfaces cannot be read: {error}");
    }
}

/// What leads to each backend now.
fn see(config: &Config) -> io::Result<BTreeMap<PoolBackend, Result<String, Lost>>> {
    let machine = Machine::read()?;
    let look = |(at, way): (PoolBackend, _)| {
        let seen = look(&machine, at.address, way, source);
        (at, seen)
    };
    Ok(targets(config).into_iter().map(look).collect())
}

/// The address from which the host would speak to another; none if it has no route there.
fn source(address: IpAddr) -> Option<IpAddr> {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address, DISCARD)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}
