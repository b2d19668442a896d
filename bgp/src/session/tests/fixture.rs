//! Two peers, the links between them, and a clock that only the test moves.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::policy::{Policy, Rule, Source, Then};
use crate::rib::{Origin, Route};
use crate::session::{
    Event, FamilyConfig, LocalSpeaker, Peer, PeerConfig, PeerEvent, Role, StateName,
};
use crate::wire::{
    Attributes, DecodeContext, Decoded, EncodeContext, Family, FamilySet, MAX_LEN, Message, Open,
    decode, encode, frame,
};

pub(super) const US: LocalSpeaker =
    LocalSpeaker { router_id: Ipv4Addr::new(192, 0, 2, 1), local_as: 65001 };
pub(super) const THEM: LocalSpeaker =
    LocalSpeaker { router_id: Ipv4Addr::new(192, 0, 2, 2), local_as: 65002 };

pub(super) fn address(of: &LocalSpeaker) -> IpAddr {
    IpAddr::V4(of.router_id)
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The neighbour `remote`, IPv4 with open policies.
pub(super) fn config(remote: &LocalSpeaker) -> PeerConfig {
    let mut export = Policy::all();
    export.rules = vec![Rule { source: Some(Source::Bgp), ..Rule::always(Then::Accept) }];
    let family = FamilyConfig { import: Policy::all(), export, ..FamilyConfig::default() };
    let mut config = PeerConfig::new("peer", address(remote), remote.local_as);
    config.families.insert(Family::IPV4_UNICAST, family);
    config
}

pub(super) fn route(med: u32) -> Route {
    Route {
        origin: Origin::local(),
        attributes: Arc::new(Attributes { med: Some(med), ..Attributes::default() }),
        next_hop: None,
        path_id: 0,
        since: Instant::now(),
    }
}

pub(super) fn bytes(message: &Message) -> Vec<u8> {
    encode(message, &EncodeContext::default()).unwrap().to_vec()
}

/// The OPEN that `THEM` sends.
pub(super) fn their_open() -> Open {
    Open::new(THEM.local_as, 90, THEM.router_id, &[Family::IPV4_UNICAST])
}

/// Messages in a piece of stream.
pub(super) fn messages(mut stream: &[u8]) -> Vec<Decoded> {
    let ctx = DecodeContext { families: FamilySet::ALL, ..DecodeContext::default() };
    let mut found = Vec::new();
    while let Some(message) = frame(stream, MAX_LEN).unwrap() {
        found.push(decode(message, &ctx).unwrap());
        stream = &stream[message.bytes.len()..];
    }
    assert!(stream.is_empty(), "octets that are not a message");
    found
}

/// One peer under test: everything it asked for is recorded.
pub(super) struct Bench {
    pub(super) peer: Peer,
    pub(super) now: Instant,
    pub(super) events: Vec<PeerEvent>,
}

impl Bench {
    pub(super) fn new(config: PeerConfig) -> Self {
        let now = Instant::now();
        let peer = Peer::new(now, US, Arc::new(config), 1);
        Self { peer, now, events: Vec::new() }
    }

    pub(super) fn handle(&mut self, event: Event<'_>) {
        self.peer.handle(self.now, event);
        self.collect();
    }

    pub(super) fn start(&mut self) {
        self.handle(Event::Start);
    }

    pub(super) fn connected(&mut self, role: Role) {
        self.handle(Event::TcpConnected { role, local: address(&US), interface: &[] });
    }

    pub(super) fn receive(&mut self, role: Role, message: &Message) {
        self.handle(Event::Received { role, bytes: &bytes(message) });
    }

    pub(super) fn collect(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.peer.poll_event()));
    }

    /// Moves the clock to the next timer and fires it.
    pub(super) fn fire(&mut self) -> Duration {
        let at = self.peer.poll_timeout().expect("a timer runs");
        let passed = at.duration_since(self.now);
        self.now = at;
        self.peer.handle_timeout(at);
        self.collect();
        passed
    }

    pub(super) fn sent(&mut self, role: Role) -> Vec<Decoded> {
        let stream: Vec<u8> =
            std::iter::from_fn(|| self.peer.poll_transmit(role)).flatten().collect();
        messages(&stream)
    }

    /// (code, subcode) of the NOTIFICATION that was sent last, all else before it ignored.
    pub(super) fn notified(&mut self, role: Role) -> Option<(u8, u8)> {
        match self.sent(role).pop() {
            Some(Decoded::Notification(n)) => Some((n.code.0, n.subcode)),
            _ => None,
        }
    }

    pub(super) fn closed(&self, role: Role) -> bool {
        self.events.iter().any(|event| matches!(event, PeerEvent::Close(closed) if *closed == role))
    }

    pub(super) fn dials(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, PeerEvent::Dial)).count()
    }

    /// Takes the machine to `state` on the connection `role`, and forgets how.
    pub(super) fn at(config: PeerConfig, state: StateName, role: Role) -> Self {
        let mut bench = Self::new(PeerConfig { passive: role == Role::Incoming, ..config });
        if state >= StateName::Active {
            bench.start();
        }
        if state == StateName::Active && role == Role::Outgoing {
            bench.handle(Event::TcpFailed { role, error: "refused" });
        }
        if state >= StateName::OpenSent {
            bench.connected(role);
        }
        if state >= StateName::OpenConfirm {
            bench.receive(role, &Message::Open(their_open()));
        }
        if state >= StateName::Established {
            bench.receive(role, &Message::Keepalive);
        }
        assert_eq!(bench.peer.state(), state);
        let _ = bench.sent(role);
        bench.events.clear();
        bench
    }
}

/// Two peers joined by a network that delivers in pieces.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    /// Octets per delivery.
    pub(super) chunk: usize,
    /// Octets of a connection one way that are not delivered yet at most, as a socket buffer.
    pub(super) window: usize,
    /// Nothing is delivered.
    pub(super) cut: bool,
    /// Whose turn it is, over and over: end (bit 0), acting or carrying (bit 1).
    pub(super) schedule: Vec<u8>,
}

pub(super) struct End {
    pub(super) local: LocalSpeaker,
    pub(super) peer: Peer,
    /// Octets under way to this end, by the role that this end has on the connection.
    inbox: BTreeMap<Role, VecDeque<u8>>,
    /// Connections that stand, by the role of this end.
    open: BTreeMap<Role, bool>,
    /// Reads nothing.
    pub(super) stuck: bool,
    pub(super) log: Vec<PeerEvent>,
    /// What this end announces, told to the peer when a session stands.
    pub(super) routes: BTreeMap<IpNet, Route>,
    /// What this end learned.
    pub(super) learned: BTreeMap<IpNet, Route>,
}

impl End {
    fn new(now: Instant, local: LocalSpeaker, config: PeerConfig, seed: u64) -> Self {
        Self {
            local,
            peer: Peer::new(now, local, Arc::new(config), seed),
            inbox: BTreeMap::new(),
            open: BTreeMap::new(),
            stuck: false,
            log: Vec::new(),
            routes: BTreeMap::new(),
            learned: BTreeMap::new(),
        }
    }

    pub(super) fn announce(&mut self, prefix: &str, med: u32) {
        self.routes.insert(net(prefix), route(med));
        self.peer.export(net(prefix), self.routes.get(&net(prefix)));
    }

    pub(super) fn withdraw(&mut self, prefix: &str) {
        self.routes.remove(&net(prefix));
        self.peer.export(net(prefix), None);
    }

    /// What this end learned, prefix and MED.
    pub(super) fn table(&self) -> Vec<(String, Option<u32>)> {
        let row = |(prefix, route): (&IpNet, &Route)| (prefix.to_string(), route.attributes.med);
        self.learned.iter().map(row).collect()
    }
}

impl Pair {
    pub(super) fn new(ours: PeerConfig, theirs: PeerConfig) -> Self {
        let now = Instant::now();
        let ends = [End::new(now, US, ours, 11), End::new(now, THEM, theirs, 22)];
        Self { now, ends, chunk: 1, window: 4096, cut: false, schedule: vec![0, 2, 1, 3] }
    }

    pub(super) fn start(&mut self) {
        for end in &mut self.ends {
            end.peer.handle(self.now, Event::Start);
        }
        self.settle();
    }

    /// Carries everything out that can be done without time passing.
    pub(super) fn settle(&mut self) {
        let mut turns = self.schedule.clone().into_iter().cycle();
        loop {
            for turn in turns.by_ref().take(16) {
                self.turn(turn);
            }
            let busy: Vec<u8> = (0..4).filter(|turn| self.turn(*turn)).collect();
            if busy.is_empty() {
                return;
            }
        }
    }

    fn turn(&mut self, turn: u8) -> bool {
        let end = usize::from(turn & 1);
        if turn & 2 == 0 { self.act(end) } else { self.carry(end) }
    }

    /// Lets time pass, timer by timer.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(at) =
            self.ends.iter().filter_map(|e| e.peer.poll_timeout()).min().filter(|at| *at <= end)
        {
            self.now = at;
            for end in &mut self.ends {
                end.peer.handle_timeout(at);
            }
            self.settle();
        }
        self.now = end;
    }

    fn act(&mut self, index: usize) -> bool {
        let Some(event) = self.ends[index].peer.poll_event() else { return false };
        self.ends[index].log.push(event.clone());
        match event {
            PeerEvent::Dial => self.dial(index),
            PeerEvent::Close(role) => self.close(index, role),
            PeerEvent::Established => {
                let end = &mut self.ends[index];
                end.peer.export_all(end.routes.iter());
            }
            PeerEvent::Down { retained: true, .. } => {}
            PeerEvent::Down { .. } => self.ends[index].learned.clear(),
            PeerEvent::Learned(prefix, route) => {
                self.ends[index].learned.insert(prefix, route);
            }
            PeerEvent::Unlearned(prefix, _) => {
                assert!(self.ends[index].learned.remove(&prefix).is_some());
            }
            PeerEvent::StateChanged { .. } | PeerEvent::Error(_) => {}
        }
        true
    }

    fn dial(&mut self, index: usize) {
        let now = self.now;
        let (near, far) = self.two(index);
        if far.peer.accepts_incoming() {
            for (end, role) in [(near, Role::Outgoing), (far, Role::Incoming)] {
                end.open.insert(role, true);
                end.inbox.insert(role, VecDeque::new());
                let local = address(&end.local);
                end.peer.handle(now, Event::TcpConnected { role, local, interface: &[] });
            }
        } else {
            let event = Event::TcpFailed { role: Role::Outgoing, error: "Connection refused" };
            near.peer.handle(now, event);
        }
    }

    fn close(&mut self, index: usize, role: Role) {
        let cut = self.cut;
        let (near, far) = self.two(index);
        if near.open.remove(&role).is_none() {
            return;
        }
        let rest: Vec<u8> =
            std::iter::from_fn(|| near.peer.poll_transmit(role)).flatten().collect();
        if !cut {
            far.inbox.entry(role.other()).or_default().extend(rest);
        }
        // The far end reads what is under way before it sees the end.
        far.open.insert(role.other(), false);
    }

    /// Moves octets from one end to the other.
    fn carry(&mut self, index: usize) -> bool {
        let (now, chunk, window, cut) = (self.now, self.chunk, self.window, self.cut);
        let (near, far) = self.two(index);
        let mut busy = false;
        for role in Role::ALL {
            if near.open.get(&role) == Some(&true) {
                let inbox = far.inbox.entry(role.other()).or_default();
                while inbox.len() < window {
                    let Some(bytes) = near.peer.poll_transmit(role) else { break };
                    inbox.extend(bytes);
                    near.peer.handle(now, Event::Sent { role });
                    busy = true;
                }
            }
            let Some(inbox) = near.inbox.get_mut(&role) else { continue };
            if near.stuck || cut {
                continue;
            }
            let piece: Vec<u8> = inbox.drain(..chunk.min(inbox.len())).collect();
            if !piece.is_empty() {
                near.peer.handle(now, Event::Received { role, bytes: &piece });
                busy = true;
            } else if near.open.get(&role) == Some(&false) {
                near.open.remove(&role);
                near.peer.handle(now, Event::TcpFailed { role, error: "Connection closed" });
                busy = true;
            }
        }
        busy
    }

    fn two(&mut self, index: usize) -> (&mut End, &mut End) {
        let [first, second] = &mut self.ends;
        if index == 0 { (first, second) } else { (second, first) }
    }
}
