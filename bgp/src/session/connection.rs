//! One connection: the six states of RFC 4271 section 8.2.2, each with the data valid in it.
//!
//! The two connections of a peer run the same machine. The outgoing one is started by events 1 and 3
//! and dials; the incoming one by events 4 and 5 and listens in Active.
//!
//! Where this departs from the letter of the RFC: a TCP connection that cannot be made leads from
//! Connect to Active, not to Idle, since it says nothing of an oscillating peer; and NOTIFICATIONs
//! are sent before an OPEN too (SendNOTIFICATIONwithoutOPEN).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use super::config::LimitAction;
use super::established::Session;
use super::event::{PeerEvent, Reason, Role};
use super::import::{Breach, Importer};
use super::input::{Ended, Env, Input, Penalty, is_oscillation};
use super::negotiation::{Negotiated, open_message};
use super::state::{Link, State, StateName};
use super::timer::SessionTimers;
use crate::wire::notification::subcode;
use crate::wire::{
    EncodeContext, ErrorCode, Message, MessageType, Notification, RouteRefresh, encode,
};

#[derive(Debug)]
pub(super) struct Connection {
    role: Role,
    pub(super) state: State,
    /// Messages but for routes, whole, in order.
    control: VecDeque<Bytes>,
    /// The last OPEN sent had no capabilities.
    pub(super) opened_plain: bool,
}

impl Connection {
    pub(super) fn new(role: Role) -> Self {
        Self { role, state: State::Idle, control: VecDeque::new(), opened_plain: false }
    }

    pub(super) fn name(&self) -> StateName {
        match &self.state {
            State::Idle => StateName::Idle,
            State::Connect { .. } => StateName::Connect,
            State::Delayed { .. } if self.role == Role::Outgoing => StateName::Connect,
            State::Active { .. } | State::Delayed { .. } => StateName::Active,
            State::OpenSent { .. } => StateName::OpenSent,
            State::OpenConfirm { .. } => StateName::OpenConfirm,
            State::Established { .. } => StateName::Established,
        }
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Idle | State::Connect { .. } | State::Active { .. } => None,
            State::Delayed { link, .. }
            | State::OpenSent { link, .. }
            | State::OpenConfirm { link, .. }
            | State::Established { link, .. } => Some(link),
        }
    }

    pub(super) fn timers(&self) -> Option<&SessionTimers> {
        match &self.state {
            State::OpenConfirm { timers, .. } | State::Established { timers, .. } => Some(timers),
            _ => None,
        }
    }

    /// The next control message to send.
    pub(super) fn next_control(&mut self) -> Option<Bytes> {
        self.control.pop_front()
    }

    /// When the next timer fires.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Connect { retry } => Some(*retry),
            State::Active { retry } => *retry,
            State::Delayed { open_at, .. } => Some(*open_at),
            State::OpenSent { hold, .. } => Some(*hold),
            State::OpenConfirm { timers, .. } | State::Established { timers, .. } => timers.next(),
        }
    }

    /// The timer that has fired by `now`. What ends the connection comes before what keeps it up.
    pub(super) fn due(&self, now: Instant) -> Option<Input> {
        if self.timeout()? > now {
            return None;
        }
        let fired = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        Some(match &self.state {
            State::Idle => return None,
            State::Connect { .. } | State::Active { .. } => Input::ConnectRetry,
            State::Delayed { .. } => Input::DelayOpenExpired,
            State::OpenSent { .. } => Input::HoldExpired,
            State::OpenConfirm { timers, .. } | State::Established { timers, .. } => {
                if fired(timers.hold) {
                    Input::HoldExpired
                } else if fired(timers.send_hold) {
                    Input::SendHoldExpired
                } else {
                    Input::KeepaliveDue
                }
            }
        })
    }

    /// One event. Every pair of state and event has its answer.
    pub(super) fn step(&mut self, env: &mut Env<'_>, input: Input) {
        let before = self.name();
        let state = std::mem::replace(&mut self.state, State::Idle);
        self.state = match state {
            State::Idle => self.idle(env, input),
            State::Connect { retry } => self.connect(env, retry, input),
            State::Active { retry } => self.active(env, retry, input),
            State::Delayed { link, open_at } => self.delayed(env, link, open_at, input),
            State::OpenSent { link, hold } => self.open_sent(env, link, hold, input),
            State::OpenConfirm { link, timers, negotiated } => {
                self.open_confirm(env, link, timers, negotiated, input)
            }
            State::Established { link, mut timers, mut session } => {
                match self.established(env, &mut timers, &mut session, input) {
                    None => State::Established { link, timers, session },
                    Some(end) => {
                        let reason = env.ended.as_ref().map(|ended| &ended.reason);
                        let retain = |reason| session.retain(env.now, reason, env.events);
                        env.retained = reason.and_then(retain);
                        end
                    }
                }
            }
        };
        match (before, self.name()) {
            (StateName::Established, StateName::Established) => {}
            (StateName::Established, _) => {
                env.counters.dropped += 1;
                let reason = env.ended.as_ref().map(|ended| ended.reason.clone());
                let retained = env.retained.is_some();
                env.events.push_back(PeerEvent::Down { reason, retained });
            }
            (_, StateName::Established) => {
                env.counters.established += 1;
                env.events.push_back(PeerEvent::Established);
            }
            _ => {}
        }
    }

    fn idle(&mut self, env: &mut Env<'_>, input: Input) -> State {
        match input {
            Input::Start if self.role == Role::Incoming => State::Active { retry: None },
            Input::Start if env.config.connect_delay_time.is_zero() => self.dial(env),
            Input::Start => State::Active { retry: Some(env.now + env.config.connect_delay_time) },
            Input::Connected(_) => {
                env.events.push_back(PeerEvent::Close(self.role));
                State::Idle
            }
            _ => State::Idle,
        }
    }

    fn connect(&mut self, env: &mut Env<'_>, retry: Instant, input: Input) -> State {
        match input {
            Input::Connected(link) => self.connected(env, link),
            Input::Failed(error) => self.wait(env, error),
            Input::ConnectRetry => {
                env.events.push_back(PeerEvent::Close(self.role));
                self.dial(env)
            }
            Input::Stop(_) | Input::Abandon => self.close(env),
            // Nothing can be heard without a TCP connection, and no other timer runs.
            _ => State::Connect { retry },
        }
    }

    fn active(&mut self, env: &mut Env<'_>, retry: Option<Instant>, input: Input) -> State {
        match input {
            // While the neighbour's own connection makes progress a second one would only collide.
            Input::ConnectRetry if env.other_busy => State::Active { retry: Some(env.retry_at()) },
            Input::ConnectRetry => self.dial(env),
            Input::Connected(link) => self.connected(env, link),
            Input::Stop(_) | Input::Abandon => State::Idle,
            _ => State::Active { retry },
        }
    }

    fn delayed(&mut self, env: &mut Env<'_>, link: Link, open_at: Instant, input: Input) -> State {
        let state = self.before_open(env, link, open_at, input);
        // Nothing was sent before, so that all there can be is a NOTIFICATION.
        if matches!(state, State::Idle) && !env.config.notification_without_open {
            self.control.clear();
        }
        state
    }

    fn before_open(
        &mut self,
        env: &mut Env<'_>,
        link: Link,
        open_at: Instant,
        input: Input,
    ) -> State {
        match input {
            Input::DelayOpenExpired => self.open(env, link),
            Input::Open(negotiated) => {
                self.send(env, &Message::Open(negotiated.sent.clone()));
                self.confirm(env, link, negotiated)
            }
            Input::Connected(link) => self.connected(env, link),
            Input::Failed(error) => self.wait(env, error),
            Input::Unexpected(kind) => self.unexpected(env, subcode::UNSPECIFIC, kind),
            Input::Stop(notification) => self.stop(env, notification),
            other => match self.ends(env, other) {
                Some(state) => state,
                None => State::Delayed { link, open_at },
            },
        }
    }

    fn open_sent(&mut self, env: &mut Env<'_>, link: Link, hold: Instant, input: Input) -> State {
        match input {
            Input::Open(negotiated) => self.confirm(env, link, negotiated),
            // The neighbour gave up the connection we know and made another one.
            Input::Connected(link) => {
                self.control.clear();
                self.connected(env, link)
            }
            Input::Failed(error) => self.wait(env, error),
            Input::HoldExpired => self.hold_expired(env),
            Input::Unexpected(kind) => {
                self.unexpected(env, subcode::fsm::UNEXPECTED_IN_OPEN_SENT, kind)
            }
            Input::Stop(notification) => self.stop(env, notification),
            other => match self.ends(env, other) {
                Some(state) => state,
                None => State::OpenSent { link, hold },
            },
        }
    }

    fn open_confirm(
        &mut self,
        env: &mut Env<'_>,
        link: Link,
        mut timers: SessionTimers,
        negotiated: Box<Negotiated>,
        input: Input,
    ) -> State {
        match input {
            Input::Keepalive => {
                timers.received(env.now);
                let ends = (link.local, link.interface.clone());
                let session = Box::new(Session::new(*negotiated, ends, env.config));
                State::Established { link, timers, session }
            }
            Input::KeepaliveDue => {
                self.keepalive(env, &mut timers);
                State::OpenConfirm { link, timers, negotiated }
            }
            Input::Sent => {
                timers.sent(env.now);
                State::OpenConfirm { link, timers, negotiated }
            }
            Input::HoldExpired => self.hold_expired(env),
            Input::SendHoldExpired => self.send_hold_expired(env),
            Input::Failed(error) => self.lost(env, error),
            Input::Unexpected(kind) => {
                self.unexpected(env, subcode::fsm::UNEXPECTED_IN_OPEN_CONFIRM, kind)
            }
            Input::Stop(notification) => self.stop(env, notification),
            other => match self.ends(env, other) {
                Some(state) => state,
                None => State::OpenConfirm { link, timers, negotiated },
            },
        }
    }

    /// The state in which the session ends, `None` if it goes on.
    fn established(
        &mut self,
        env: &mut Env<'_>,
        timers: &mut SessionTimers,
        session: &mut Session,
        input: Input,
    ) -> Option<State> {
        match input {
            Input::Update(update) => {
                timers.received(env.now);
                let mut importer = Importer {
                    now: env.now,
                    local: env.local,
                    config: env.config,
                    events: env.events,
                };
                if let Some(breach) = session.receive(*update, &mut importer) {
                    return Some(self.breach(env, breach));
                }
            }
            Input::Keepalive => timers.received(env.now),
            Input::RouteRefresh(request) => {
                timers.received(env.now);
                let mut importer = Importer {
                    now: env.now,
                    local: env.local,
                    config: env.config,
                    events: env.events,
                };
                session.refresh(request, &mut importer);
            }
            Input::KeepaliveDue => self.keepalive(env, timers),
            Input::Sent => timers.sent(env.now),
            Input::HoldExpired => return Some(self.hold_expired(env)),
            Input::SendHoldExpired => return Some(self.send_hold_expired(env)),
            Input::Failed(error) => return Some(self.lost(env, error)),
            Input::Unexpected(kind) => {
                let subcode = subcode::fsm::UNEXPECTED_IN_ESTABLISHED;
                return Some(self.unexpected(env, subcode, kind));
            }
            Input::Breach(breach) => return Some(self.breach(env, breach)),
            // The neighbour dialled this connection, and dials anew: it has forgotten this one.
            Input::Connected(link)
                if self.role == Role::Incoming && session.negotiated.may_restart() =>
            {
                self.superseded(env);
                return Some(self.connected(env, link));
            }
            Input::Superseded => {
                self.superseded(env);
                return Some(self.close(env));
            }
            Input::Refresh if session.negotiated.route_refresh => {
                for family in &session.negotiated.families {
                    self.send(env, &Message::RouteRefresh(RouteRefresh::request(*family)));
                }
            }
            Input::Stop(notification) => {
                // RFC 8538 section 3: what is stopped for good is not to be preserved.
                let for_good =
                    [subcode::cease::ADMINISTRATIVE_SHUTDOWN, subcode::cease::PEER_DECONFIGURED];
                let hard =
                    session.negotiated.hard_reset && for_good.contains(&notification.subcode);
                let word =
                    if hard { Notification::hard_reset(&notification) } else { notification };
                return Some(self.stop(env, word));
            }
            other => return self.ends(env, other),
        }
        None
    }

    /// The inputs that end a connection alike in all states that have one.
    fn ends(&mut self, env: &mut Env<'_>, input: Input) -> Option<State> {
        match input {
            Input::Malformed(notification) => Some(self.fail(env, notification)),
            Input::Notification(notification) => Some(self.told(env, notification)),
            Input::Collision => {
                Some(self.give_way(env, Notification::cease(subcode::cease::CONNECTION_COLLISION)))
            }
            Input::Abandon => Some(self.close(env)),
            _ => None,
        }
    }

    fn dial(&mut self, env: &mut Env<'_>) -> State {
        env.events.push_back(PeerEvent::Dial);
        State::Connect { retry: env.retry_at() }
    }

    fn connected(&mut self, env: &mut Env<'_>, link: Link) -> State {
        if env.config.delay_open_time.is_zero() {
            return self.open(env, link);
        }
        State::Delayed { link, open_at: env.now + env.config.delay_open_time }
    }

    fn open(&mut self, env: &mut Env<'_>, link: Link) -> State {
        let open = open_message(env.local, env.config, env.plain_open);
        self.opened_plain = env.plain_open;
        self.send(env, &Message::Open(open));
        State::OpenSent { link, hold: env.now + env.config.startup_hold_time }
    }

    fn confirm(&mut self, env: &mut Env<'_>, link: Link, negotiated: Box<Negotiated>) -> State {
        self.send(env, &Message::Keepalive);
        let timers =
            SessionTimers::start(env.now, &negotiated, env.config.startup_hold_time, env.rng);
        State::OpenConfirm { link, timers, negotiated }
    }

    /// A KEEPALIVE; one that still waits to be sent will do.
    fn keepalive(&mut self, env: &mut Env<'_>, timers: &mut SessionTimers) {
        timers.restart_keepalive(env.now, env.rng);
        if self.control.is_empty() {
            self.send(env, &Message::Keepalive);
        }
    }

    fn send(&mut self, env: &mut Env<'_>, message: &Message) {
        match encode(message, &EncodeContext::default()) {
            Ok(bytes) => {
                env.counters.messages_out += 1;
                self.control.push_back(bytes);
            }
            Err(error) => {
                tracing::error!(target: "bgp", peer = %env.config.name, %error, "cannot encode");
            }
        }
    }

    /// Closes without a word.
    fn close(&mut self, env: &mut Env<'_>) -> State {
        env.events.push_back(PeerEvent::Close(self.role));
        State::Idle
    }

    /// Closes on the administrator's word: no error.
    fn stop(&mut self, env: &mut Env<'_>, notification: Notification) -> State {
        self.send(env, &Message::Notification(notification));
        self.close(env)
    }

    /// An error on the neighbour's side.
    fn fail(&mut self, env: &mut Env<'_>, notification: Notification) -> State {
        self.send(env, &Message::Notification(notification.clone()));
        env.ended = Some(Ended { reason: Reason::Sent(notification), penalty: Penalty::Wait });
        self.close(env)
    }

    /// A collision is nobody's error.
    fn give_way(&mut self, env: &mut Env<'_>, notification: Notification) -> State {
        self.send(env, &Message::Notification(notification.clone()));
        env.ended = Some(Ended { reason: Reason::Sent(notification), penalty: Penalty::None });
        self.close(env)
    }

    /// The neighbour restarted before its TCP told us: as if it had (RFC 4724 section 4.2).
    fn superseded(&mut self, env: &mut Env<'_>) {
        self.control.clear();
        let reason = Reason::Socket("Neighbor opened a new connection".to_owned());
        env.ended = Some(Ended { reason, penalty: Penalty::None });
    }

    fn told(&mut self, env: &mut Env<'_>, notification: Notification) -> State {
        let penalty = Penalty::if_oscillation(is_oscillation(&notification, env.plain_open));
        env.ended = Some(Ended { reason: Reason::Received(notification), penalty });
        self.close(env)
    }

    /// The neighbour announced too much (RFC 4486 section 4): family and limit go along.
    fn breach(&mut self, env: &mut Env<'_>, Breach { family, max, action }: Breach) -> State {
        let mut data = BytesMut::new();
        data.put_u16(family.afi);
        data.put_u8(family.safi);
        data.put_u32(max);
        let notification = Notification {
            data: data.freeze(),
            ..Notification::cease(subcode::cease::MAXIMUM_PREFIXES)
        };
        self.send(env, &Message::Notification(notification));
        let reason = Reason::Automatic(format!("{family} import limit of {max} exceeded"));
        let penalty = match action {
            LimitAction::Restart(Some(time)) => Penalty::WaitFor(time),
            LimitAction::Disable => Penalty::Stay,
            LimitAction::Warn | LimitAction::Block | LimitAction::Restart(None) => Penalty::Wait,
        };
        env.ended = Some(Ended { reason, penalty });
        self.close(env)
    }

    fn hold_expired(&mut self, env: &mut Env<'_>) -> State {
        self.fail(env, Notification::new(ErrorCode::HOLD_TIMER_EXPIRED, subcode::UNSPECIFIC))
    }

    fn send_hold_expired(&mut self, env: &mut Env<'_>) -> State {
        self.fail(env, Notification::new(ErrorCode::SEND_HOLD_TIMER_EXPIRED, subcode::UNSPECIFIC))
    }

    fn unexpected(&mut self, env: &mut Env<'_>, subcode: u8, kind: MessageType) -> State {
        let code = ErrorCode::FINITE_STATE_MACHINE;
        self.fail(env, Notification { code, subcode, data: Bytes::copy_from_slice(&[kind as u8]) })
    }

    /// TCP failed before the neighbour said anything: try again later.
    fn wait(&mut self, env: &mut Env<'_>, error: String) -> State {
        self.control.clear();
        env.events.push_back(PeerEvent::Close(self.role));
        env.ended = Some(Ended { reason: Reason::Socket(error), penalty: Penalty::None });
        self.again(env)
    }

    /// TCP failed under a session.
    fn lost(&mut self, env: &mut Env<'_>, error: String) -> State {
        self.control.clear();
        env.ended = Some(Ended { reason: Reason::Socket(error), penalty: Penalty::Wait });
        self.close(env)
    }

    /// Active: the incoming connection listens, the outgoing one will dial.
    fn again(&self, env: &mut Env<'_>) -> State {
        let retry = (self.role == Role::Outgoing).then(|| env.retry_at());
        State::Active { retry }
    }
}
