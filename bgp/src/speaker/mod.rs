//! The speaker: sockets and tasks around the sans-IO core, and the handle that owners use.
//!
//! Each neighbour has a task of its own with its own sockets; each address to listen on has one. What
//! they share is the Loc-RIB, under a lock that is only ever held for short, bounded work. A change is
//! put into the Loc-RIB and its prefix into a set for each neighbour (the mailbox); the neighbours'
//! tasks take it from there, each at its own pace. So nothing a neighbour does or fails to do can hold
//! up another neighbour, or the caller.
//!
//! A few withdrawals at once are urgent enough for a short cut: the caller acts for the tasks that are idle,
//! as far as their kernels take what there is to write, and leaves the rest to them.

mod config;
mod driver;
mod flush;
mod interface;
mod link;
mod listener;
mod options;
mod shared;
mod snapshot;
mod socket;
mod task;
mod ttl_filter;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::broadcast;

pub use config::{LocalRoute, SpeakerConfig, SpeakerError};
pub use flush::{Flush, FlushReport};
pub use snapshot::{
    ChannelSnapshot, LocalRouteSnapshot, PeerSnapshot, ReceivedRoute, SessionSnapshot,
    SpeakerSnapshot,
};

pub use crate::session::{FamilyConfig, PeerConfig};

use shared::{Command, Shared};

/// How long [`Speaker::shutdown`] waits for withdrawals to be written, and for sessions to close.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// A running BGP speaker. Clones are handles of the same speaker; it runs until
/// [`shutdown`](Speaker::shutdown) or the end of the runtime.
///
/// No method but `start` and `shutdown` ever waits, and all may be called from any thread.
#[derive(Clone, Debug)]
pub struct Speaker {
    shared: Arc<Shared>,
}

/// What happened to a session, for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpeakerEvent {
    /// A session stands.
    Established {
        /// The neighbour's name.
        peer: String,
    },
    /// A session is gone.
    Down {
        /// The neighbour's name.
        peer: String,
        /// Why, worded like `birdc`'s last error; none on the administrator's word.
        reason: Option<String>,
    },
    /// An attempt at a session failed; told again only when the reason is another one.
    Failed {
        /// The neighbour's name.
        peer: String,
        /// Why, worded like `birdc`'s last error.
        reason: String,
    },
}

impl Speaker {
    /// Binds the addresses to listen on and starts. Has to be called within a tokio runtime with
    /// network and time enabled.
    ///
    /// # Errors
    /// [`SpeakerError::Bind`] names an address that cannot be listened on;
    /// [`SpeakerError::InvalidLocal`] if the identifier or the AS is zero.
    pub async fn start(config: SpeakerConfig) -> Result<Self, SpeakerError> {
        let local = config.check()?;
        let mut listeners = Vec::new();
        for address in config.listen {
            let listener =
                socket::listen(address).map_err(|source| SpeakerError::Bind { address, source })?;
            listeners.push(listener);
        }
        let shared = Arc::new(Shared::new(local, tokio::runtime::Handle::current()));
        for listener in listeners {
            shared.add_listener(listener);
        }
        Ok(Self { shared })
    }

    /// The addresses listened on; where port 0 was asked for, the port chosen.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.shared.listen_addresses()
    }

    /// Adds a neighbour, or changes the one of that name: policies, next hops, messages and waits
    /// apply in place, everything else by a new session ([`PeerConfig::needs_restart`]). A new
    /// neighbour is enabled.
    ///
    /// # Errors
    /// [`SpeakerError::InvalidPeer`] says what is wrong; then nothing has changed.
    /// [`SpeakerError::Closed`] after [`shutdown`](Self::shutdown).
    pub fn set_peer(&self, config: PeerConfig) -> Result<(), SpeakerError> {
        config::check_peer(&config)?;
        self.shared.set_peer(Arc::new(config))
    }

    /// Removes a neighbour; a session ends by Cease, Peer De-configured. Nothing if there is none.
    pub fn remove_peer(&self, name: &str) {
        self.shared.remove_peer(name);
    }

    /// Lets a neighbour run, at once if it is waiting after an error.
    ///
    /// # Errors
    /// [`SpeakerError::UnknownPeer`].
    pub fn enable(&self, name: &str) -> Result<(), SpeakerError> {
        self.shared.command(name, Command::Enable)
    }

    /// Keeps a neighbour down: Cease, Administrative Shutdown with `message` (RFC 9003).
    ///
    /// # Errors
    /// [`SpeakerError::UnknownPeer`].
    pub fn disable(&self, name: &str, message: Option<&str>) -> Result<(), SpeakerError> {
        self.shared.command(name, Command::Disable(message.map(str::to_owned)))
    }

    /// Ends a neighbour's session, Cease, Administrative Reset with `message`, and starts anew.
    ///
    /// # Errors
    /// [`SpeakerError::UnknownPeer`].
    pub fn restart(&self, name: &str, message: Option<&str>) -> Result<(), SpeakerError> {
        self.shared.command(name, Command::Restart(message.map(str::to_owned)))
    }

    /// Asks a neighbour to announce everything again (ROUTE-REFRESH, RFC 2918); without effect on one
    /// that is not Established or does not understand that.
    ///
    /// # Errors
    /// [`SpeakerError::UnknownPeer`].
    pub fn refresh(&self, name: &str) -> Result<(), SpeakerError> {
        self.shared.command(name, Command::Refresh)
    }

    /// Announces a route, or changes the one to that prefix. Announcing the same again does nothing.
    pub fn announce(&self, route: LocalRoute) {
        self.shared.announce(route);
    }

    /// Withdraws the route to `prefix`. The withdrawal is under way when this returns; the future
    /// tells when it is written everywhere and need not be awaited.
    pub fn withdraw(&self, prefix: IpNet) -> Flush {
        self.shared.withdraw(prefix)
    }

    /// The present picture. Cheap when nothing changed since the last call; holds up nobody.
    #[must_use]
    pub fn snapshot(&self) -> Arc<SpeakerSnapshot> {
        self.shared.snapshot()
    }

    /// What happens from now on. A receiver that lags loses the oldest events.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<SpeakerEvent> {
        self.shared.subscribe()
    }

    /// Withdraws everything, waits until that is written (1 s at most), then ends all sessions by
    /// Cease, Administrative Shutdown with `message` (RFC 9003; `None` for each neighbour's own) and
    /// stops listening.
    pub async fn shutdown(&self, message: Option<&str>) {
        let flush = self.shared.withdraw_all();
        if tokio::time::timeout(SHUTDOWN_WAIT, flush).await.is_err() {
            tracing::warn!(target: "bgp", "not every neighbour took the withdrawals in time");
        }
        for task in self.shared.close(message) {
            // The task bounds its own farewell; one that hangs is left to the runtime.
            let _ = tokio::time::timeout(2 * SHUTDOWN_WAIT, task).await;
        }
    }
}
