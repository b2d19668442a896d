//! One neighbour without I/O: the state machine of RFC 4271 section 8.
//!
//! [`Peer`] is fed with events and times and asked what to do; it owns no socket, no clock and no
//! task, so a whole network of peers runs in one thread on a virtual clock. The driver's duties:
//!
//! 1. After every [`Peer::handle`] and [`Peer::handle_timeout`], take all of [`Peer::poll_event`]
//!    and do what it says ([`PeerEvent::Dial`], [`PeerEvent::Close`]).
//! 2. Ask [`Peer::poll_transmit`] for octets whenever a connection can take some, and once more
//!    before closing it.
//! 3. Call [`Peer::handle_timeout`] at [`Peer::poll_timeout`].
//! 4. On [`PeerEvent::Established`], say by [`Peer::export_all`] what the neighbour is to know, and
//!    by [`Peer::export`] whenever a best route changes.
//! 5. Put what is learned by [`PeerEvent::Learned`] into the Loc-RIB and take it out by
//!    [`PeerEvent::Unlearned`], and all of it by a [`PeerEvent::Down`] that does not say `retained`.
//!
//! A `Peer` owns two connections, one that it dials and one that it is dialled on. Each runs the
//! machine of the RFC on its own; the peer detects their collision (section 6.8), holds both down
//! after an error (section 8.1.1, DampPeerOscillations), and answers for the state as a whole.

mod config;
mod connection;
mod established;
mod event;
mod export;
mod import;
mod input;
mod negotiation;
mod peer;
mod restart;
mod rng;
mod state;
mod timer;

pub use config::{
    FamilyConfig, GracefulRestart, LimitAction, LocalSpeaker, Password, PeerConfig, PrefixLimit,
};
pub use established::{Channel, ChannelCounters, RouteChanges, Session};
pub use event::{Event, PeerEvent, Reason, Role, StopCause};
pub use negotiation::Negotiated;
pub use peer::{MessageCounters, Peer};
pub use state::StateName;

#[cfg(test)]
mod tests;
