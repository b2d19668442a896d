//! Changed routes into the Adj-RIB-Out, and from there into the socket.

use std::io;
use std::time::{Duration, Instant};

use super::super::link::Link;
use super::super::shared::CHUNK;
use super::Driver;
use crate::session::{Event, Role, StateName};

/// Writes in a row before everything else gets a turn.
const WRITES: usize = 64;
/// Withdrawals written ahead of the task, at most.
pub(in crate::speaker) const AHEAD: usize = 16;
/// Time between one and the next.
const AHEAD_PAUSE: Duration = Duration::from_millis(5);

impl Driver {
    /// Writes the withdrawals of changed routes of our own at once, on the thread of whoever calls. Never
    /// waits: what the kernel does not take is left to the task, to be woken at once if this returns false.
    /// Else there is only a picture left to draw.
    ///
    /// Of withdrawals in quick succession only the first goes this way. The task puts those that follow into
    /// one message, and the caller has a bound on what it spends here.
    pub(in crate::speaker) fn write_ahead(&mut self, now: Instant) -> bool {
        let Some(role) = self.peer.session_role() else { return false };
        let quick = self.ahead_at.is_some_and(|at| now.saturating_duration_since(at) < AHEAD_PAUSE);
        // Octets that wait are the rest of a message, and the kernel is not going to take more.
        let idle = self.link_mut(role).as_ref().is_some_and(Link::is_empty);
        if quick || !idle || self.ahead_error.is_some() {
            return false;
        }
        self.ahead_at = Some(now);
        self.take(AHEAD);
        let link = match role {
            Role::Outgoing => &mut self.outgoing,
            Role::Incoming => &mut self.incoming,
        };
        let Some(link) = link else { return false };
        while self.peer.withdrawals_pending()
            && link.has_room()
            && let Some(bytes) = self.peer.poll_transmit(role)
        {
            link.queue(&bytes);
        }
        self.note_filled(role);
        self.ahead_error = self.write(role).err().map(|error| (role, error));
        let written = self.link_mut(role).as_ref().is_some_and(Link::is_empty);
        written && self.ahead_error.is_none() && self.channels.mailbox.is_empty()
    }

    /// Writes until there is nothing left or the kernel takes no more; true if it is others' turn
    /// before that.
    pub(super) fn pump(&mut self, role: Role) -> bool {
        for _ in 0..WRITES {
            self.fill(role);
            match self.write(role) {
                Ok(true) => self.settle(),
                Ok(false) => return false,
                Err(error) => {
                    self.write_failed(role, &error);
                    return false;
                }
            }
        }
        true
    }

    /// Writes once, if there is something to write; true if the kernel took something.
    fn write(&mut self, role: Role) -> io::Result<bool> {
        let Some(link) = self.link_mut(role).as_mut().filter(|link| !link.is_empty()) else {
            return Ok(false);
        };
        if !link.write()? {
            return Ok(false);
        }
        let (written, at) = (link.written, Instant::now());
        self.note_written(role, written, at);
        self.peer.handle(at, Event::Sent { role });
        self.publish_soon();
        Ok(true)
    }

    fn fill(&mut self, role: Role) {
        let link = match role {
            Role::Outgoing => &mut self.outgoing,
            Role::Incoming => &mut self.incoming,
        };
        let Some(link) = link else { return };
        while link.has_room()
            && let Some(bytes) = self.peer.poll_transmit(role)
        {
            link.queue(&bytes);
        }
        self.note_filled(role);
    }

    /// Remembers up to which octet the changes taken so far are in the link, once all their withdrawals are.
    fn note_filled(&mut self, role: Role) {
        let Some(link) = self.link_mut(role) else { return };
        let (queued, written) = (link.queued, link.written);
        if self.peer.session_role() == Some(role) && !self.peer.withdrawals_pending() {
            self.note_queued(queued, written);
        }
    }

    /// All withdrawals of the changes taken so far are in the link, up to the octet `queued`.
    fn note_queued(&mut self, queued: u64, written: u64) {
        let flushed = self.channels.progress.borrow().flushed;
        let noted = self.marks.back().map_or(flushed, |(change, _)| *change);
        if self.taken <= noted {
            return;
        }
        match self.marks.back_mut() {
            Some((change, octet)) if *octet == queued => *change = self.taken,
            None if written == queued => self.flushed(self.taken, None),
            _ => self.marks.push_back((self.taken, queued)),
        }
    }

    fn note_written(&mut self, role: Role, written: u64, at: Instant) {
        if self.peer.session_role() != Some(role) {
            return;
        }
        while let Some((change, octet)) = self.marks.front().copied()
            && octet <= written
        {
            self.marks.pop_front();
            self.flushed(change, Some(at));
        }
    }

    fn flushed(&mut self, change: u64, written_at: Option<Instant>) {
        self.channels.progress.send_modify(|progress| {
            progress.flushed = change;
            progress.written_at = written_at;
        });
    }

    /// Brings changed routes into the Adj-RIB-Out, a bounded number at a time.
    pub(super) fn take_changes(&mut self) {
        if !self.channels.mailbox.is_empty() || self.peer.state() == StateName::Established {
            self.take(CHUNK);
        }
    }

    fn take(&mut self, limit: usize) {
        let (sequence, changed) = self.shared.core().take_changed(&self.channels.mailbox, limit);
        if !changed.is_empty() {
            self.publish_soon();
        }
        for (prefix, route) in changed {
            self.peer.export(prefix, route.as_ref());
        }
        self.taken = sequence.unwrap_or(self.taken);
    }

    pub(super) fn export_all(&mut self) {
        let (sequence, routes) = self.shared.all_best(&self.channels.mailbox);
        self.peer.export_all(routes.iter().map(|(prefix, route)| (prefix, route)));
        self.taken = sequence;
    }
}
