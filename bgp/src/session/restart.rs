//! Graceful restart, the helper's part (RFC 4724 section 4.2, RFC 8538): what a neighbour announced
//! outlives the session if the neighbour said that it forwards on while it restarts. All of it is
//! stale from then on, and whatever is not announced anew in time goes.
//!
//! A neighbour that opens a new connection while its session still stands has restarted, and the old
//! connection is over without a word. Where this departs from the letter of the RFC: beside a session
//! that we dialled, a new connection counts once its OPEN suits, and only if it was made after the
//! session stood up. Before, it may be the other half of a collision.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::established::Session;
use super::event::{PeerEvent, Reason};
use super::import::Importer;
use super::negotiation::Negotiated;
use crate::rib::{AdjRibIn, LearnedFrom};
use crate::wire::notification::subcode::cease;
use crate::wire::{Capability, ErrorCode, Family, GracefulRestart, Open};

/// How long a neighbour that is back may take to announce everything anew.
const STALE_TIME: Duration = Duration::from_secs(360);

/// The routes of a neighbour that restarts, all of them stale.
#[derive(Debug)]
pub(super) struct Retained {
    /// When the neighbour has to be back.
    pub(super) until: Instant,
    from: Arc<LearnedFrom>,
    ribs: BTreeMap<Family, AdjRibIn>,
}

/// The graceful restart capability of an OPEN; of several instances the last counts (RFC 4724
/// section 3).
pub(super) fn capability(open: &Open) -> Option<&GracefulRestart> {
    let all = open.capabilities.iter().filter_map(|capability| match capability {
        Capability::GracefulRestart(restart) => Some(restart),
        _ => None,
    });
    all.last()
}

impl Negotiated {
    /// The neighbour's capability, if we have one too.
    fn graceful_restart(&self) -> Option<&GracefulRestart> {
        capability(&self.sent).and(capability(&self.received))
    }

    /// Whether a new connection from the neighbour means that it restarted.
    pub(super) fn may_restart(&self) -> bool {
        self.graceful_restart().is_some_and(|restart| !restart.families.is_empty())
    }

    /// Whether the neighbour's routes outlive an end of the session: that of TCP alone (RFC 4724
    /// section 4.2), and one by a NOTIFICATION that is no hard reset where both sides know that (RFC
    /// 8538 section 4). What we ended by our own rules is over.
    fn survives(&self, reason: &Reason) -> bool {
        match reason {
            Reason::Socket(_) => true,
            Reason::Sent(_) => self.hard_reset,
            Reason::Received(notification) => {
                let hard = (ErrorCode::CEASE, cease::HARD_RESET);
                self.hard_reset && (notification.code, notification.subcode) != hard
            }
            Reason::Automatic(_) => false,
        }
    }
}

impl Session {
    /// Takes out what outlives the session; what does not is told to be gone. `None` if nothing does.
    pub(super) fn retain(
        &mut self,
        now: Instant,
        reason: &Reason,
        events: &mut VecDeque<PeerEvent>,
    ) -> Option<Retained> {
        let restart = self.negotiated.graceful_restart()?;
        if restart.restart_time.is_zero() || !self.negotiated.survives(reason) {
            return None;
        }
        let mut ribs = BTreeMap::new();
        let mut gone = Vec::new();
        for (family, channel) in &mut self.channels {
            let mut rib = std::mem::take(&mut channel.adj_in);
            if restart.families.iter().any(|row| row.family == *family) {
                // What did not come back after the last restart will not after this one.
                for path in rib.stale() {
                    gone.extend(rib.remove(&path).and_then(|old| old.accepted).map(|_| path));
                }
                rib.begin_refresh();
                ribs.insert(*family, rib);
            } else {
                gone.extend(accepted(&rib));
            }
        }
        if ribs.values().all(AdjRibIn::is_empty) {
            return None;
        }
        events.extend(gone.into_iter().map(|(prefix, id)| PeerEvent::Unlearned(prefix, id)));
        let until = now + restart.restart_time;
        Some(Retained { until, from: self.from.clone(), ribs })
    }

    /// Takes over the routes of the session before, as far as the neighbour kept forwarding by them;
    /// all others go at once (RFC 4724 section 4.2).
    pub(super) fn adopt(
        &mut self,
        now: Instant,
        retained: Retained,
        events: &mut VecDeque<PeerEvent>,
    ) {
        let Retained { from, ribs, .. } = retained;
        for (family, rib) in ribs {
            let forwarding = self.negotiated.graceful_restart().is_some_and(|restart| {
                restart.families.iter().any(|row| row.family == family && row.forwarding)
            });
            match self.channels.get_mut(&family) {
                Some(channel) if forwarding && *from == *self.from => {
                    channel.adj_in = rib;
                    channel.restarting = true;
                    self.stale_until = Some(now + STALE_TIME);
                }
                _ => forget(&rib, events),
            }
        }
    }

    /// The neighbour has announced all of a family since it restarted: what it left out is gone.
    pub(super) fn restarted(&mut self, family: Family, importer: &mut Importer<'_>) {
        let Some(channel) = self.channels.get_mut(&family) else { return };
        if std::mem::replace(&mut channel.restarting, false) {
            self.end_refresh(family, importer);
        }
        if !self.channels.values().any(|channel| channel.restarting) {
            self.stale_until = None;
        }
    }

    /// The neighbour takes too long to announce everything anew.
    pub(super) fn give_up_restart(&mut self, importer: &mut Importer<'_>) {
        for family in self.negotiated.families.clone() {
            self.restarted(family, importer);
        }
    }
}

impl Retained {
    /// The neighbour did not come back.
    pub(super) fn forget(&self, events: &mut VecDeque<PeerEvent>) {
        self.ribs.values().for_each(|rib| forget(rib, events));
    }

    /// The routes, by family.
    pub(super) fn ribs(&self) -> impl Iterator<Item = &AdjRibIn> {
        self.ribs.values()
    }
}

/// The paths in the Loc-RIB.
fn accepted(rib: &AdjRibIn) -> impl Iterator<Item = crate::rib::PathKey> + '_ {
    rib.iter().filter(|(_, entry)| entry.accepted.is_some()).map(|(path, _)| *path)
}

fn forget(rib: &AdjRibIn, events: &mut VecDeque<PeerEvent>) {
    events.extend(accepted(rib).map(|(prefix, id)| PeerEvent::Unlearned(prefix, id)));
}
