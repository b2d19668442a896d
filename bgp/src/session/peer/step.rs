//! What an event on one connection means for the other one and for the peer as a whole.

use std::time::Instant;

use super::super::event::{PeerEvent, Reason, Role, StopCause};
use super::super::input::{Ended, Env, Input, Penalty};
use super::super::state::{State, StateName};
use super::super::timer::retry_at;
use super::Peer;
use crate::wire::notification::subcode::{cease, open as open_subcode};
use crate::wire::{ErrorCode, Family, Notification};

impl Peer {
    pub(super) fn start(&mut self, now: Instant) {
        self.running = true;
        self.idle_hold = None;
        if !self.config.passive {
            self.step(now, Role::Outgoing, Input::Start);
        }
        self.step(now, Role::Incoming, Input::Start);
    }

    pub(super) fn stop(&mut self, now: Instant, cause: StopCause, message: Option<&str>) {
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
    pub(super) fn step(&mut self, now: Instant, role: Role, input: Input) {
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
}
