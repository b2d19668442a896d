//! A neighbour: two connections, their collision, the wait after errors.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use ipnet::IpNet;

use super::config::{LocalSpeaker, PeerConfig};
use super::connection::Connection;
use super::established::Session;
use super::event::{Event, PeerEvent, Reason, Role, StopCause};
use super::import::Importer;
use super::input::{Ended, Env, Input, Penalty};
use super::negotiation::{negotiate, open_message};
use super::restart::Retained;
use super::rng::Rng;
use super::state::{Link, State, StateName};
use super::timer::{Backoff, retry_at};
use crate::rib::{AdjRibIn, InEntry, PathKey, Route};
use crate::wire::notification::subcode::{cease, open as open_subcode};
use crate::wire::{
    DecodeContext, Decoded, EXTENDED_MAX_LEN, ErrorCode, Family, MAX_LEN, MessageType,
    Notification, decode, frame,
};

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

    fn start(&mut self, now: Instant) {
        self.running = true;
        self.idle_hold = None;
        if !self.config.passive {
            self.step(now, Role::Outgoing, Input::Start);
        }
        self.step(now, Role::Incoming, Input::Start);
    }

    fn stop(&mut self, now: Instant, cause: StopCause, message: Option<&str>) {
        let text = message.or(self.config.shutdown_message.as_deref()).unwrap_or_default();
        let notification = match cause {
            StopCause::Shutdown => {
                Notification::cease_with_text(cease::ADMINISTRATIVE_SHUTDOWN, text)
            }
            StopCause::Reset => Notification::cease_with_text(cease::ADMINISTRATIVE_RESET, text),
            StopCause::Deconfigured => Notification::cease(cease::PEER_DECONFIGURED),
            StopCause::ConfigChange => Notification::cease(cease::OTHER_CONFIGURATION_CHANGE),
        };
        self.running = false;
        self.idle_hold = None;
        self.plain_open = false;
        self.backoff.reset();
        for role in Role::ALL {
            self.step(now, role, Input::Stop(notification.clone()));
        }
    }

    /// One event for one connection, and what it means for the other.
    fn step(&mut self, now: Instant, role: Role, input: Input) {
        let was_established = self.session().is_some();
        if role == Role::Incoming && matches!(input, Input::Connected(_)) {
            self.late = was_established;
        }
        let other_busy = self.connection(role.other()).name() >= StateName::OpenSent;
        let (connection, other) = match role {
            Role::Outgoing => (&mut self.outgoing, &mut self.incoming),
            Role::Incoming => (&mut self.incoming, &mut self.outgoing),
        };
        let mut env = Env {
            now,
            local: &self.local,
            config: &self.config,
            rng: &mut self.rng,
            events: &mut self.events,
            counters: &mut self.counters,
            plain_open: self.plain_open,
            other_busy,
            ended: None,
            retained: None,
        };
        let before = connection.name();
        connection.step(&mut env, input);
        let (mut ended, retained) = (env.ended.take(), env.retained.take());
        if connection.name() == StateName::Established && !was_established {
            // Dialling on would only end in a collision. A connection that has got farther is
            // resolved when its OPEN comes.
            if role == Role::Incoming && !other_busy {
                other.step(&mut env, Input::Abandon);
            }
            self.last_error = None;
            self.adopt_retained(now);
        }
        if let Some(ended) = ended.as_mut().filter(|_| retained.is_some()) {
            ended.await_restart(&self.config);
        }
        self.retained = retained.or(self.retained.take());
        if let Some(ended) = ended {
            self.note_refusal(&ended.reason, before);
            self.ended(now, role, ended);
        }
        if !self.running {
            self.forget_retained();
        }
    }

    /// The neighbour is back.
    fn adopt_retained(&mut self, now: Instant) {
        let Some(retained) = self.retained.take() else { return };
        let mut events = std::mem::take(&mut self.events);
        if let Some(session) = self.session_mut() {
            session.adopt(now, retained, &mut events);
        }
        self.events = events;
    }

    /// Whether to go without capabilities from now on: if the neighbour refuses our OPEN for them (RFC
    /// 5492 section 3) and one without can do. Where that does not help either, or worked for one
    /// session, they are offered again: the refusal may have been an accident.
    fn note_refusal(&mut self, reason: &Reason, state: StateName) {
        let (Reason::Received(notification) | Reason::Sent(notification)) = reason else {
            self.plain_open &= state != StateName::Established;
            return;
        };
        let refused = matches!(reason, Reason::Received(_))
            && notification.code == ErrorCode::OPEN_MESSAGE
            && notification.subcode == open_subcode::UNSUPPORTED_OPTIONAL_PARAMETER;
        let families = &self.config.families;
        let enough = u16::try_from(self.local.local_as).is_ok()
            && (families.is_empty() || families.contains_key(&Family::IPV4_UNICAST));
        self.plain_open = match state {
            StateName::OpenSent | StateName::OpenConfirm if refused => enough && !self.plain_open,
            StateName::Established => false,
            _ => self.plain_open && notification.code != ErrorCode::OPEN_MESSAGE,
        };
    }

    /// A connection ended: hold the peer down, or let the connection try again.
    fn ended(&mut self, now: Instant, role: Role, Ended { reason, penalty }: Ended) {
        let other = self.connection(role.other()).name();
        if other < StateName::Established {
            self.last_error = Some(reason.clone());
        }
        self.events.push_back(PeerEvent::Error(reason));
        if !self.running {
            return;
        }
        let wait = match penalty {
            Penalty::Wait if other >= StateName::OpenSent => None,
            Penalty::None => None,
            Penalty::Wait if !self.config.automatic_start => Some(None),
            Penalty::Wait => Some(Some(self.backoff.error(now, &self.config))),
            Penalty::WaitFor(time) => Some(Some(time)),
            Penalty::Stay => Some(None),
        };
        match wait {
            None => Role::ALL.into_iter().for_each(|role| self.resume(now, role)),
            Some(wait) => {
                self.running = wait.is_some();
                self.idle_hold = wait.map(|wait| (now + wait, wait));
                Role::ALL.into_iter().for_each(|role| self.step(now, role, Input::Abandon));
            }
        }
    }

    /// Back from Idle to Active after an end that was nobody's fault, or while the other connection
    /// goes on.
    fn resume(&mut self, now: Instant, role: Role) {
        let needless = self.config.passive || self.session().is_some();
        if self.connection(role).name() > StateName::Idle || role == Role::Outgoing && needless {
            return;
        }
        let retry = (role == Role::Outgoing).then(|| retry_at(now, &self.config, &mut self.rng));
        self.connection_mut(role).state = State::Active { retry };
    }

    fn receive(&mut self, now: Instant, role: Role, bytes: &[u8]) {
        let Some(link) = self.connection_mut(role).link_mut() else { return };
        link.received.extend_from_slice(bytes);
        while let Some(input) = self.next_message(role) {
            if matches!(input, Input::Open(_)) {
                let rival = role.other();
                match self.connection(rival).name() {
                    StateName::OpenConfirm => self.step(now, rival, Input::Collision),
                    StateName::Established => self.step(now, rival, Input::Superseded),
                    _ => {}
                }
            }
            self.step(now, role, input);
        }
    }

    /// Cuts the next message off the stream and reads it as far as the state allows.
    fn next_message(&mut self, role: Role) -> Option<Input> {
        let ctx = self.decode_context(role);
        let state = self.connection(role).name();
        let max_len = self.max_len(role);
        let link = self.connection_mut(role).link_mut()?;
        let message = match frame(&link.received, max_len) {
            Ok(message) => message?,
            Err(error) => return Some(Input::Malformed(error.to_notification())),
        };
        let (kind, length) = (message.kind, message.bytes.len());
        let decoded = is_expected(state, kind).then(|| decode(message, &ctx));
        link.received.advance(length);
        self.counters.messages_in += 1;
        self.counters.updates_in += u64::from(kind == MessageType::Update);
        Some(match decoded {
            None => Input::Unexpected(kind),
            Some(Err(error)) => Input::Malformed(error.to_notification()),
            Some(Ok(Decoded::Open(open))) => self.judge_open(role, open),
            Some(Ok(Decoded::Update(update))) => Input::Update(Box::new(update)),
            Some(Ok(Decoded::Notification(notification))) => Input::Notification(notification),
            Some(Ok(Decoded::Keepalive)) => Input::Keepalive,
            Some(Ok(Decoded::RouteRefresh(request))) => Input::RouteRefresh(request),
        })
    }

    /// The longest message that the neighbour may send (RFC 8654 section 4).
    fn max_len(&self, role: Role) -> usize {
        let extended = match &self.connection(role).state {
            State::OpenConfirm { negotiated, .. } => negotiated.extended_messages_receive,
            State::Established { session, .. } => session.negotiated.extended_messages_receive,
            _ => false,
        };
        if extended { EXTENDED_MAX_LEN } else { MAX_LEN }
    }

    fn decode_context(&self, role: Role) -> DecodeContext {
        match &self.connection(role).state {
            State::Established { session, .. } => session.negotiated.decode_context(&self.config),
            // No UPDATE is read before that.
            _ => DecodeContext::default(),
        }
    }

    /// An OPEN: does it suit, and does its connection collide with the other one (RFC 4271 section
    /// 6.8)?
    fn judge_open(&mut self, role: Role, open: crate::wire::Open) -> Input {
        // While DelayOpen runs ours is still to be sent.
        let connection = self.connection(role);
        let opened = connection.name() == StateName::OpenSent;
        let plain = if opened { connection.opened_plain } else { self.plain_open };
        let sent = open_message(&self.local, &self.config, plain);
        let negotiated = match negotiate(&self.local, &self.config, sent, open) {
            Ok(negotiated) => negotiated,
            Err(notification) => return Input::Malformed(notification),
        };
        match self.connection(role.other()).name() {
            StateName::Established if !self.supersedes(role) => Input::Collision,
            StateName::OpenConfirm if self.survivor(&negotiated) != role => Input::Collision,
            _ => Input::Open(Box::new(negotiated)),
        }
    }

    /// Whether an OPEN on this connection says that the neighbour has restarted, so that the session on
    /// the other one is over (RFC 4724 section 4.2). One that was under way before that stood up says
    /// nothing.
    fn supersedes(&self, role: Role) -> bool {
        role == Role::Incoming
            && self.late
            && self.session().is_some_and(|session| session.negotiated.may_restart())
    }

    /// The connection that stays: the one dialled by the speaker with the greater identifier, or, if
    /// those are equal, with the greater AS (RFC 6286 section 2.3).
    fn survivor(&self, negotiated: &super::negotiation::Negotiated) -> Role {
        let ours = (self.local.router_id, self.local.local_as);
        let theirs = (negotiated.peer_id, self.config.neighbor_as);
        if ours > theirs { Role::Outgoing } else { Role::Incoming }
    }

    fn note_state(&mut self, now: Instant) {
        let to = self.state();
        if to != self.state {
            self.events.push_back(PeerEvent::StateChanged { from: self.state, to });
            (self.state, self.since) = (to, now);
        }
    }
}

/// Which messages have a place in which state (RFC 4271 section 8.2.2). A second OPEN has none.
fn is_expected(state: StateName, kind: MessageType) -> bool {
    match kind {
        MessageType::Notification => true,
        MessageType::Open => state < StateName::OpenConfirm,
        MessageType::Keepalive => state >= StateName::OpenConfirm,
        MessageType::Update | MessageType::RouteRefresh => state == StateName::Established,
    }
}
