//! What happens to a connection, what its steps may use, and what its end means.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::{LocalSpeaker, PeerConfig};
use super::event::{PeerEvent, Reason};
use super::import::Breach;
use super::negotiation::Negotiated;
use super::peer::MessageCounters;
use super::restart::Retained;
use super::rng::Rng;
use super::state::Link;
use super::timer::retry_at;
use crate::wire::notification::subcode;
use crate::wire::{DecodedUpdate, ErrorCode, MessageType, Notification, RouteRefresh};

/// The events of RFC 4271 section 8.1 after everything about octets and the other connection has
/// been settled.
#[derive(Debug)]
pub(super) enum Input {
    /// 1 and 3; 4 and 5 on the incoming connection.
    Start,
    /// 2 and 8, with the NOTIFICATION to send.
    Stop(Notification),
    /// The other connection is Established: this one is not needed.
    Abandon,
    /// 9
    ConnectRetry,
    /// 10
    HoldExpired,
    /// 11
    KeepaliveDue,
    /// 12
    DelayOpenExpired,
    /// 29 (RFC 9687)
    SendHoldExpired,
    /// 16 and 17
    Connected(Link),
    /// 18
    Failed(String),
    /// 19 and 20: an OPEN that suits.
    Open(Box<Negotiated>),
    /// 21, 22 and 28: the NOTIFICATION that the error asks for.
    Malformed(Notification),
    /// 23: lost against the other connection.
    Collision,
    /// 18: the neighbour restarted and is back on the other connection.
    Superseded,
    /// 24 and 25
    Notification(Notification),
    /// 26
    Keepalive,
    /// 27
    Update(Box<DecodedUpdate>),
    /// ROUTE-REFRESH (RFC 2918)
    RouteRefresh(RouteRefresh),
    /// Any message that has no place in this state (RFC 6608).
    Unexpected(MessageType),
    /// The neighbour is to announce everything again.
    Refresh,
    /// The neighbour's TCP took octets.
    Sent,
    /// 8: the neighbour announced too much.
    Breach(Breach),
}

/// What a step may use and change outside the connection.
pub(super) struct Env<'a> {
    pub(super) now: Instant,
    pub(super) local: &'a LocalSpeaker,
    pub(super) config: &'a PeerConfig,
    pub(super) rng: &'a mut Rng,
    pub(super) events: &'a mut VecDeque<PeerEvent>,
    pub(super) counters: &'a mut MessageCounters,
    /// Send an OPEN without capabilities.
    pub(super) plain_open: bool,
    /// The other connection got as far as OpenSent.
    pub(super) other_busy: bool,
    /// Set when an attempt or a session ended.
    pub(super) ended: Option<Ended>,
    /// What outlives a session that ended.
    pub(super) retained: Option<Retained>,
}

/// How an attempt or a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) reason: Reason,
    pub(super) penalty: Penalty,
}

/// What an end means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Penalty {
    None,
    /// It counts as an oscillation: the peer is held down.
    Wait,
    /// The peer is held down for that long.
    WaitFor(Duration),
    /// The peer stays down until it is started.
    Stay,
}

impl Penalty {
    pub(super) fn if_oscillation(is_one: bool) -> Self {
        if is_one { Self::Wait } else { Self::None }
    }
}

impl Ended {
    /// The neighbour is expected back, and is not to find us held down.
    pub(super) fn await_restart(&mut self, config: &PeerConfig) {
        if matches!(self.reason, Reason::Socket(_)) && config.automatic_start {
            self.penalty = Penalty::None;
        }
    }
}

impl Env<'_> {
    pub(super) fn retry_at(&mut self) -> Instant {
        retry_at(self.now, self.config, self.rng)
    }
}

/// Whether a NOTIFICATION from the neighbour says that trying again soon would only repeat itself.
/// Its administrator's doings, a collision or its not being ready yet do not, nor does a version error
/// (RFC 4271 section 8.2.2, event 24), nor the refusal of capabilities that we go without from now on.
pub(super) fn is_oscillation(notification: &Notification, plain_open: bool) -> bool {
    // What counts is why the session was reset for good (RFC 8538), one level deep.
    let reason = notification.hard_reset_reason();
    let notification = reason.as_ref().unwrap_or(notification);
    match (notification.code, notification.subcode) {
        (ErrorCode::CEASE, cease) => {
            matches!(cease, subcode::cease::MAXIMUM_PREFIXES | subcode::cease::OUT_OF_RESOURCES)
        }
        (ErrorCode::OPEN_MESSAGE, subcode::open::UNSUPPORTED_VERSION) => false,
        (ErrorCode::OPEN_MESSAGE, subcode::open::UNSUPPORTED_OPTIONAL_PARAMETER) => plain_open,
        _ => true,
    }
}
