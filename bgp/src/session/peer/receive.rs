//! From octets to inputs: messages cut off the stream, read as far as the state allows, and OPENs judged.

use std::time::Instant;

use bytes::Buf;

use super::super::event::Role;
use super::super::input::Input;
use super::super::negotiation::{Negotiated, negotiate, open_message};
use super::super::state::{State, StateName};
use super::Peer;
use crate::wire::{
    DecodeContext, Decoded, EXTENDED_MAX_LEN, MAX_LEN, MessageType, Open, decode, frame,
};

impl Peer {
    pub(super) fn receive(&mut self, now: Instant, role: Role, bytes: &[u8]) {
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
    fn judge_open(&mut self, role: Role, open: Open) -> Input {
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
    fn survivor(&self, negotiated: &Negotiated) -> Role {
        let ours = (self.local.router_id, self.local.local_as);
        let theirs = (negotiated.peer_id, self.config.neighbor_as);
        if ours > theirs { Role::Outgoing } else { Role::Incoming }
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
