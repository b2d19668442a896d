//! The driver's part of the network: dialling, accepting, writing, reading, closing.

use std::time::Duration;

use vc5_bgp::session::{Event, Role};

use super::network::{Conn, Pieces, Segment, role, side};
use super::stats::Fault;
use super::tap::Phase;
use super::world::{Item, World, trace};

/// Messages that a peer may still have to send when its connection is closed: OPEN, KEEPALIVE,
/// NOTIFICATION.
const LAST_WORDS: u64 = 3;
/// Octets in a driver's buffer beyond its high water mark: one batch of UPDATEs and what was thrown in.
const BEYOND: usize = 16 * 1024;

impl World {
    pub(crate) fn dial(&mut self, end: usize) {
        assert!(
            self.ends[end].dialing.is_none() && self.ends[end].links[0].is_none(),
            "{}: dials while the last attempt is not given up",
            self.name(end)
        );
        let id = self.conns.len();
        let conn = Conn::new([end, end ^ 1], &mut self.rng);
        let (there, back) = (conn.pipes[0].delay, conn.pipes[1].delay);
        self.conns.push(conn);
        self.stats.connections += 1;
        self.ends[end].dialing = Some(id);
        trace!(self, "{} dials #{id}", self.name(end));
        let (reach, now) = (self.reach[end / 2], self.now);
        if reach.refused_until > now {
            self.stats.fault(Fault::Refused);
            self.at(now + there + back, Item::Refused(id));
        } else if reach.black_hole_until > now {
            self.stats.fault(Fault::BlackHoledConnect);
        } else if reach.late_until > now {
            self.stats.fault(Fault::LateConnect);
            let late = self.rng.millis(1000, 7000);
            self.at(now + there + late, Item::Syn(id));
        } else {
            self.at(now + there, Item::Syn(id));
        }
        self.prepare_mischief(id);
    }

    pub(crate) fn refused(&mut self, id: usize) {
        let end = self.conns[id].ends[0];
        if self.ends[end].dialing == Some(id) {
            self.ends[end].dialing = None;
            self.drive(end, Event::TcpFailed { role: Role::Outgoing, error: "Connection refused" });
        }
    }

    /// A kernel accepts; its process may get to know later, or never.
    pub(crate) fn syn(&mut self, id: usize) {
        let back = self.conns[id].pipes[1].delay;
        let at = self.now + back;
        self.conns[id].pipes[1].last_arrival = at;
        self.at(at, Item::SynAck(id));
        let end = self.conns[id].ends[1];
        let node = self.ends[end].node;
        if self.reach[end / 2].silent_until > self.now {
            self.stats.fault(Fault::SilentAcceptor);
            self.conns[id].disturbed += 1;
        } else if self.hung(node) {
            self.nodes[node].backlog.push(id);
        } else {
            self.accept(id);
        }
    }

    pub(crate) fn accept(&mut self, id: usize) {
        let end = self.conns[id].ends[1];
        if !self.ends[end].peer.accepts_incoming() {
            trace!(self, "{} does not take #{id}", self.name(end));
            self.send(id, 1, Segment::Fin);
            return;
        }
        if let Some(old) = self.ends[end].links[1].take() {
            trace!(self, "{} gives up #{old} for #{id}", self.name(end));
            self.conns[old].up[1] = false;
            self.send(old, 1, Segment::Fin);
        }
        self.connected(end, id, Role::Incoming);
    }

    pub(crate) fn syn_ack(&mut self, id: usize) {
        let end = self.conns[id].ends[0];
        if self.ends[end].dialing != Some(id) {
            self.send_reset(id, 1);
        } else if self.hung(self.ends[end].node) {
            // The process learns of it when it goes on.
            let at = self.nodes[self.ends[end].node].hung_until;
            self.conns[id].pipes[1].last_arrival = at;
            self.at(at, Item::SynAck(id));
        } else {
            self.ends[end].dialing = None;
            self.connected(end, id, Role::Outgoing);
        }
    }

    fn connected(&mut self, end: usize, id: usize, role: Role) {
        let side = side(role);
        trace!(self, "{} has #{id} as {role:?}", self.name(end));
        self.conns[id].up[side] = true;
        self.conns[id].was_up[side] = true;
        self.conns[id].taps[side].heard = self.now;
        self.conns[id].pipes[side].taken = self.now;
        self.ends[end].links[side] = Some(id);
        let node = &self.nodes[self.ends[end].node];
        let (local, interface) = (node.address, node.interface);
        self.drive(end, Event::TcpConnected { role, local, interface: &interface });
        self.read(id, 1 - side);
    }

    /// Writes until there is nothing left or the kernel takes no more; true if anything was taken.
    pub(crate) fn pump(&mut self, end: usize) -> bool {
        let mut busy = false;
        if self.hung(self.ends[end].node) {
            return false;
        }
        for role in Role::ALL {
            let side = side(role);
            let Some(id) = self.ends[end].links[side] else { continue };
            while self.conns[id].pipes[side].out.len() < self.conns[id].pipes[side].high_water
                && let Some(bytes) = self.ends[end].peer.poll_transmit(role)
            {
                self.queue_octets(id, side, &bytes);
            }
            if self.write(id, side) {
                let now = self.instant();
                self.ends[end].peer.handle(now, Event::Sent { role });
                busy = true;
            }
        }
        busy
    }

    /// Puts whole messages into the driver's buffer, and what mischief adds to them.
    fn queue_octets(&mut self, id: usize, side: usize, mut bytes: &[u8]) {
        while bytes.len() >= 19 {
            let length = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
            assert!(bytes.len() >= length && length >= 19, "octets to send that are no message");
            let (message, rest) = bytes.split_at(length);
            self.queue_message(id, side, message);
            bytes = rest;
        }
        assert!(bytes.is_empty(), "octets to send that are no message");
        let pipe = &self.conns[id].pipes[side];
        let buffered = pipe.out.len();
        assert!(buffered <= pipe.high_water + BEYOND, "{buffered} octets wait for #{id}");
    }

    fn queue_message(&mut self, id: usize, side: usize, message: &[u8]) {
        self.stats.messages += 1;
        self.inject_due(id, side);
        trace!(self, "#{id} side {side} says {}", words(message));
        let conn = &mut self.conns[id];
        let sent = &mut conn.sent[side];
        assert!(sent.notification.is_none(), "#{id}: a message after a NOTIFICATION");
        sent.messages += 1;
        match message[18] {
            1 => {
                sent.open = true;
                conn.taps[side].note_open(true, message);
            }
            3 => self.note_notification(id, side, (message[19], message[20])),
            _ => {}
        }
        let conn = &mut self.conns[id];
        let start = conn.pipes[side].out.len();
        conn.pipes[side].out.extend_from_slice(message);
        match &mut conn.flips[side] {
            Some(0) => {
                conn.flips[side] = None;
                let bit = self.rng.below(message.len() * 8);
                conn.pipes[side].out[start + bit / 8] ^= 1 << (bit % 8);
                conn.tainted = true;
                conn.disturbed += 1;
                self.stats.fault(Fault::BitFlip);
                trace!(self, "#{id} side {side}: bit {bit} of that turns over");
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.inject_due(id, side);
    }

    /// A NOTIFICATION about a timer must not be early.
    fn note_notification(&mut self, id: usize, side: usize, notification: (u8, u8)) {
        *self.stats.notifications.entry(notification).or_default() += 1;
        let conn = &mut self.conns[id];
        conn.sent[side].notification = Some(notification);
        let end = &self.ends[conn.ends[side]];
        let (hold, tap) = (conn.hold[side], &conn.taps[side]);
        let (silent, full) = (self.now - tap.heard, self.now - conn.pipes[side].taken);
        let early = match (notification, tap.phase) {
            ((4, 0), Phase::OpenSent) => silent < end.config.startup_hold_time,
            ((4, 0), Phase::Established) => silent < hold,
            ((8, _), _) => full < 2 * hold,
            _ => false,
        };
        assert!(
            !early,
            "#{id} side {side}: NOTIFICATION {notification:?} after {silent:?} of silence, nothing taken \
             for {full:?}, hold time {hold:?}"
        );
        if notification == (6, 7) {
            self.right_one_gives_way(id, side);
        }
    }

    /// Moves octets from the driver's buffer to the kernel.
    pub(crate) fn write(&mut self, id: usize, side: usize) -> bool {
        let pipe = &mut self.conns[id].pipes[side];
        let count = pipe.out.len().min(pipe.room());
        if count == 0 {
            return false;
        }
        pipe.taken = self.now;
        let octets = pipe.out.drain(..count).collect();
        self.send(id, side, Segment::Data(octets));
        true
    }

    pub(crate) fn send(&mut self, id: usize, side: usize, segment: Segment) {
        let pipe = &mut self.conns[id].pipes[side];
        if let Some(at) = pipe.send(self.now, segment, &mut self.rng) {
            if !pipe.jitter.is_zero() {
                self.stats.fault(Fault::Jitter);
            }
            self.at(at, Item::Arrive(id, side));
        }
    }

    /// A host that does not know the connection says so to the other side.
    pub(crate) fn send_reset(&mut self, id: usize, to: usize) {
        let delay = self.conns[id].pipes[1 - to].delay;
        self.at(self.now + delay, Item::Reset(id, to));
    }

    pub(crate) fn arrive(&mut self, id: usize, side: usize) {
        let conn = &mut self.conns[id];
        let pipe = &mut conn.pipes[side];
        // Lost with the host that sent them.
        let Some((_, segment)) = pipe.flight.pop_front() else { return };
        match segment {
            Segment::Data(octets) => {
                pipe.in_flight -= octets.len();
                if conn.forgotten[1 - side] {
                    self.send_reset(id, side);
                } else {
                    pipe.unread.extend(octets);
                }
            }
            Segment::Fin => pipe.fin = true,
        }
        self.read(id, side);
    }

    pub(crate) fn reset(&mut self, id: usize, to: usize) {
        self.conns[id].pipes[1 - to].reset = true;
        self.read(id, 1 - to);
    }

    /// The side that `side` sends to reads what is there, if it does read.
    pub(crate) fn read(&mut self, id: usize, side: usize) {
        let reader = 1 - side;
        let Some((end, role)) = self.holder(id, reader) else {
            if self.conns[id].was_up[reader] {
                self.conns[id].pipes[side].unread.clear();
            }
            return;
        };
        let now = self.now;
        if self.hung(self.ends[end].node) {
            return;
        }
        if self.conns[id].pipes[side].reset {
            self.conns[id].pipes[side].unread.clear();
            return self.lost(id, reader, "Connection reset by peer");
        }
        if self.conns[id].pipes[side].unread_until > now {
            return;
        }
        let (mut limit, drip) = match self.conns[id].pipes[side].drip {
            Some((octets, wait)) => (octets, Some(wait)),
            None => (usize::MAX, None),
        };
        let mut any = false;
        while limit > 0
            && self.conns[id].up[reader]
            && !self.conns[id].pipes[side].unread.is_empty()
        {
            let piece = self.piece(id, side, limit);
            limit -= piece.len();
            any = true;
            self.deliver(id, reader, end, role, &piece);
        }
        let pipe = &mut self.conns[id].pipes[side];
        if let Some(wait) = drip
            && any
        {
            pipe.unread_until = now + wait;
            self.at(now + wait, Item::Read(id, side));
        }
        let pipe = &self.conns[id].pipes[side];
        let (fin, rest) = (pipe.fin, pipe.unread.len());
        if any && !pipe.out.is_empty() {
            let delay = self.conns[id].pipes[reader].delay;
            self.at(now + delay, Item::Write(id, side));
        }
        if fin && rest == 0 && self.conns[id].up[reader] {
            self.lost(id, reader, "Connection closed");
        }
    }

    fn piece(&mut self, id: usize, side: usize, limit: usize) -> Vec<u8> {
        let pipe = &mut self.conns[id].pipes[side];
        let there = pipe.unread.len().min(limit);
        let count = match &mut pipe.pieces {
            Pieces::Whole => there,
            Pieces::Single(left) if *left > 0 => {
                *left -= 1;
                self.stats.fault(Fault::ByteWise);
                1
            }
            Pieces::Single(_) | Pieces::Random => {
                self.stats.fault(Fault::RandomChunks);
                self.rng.between(1, 80).min(there)
            }
        };
        pipe.unread.drain(..count).collect()
    }

    /// The connection is gone at this side.
    pub(crate) fn lost(&mut self, id: usize, at: usize, error: &str) {
        let Some((end, role)) = self.holder(id, at) else { return };
        trace!(self, "{} loses #{id}: {error}", self.name(end));
        self.conns[id].up[at] = false;
        self.ends[end].links[at] = None;
        self.drive(end, Event::TcpFailed { role, error });
    }

    /// What a driver does on `Close`: the last words, as far as the kernel takes them, then the end.
    pub(crate) fn close(&mut self, end: usize, role: Role) {
        let side = side(role);
        let mut rest = Vec::new();
        while let Some(bytes) = self.ends[end].peer.poll_transmit(role) {
            rest.extend_from_slice(&bytes);
        }
        if role == Role::Outgoing
            && let Some(id) = self.ends[end].dialing.take()
        {
            trace!(self, "{} gives up dialling #{id}", self.name(end));
        }
        let Some(id) = self.ends[end].links[side].take() else { return };
        trace!(self, "{} closes #{id}", self.name(end));
        let before = self.conns[id].sent[side].messages;
        self.queue_octets(id, side, &rest);
        let waited = self.conns[id].sent[side].messages - before;
        assert!(waited <= LAST_WORDS, "{}: {waited} messages waited for the end", self.name(end));
        self.conns[id].up[side] = false;
        self.write(id, side);
        self.send(id, side, Segment::Fin);
    }

    /// The process of a node goes on: what has arrived comes before what is overdue.
    pub(crate) fn thaw(&mut self, node: usize) {
        if self.hung(node) {
            return;
        }
        trace!(self, "node {node} goes on");
        let ends = self.nodes[node].ends.clone();
        for end in &ends {
            for at in [0, 1] {
                if let Some(id) = self.ends[*end].links[at] {
                    self.read(id, 1 - at);
                }
            }
        }
        for end in &ends {
            self.fire(*end);
        }
        for id in std::mem::take(&mut self.nodes[node].backlog) {
            self.accept(id);
        }
    }

    /// A KEEPALIVE in the name of a hung process, as from a thread of its own.
    pub(crate) fn feed(&mut self, id: usize, side: usize, left: u32, every: Duration) {
        let node = self.ends[self.conns[id].ends[side]].node;
        if left == 0 || !self.hung(node) || !self.conns[id].whole() {
            return;
        }
        if self.conns[id].pipes[side].out.is_empty() {
            let mut keepalive = vec![0xFF; 16];
            keepalive.extend([0, 19, 4]);
            self.send(id, side, Segment::Data(keepalive));
        }
        self.at(self.now + every, Item::Feed(id, side, left - 1));
    }

    /// This side of a connection loses its host's memory of it.
    pub(crate) fn forget(&mut self, id: usize, at: usize, answers: bool) {
        let conn = &mut self.conns[id];
        conn.disturbed += 1;
        conn.forgotten[at] = answers;
        let pipe = &mut conn.pipes[at];
        pipe.black_hole = true;
        pipe.flight.clear();
        pipe.in_flight = 0;
        conn.pipes[1 - at].black_hole |= !answers;
    }

    /// The role that a side has, for messages.
    pub(crate) fn side_name(&self, id: usize, at: usize) -> String {
        format!("{} {:?} #{id}", self.name(self.conns[id].ends[at]), role(at))
    }
}

/// A message as the trace shows it: its type, then what follows the header.
fn words(message: &[u8]) -> String {
    let kind = match message[18] {
        1 => "OPEN",
        2 => "UPDATE",
        3 => "NOTIFICATION",
        4 => "KEEPALIVE",
        _ => "ROUTE-REFRESH",
    };
    let hex: String = message[19..].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{kind} {hex}")
}
