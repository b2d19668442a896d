//! What goes into a [`Peer`](super::Peer) and what comes out.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::state::StateName;
use crate::rib::Route;
use crate::wire::Notification;

/// Which of a peer's two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The one that we dial.
    Outgoing,
    /// The one that the neighbour dials.
    Incoming,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Outgoing, Self::Incoming];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Outgoing => Self::Incoming,
            Self::Incoming => Self::Outgoing,
        }
    }
}

/// Something that happened to a peer, but for its timers.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Start, or start anew while waiting after an error (RFC 4271 events 1, 3, 4, 5).
    Start,
    /// Stop until [`Event::Start`] (events 2 and 8), with a text for the neighbour's operator.
    Stop {
        /// Decides the NOTIFICATION.
        cause: StopCause,
        /// RFC 9003; `None` for the configured one.
        message: Option<&'a str>,
    },
    /// Ask the neighbour to announce everything again (RFC 2918), if it is Established and can.
    Refresh,
    /// The TCP connection that was asked for stands, or the neighbour's was accepted (events 16 and
    /// 17). An incoming one that the peer cannot use is answered by [`PeerEvent::Close`].
    TcpConnected {
        /// Which connection.
        role: Role,
        /// Our end's address.
        local: IpAddr,
        /// The addresses of the interface that has `local`, each with the length of its subnet: for
        /// next hops. Empty where that is not known or means nothing.
        interface: &'a [IpNet],
    },
    /// The TCP connection could not be made or is gone (event 18).
    TcpFailed {
        /// Which connection.
        role: Role,
        /// The error in words.
        error: &'a str,
    },
    /// Octets were received.
    Received {
        /// On which connection.
        role: Role,
        /// Any piece of the stream.
        bytes: &'a [u8],
    },
    /// The neighbour's TCP took octets (feeds the timer of RFC 9687).
    Sent {
        /// On which connection.
        role: Role,
    },
}

/// Why a peer is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopCause {
    /// Cease, Administrative Shutdown (6/2).
    Shutdown,
    /// Cease, Peer De-configured (6/3).
    Deconfigured,
    /// Cease, Administrative Reset (6/4).
    Reset,
    /// Cease, Other Configuration Change (6/6).
    ConfigChange,
}

/// What a peer wants done or known.
#[derive(Debug, Clone)]
pub enum PeerEvent {
    /// Make a TCP connection to the neighbour.
    Dial,
    /// Send what [`poll_transmit`](super::Peer::poll_transmit) still has for the connection, then
    /// close it; for an outgoing one that is still being made: give up.
    Close(Role),
    /// The state as a whole changed.
    StateChanged {
        /// From.
        from: StateName,
        /// To.
        to: StateName,
    },
    /// A session stands: the neighbour waits for our routes.
    Established,
    /// The session is gone.
    Down {
        /// Why; none on the administrator's word.
        reason: Option<Reason>,
        /// What was learned from the neighbour stays until [`PeerEvent::Unlearned`] says otherwise (RFC
        /// 4724 section 4.2); else all of it is gone with the session.
        retained: bool,
    },
    /// An attempt or a session ended by an error; for the log.
    Error(Reason),
    /// A usable route was learned, in place of an older one.
    Learned(IpNet, Route),
    /// A learned route is gone; which one of several paths, by the neighbour's identifier (RFC 7911),
    /// else 0.
    Unlearned(IpNet, u32),
}

/// Why an attempt or a session ended, worded like `birdc`'s last error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// We found an error and told the neighbour.
    Sent(Notification),
    /// The neighbour told us.
    Received(Notification),
    /// TCP.
    Socket(String),
    /// We ended the session by a rule of the configuration (RFC 4271 section 8.1.2, event 8).
    Automatic(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(notification) => write!(f, "BGP Error: {notification}"),
            Self::Received(notification) => {
                write!(f, "Received: {notification}")?;
                let inner = notification.hard_reset_reason();
                if let Some(inner) = &inner {
                    write!(f, ": {inner}")?;
                }
                match inner.as_ref().unwrap_or(notification).shutdown_text() {
                    Some(text) => write!(f, ": {text}"),
                    None => Ok(()),
                }
            }
            Self::Socket(error) => write!(f, "Socket: {error}"),
            Self::Automatic(cause) => write!(f, "Automatic shutdown: {cause}"),
        }
    }
}
