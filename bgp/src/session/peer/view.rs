//! What can be known of a neighbour: its state, its timers, its session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::config::PeerConfig;
use super::super::established::Session;
use super::super::event::{Reason, Role};
use super::super::restart::Retained;
use super::super::state::{State, StateName};
use super::{MessageCounters, Peer};
use crate::rib::{AdjRibIn, InEntry, PathKey};

impl Peer {
    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Arc<PeerConfig> {
        &self.config
    }

    /// The state as a whole: that of the connection that got farther.
    #[must_use]
    pub fn state(&self) -> StateName {
        self.outgoing.name().max(self.incoming.name())
    }

    /// When that state was entered.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Not stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Why the last attempt or session ended; forgotten when a session stands.
    #[must_use]
    pub fn last_error(&self) -> Option<&Reason> {
        self.last_error.as_ref()
    }

    /// While held down after an error: until when, and how long in all.
    #[must_use]
    pub fn idle_hold(&self) -> Option<(Instant, Duration)> {
        self.idle_hold
    }

    /// When the neighbour is dialled again.
    #[must_use]
    pub fn connect_retry(&self) -> Option<Instant> {
        match self.outgoing.state {
            State::Connect { retry } => Some(retry),
            State::Active { retry } => retry,
            _ => None,
        }
    }

    /// When the hold and the keepalive timer fire.
    #[must_use]
    pub fn session_timers(&self) -> (Option<Instant>, Option<Instant>) {
        let timers = Role::ALL.iter().find_map(|role| self.connection(*role).timers());
        timers.map_or((None, None), |timers| (timers.hold, timers.keepalive))
    }

    /// Message counters.
    #[must_use]
    pub fn counters(&self) -> MessageCounters {
        self.counters
    }

    /// The Established session.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        Role::ALL.iter().find_map(|role| match &self.connection(*role).state {
            State::Established { session, .. } => Some(&**session),
            _ => None,
        })
    }

    /// The connection that the Established session runs on.
    #[must_use]
    pub fn session_role(&self) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.connection(*role).name() == StateName::Established)
    }

    /// Whether withdrawals wait to be handed out.
    #[must_use]
    pub fn withdrawals_pending(&self) -> bool {
        self.session().is_some_and(Session::withdrawals_pending)
    }

    /// The routes of a neighbour that restarts, while it has no session: all of them are stale (RFC
    /// 4724 section 4.2).
    pub fn retained(&self) -> impl Iterator<Item = (&PathKey, &InEntry)> {
        self.retained.iter().flat_map(Retained::ribs).flat_map(AdjRibIn::iter)
    }
}
