//! What holds of the machine after every step.

use std::time::Duration;

use vc5_bgp::session::{Role, StateName};
use vc5_bgp::wire::{
    Action, DecodeContext, Decoded, EXTENDED_MAX_LEN, FamilySet, MAX_LEN, decode, frame,
};

use super::{HORIZON, Machine};

impl Machine {
    /// Takes what the peer has to send on a connection: whole messages, each without an error for
    /// the neighbour.
    pub(super) fn transmit(&mut self, role: Role) {
        let negotiated = self.peer.session().map(|session| &session.negotiated);
        let max_len = match negotiated {
            Some(agreed) if agreed.extended_messages => EXTENDED_MAX_LEN,
            _ => MAX_LEN,
        };
        let ctx = DecodeContext {
            as4: negotiated.is_none_or(|agreed| agreed.as4),
            ebgp: self.external,
            allow_as_sets: true,
            families: FamilySet::ALL,
            add_path: FamilySet::NONE,
            extended_next_hop: negotiated.is_some_and(|agreed| agreed.extended_next_hop),
        };
        while let Some(octets) = self.peer.poll_transmit(role) {
            let mut rest = &octets[..];
            while !rest.is_empty() {
                let message = frame(rest, max_len).unwrap().expect("a whole message");
                let decoded = decode(message, &ctx).unwrap();
                if let Decoded::Update(update) = decoded {
                    assert_eq!(update.action, Action::default(), "{update:?}");
                }
                rest = &rest[message.bytes.len()..];
            }
        }
    }

    pub(super) fn check(&self) {
        let peer = &self.peer;
        assert_eq!(peer.state(), self.state, "each change of state is told");
        assert_eq!(peer.session().is_some(), self.established);
        assert_eq!(peer.state() == StateName::Established, self.established);
        assert_eq!(peer.session_role().is_some(), self.established);
        let counters = peer.counters();
        assert_eq!(counters.established - counters.dropped, u64::from(self.established));
        self.check_timers();
        self.check_connections();
        self.check_routes();
    }

    fn check_timers(&self) {
        let peer = &self.peer;
        let next = peer.poll_timeout();
        assert!(next.is_none_or(|at| at < self.now + HORIZON), "a timer beyond all reason");
        if !peer.is_running() {
            assert_eq!(peer.state(), StateName::Idle);
            assert_eq!(next, None, "a stopped peer waits for nothing");
            assert_eq!(peer.idle_hold(), None);
        } else if peer.state() == StateName::Idle {
            assert!(peer.idle_hold().is_some(), "a peer that runs comes back by itself");
        } else {
            assert_eq!(peer.idle_hold(), None);
        }
        // Without a hold time nothing ends a session, nor the wait for its first KEEPALIVE (RFC 4271
        // section 4.2); a passive peer may wait for ever.
        let waits = match peer.session() {
            Some(session) => session.negotiated.hold_time > Duration::ZERO,
            None => matches!(peer.state(), StateName::Connect | StateName::OpenSent),
        };
        assert!(!waits || next.is_some(), "nothing would end {:?}", peer.state());
    }

    fn check_connections(&self) {
        let peer = &self.peer;
        assert!(!(peer.config().passive && self.dialling), "a passive peer dials");
        if !peer.is_running() || peer.state() == StateName::Idle {
            assert_eq!(self.connected, [false; 2], "an idle peer holds on to a connection");
            assert!(!self.dialling, "an idle peer dials");
        }
        if let Some(role) = peer.session_role() {
            assert!(self.connected[role as usize], "a session without a connection");
        }
        if self.state > StateName::Connect {
            assert!(self.connected.contains(&true), "{:?} without a connection", self.state);
        }
    }

    /// What was told to have been learned is what the Adj-RIBs-In accepted, of this session or of one
    /// before that the neighbour restarts.
    fn check_routes(&self) {
        let accepted = self.peer.session().map_or(0, |session| {
            session.channels.values().map(|channel| channel.adj_in.accepted()).sum()
        });
        let retained = self.peer.retained().filter(|(_, entry)| entry.accepted.is_some()).count();
        assert!(retained == 0 || !self.established, "stale routes beside a session");
        assert_eq!(self.learned.len(), accepted + retained);
    }
}
