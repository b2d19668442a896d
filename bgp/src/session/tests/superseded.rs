//! A new connection from a neighbour whose session still stands: it has restarted, if it said that it may
//! (RFC 4724 sections 4.2 and 5).

use std::time::Duration;

use StateName::{Active, Established, OpenSent};

use super::fixture::*;
use crate::session::{Event, GracefulRestart, PeerConfig, PeerEvent, Role, StateName};
use crate::wire::{
    self, AsPath, Attributes, Capability, Decoded, Family, Message, Open, RestartFamily, Update,
};

const IPV4: Family = Family::IPV4_UNICAST;

/// What becomes of the new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Opens,
    OpensBadly,
    IsLost,
}

const FATES: [Fate; 3] = [Fate::Opens, Fate::OpensBadly, Fate::IsLost];

fn capability(notification: bool, forwarding: &[bool]) -> Capability {
    let family = |forwarding: &bool| RestartFamily { family: IPV4, forwarding: *forwarding };
    Capability::GracefulRestart(wire::GracefulRestart {
        restart_state: false,
        notification,
        restart_time: Duration::from_secs(40),
        families: forwarding.iter().map(family).collect(),
    })
}

/// The neighbour's capability, our setting, and whether the neighbour may restart by them.
type Agreement = (Option<Capability>, GracefulRestart, bool);

fn agreements() -> [Agreement; 7] {
    use GracefulRestart::{Aware, Off};
    [
        (Some(capability(true, &[true])), Aware, true),
        (Some(capability(false, &[true])), Aware, true),
        (Some(capability(true, &[false])), Aware, true),
        (Some(capability(true, &[])), Aware, false),
        (None, Aware, false),
        (Some(capability(true, &[true])), Off, false),
        (None, Off, false),
    ]
}

struct Restarter {
    bench: Bench,
    open: Open,
    at: String,
}

impl Restarter {
    /// A session on `first` with one route of the neighbour's; with `second` there already, before its OPEN.
    fn new((capability, ours, _): &Agreement, first: Role, second: Option<Role>) -> Self {
        let mut bench = Bench::new(PeerConfig { graceful_restart: *ours, ..config(&THEM) });
        let mut open = their_open();
        open.capabilities.extend(capability.clone());
        bench.start();
        for role in [Some(first), second].into_iter().flatten() {
            bench.connected(role);
        }
        let update = Update {
            attributes: Attributes {
                as_path: AsPath::sequence([THEM.local_as]),
                next_hop: Some(THEM.router_id),
                ..Attributes::default()
            },
            nlri: vec!["198.51.100.1/32".parse().unwrap()],
            ..Update::default()
        };
        for message in [Message::Open(open.clone()), Message::Keepalive, Message::Update(update)] {
            bench.receive(first, &message);
        }
        let at = format!("{capability:?} {ours:?} {first:?} {second:?}");
        assert_eq!(bench.peer.session_role(), Some(first), "{at}");
        for role in Role::ALL {
            let _ = bench.sent(role);
        }
        bench.events.clear();
        Self { bench, open, at }
    }

    fn meet(&mut self, role: Role, fate: Fate) {
        match fate {
            Fate::Opens => self.bench.receive(role, &Message::Open(self.open.clone())),
            Fate::OpensBadly => {
                let open = Open::new(THEM.local_as + 1, 90, THEM.router_id, &[IPV4]);
                self.bench.receive(role, &Message::Open(open));
            }
            Fate::IsLost => self.bench.handle(Event::TcpFailed { role, error: "reset" }),
        }
    }

    /// The session is where it was, undisturbed.
    fn stands(&mut self, role: Role) {
        let at = &self.at;
        assert_eq!(self.bench.peer.session_role(), Some(role), "{at}");
        assert!(self.bench.sent(role).is_empty() && !self.bench.closed(role), "{at}");
        assert_eq!(self.bench.peer.counters().dropped, 0, "{at}");
        assert_eq!(self.unlearned(), 0, "{at}");
        self.bench.receive(role, &Message::Keepalive);
        assert_eq!(self.bench.peer.state(), Established, "{at}");
    }

    fn unlearned(&self) -> usize {
        let gone = |event: &&PeerEvent| matches!(event, PeerEvent::Unlearned(..));
        self.bench.events.iter().filter(gone).count()
    }

    /// The session is over, and its route is there and stale.
    fn is_over(&self) {
        let at = &self.at;
        assert!(self.bench.peer.session().is_none(), "{at}");
        let downs: Vec<_> =
            self.bench.events.iter().filter(|e| matches!(e, PeerEvent::Down { .. })).collect();
        assert!(matches!(downs[..], [PeerEvent::Down { retained: true, .. }]), "{at} {downs:?}");
        assert!(self.bench.peer.retained().all(|(_, entry)| entry.stale));
        assert_eq!((self.bench.peer.retained().count(), self.unlearned()), (1, 0), "{at}");
        assert_eq!(self.bench.peer.idle_hold(), None, "{at}: nobody's error");
    }

    /// The new connection, whose OPEN came, becomes a session; what it does not announce goes.
    fn goes_on(&mut self, role: Role, forwarded: bool) {
        self.bench.receive(role, &Message::Keepalive);
        let at = &self.at;
        assert_eq!(self.bench.peer.session_role(), Some(role), "{at}");
        let counters = self.bench.peer.counters();
        assert_eq!((counters.established, counters.dropped), (2, 1), "{at}");
        assert_eq!(self.unlearned(), usize::from(!forwarded), "{at}");
        self.bench.receive(role, &Message::Update(Update::end_of_rib(IPV4)));
        assert_eq!(self.unlearned(), 1, "{}", self.at);
    }
}

fn forwards(agreement: &Agreement) -> bool {
    let families = match &agreement.0 {
        Some(Capability::GracefulRestart(restart)) => &restart.families[..],
        _ => &[],
    };
    families.iter().all(|row| row.forwarding)
}

/// We dialled the session; the neighbour dials now.
#[test]
fn beside_a_session_that_we_dialled_its_open_decides() {
    let (first, second) = (Role::Outgoing, Role::Incoming);
    for agreement in agreements() {
        for fate in FATES {
            let mut them = Restarter::new(&agreement, first, None);
            assert!(them.bench.peer.accepts_incoming());
            them.bench.connected(second);
            assert!(matches!(them.bench.sent(second)[..], [Decoded::Open(_)]));
            them.stands(first);
            them.meet(second, fate);
            match fate {
                Fate::Opens if agreement.2 => {
                    assert!(them.bench.sent(first).is_empty(), "{}: without a word", them.at);
                    assert!(them.bench.closed(first) && !them.bench.closed(second));
                    them.is_over();
                    them.goes_on(second, forwards(&agreement));
                    continue;
                }
                Fate::Opens => assert_eq!(them.bench.notified(second), Some((6, 7))),
                Fate::OpensBadly => assert_eq!(them.bench.notified(second), Some((2, 2))),
                Fate::IsLost => {}
            }
            assert!(them.bench.closed(second));
            them.stands(first);
        }
    }
}

/// What was under way before the session stood up collides with it as ever, whoever dialled.
#[test]
fn an_older_connection_only_collides() {
    for agreement in agreements() {
        for second in Role::ALL {
            let mut them = Restarter::new(&agreement, second.other(), Some(second));
            them.meet(second, Fate::Opens);
            assert_eq!(them.bench.notified(second), Some((6, 7)), "{}", them.at);
            them.stands(second.other());
        }
    }
}

/// The older one gives way to a new one, which is late.
#[test]
fn a_late_connection_in_the_place_of_an_older_one() {
    let agreement = &agreements()[0];
    let mut them = Restarter::new(agreement, Role::Outgoing, Some(Role::Incoming));
    them.bench.connected(Role::Incoming);
    them.stands(Role::Outgoing);
    them.meet(Role::Incoming, Fate::Opens);
    them.is_over();
    them.goes_on(Role::Incoming, true);
}

/// The neighbour dialled the session and dials again.
#[test]
fn in_the_place_of_a_session_that_it_dialled_the_connection_decides() {
    let role = Role::Incoming;
    for agreement in agreements() {
        for fate in FATES {
            let mut them = Restarter::new(&agreement, role, None);
            assert_eq!(them.bench.peer.accepts_incoming(), agreement.2, "{}", them.at);
            them.bench.connected(role);
            if !agreement.2 {
                them.stands(role);
                continue;
            }
            them.is_over();
            assert_eq!(them.bench.peer.state(), OpenSent);
            assert!(!them.bench.closed(role), "the new one would be meant");
            assert!(matches!(them.bench.sent(role)[..], [Decoded::Open(_)]), "{}", them.at);
            them.meet(role, fate);
            match fate {
                Fate::Opens => them.goes_on(role, forwards(&agreement)),
                Fate::OpensBadly => {
                    assert_eq!(them.bench.notified(role), Some((2, 2)));
                    assert_eq!(them.bench.peer.retained().count(), 1);
                }
                Fate::IsLost => {
                    assert_eq!(them.bench.peer.state(), Active);
                    assert_eq!(them.bench.peer.retained().count(), 1);
                }
            }
        }
    }
}

/// A restarting neighbour does not find us held down, however often we were before.
#[test]
fn a_lost_session_of_a_neighbour_that_restarts_is_no_oscillation() {
    for agreement in agreements() {
        let mut them = Restarter::new(&agreement, Role::Incoming, None);
        them.meet(Role::Incoming, Fate::IsLost);
        assert_eq!(them.bench.peer.idle_hold().is_none(), agreement.2, "{}", them.at);
        assert_eq!(them.bench.peer.accepts_incoming(), agreement.2, "{}", them.at);
    }
}
