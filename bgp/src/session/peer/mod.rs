//! A neighbour: two connections, their collision, the wait after errors.

mod receive;
mod step;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;

use super::config::{LocalSpeaker, PeerConfig};
use super::connection::Connection;
use super::established::Session;
use super::event::{Event, PeerEvent, Reason, Role, StopCause};
use super::import::Importer;
use super::input::Input;
use super::restart::Retained;
use super::rng::Rng;
use super::state::{Link, State, StateName};
use super::timer::Backoff;
use crate::rib::Route;

/// Messages and sessions since the peer was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageCounters {
    /// Messages received.
    pub messages_in: u64,
    /// Messages handed out for sending.
    pub messages_out: u64,
    /// UPDATE messages received.
    pub updates_in: u64,
    /// UPDATE messages handed out for sending.
    pub updates_out: u64,
    /// Transitions to Established.
    pub established: u64,
    /// Transitions out of Established.
    pub dropped: u64,
}

/// One neighbour.
#[derive(Debug)]
pub struct Peer {
    local: LocalSpeaker,
    config: Arc<PeerConfig>,
    rng: Rng,
    running: bool,
    /// Held down after an error: until when, and the whole wait.
    idle_hold: Option<(Instant, Duration)>,
    backoff: Backoff,
    /// The neighbour refused our capabilities.
    plain_open: bool,
    /// What the neighbour announced before it began to restart.
    retained: Option<Retained>,
    /// The incoming connection was made while a session stood.
    late: bool,
    outgoing: Connection,
    incoming: Connection,
    events: VecDeque<PeerEvent>,
    counters: MessageCounters,
    state: StateName,
    since: Instant,
    last_error: Option<Reason>,
}

impl Peer {
    /// A stopped peer. `seed` decides the jitter of its timers.
    #[must_use]
    pub fn new(now: Instant, local: LocalSpeaker, config: Arc<PeerConfig>, seed: u64) -> Self {
        Self {
            local,
            config,
            rng: Rng::new(seed),
            running: false,
            idle_hold: None,
            backoff: Backoff::default(),
            plain_open: false,
            retained: None,
            late: false,
            outgoing: Connection::new(Role::Outgoing),
            incoming: Connection::new(Role::Incoming),
            events: VecDeque::new(),
            counters: MessageCounters::default(),
            state: StateName::Idle,
            since: now,
            last_error: None,
        }
    }

    /// Acts on an event.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Start => self.start(now),
            Event::Stop { cause, message } => self.stop(now, cause, message),
            Event::TcpConnected { role, local, interface } => {
                let interface = interface.to_vec();
                let link = Link { local, interface, received: BytesMut::new() };
                self.step(now, role, Input::Connected(link));
            }
            Event::TcpFailed { role, error } => {
                self.step(now, role, Input::Failed(error.to_owned()));
            }
            Event::Refresh => {
                if let Some(role) = self.session_role() {
                    self.step(now, role, Input::Refresh);
                }
            }
            Event::Received { role, bytes } => self.receive(now, role, bytes),
            Event::Sent { role } => self.step(now, role, Input::Sent),
        }
        self.note_state(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = [self.idle_hold.map(|(until, _)| until), self.restart_timeout()];
        let connections = [self.outgoing.timeout(), self.incoming.timeout()];
        connections.into_iter().chain(own).flatten().min()
    }

    /// Acts on all timers that have fired by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for role in Role::ALL {
            while let Some(input) = self.connection(role).due(now) {
                self.step(now, role, input);
            }
        }
        if self.restart_timeout().is_some_and(|at| at <= now) {
            self.forget_retained();
            self.with_session(now, |session, importer| session.give_up_restart(importer));
        }
        if self.idle_hold.is_some_and(|(until, _)| until <= now) {
            self.start(now);
        }
        self.note_state(now);
    }

    /// The next octets to send on a connection: one or a few whole messages. KEEPALIVEs and
    /// NOTIFICATIONs come before UPDATEs, withdrawals before announcements.
    pub fn poll_transmit(&mut self, role: Role) -> Option<Bytes> {
        if let Some(bytes) = self.connection_mut(role).next_control() {
            return Some(bytes);
        }
        let connection = match role {
            Role::Outgoing => &mut self.outgoing,
            Role::Incoming => &mut self.incoming,
        };
        let State::Established { session, .. } = &mut connection.state else { return None };
        let mut batch = Vec::new();
        // A batch may turn out to be impossible to encode; then there is another one.
        while batch.is_empty() && session.transmit(&mut batch) {}
        self.counters.messages_out += batch.len() as u64;
        self.counters.updates_out += batch.len() as u64;
        match batch.len() {
            0 | 1 => batch.pop(),
            _ => Some(Bytes::from(batch.concat())),
        }
    }

    /// The next thing to do or to know.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Whether a connection from the neighbour can be used now. If so, it takes the place of an
    /// older one, which the driver closes: one that did not get beyond OpenSent, or the session of a
    /// neighbour that said that it may restart (RFC 4724 section 5).
    #[must_use]
    pub fn accepts_incoming(&self) -> bool {
        match &self.incoming.state {
            State::Active { .. } | State::Delayed { .. } | State::OpenSent { .. } => true,
            State::Established { session, .. } => session.negotiated.may_restart(),
            _ => false,
        }
    }

    /// Says what the best route to `prefix` is; without effect unless Established.
    pub fn export(&mut self, prefix: IpNet, route: Option<&Route>) {
        let (local, config) = (self.local, self.config.clone());
        if let Some(session) = self.session_mut() {
            session.export(prefix, route, &local, &config);
        }
    }

    /// Says what all best routes are. The first time in a session, the End-of-RIB markers follow.
    pub fn export_all<'a>(&mut self, routes: impl Iterator<Item = (&'a IpNet, &'a Route)>) {
        let (local, config) = (self.local, self.config.clone());
        if let Some(session) = self.session_mut() {
            session.export_all(routes, &local, &config);
        }
    }

    /// Applies a new configuration. True if that ended a session or an attempt
    /// ([`PeerConfig::needs_restart`]); otherwise [`export_all`](Self::export_all) has to follow, for
    /// the export policy may have changed.
    pub fn reconfigure(&mut self, now: Instant, config: Arc<PeerConfig>) -> bool {
        let old = std::mem::replace(&mut self.config, config);
        if old.needs_restart(&self.config) {
            let running = self.running;
            self.stop(now, StopCause::ConfigChange, None);
            if running {
                self.start(now);
            }
            self.note_state(now);
            return true;
        }
        if old.families != self.config.families {
            // They passed the import policies of before.
            self.forget_retained();
        }
        let breach = self.with_session(now, |session, importer| {
            session.reconfigure(importer.config);
            session.reimport(importer)
        });
        if let (Some(breach), Some(role)) = (breach.flatten(), self.session_role()) {
            self.step(now, role, Input::Breach(breach));
            self.note_state(now);
        }
        false
    }

    /// Lets something happen to the Adj-RIBs-In of the session, if there is one.
    fn with_session<T>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Session, &mut Importer<'_>) -> T,
    ) -> Option<T> {
        let (local, config) = (self.local, self.config.clone());
        let mut events = std::mem::take(&mut self.events);
        let mut importer = Importer { now, local: &local, config: &config, events: &mut events };
        let result = self.session_mut().map(|session| act(session, &mut importer));
        self.events = events;
        result
    }

    /// When the neighbour has to be back, or to have announced everything anew.
    fn restart_timeout(&self) -> Option<Instant> {
        let retained = self.retained.as_ref().map(|retained| retained.until);
        retained.or_else(|| self.session()?.stale_until)
    }

    fn forget_retained(&mut self) {
        if let Some(retained) = self.retained.take() {
            retained.forget(&mut self.events);
        }
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        for connection in [&mut self.outgoing, &mut self.incoming] {
            if let State::Established { session, .. } = &mut connection.state {
                return Some(session);
            }
        }
        None
    }

    fn connection(&self, role: Role) -> &Connection {
        match role {
            Role::Outgoing => &self.outgoing,
            Role::Incoming => &self.incoming,
        }
    }

    fn connection_mut(&mut self, role: Role) -> &mut Connection {
        match role {
            Role::Outgoing => &mut self.outgoing,
            Role::Incoming => &mut self.incoming,
        }
    }

    fn note_state(&mut self, now: Instant) {
        let to = self.state();
        if to != self.state {
            self.events.push_back(PeerEvent::StateChanged { from: self.state, to });
            (self.state, self.since) = (to, now);
        }
    }
}
