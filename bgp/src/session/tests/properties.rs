//! Whatever happens, the machine does not panic and stays consistent.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::fixture::*;
use crate::session::{Event, PeerConfig, PeerEvent, Role, StateName, StopCause};
use crate::wire::{
    AsPath, Attributes, Capability, ErrorCode, Family, GracefulRestart, Message, Notification,
    RestartFamily, RouteRefresh, Update,
};

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop,
    Connected(Role),
    Failed(Role),
    Message(Role, usize),
    /// All that makes a session, with that OPEN, and a route.
    Establish(Role, usize),
    /// A message with one octet changed.
    Broken(Role, usize, prop::sample::Index, u8),
    Octets(Role, Vec<u8>),
    Sent(Role),
    Transmit(Role),
    Wait(u64),
    Fire,
    Export(u8, Option<u32>),
    Reconfigure(bool),
}

fn some_messages() -> Vec<Message> {
    let update = Update {
        attributes: Attributes {
            as_path: AsPath::sequence([THEM.local_as]),
            next_hop: Some(THEM.router_id),
            ..Attributes::default()
        },
        nlri: vec!["198.51.100.0/24".parse().unwrap()],
        ..Update::default()
    };
    let more = Update { nlri: vec!["203.0.113.0/24".parse().unwrap()], ..update.clone() };
    let restart = GracefulRestart {
        notification: true,
        restart_time: Duration::from_secs(40),
        families: vec![RestartFamily { family: Family::IPV4_UNICAST, forwarding: true }],
        ..GracefulRestart::default()
    };
    let mut preserving = their_open();
    preserving.capabilities.push(Capability::GracefulRestart(restart));
    vec![
        Message::Open(preserving),
        Message::Keepalive,
        Message::Update(update),
        Message::Update(more),
        Message::Update(Update::end_of_rib(Family::IPV4_UNICAST)),
        Message::Open(their_open()),
        Message::RouteRefresh(RouteRefresh::request(Family::IPV4_UNICAST)),
        Message::Notification(Notification::cease(7)),
        Message::Notification(Notification::new(ErrorCode::OPEN_MESSAGE, 4)),
    ]
}

/// The places of some of them.
const OPENS: [usize; 3] = [0, 0, 5];
const KEEPALIVE: usize = 1;
const UPDATE: usize = 2;

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(&Role::ALL[..])
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = some_messages().len();
    let octets = prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        2 => Just(Step::Start),
        1 => Just(Step::Stop),
        4 => role().prop_map(Step::Connected),
        1 => role().prop_map(Step::Failed),
        // OPEN and KEEPALIVE more often, to get far.
        6 => (role(), 0..2usize).prop_map(|(role, kind)| Step::Message(role, kind)),
        3 => (role(), 0..kinds).prop_map(|(role, kind)| Step::Message(role, kind)),
        2 => (role(), prop::sample::select(&OPENS[..]))
            .prop_map(|(role, open)| Step::Establish(role, open)),
        1 => (role(), 0..kinds, any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(role, kind, at, octet)| Step::Broken(role, kind, at, octet)),
        1 => (role(), octets).prop_map(|(role, octets)| Step::Octets(role, octets)),
        1 => role().prop_map(Step::Sent),
        2 => role().prop_map(Step::Transmit),
        1 => (0..30_000u64).prop_map(Step::Wait),
        1 => Just(Step::Fire),
        1 => (any::<u8>(), prop::option::of(0..3u32)).prop_map(|(n, med)| Step::Export(n, med)),
        1 => any::<bool>().prop_map(Step::Reconfigure),
    ]
}

fn take(bench: &mut Bench, step: Step) {
    match step {
        Step::Start => bench.start(),
        Step::Stop => bench.handle(Event::Stop { cause: StopCause::Shutdown, message: None }),
        Step::Connected(role) => bench.connected(role),
        Step::Failed(role) => bench.handle(Event::TcpFailed { role, error: "x" }),
        Step::Message(role, kind) => bench.receive(role, &some_messages()[kind]),
        Step::Establish(role, open) => {
            bench.connected(role);
            for kind in [open, KEEPALIVE, UPDATE] {
                bench.receive(role, &some_messages()[kind]);
            }
        }
        Step::Broken(role, kind, at, octet) => {
            let mut message = bytes(&some_messages()[kind]);
            let at = at.index(message.len());
            message[at] = octet;
            bench.handle(Event::Received { role, bytes: &message });
        }
        Step::Octets(role, octets) => bench.handle(Event::Received { role, bytes: &octets }),
        Step::Sent(role) => bench.handle(Event::Sent { role }),
        Step::Transmit(role) => {
            // Whatever is sent is whole messages.
            let _ = bench.sent(role);
        }
        Step::Wait(milliseconds) => {
            bench.now += Duration::from_millis(milliseconds);
            bench.peer.handle_timeout(bench.now);
            bench.collect();
        }
        Step::Fire => {
            if bench.peer.poll_timeout().is_some_and(|at| at >= bench.now) {
                bench.fire();
            }
        }
        Step::Export(last, med) => {
            let route = med.map(route);
            bench.peer.export(net(&format!("192.0.2.{last}/32")), route.as_ref());
        }
        Step::Reconfigure(long) => {
            let hold_time = Duration::from_secs(if long { 30 } else { 9 });
            let config = PeerConfig { hold_time, ..config(&THEM) };
            bench.peer.reconfigure(bench.now, config.into());
            bench.collect();
        }
    }
}

/// Replays the events: state changes join up, sessions come and go in turn, routes are learned in one
/// and gone with it, but for those that stay while the neighbour restarts.
fn check_events(bench: &Bench) -> Result<(), TestCaseError> {
    let mut state = StateName::Idle;
    let mut session = false;
    let mut learned = BTreeSet::new();
    for event in &bench.events {
        match event {
            PeerEvent::StateChanged { from, to } => {
                prop_assert_eq!(*from, state);
                prop_assert_ne!(from, to);
                state = *to;
            }
            PeerEvent::Established => prop_assert!(!std::mem::replace(&mut session, true)),
            PeerEvent::Down { retained, .. } => {
                prop_assert!(std::mem::replace(&mut session, false));
                learned.retain(|_| *retained);
            }
            PeerEvent::Learned(prefix, _) => {
                prop_assert!(session);
                learned.insert(*prefix);
            }
            PeerEvent::Unlearned(prefix, _) => prop_assert!(learned.remove(prefix)),
            PeerEvent::Dial | PeerEvent::Close(_) | PeerEvent::Error(_) => {}
        }
    }
    prop_assert_eq!(state, bench.peer.state());
    prop_assert_eq!(session, bench.peer.session().is_some());
    prop_assert!(!session || bench.peer.retained().next().is_none());
    let channels = bench.peer.session().into_iter().flat_map(|session| session.channels.values());
    let held = channels.flat_map(|channel| channel.adj_in.iter()).chain(bench.peer.retained());
    prop_assert_eq!(learned, held.map(|((prefix, _), _)| *prefix).collect());
    let counters = bench.peer.counters();
    prop_assert_eq!(counters.established - counters.dropped, u64::from(session));
    Ok(())
}

fn check_state(bench: &Bench) -> Result<(), TestCaseError> {
    let peer = &bench.peer;
    prop_assert_eq!(peer.state() == StateName::Established, peer.session().is_some());
    if !peer.is_running() {
        prop_assert_eq!(peer.state(), StateName::Idle);
        prop_assert_eq!(peer.poll_timeout(), None);
    } else if peer.state() == StateName::Idle {
        prop_assert!(peer.idle_hold().is_some(), "a peer that runs comes back by itself");
    } else {
        prop_assert!(peer.idle_hold().is_none());
        // Passive or not, something ends every state but Established without hold time.
        prop_assert!(peer.poll_timeout().is_some());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_a_consistent_machine(steps in prop::collection::vec(step(), 0..120)) {
        let mut bench = Bench::new(config(&THEM));
        for step in steps {
            take(&mut bench, step);
            check_state(&bench)?;
            check_events(&bench)?;
        }
    }

    #[test]
    fn any_octets_in_any_state(
        state in prop::sample::select(vec![
            StateName::Idle, StateName::Connect, StateName::Active,
            StateName::OpenSent, StateName::OpenConfirm, StateName::Established,
        ]),
        octets in prop::collection::vec(any::<u8>(), 0..300),
        header in any::<bool>(),
    ) {
        let mut bench = Bench::at(config(&THEM), state, Role::Outgoing);
        let mut stream = if header { vec![0xFF; 16] } else { Vec::new() };
        stream.extend(octets);
        for piece in stream.chunks(7) {
            bench.handle(Event::Received { role: Role::Outgoing, bytes: piece });
        }
        check_state(&bench)?;
    }

    #[test]
    fn pieces_do_not_matter(seed in any::<u16>(), chunk in 1..64usize) {
        let mut pair = Pair::new(config(&THEM), PeerConfig { passive: true, ..config(&US) });
        pair.chunk = chunk;
        for last in 0..(seed % 40) {
            pair.ends[0].announce(&format!("198.51.100.{last}/32"), u32::from(last % 3));
        }
        pair.start();
        prop_assert_eq!(pair.ends[1].learned.len(), usize::from(seed % 40));
    }

    #[test]
    fn two_that_dial_each_other_come_together(
        schedule in prop::collection::vec(0..4u8, 1..40),
        chunk in 1..64usize,
        equal_id in any::<bool>(),
        delay in 0..2000u64,
    ) {
        let them = if equal_id {
            crate::session::LocalSpeaker { router_id: US.router_id, ..THEM }
        } else {
            THEM
        };
        let mut pair = Pair::new(config(&THEM), config(&US));
        pair.ends[1].peer =
            crate::session::Peer::new(pair.now, them, config(&US).into(), delay);
        (pair.schedule, pair.chunk) = (schedule, chunk);
        pair.ends[0].announce("198.51.100.1/32", 1);
        let now = pair.now;
        pair.ends[0].peer.handle(now, Event::Start);
        pair.run(Duration::from_millis(delay));
        let now = pair.now;
        pair.ends[1].peer.handle(now, Event::Start);
        pair.run(Duration::from_secs(120));
        for end in &pair.ends {
            prop_assert_eq!(end.peer.state(), StateName::Established);
        }
        prop_assert_eq!(pair.ends[1].learned.len(), 1);
        let dropped = pair.ends[0].peer.counters().dropped;
        pair.run(Duration::from_secs(600));
        prop_assert_eq!(pair.ends[0].peer.counters().dropped, dropped, "and stay together");
    }
}
