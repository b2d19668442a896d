//! Where frames may arrive: kept by who changes the dataplane, asked by who reads the frames.
//!
//! A change takes force some time between the call that asks for it and its acknowledgement. So what it allows is
//! allowed from before the call, and what it forbids is forbidden for frames sent after the acknowledgement.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::now;

/// Never.
const NEVER: u64 = u64::MAX;

/// What a backend may be for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It takes new connections and keeps those it has.
    Live,
    /// It takes no connections but those of a 5-tuple that it knows.
    Weightless,
    /// It takes no new connections.
    Draining,
    /// It takes nothing.
    Down,
    /// It is not among the service's backends. If it was, it drains for this long (ns) before it takes nothing.
    Absent {
        /// The time for which it drains.
        drain: u64,
    },
}

/// What frames one backend may get of one service.
#[derive(Debug)]
pub struct Backend {
    /// Frames sent after this may not arrive.
    none_since: AtomicU64,
    /// First packets of connections sent after this may not arrive.
    no_new_since: AtomicU64,
    /// The same, of 5-tuples that were not used before.
    no_fresh_since: AtomicU64,
    /// From when until when connections may have been moved away.
    moves: Mutex<Vec<(u64, u64)>>,
}

impl Backend {
    fn absent() -> Self {
        Self {
            none_since: AtomicU64::new(0),
            no_new_since: AtomicU64::new(0),
            no_fresh_since: AtomicU64::new(0),
            moves: Mutex::new(vec![(0, NEVER)]),
        }
    }

    /// Before a change is asked for.
    pub fn before(&self, to: Standing) {
        match to {
            Standing::Live => {
                for since in [&self.none_since, &self.no_new_since, &self.no_fresh_since] {
                    since.store(NEVER, SeqCst);
                }
            }
            Standing::Weightless => {
                self.none_since.store(NEVER, SeqCst);
                self.no_new_since.store(NEVER, SeqCst);
            }
            Standing::Draining => self.none_since.store(NEVER, SeqCst),
            Standing::Down => self.lock().push((now(), NEVER)),
            Standing::Absent { drain } => {
                // Clocks of the program and of this test differ by a few jiffies.
                self.lock().push(((now() + drain).saturating_sub(50_000_000), NEVER));
            }
        }
    }

    /// After it was acknowledged.
    pub fn after(&self, to: Standing) {
        let now = now();
        match to {
            Standing::Live | Standing::Weightless | Standing::Draining => {
                let mut moves = self.lock();
                for (_, until) in moves.iter_mut().filter(|(_, until)| *until == NEVER) {
                    *until = now;
                }
                moves.retain(|(from, until)| from <= until);
            }
            Standing::Down => self.none_since.store(now, SeqCst),
            // When it has drained is up to a timer, which may be late.
            Standing::Absent { .. } => {}
        }
        if !matches!(to, Standing::Live | Standing::Weightless) {
            self.no_new_since.fetch_min(now, SeqCst);
        }
        if to != Standing::Live {
            self.no_fresh_since.fetch_min(now, SeqCst);
        }
    }

    /// Whether a frame sent at a time may arrive.
    #[must_use]
    pub fn takes(&self, sent: u64) -> bool {
        sent <= self.none_since.load(SeqCst)
    }

    /// Whether the first packet of a connection, sent at a time, may arrive.
    #[must_use]
    pub fn takes_new(&self, sent: u64, fresh: bool) -> bool {
        let since = if fresh { &self.no_fresh_since } else { &self.no_new_since };
        sent <= since.load(SeqCst)
    }

    /// Whether a connection may have been moved away between the packet sent at `before` and now.
    #[must_use]
    pub fn may_have_lost(&self, before: u64) -> bool {
        let now = now();
        self.lock().iter().any(|(from, until)| *from <= now && *until >= before)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of its MAC addresses a backend may be reached by.
#[derive(Debug, Default)]
pub struct MacRule {
    /// The newest that it was ever given.
    newest: AtomicU64,
    /// The one in force, and since when.
    settled: Mutex<(u64, u64)>,
}

impl MacRule {
    /// Before the neighbour table is told.
    pub fn before(&self, address: u16) {
        self.newest.store(u64::from(address), SeqCst);
    }

    /// After the dataplane has followed.
    pub fn after(&self, address: u16) {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = (u64::from(address), now());
    }

    /// Whether a frame sent at a time may go to this address.
    #[must_use]
    pub fn allows(&self, address: u16, sent: u64) -> bool {
        let address = u64::from(address);
        let (in_force, since) = *self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        address <= self.newest.load(SeqCst) && (address >= in_force || sent <= since)
    }
}

/// Which VLAN a backend may be reached in.
#[derive(Debug)]
pub struct VlanRule {
    /// All that it was ever in, the newest last, and up to when each may be used.
    known: Mutex<Vec<(u16, u64)>>,
}

impl Default for VlanRule {
    fn default() -> Self {
        Self { known: Mutex::new(vec![(0, NEVER)]) }
    }
}

impl VlanRule {
    /// Before the dataplane is told.
    pub fn before(&self, vlan: u16) {
        self.lock().push((vlan, NEVER));
    }

    /// After it has acknowledged that.
    pub fn after(&self) {
        let (now, mut known) = (now(), self.lock());
        if let Some((_newest, former)) = known.split_last_mut() {
            former.iter_mut().for_each(|(_, until)| *until = now.min(*until));
        }
    }

    /// Whether a frame sent at a time may go in this VLAN (0: untagged).
    #[must_use]
    pub fn allows(&self, vlan: u16, sent: u64) -> bool {
        self.lock().iter().rev().any(|(known, until)| *known == vlan && sent <= *until)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u16, u64)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of one service.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) active: AtomicBool,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    backends: Vec<Backend>,
}

/// All that is allowed.
#[derive(Debug)]
pub struct Ledger {
    pub(super) services: Vec<Service>,
    pub(super) macs: Vec<MacRule>,
    vlans: Vec<VlanRule>,
    /// Changes begun and changes acknowledged, in all.
    pub(super) changes: AtomicU64,
    /// Rounds of the machine.
    pub(super) rounds: AtomicU64,
    pub(super) stopped: AtomicBool,
}

impl Ledger {
    /// So many services, none of which gets packets, and so many backends, which are of none.
    #[must_use]
    pub fn new(services: usize, backends: usize) -> Self {
        let service = || Service {
            backends: (0..backends).map(|_| Backend::absent()).collect(),
            ..Service::default()
        };
        Self {
            services: (0..services).map(|_| service()).collect(),
            macs: (0..backends).map(|_| MacRule::default()).collect(),
            vlans: (0..backends).map(|_| VlanRule::default()).collect(),
            changes: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// A backend of a service.
    #[must_use]
    pub fn backend(&self, service: usize, backend: u16) -> Option<&Backend> {
        self.services.get(service)?.backends.get(usize::from(backend))
    }

    /// The addresses of a backend.
    #[must_use]
    pub fn mac(&self, backend: u16) -> Option<&MacRule> {
        self.macs.get(usize::from(backend))
    }

    /// The VLANs of a backend.
    #[must_use]
    pub fn vlan(&self, backend: u16) -> Option<&VlanRule> {
        self.vlans.get(usize::from(backend))
    }

    /// A change is about to be asked for, or was just acknowledged.
    pub fn mark_change(&self) {
        self.changes.fetch_add(1, SeqCst);
    }

    /// Starts traffic to a service that is in force.
    pub fn open(&self, service: usize) {
        if let Some(service) = self.services.get(service) {
            service.active.store(true, SeqCst);
        }
    }

    /// Ends traffic to services, and waits until nothing is under way to them. False if something is lost.
    #[must_use]
    pub fn close(&self, services: &[usize]) -> bool {
        if services.is_empty() {
            return true;
        }
        let chosen = || services.iter().filter_map(|at| self.services.get(*at));
        chosen().for_each(|service| service.active.store(false, SeqCst));
        let began = now();
        let round = self.rounds.load(SeqCst);
        let is_under_way = |s: &Service| s.sent.load(SeqCst) != s.received.load(SeqCst);
        while self.rounds.load(SeqCst) < round + 2 || chosen().any(is_under_way) {
            if now() - began > 10_000_000_000 || self.stopped.load(SeqCst) {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        true
    }

    /// Frames received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.services.iter().map(|service| service.received.load(SeqCst)).sum()
    }

    /// Whether traffic has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    /// Ends all traffic.
    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_forbids_is_forbidden_to_frames_sent_after_it() {
        let backend = Backend::absent();
        assert!(!backend.takes(now()) && !backend.takes_new(now(), true));
        backend.before(Standing::Live);
        assert!(backend.takes(now()) && backend.takes_new(now(), true));
        backend.after(Standing::Live);
        let up = now();
        assert!(!backend.may_have_lost(up));

        backend.before(Standing::Weightless);
        backend.after(Standing::Weightless);
        assert!(backend.takes_new(now(), false) && !backend.takes_new(now(), true));
        backend.before(Standing::Draining);
        backend.after(Standing::Draining);
        assert!(backend.takes(now()) && !backend.takes_new(now(), false));
        assert!(!backend.may_have_lost(up));

        backend.before(Standing::Down);
        assert!(backend.may_have_lost(up) && backend.takes(now()));
        backend.after(Standing::Down);
        assert!(!backend.takes(now()));
        backend.before(Standing::Live);
        backend.after(Standing::Live);
        assert!(backend.may_have_lost(up) && !backend.may_have_lost(now()));

        backend.before(Standing::Absent { drain: NEVER / 4 });
        backend.after(Standing::Absent { drain: NEVER / 4 });
        assert!(backend.takes(now()) && !backend.takes_new(now(), true));
        assert!(!backend.may_have_lost(now()));
    }

    #[test]
    fn an_old_address_is_right_until_the_new_one_is_in_force() {
        let rule = MacRule::default();
        assert!(rule.allows(0, now()) && !rule.allows(1, now()));
        rule.before(1);
        assert!(rule.allows(0, now()) && rule.allows(1, now()));
        let before = now();
        rule.after(1);
        assert!(!rule.allows(0, now()) && rule.allows(0, before) && rule.allows(1, now()));
    }

    #[test]
    fn a_vlan_is_right_until_the_move_to_another_is_acknowledged() {
        let rule = VlanRule::default();
        assert!(rule.allows(0, now()) && !rule.allows(10, now()));
        rule.before(10);
        assert!(rule.allows(0, now()) && rule.allows(10, now()) && !rule.allows(11, now()));
        let before = now();
        rule.after();
        assert!(!rule.allows(0, now()) && rule.allows(0, before) && rule.allows(10, now()));
        let between = now();
        rule.before(11);
        rule.after();
        assert!(rule.allows(0, before) && !rule.allows(0, between), "however late it is read");
        assert!(rule.allows(10, between) && !rule.allows(10, now()) && rule.allows(11, now()));
        rule.before(0);
        rule.after();
        assert!(rule.allows(0, now()) && !rule.allows(11, now()));
    }
}
