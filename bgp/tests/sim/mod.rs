//! Deterministic simulation: a few speakers in one thread, on a virtual clock, over a network that does
//! its worst. One number decides everything, so that a run that fails can be had again.
//!
//! A run has a faulty phase, a quiet one in which everything has to come together, a while in which it has to
//! stay so, and an end at which all is stopped. What has to hold all along is asserted where it
//! happens: see [`judge`] for errors and their NOTIFICATIONs, [`world`] for timers and sessions,
//! [`driver`] for what waits in memory, [`check`] for the routes.

pub(crate) mod campaign;
mod check;
mod driver;
mod garbage;
mod judge;
mod mischief;
mod network;
mod plan;
mod rng;
mod stats;
mod tap;
mod world;

use std::time::Duration;

use rng::Rng;
pub(crate) use stats::{Fault, Stats};
use world::{Item, World, trace};

/// The most time that may pass until everything has come together, once the network is quiet: the
/// longest hold time, the longest wait after errors at both ends, and a few attempts to connect.
const CONVERGENCE: Duration = Duration::from_secs(90);
const SECOND: Duration = Duration::from_secs(1);

/// One run, with its trace if that is wanted.
pub(crate) struct Run(World);

impl Run {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut world = World::new(Rng::new(seed), trace);
        plan::build(&mut world);
        Self(world)
    }

    /// Panics where an invariant is broken.
    pub(crate) fn go(&mut self) {
        let world = &mut self.0;
        world.faulty_phase();
        world.quiet_phase();
        world.end();
        world.stats.virtual_seconds = world.now.as_secs_f64();
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.0.stats
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.now
    }

    pub(crate) fn trace(&self) -> &[String] {
        self.0.trace.as_deref().unwrap_or_default()
    }
}

impl World {
    fn faulty_phase(&mut self) {
        let length = self.rng.millis(10_000, 40_000);
        for _ in 0..self.rng.between(3, 14) {
            let at = self.rng.up_to(length);
            self.at(at, Item::Mischief);
        }
        for _ in 0..self.rng.between(5, 30) {
            let at = self.rng.up_to(length);
            self.at(at, Item::Churn);
        }
        self.at(SECOND, Item::Sweep);
        self.run_until(length);
    }

    /// No more faults; what is broken in ways that nobody can find out is mended.
    fn quiet_phase(&mut self) {
        trace!(self, "quiet");
        self.quiet = true;
        self.reach.iter_mut().for_each(|reach| *reach = Default::default());
        for node in 0..self.nodes.len() {
            self.nodes[node].hung_until = Duration::ZERO;
            self.thaw(node);
        }
        for id in 0..self.conns.len() {
            self.mend(id);
        }
        for end in 0..self.ends.len() {
            match self.rng.percent(5) {
                true => self.disable(end),
                false if !self.ends[end].enabled => self.start(end),
                false => {}
            }
        }
        // What was under way has to arrive before anything is said to stand.
        self.run_until(self.now + 2 * SECOND);
        let deadline = self.now + CONVERGENCE;
        while let Err(missing) = self.converged() {
            assert!(self.now < deadline, "not converged: {missing}");
            self.run_until(self.now + SECOND);
        }
        trace!(self, "converged");
        let sessions = self.sessions();
        self.run_until(self.now + 12 * SECOND);
        if let Err(missing) = self.converged() {
            panic!("no longer converged: {missing}");
        }
        assert_eq!(sessions, self.sessions(), "sessions came and went in a quiet network");
    }

    fn sessions(&self) -> Vec<u64> {
        self.ends.iter().map(|end| end.peer.counters().established).collect()
    }

    fn mend(&mut self, id: usize) {
        let conn = &mut self.conns[id];
        let mut arrivals = Vec::new();
        conn.injections.clear();
        conn.flips = [None; 2];
        for at in [0, 1] {
            let pipe = &mut conn.pipes[at];
            pipe.drip = None;
            pipe.stalled_until = Duration::ZERO;
            pipe.unread_until = Duration::ZERO;
            pipe.window = pipe.window.max(128);
            // What is far out because of a stall comes in now.
            pipe.last_arrival = self.now;
            for _ in 0..pipe.flight.len() {
                arrivals.push(Item::Arrive(id, at));
            }
        }
        // A host that never answers is TCP's to find out where no hold timer runs.
        let lost = conn.hold.contains(&Duration::ZERO) && conn.pipes.iter().any(|p| p.black_hole);
        let reset = lost || conn.tainted;
        for arrival in arrivals {
            self.at(self.now, arrival);
        }
        if reset {
            self.send_reset(id, 0);
            self.send_reset(id, 1);
        }
        for at in [0, 1] {
            self.at(self.now, Item::Read(id, at));
            self.at(self.now, Item::Write(id, at));
        }
    }

    /// All peers are stopped; nothing stays behind.
    fn end(&mut self) {
        trace!(self, "the end");
        for end in 0..self.ends.len() {
            self.disable(end);
        }
        self.run_until(self.now + SECOND);
        self.stopped();
    }

    fn run_until(&mut self, end: Duration) {
        while let Some(item) = self.next(end) {
            self.step(item);
        }
        self.now = end;
    }

    fn step(&mut self, item: Item) {
        match item {
            Item::Timer(end) => self.timer(end),
            Item::Syn(id) => self.syn(id),
            Item::SynAck(id) => self.syn_ack(id),
            Item::Arrive(id, side) => self.arrive(id, side),
            Item::Read(id, side) => self.read(id, side),
            Item::Reset(id, side) => self.reset(id, side),
            Item::Thaw(node) => self.thaw(node),
            Item::Deadline(deadline) => self.deadline(&deadline),
            Item::Write(id, side) => {
                if let Some((end, _)) = self.holder(id, side) {
                    self.settle(end);
                }
            }
            Item::Feed(id, side, left) => {
                let hold = self.conns[id].hold[1 - side];
                self.feed(id, side, left, hold / 3);
            }
            Item::Refused(id) => {
                let node = self.ends[self.conns[id].ends[0]].node;
                if self.hung(node) {
                    self.at(self.nodes[node].hung_until, Item::Refused(id));
                } else {
                    self.refused(id);
                }
            }
            Item::Start(end) => {
                let node = self.ends[end].node;
                if self.hung(node) {
                    self.at(self.nodes[node].hung_until, Item::Start(end));
                } else if !self.quiet {
                    self.start(end);
                }
            }
            Item::Mischief => self.mischief(),
            Item::Churn => self.churn(),
            Item::Flood(node) if !self.quiet => self.flood(node),
            Item::Flood(_) => {}
            Item::Sweep => {
                self.sweep();
                self.at(self.now + SECOND, Item::Sweep);
            }
        }
    }
}
