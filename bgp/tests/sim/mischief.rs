//! What goes wrong, and what administrators do meanwhile.

use std::sync::Arc;
use std::time::Duration;

use vc5_bgp::rib::LocRib;
use vc5_bgp::session::{Event, PeerConfig, StopCause};
use vc5_bgp::wire::Family;

use super::garbage::{self, Sender};
use super::stats::Fault;
use super::tap::Injection;
use super::world::{Item, World, trace};

const KINDS: [Fault; 25] = [
    Fault::Cut,
    Fault::HalfOpenReset,
    Fault::HalfOpenSilent,
    Fault::Refused,
    Fault::BlackHoledConnect,
    Fault::LateConnect,
    Fault::SilentAcceptor,
    Fault::SlowReader,
    Fault::StuckReader,
    Fault::Stall,
    Fault::HungProcess,
    Fault::HungReader,
    Fault::SimultaneousConnect,
    Fault::BitFlip,
    Fault::RandomOctets,
    Fault::BadHeader,
    Fault::BadOpen,
    Fault::BadUpdate,
    Fault::TreatAsWithdraw,
    Fault::WrongTime,
    Fault::ForeignNotification,
    Fault::Disable,
    Fault::AdminRestart,
    Fault::ConfigRestart,
    Fault::ConfigInPlace,
];

impl World {
    /// One random fault, if the state of things allows one of a few.
    pub(crate) fn mischief(&mut self) {
        if self.rng.percent(4) {
            let node = self.rng.below(self.nodes.len());
            self.restart_process(node);
            return;
        }
        for _ in 0..6 {
            let kind = self.rng.pick(&KINDS);
            if self.attempt(kind) {
                return;
            }
        }
    }

    fn attempt(&mut self, kind: Fault) -> bool {
        match kind {
            Fault::Refused
            | Fault::BlackHoledConnect
            | Fault::LateConnect
            | Fault::SilentAcceptor => self.unreachable(kind),
            Fault::HungProcess => {
                let node = self.rng.below(self.nodes.len());
                let time = self.rng.millis(500, 15_000);
                self.hang(node, time)
            }
            Fault::SimultaneousConnect
            | Fault::Disable
            | Fault::AdminRestart
            | Fault::ConfigRestart
            | Fault::ConfigInPlace => self.administer(kind),
            _ => {
                let standing: Vec<usize> =
                    (0..self.conns.len()).filter(|id| self.conns[*id].whole()).collect();
                if standing.is_empty() {
                    return false;
                }
                let (id, at) = (self.rng.pick(&standing), self.rng.below(2));
                self.interfere(kind, id, at)
            }
        }
    }

    /// The next attempts to connect within a pair meet with no success, each end on its own.
    fn unreachable(&mut self, kind: Fault) -> bool {
        let pair = self.rng.below(self.reach.len());
        let until = self.now + self.rng.millis(500, 12_000);
        trace!(self, "pair {pair}: {kind:?} until {until:?}");
        let reach = &mut self.reach[pair];
        match kind {
            Fault::Refused => reach.refused_until = until,
            Fault::BlackHoledConnect => reach.black_hole_until = until,
            Fault::LateConnect => reach.late_until = until,
            _ => reach.silent_until = until,
        }
        // Without a session there is something to connect for.
        if let Some(id) =
            self.ends[2 * pair].links.iter().chain(&self.ends[2 * pair + 1].links).flatten().next()
        {
            let id = *id;
            self.cut(id);
        }
        true
    }

    fn cut(&mut self, id: usize) {
        self.conns[id].disturbed += 1;
        self.stats.fault(Fault::Cut);
        self.send_reset(id, 0);
        self.send_reset(id, 1);
    }

    /// The process of a node does nothing for a while; its kernel goes on.
    fn hang(&mut self, node: usize, time: Duration) -> bool {
        if self.hung(node) {
            return false;
        }
        trace!(self, "node {node} hangs for {time:?}");
        self.stats.fault(Fault::HungProcess);
        self.nodes[node].hung_until = self.now + time;
        self.at(self.now + time, Item::Thaw(node));
        for conn in &mut self.conns {
            if conn.ends.iter().any(|end| self.ends[*end].node == node) {
                conn.disturbed += 1;
            }
        }
        true
    }

    /// A fault of a connection that stands, at one of its sides.
    fn interfere(&mut self, kind: Fault, id: usize, at: usize) -> bool {
        let (end, now) = (self.conns[id].ends[at], self.now);
        if self.hung(self.ends[end].node) {
            return false;
        }
        trace!(self, "{kind:?} at {}", self.side_name(id, at));
        match kind {
            Fault::Cut => {
                self.cut(id);
                return true;
            }
            Fault::HalfOpenReset | Fault::HalfOpenSilent => {
                self.forget(id, at, kind == Fault::HalfOpenReset);
                self.lost(id, at, "No route to host");
            }
            Fault::SlowReader => {
                let wait = self.rng.millis(20, 400);
                self.conns[id].pipes[1 - at].drip = Some((self.rng.between(1, 60), wait));
            }
            Fault::StuckReader => {
                let until = now + self.rng.millis(1000, 25_000);
                let pipe = &mut self.conns[id].pipes[1 - at];
                pipe.unread_until = until;
                pipe.window = pipe.window.min(512);
                self.at(until, Item::Read(id, 1 - at));
                // What waits for the one that does not read is to change while it waits.
                let sender = self.ends[end ^ 1].node;
                for _ in 0..self.rng.between(0, 4) {
                    let soon = now + self.rng.millis(0, 2500);
                    self.at(soon, Item::Flood(sender));
                }
            }
            Fault::Stall => {
                let until = now + self.rng.millis(200, 12_000);
                self.conns[id].pipes[at].stalled_until = until;
            }
            Fault::HungReader => return self.hang_reader(id, at),
            Fault::BitFlip => {
                // Counted when it happens.
                self.conns[id].flips[at] = Some(0);
                return true;
            }
            _ => {
                let Some(injection) = self.garbage(kind, end) else { return false };
                self.inject(id, at, 0, injection);
                self.settle(end);
                return true;
            }
        }
        self.conns[id].disturbed += 1;
        self.stats.fault(kind);
        true
    }

    /// The other side's process hangs while something in it still sends KEEPALIVEs: only the send
    /// hold timer (RFC 9687) helps.
    fn hang_reader(&mut self, id: usize, at: usize) -> bool {
        let (hold, other) = (self.conns[id].hold[at], self.conns[id].ends[1 - at]);
        if hold.is_zero() || hold > Duration::from_secs(9) {
            return false;
        }
        let time = 2 * hold + Duration::from_secs(3);
        let node = self.ends[other].node;
        if !self.hang(node, time) {
            return false;
        }
        self.stats.fault(Fault::HungReader);
        self.conns[id].pipes[at].window = 0;
        self.at(self.now, Item::Feed(id, 1 - at, 10));
        true
    }

    fn garbage(&mut self, kind: Fault, end: usize) -> Option<Injection> {
        let sender = self.sender(end);
        let both = [end, end ^ 1];
        let family = |end: &usize| {
            let end = &self.ends[*end];
            end.config.families.contains_key(&Family::IPV4_UNICAST)
        };
        let rng = &mut self.rng.clone();
        self.rng.next();
        Some(match kind {
            Fault::RandomOctets => garbage::random_octets(rng),
            Fault::BadHeader => garbage::bad_header(rng),
            Fault::BadOpen => garbage::bad_open(rng, sender),
            Fault::BadUpdate => garbage::bad_update(rng, sender),
            Fault::TreatAsWithdraw if both.iter().all(family) => {
                garbage::treat_as_withdraw(rng, sender)
            }
            Fault::TreatAsWithdraw => return None,
            Fault::WrongTime => garbage::wrong_time(rng, sender),
            _ => garbage::notification(rng),
        })
    }

    fn sender(&mut self, end: usize) -> Sender {
        self.serial += 1;
        let node = &self.nodes[self.ends[end].node];
        Sender {
            asn: node.local.local_as,
            identifier: node.local.router_id,
            address: node.address,
            external: self.ends[end].config.neighbor_as != node.local.local_as,
            serial: self.serial,
        }
    }

    /// Throws octets in after `after` messages of a side, or as soon as possible.
    fn inject(&mut self, id: usize, at: usize, after: u64, injection: Injection) {
        self.conns[id].injections.push((at, after, injection));
        if self.conns[id].sent[at].messages > 0 {
            self.inject_due(id, at);
        }
    }

    /// Whatever has its place at this point of the stream.
    pub(crate) fn inject_due(&mut self, id: usize, at: usize) {
        let conn = &mut self.conns[id];
        let sent = conn.sent[at].messages;
        while let Some(index) =
            conn.injections.iter().position(|(side, after, _)| *side == at && *after <= sent)
        {
            let (_, _, injection) = conn.injections.remove(index);
            let open = injection.octets.get(18) == Some(&1);
            conn.tainted |= injection.fault == Fault::RandomOctets
                || injection.fault == Fault::WrongTime && open;
            conn.disturbed += 1;
            conn.pipes[at].out.extend_from_slice(&injection.octets);
            conn.taps[1 - at].expect(&injection.crafted);
            self.stats.fault(injection.fault);
        }
    }

    /// A new connection may have its trouble laid in its cradle, so that all states see some.
    pub(crate) fn prepare_mischief(&mut self, id: usize) {
        if self.quiet {
            return;
        }
        if self.rng.percent(12) {
            let at = self.rng.below(2);
            let kind = self.rng.pick(&[
                Fault::RandomOctets,
                Fault::BadHeader,
                Fault::BadOpen,
                Fault::BadOpen,
                Fault::BadUpdate,
                Fault::WrongTime,
                Fault::WrongTime,
                Fault::ForeignNotification,
            ]);
            let after = self.rng.pick(&[0, 0, 1, 1, 2, 4]);
            if let Some(injection) = self.garbage(kind, self.conns[id].ends[at]) {
                self.conns[id].injections.push((at, after, injection));
            }
        }
        if self.rng.percent(5) {
            let (at, after) = (self.rng.below(2), self.rng.below(5));
            self.conns[id].flips[at] = Some(after as u64);
        }
    }

    fn administer(&mut self, kind: Fault) -> bool {
        let end = self.rng.below(self.ends.len());
        let both = [end, end ^ 1].map(|end| self.hung(self.ends[end].node));
        if both[0] || both[1] && kind == Fault::SimultaneousConnect || !self.ends[end].enabled {
            return false;
        }
        trace!(self, "{kind:?} of {}", self.name(end));
        match kind {
            Fault::Disable => {
                self.disable(end);
                let again = self.now + self.rng.millis(100, 8000);
                self.at(again, Item::Start(end));
            }
            Fault::AdminRestart => self.restart(end),
            Fault::SimultaneousConnect => {
                let other = end ^ 1;
                if !self.ends[other].enabled {
                    return false;
                }
                self.restart(end);
                self.restart(other);
                self.stats.fault(kind);
                return true;
            }
            Fault::ConfigRestart => {
                let mut config = PeerConfig::clone(&self.ends[end].config);
                let seconds = self.rng.pick(&[3, 6, 9, 20]);
                if config.hold_time == Duration::from_secs(seconds) {
                    return false;
                }
                config.hold_time = Duration::from_secs(seconds);
                self.reconfigure(end, config);
            }
            _ => {
                let mut config = PeerConfig::clone(&self.ends[end].config);
                let local_as = self.nodes[self.ends[end].node].local.local_as;
                self.change_policies(local_as, &mut config);
                self.reconfigure(end, config);
            }
        }
        self.stats.fault(kind);
        true
    }

    pub(crate) fn disable(&mut self, end: usize) {
        self.ends[end].enabled = false;
        let cause = self.rng.pick(&[StopCause::Shutdown, StopCause::Deconfigured]);
        self.drive(end, Event::Stop { cause, message: Some("so long") });
        assert_eq!(self.ends[end].peer.poll_timeout(), None, "{}: stopped", self.name(end));
    }

    pub(crate) fn start(&mut self, end: usize) {
        self.stats.fault(Fault::Enable);
        trace!(self, "{} starts", self.name(end));
        self.ends[end].enabled = true;
        self.drive(end, Event::Start);
    }

    pub(crate) fn restart(&mut self, end: usize) {
        self.drive(end, Event::Stop { cause: StopCause::Reset, message: None });
        self.drive(end, Event::Start);
    }

    fn reconfigure(&mut self, end: usize, config: PeerConfig) {
        let now = self.instant();
        let config = Arc::new(config);
        self.ends[end].config = config.clone();
        let restarted = self.ends[end].peer.reconfigure(now, config);
        if !restarted {
            self.export_all(end);
        }
        self.settle(end);
    }

    /// A speaker's process dies and comes back: its neighbours hear of it from its kernel.
    fn restart_process(&mut self, node: usize) {
        if self.hung(node) {
            return;
        }
        trace!(self, "node {node} dies and comes back");
        self.stats.fault(Fault::ProcessRestart);
        let own = self.nodes[node].own.clone();
        let mut rib = LocRib::default();
        for (prefix, route) in own {
            rib.insert(prefix, route);
        }
        self.nodes[node].rib = rib;
        for end in self.nodes[node].ends.clone() {
            for link in std::mem::take(&mut self.ends[end].links).into_iter().flatten() {
                let at = usize::from(self.conns[link].ends[0] != end);
                self.conns[link].up[at] = false;
                self.forget(link, at, true);
            }
            let config = self.ends[end].config.clone();
            let peer = self.new_peer(node, &config);
            let state = &mut self.ends[end];
            (state.peer, state.dialing, state.up) = (peer, None, None);
            state.timer_at = None;
            if state.enabled {
                self.drive(end, Event::Start);
            }
        }
    }
}
