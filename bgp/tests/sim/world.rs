//! The speakers, the clock that only the queue of events moves, and what a driver does for its peers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vc5_bgp::rib::{LocRib, Route};
use vc5_bgp::session::{Event, LocalSpeaker, Peer, PeerConfig, PeerEvent, Role};

use super::network::{Conn, role, side};
use super::rng::Rng;
use super::stats::Stats;

/// A speaker: what its owner announces, what it learned, its neighbours.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) local: LocalSpeaker,
    pub(crate) address: IpAddr,
    pub(crate) companion: Ipv6Addr,
    pub(crate) interface: [IpNet; 2],
    pub(crate) ends: Vec<usize>,
    pub(crate) rib: LocRib,
    /// What the owner announces.
    pub(crate) own: BTreeMap<IpNet, Route>,
    /// How often the owner changed its mind about a prefix.
    pub(crate) versions: BTreeMap<IpNet, u32>,
    /// Best routes that the neighbours do not know of yet.
    changed: BTreeSet<IpNet>,
    /// The process does nothing before.
    pub(crate) hung_until: Duration,
    /// Connections that the kernel accepted for it.
    pub(crate) backlog: Vec<usize>,
}

/// One end of a pair: a [`Peer`] and its driver. The other end is at the index with the lowest bit
/// turned over.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) peer: Peer,
    pub(crate) config: Arc<PeerConfig>,
    pub(crate) enabled: bool,
    /// By role: the connection that stands.
    pub(crate) links: [Option<usize>; 2],
    pub(crate) dialing: Option<usize>,
    /// When a session stood up; `None` without one.
    pub(crate) up: Option<Duration>,
    pub(crate) timer_at: Option<Duration>,
    /// Timeouts and dials within one second.
    second: u64,
    timeouts: u32,
    dials: u32,
}

/// A pair whose neighbour cannot be reached.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reach {
    pub(crate) refused_until: Duration,
    pub(crate) black_hole_until: Duration,
    pub(crate) late_until: Duration,
    pub(crate) silent_until: Duration,
}

/// What waits for its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Timer(usize),
    /// A connection request reaches the other host.
    Syn(usize),
    /// The answer reaches the one that dialled.
    SynAck(usize),
    /// An attempt to connect is answered by a refusal.
    Refused(usize),
    /// The next segment that this side sent arrives.
    Arrive(usize, usize),
    /// This side may read again.
    Read(usize, usize),
    /// This side may write again.
    Write(usize, usize),
    /// A reset reaches this side.
    Reset(usize, usize),
    /// A KEEPALIVE in the name of this side, whose process hangs; how many more follow.
    Feed(usize, usize, u32),
    /// The process of this node goes on.
    Thaw(usize),
    /// An end is started.
    Start(usize),
    Mischief,
    Churn,
    /// Many routes of this node change.
    Flood(usize),
    Sweep,
    /// A withdrawal must have arrived.
    Deadline(Deadline),
}

/// By when `end` must have heard of a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline {
    pub(crate) end: usize,
    pub(crate) conn: usize,
    pub(crate) disturbed: u32,
    pub(crate) prefix: IpNet,
    pub(crate) version: u32,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Duration,
    base: Instant,
    queue: BinaryHeap<Reverse<(Duration, u64, Item)>>,
    sequence: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) ends: Vec<End>,
    pub(crate) reach: Vec<Reach>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) stats: Stats,
    /// No faults any more.
    pub(crate) quiet: bool,
    pub(crate) serial: u16,
    pub(crate) trace: Option<Vec<String>>,
}

/// The most timeouts and dials of one end in one second.
const TIMEOUTS_PER_SECOND: u32 = 40;
const DIALS_PER_SECOND: u32 = 25;

/// Adds a line to the trace, if there is one.
macro_rules! trace {
    ($world:expr, $($part:tt)*) => {
        if $world.trace.is_some() {
            $world.note(format!($($part)*));
        }
    };
}
pub(crate) use trace;

impl World {
    pub(crate) fn new(rng: Rng, trace: bool) -> Self {
        Self {
            rng,
            now: Duration::ZERO,
            base: Instant::now(),
            queue: BinaryHeap::new(),
            sequence: 0,
            nodes: Vec::new(),
            ends: Vec::new(),
            reach: Vec::new(),
            conns: Vec::new(),
            stats: Stats { seeds: 1, ..Stats::default() },
            quiet: false,
            serial: 0,
            trace: trace.then(Vec::new),
        }
    }

    pub(crate) fn note(&mut self, line: String) {
        let line = format!("{:12.6} {line}", self.now.as_secs_f64());
        if let Some(trace) = &mut self.trace {
            trace.push(line);
        }
    }

    pub(crate) fn add_node(&mut self, local: LocalSpeaker, index: u8) {
        let address = IpAddr::from([10, 0, 0, index + 1]);
        let companion = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(index) + 1);
        let subnet = |address, length| IpNet::new(address, length).unwrap();
        self.nodes.push(Node {
            local,
            address,
            companion,
            interface: [subnet(address, 24), subnet(companion.into(), 64)],
            ends: Vec::new(),
            rib: LocRib::default(),
            own: BTreeMap::new(),
            versions: BTreeMap::new(),
            changed: BTreeSet::new(),
            hung_until: Duration::ZERO,
            backlog: Vec::new(),
        });
    }

    pub(crate) fn add_pair(&mut self, configs: [(usize, PeerConfig); 2]) {
        for (node, config) in configs {
            let config = Arc::new(config);
            let peer = self.new_peer(node, &config);
            self.nodes[node].ends.push(self.ends.len());
            self.ends.push(End {
                node,
                peer,
                config,
                enabled: false,
                links: [None, None],
                dialing: None,
                up: None,
                timer_at: None,
                second: 0,
                timeouts: 0,
                dials: 0,
            });
        }
        self.reach.push(Reach::default());
    }

    pub(crate) fn new_peer(&mut self, node: usize, config: &Arc<PeerConfig>) -> Peer {
        let seed = self.rng.next();
        Peer::new(self.instant(), self.nodes[node].local, config.clone(), seed)
    }

    pub(crate) fn instant(&self) -> Instant {
        self.base + self.now
    }

    pub(crate) fn at(&mut self, at: Duration, item: Item) {
        self.sequence += 1;
        self.queue.push(Reverse((at.max(self.now), self.sequence, item)));
    }

    /// The next thing that happens up to `end`.
    pub(crate) fn next(&mut self, end: Duration) -> Option<Item> {
        let Reverse((at, ..)) = self.queue.peek()?;
        if *at > end {
            return None;
        }
        let Reverse((at, _, item)) = self.queue.pop()?;
        self.now = at;
        self.stats.events += 1;
        Some(item)
    }

    pub(crate) fn name(&self, end: usize) -> String {
        format!("{}>{}", self.ends[end].node, self.ends[end ^ 1].node)
    }

    pub(crate) fn hung(&self, node: usize) -> bool {
        self.nodes[node].hung_until > self.now
    }

    /// Hands an event to a peer and does all that follows from it at once.
    pub(crate) fn drive(&mut self, end: usize, event: Event<'_>) {
        let now = self.instant();
        self.ends[end].peer.handle(now, event);
        self.settle(end);
    }

    /// Does what a peer asks for, then lets the other peers of its speaker know of changed routes.
    pub(crate) fn settle(&mut self, end: usize) {
        self.settle_alone(end);
        let node = self.ends[end].node;
        self.propagate(node);
    }

    fn settle_alone(&mut self, end: usize) {
        loop {
            while let Some(event) = self.ends[end].peer.poll_event() {
                self.obey(end, event);
            }
            if !self.pump(end) {
                break;
            }
        }
        self.schedule(end);
    }

    fn obey(&mut self, end: usize, event: PeerEvent) {
        match event {
            PeerEvent::Dial => {
                self.ends[end].dials += 1;
                self.dial(end);
            }
            PeerEvent::Close(role) => self.close(end, role),
            PeerEvent::StateChanged { from, to } => {
                trace!(self, "{} {from} -> {to}", self.name(end));
            }
            PeerEvent::Established => self.established(end),
            PeerEvent::Down { reason, retained } => {
                trace!(self, "{} down: {reason:?}", self.name(end));
                assert!(
                    self.ends[end].up.take().is_some(),
                    "{}: Down without a session",
                    self.name(end)
                );
                if !retained {
                    self.unlearn(end);
                }
            }
            PeerEvent::Error(reason) => trace!(self, "{} {reason}", self.name(end)),
            PeerEvent::Learned(prefix, route) => {
                trace!(self, "{} learned {prefix}", self.name(end));
                assert!(self.ends[end].up.is_some(), "{}: a route without session", self.name(end));
                let node = &mut self.nodes[self.ends[end].node];
                if node.rib.insert(prefix, route) {
                    node.changed.insert(prefix);
                }
            }
            PeerEvent::Unlearned(prefix, path_id) => {
                trace!(self, "{} unlearned {prefix}", self.name(end));
                let name = self.ends[end].config.name.clone();
                let node = &mut self.nodes[self.ends[end].node];
                if node.rib.remove(&prefix, Some(&name), path_id) {
                    node.changed.insert(prefix);
                }
            }
        }
    }

    fn established(&mut self, end: usize) {
        self.stats.established += 1;
        assert!(
            self.ends[end].up.is_none(),
            "{}: two Established connections for one pair",
            self.name(end)
        );
        self.ends[end].up = Some(self.now);
        let peer = &self.ends[end].peer;
        if let (Some(role), Some(session)) = (peer.session_role(), peer.session())
            && let Some(id) = self.ends[end].links[side(role)]
        {
            self.conns[id].hold[side(role)] = session.negotiated.hold_time;
        }
        self.export_all(end);
    }

    /// Tells a peer all best routes.
    pub(crate) fn export_all(&mut self, end: usize) {
        let End { node, peer, .. } = &mut self.ends[end];
        peer.export_all(self.nodes[*node].rib.iter_best_from(Bound::Unbounded));
    }

    fn unlearn(&mut self, end: usize) {
        let node = &mut self.nodes[self.ends[end].node];
        let name = &self.ends[end].config.name;
        let mut from = Bound::Unbounded;
        loop {
            let (changed, next) = node.rib.remove_peer(name, from, 16);
            node.changed.extend(changed);
            match next {
                Some(last) => from = Bound::Excluded(last),
                None => return,
            }
        }
    }

    /// Sets or removes one of a speaker's own routes.
    pub(crate) fn announce(&mut self, node: usize, prefix: IpNet, route: Option<Route>) {
        let node = &mut self.nodes[node];
        *node.versions.entry(prefix).or_default() += 1;
        let changed = match route {
            Some(route) => {
                node.own.insert(prefix, route.clone());
                node.rib.insert(prefix, route)
            }
            None => {
                node.own.remove(&prefix);
                node.rib.remove(&prefix, None, 0)
            }
        };
        if changed {
            node.changed.insert(prefix);
        }
    }

    /// Brings changed best routes before all peers of a speaker.
    pub(crate) fn propagate(&mut self, node: usize) {
        while !self.nodes[node].changed.is_empty() {
            let changed = std::mem::take(&mut self.nodes[node].changed);
            for index in 0..self.nodes[node].ends.len() {
                let end = self.nodes[node].ends[index];
                if self.ends[end].up.is_none() {
                    continue;
                }
                for prefix in &changed {
                    let best = self.nodes[node].rib.best(prefix);
                    self.ends[end].peer.export(*prefix, best);
                }
                self.settle_alone(end);
            }
        }
    }

    /// Sees to it that a peer's timer is looked after in time.
    fn schedule(&mut self, end: usize) {
        let next = self.ends[end].peer.poll_timeout();
        let next = next.map(|at| at.saturating_duration_since(self.base).max(self.now));
        if next.is_some() && next != self.ends[end].timer_at {
            self.ends[end].timer_at = next;
            self.at(next.unwrap_or_default(), Item::Timer(end));
        } else if next.is_none() {
            self.ends[end].timer_at = None;
        }
    }

    /// Fires what is due; an older timer that was moved meanwhile is not.
    pub(crate) fn timer(&mut self, end: usize) {
        if self.ends[end].timer_at != Some(self.now) || self.hung(self.ends[end].node) {
            return;
        }
        self.fire(end);
    }

    pub(crate) fn fire(&mut self, end: usize) {
        self.ends[end].timer_at = None;
        let now = self.instant();
        self.ends[end].peer.handle_timeout(now);
        let next = self.ends[end].peer.poll_timeout();
        assert!(
            next.is_none_or(|at| at > now),
            "{}: after handle_timeout a timer is still due",
            self.name(end)
        );
        self.count_timeout(end);
        self.settle(end);
    }

    fn count_timeout(&mut self, end: usize) {
        self.stats.timeouts += 1;
        let second = self.now.as_secs();
        let state = &mut self.ends[end];
        if state.second != second {
            (state.second, state.timeouts, state.dials) = (second, 0, 0);
        }
        state.timeouts += 1;
        let (timeouts, dials) = (state.timeouts, state.dials);
        assert!(
            timeouts <= TIMEOUTS_PER_SECOND && dials <= DIALS_PER_SECOND,
            "{}: {timeouts} timeouts and {dials} dials in one second",
            self.name(end)
        );
    }

    /// The end at a side of a connection, and its role there, if its application has it.
    pub(crate) fn holder(&self, conn: usize, side: usize) -> Option<(usize, Role)> {
        let known = &self.conns[conn];
        known.up[side].then(|| (known.ends[side], role(side)))
    }
}
