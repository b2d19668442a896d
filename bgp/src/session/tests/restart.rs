//! A neighbour restarts: what happens to its routes (RFC 4724 section 4.2, RFC 8538).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::fixture::*;
use crate::policy::Policy;
use crate::session::{Event, GracefulRestart, LimitAction, PeerConfig, PeerEvent, PrefixLimit};
use crate::session::{Role, StateName, StopCause};
use crate::wire::{
    self, AsPath, Attributes, Capability, Family, Message, Notification, Open, RestartFamily,
    Update,
};

const IPV4: Family = Family::IPV4_UNICAST;
const IPV6: Family = Family::IPV6_UNICAST;
const AT: Role = Role::Incoming;
/// Within this time the neighbour says that it is back.
const RESTART_TIME: Duration = Duration::from_secs(40);

/// What the neighbour says of its restarts: it forwards on in these families.
fn capability(notification: bool, forwarding: &[(Family, bool)]) -> Capability {
    let family = |(family, forwarding): &(Family, bool)| RestartFamily {
        family: *family,
        forwarding: *forwarding,
    };
    Capability::GracefulRestart(wire::GracefulRestart {
        restart_state: false,
        notification,
        restart_time: RESTART_TIME,
        families: forwarding.iter().map(family).collect(),
    })
}

/// That of most tests.
fn usual() -> Vec<Capability> {
    vec![capability(true, &[(IPV4, true)])]
}

/// The neighbour and what was told of its routes.
struct Restarter {
    bench: Bench,
    /// What the Loc-RIB holds of it, by the last octet.
    loc: BTreeSet<u8>,
}

impl Restarter {
    /// An Established session in which these hosts of 198.51.100.0/24 were announced.
    fn new(config: PeerConfig, capabilities: &[Capability], hosts: &[u8]) -> Self {
        let mut bench = Bench::new(PeerConfig { passive: true, ..config });
        bench.start();
        let mut restarter = Self { bench, loc: BTreeSet::new() };
        restarter.open(capabilities);
        restarter.announce(hosts);
        assert_eq!(restarter.loc, hosts.iter().copied().collect());
        restarter
    }

    fn open(&mut self, capabilities: &[Capability]) {
        self.open_as(Open {
            capabilities: [their_open().capabilities, capabilities.to_vec()].concat(),
            ..their_open()
        });
    }

    fn open_as(&mut self, open: Open) {
        if self.bench.peer.state() == StateName::Idle {
            self.bench.fire();
        }
        self.bench.connected(AT);
        self.receive(&Message::Open(open));
        self.receive(&Message::Keepalive);
        assert_eq!(self.bench.peer.state(), StateName::Established);
    }

    fn receive(&mut self, message: &Message) {
        self.bench.receive(AT, message);
        self.follow();
    }

    fn announce(&mut self, hosts: &[u8]) {
        if hosts.is_empty() {
            return;
        }
        let host = |last: &u8| Ipv4Net::new([198, 51, 100, *last].into(), 32).unwrap().into();
        self.receive(&Message::Update(Update {
            attributes: Attributes {
                as_path: AsPath::sequence([THEM.local_as]),
                next_hop: Some(THEM.router_id),
                ..Attributes::default()
            },
            nlri: hosts.iter().map(host).collect(),
            ..Update::default()
        }));
    }

    fn end_of_rib(&mut self) {
        self.receive(&Message::Update(Update::end_of_rib(IPV4)));
    }

    fn lose(&mut self) {
        self.bench.handle(Event::TcpFailed { role: AT, error: "Connection reset by peer" });
        self.follow();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.bench.now + time;
        while self.bench.peer.poll_timeout().is_some_and(|at| at <= end) {
            self.bench.fire();
        }
        self.bench.now = end;
        self.follow();
    }

    /// Does to the Loc-RIB what the peer says.
    fn follow(&mut self) {
        let last = |prefix: ipnet::IpNet| match prefix {
            ipnet::IpNet::V4(prefix) => prefix.addr().octets()[3],
            ipnet::IpNet::V6(prefix) => prefix.addr().octets()[15],
        };
        for event in std::mem::take(&mut self.bench.events) {
            match event {
                PeerEvent::Down { retained: false, .. } => self.loc.clear(),
                PeerEvent::Learned(prefix, _) => {
                    self.loc.insert(last(prefix));
                }
                PeerEvent::Unlearned(prefix, _) => {
                    assert!(self.loc.remove(&last(prefix)), "{prefix} was not there");
                }
                _ => {}
            }
        }
    }

    fn held(&self) -> Vec<u8> {
        self.loc.iter().copied().collect()
    }

    fn stale(&self) -> usize {
        let session = self.bench.peer.session();
        let ribs = session.iter().flat_map(|session| session.channels.values());
        ribs.flat_map(|channel| channel.adj_in.iter())
            .chain(self.bench.peer.retained())
            .filter(|(_, entry)| entry.stale)
            .count()
    }
}

#[test]
fn routes_outlive_the_session_until_they_are_announced_anew() {
    let mut them = Restarter::new(config(&THEM), &usual(), &[1, 2, 3]);
    them.end_of_rib();
    them.lose();
    assert_eq!((them.held(), them.stale()), (vec![1, 2, 3], 3));
    them.wait(Duration::from_secs(30));
    assert_eq!(them.held(), [1, 2, 3]);
    them.open(&usual());
    assert_eq!(them.held(), [1, 2, 3]);
    assert!(them.bench.peer.session().unwrap().channels[&IPV4].restarting);
    them.announce(&[2, 4]);
    assert_eq!((them.held(), them.stale()), (vec![1, 2, 3, 4], 2));
    them.end_of_rib();
    assert_eq!((them.held(), them.stale()), (vec![2, 4], 0));
    assert!(!them.bench.peer.session().unwrap().channels[&IPV4].restarting);
    // The next marker is an ordinary one.
    them.announce(&[5]);
    them.end_of_rib();
    assert_eq!(them.held(), [2, 4, 5]);
}

#[test]
fn a_neighbour_that_does_not_come_back_loses_its_routes() {
    let mut them = Restarter::new(config(&THEM), &usual(), &[1, 2]);
    them.lose();
    them.wait(RESTART_TIME - Duration::from_millis(1));
    assert_eq!(them.held(), [1, 2]);
    them.wait(Duration::from_millis(1));
    assert_eq!((them.held(), them.stale()), (vec![], 0));
}

#[test]
fn a_neighbour_that_is_back_may_not_take_forever() {
    let mut them = Restarter::new(
        PeerConfig { hold_time: Duration::ZERO, ..config(&THEM) },
        &usual(),
        &[1, 2],
    );
    them.lose();
    them.open(&usual());
    them.announce(&[1]);
    them.wait(Duration::from_secs(359));
    assert_eq!(them.held(), [1, 2]);
    them.wait(Duration::from_secs(1));
    assert_eq!(them.held(), [1]);
    assert_eq!(them.bench.peer.poll_timeout(), None, "nothing left to wait for");
}

/// Only TCP, or a NOTIFICATION that both know not to be the end (RFC 8538 section 4).
#[test]
fn which_ends_are_survived() {
    let (with_n, without) = (usual(), vec![capability(false, &[(IPV4, true)])]);
    let received = |n: Notification| Some(Message::Notification(n));
    let hard = Notification::hard_reset(&Notification::cease(4));
    for (capabilities, message, survived) in [
        (&with_n, None, true),
        (&without, None, true),
        (&with_n, received(Notification::cease(4)), true),
        (&without, received(Notification::cease(4)), false),
        (&with_n, received(hard.clone()), false),
        (&without, received(hard), false),
        // Our own error message: an OPEN has no place in a session.
        (&with_n, Some(Message::Open(their_open())), true),
        (&without, Some(Message::Open(their_open())), false),
        // No capability at all, or one of a helper only.
        (&vec![], None, false),
        (&vec![capability(true, &[])], None, false),
        // Of several instances the last counts.
        (&[with_n.clone(), vec![capability(true, &[])]].concat(), None, false),
    ] {
        let mut them = Restarter::new(config(&THEM), capabilities, &[1]);
        match &message {
            Some(message) => them.receive(message),
            None => them.lose(),
        }
        assert!(them.bench.peer.session().is_none());
        assert_eq!(them.held().len(), usize::from(survived), "{capabilities:?} {message:?}");
    }
}

#[test]
fn the_hold_timer_is_survived_as_far_as_the_neighbour_knows() {
    for (notification, survived) in [(true, true), (false, false)] {
        let capabilities = [capability(notification, &[(IPV4, true)])];
        let mut them = Restarter::new(config(&THEM), &capabilities, &[1]);
        them.wait(Duration::from_secs(10));
        assert!(them.bench.peer.session().is_none());
        assert_eq!(them.held().len(), usize::from(survived));
    }
}

#[test]
fn what_the_administrator_or_a_limit_ends_is_over() {
    for cause in [StopCause::Shutdown, StopCause::Reset, StopCause::Deconfigured] {
        let mut them = Restarter::new(config(&THEM), &usual(), &[1]);
        them.bench.handle(Event::Stop { cause, message: None });
        them.follow();
        assert!(them.held().is_empty(), "{cause:?}");
        assert_eq!(them.bench.peer.poll_timeout(), None);
        // The same while the neighbour restarts.
        let mut them = Restarter::new(config(&THEM), &usual(), &[1]);
        them.lose();
        them.bench.handle(Event::Stop { cause, message: None });
        them.follow();
        assert!(them.held().is_empty(), "{cause:?}");
    }
    let mut limited = config(&THEM);
    let limit = PrefixLimit { max: 1, action: LimitAction::Restart(None) };
    limited.families.get_mut(&IPV4).unwrap().import_limit = Some(limit);
    let mut them = Restarter::new(limited, &usual(), &[1]);
    them.announce(&[2]);
    assert!(them.bench.peer.session().is_none() && them.held().is_empty());
    // A peer that would not come back by itself has nobody to wait for.
    let config = PeerConfig { automatic_start: false, ..config(&THEM) };
    let mut them = Restarter::new(config, &usual(), &[1]);
    them.lose();
    assert!(!them.bench.peer.is_running() && them.held().is_empty());
}

/// RFC 4724 section 4.2: whatever says that forwarding did not go on ends it at once.
#[test]
fn a_neighbour_that_forgot_its_routes_loses_them() {
    for (capabilities, kept) in [
        (usual(), true),
        (vec![capability(true, &[(IPV4, false)])], false),
        (vec![capability(true, &[(IPV6, true)])], false),
        (vec![capability(true, &[])], false),
        (vec![], false),
    ] {
        let mut them = Restarter::new(config(&THEM), &usual(), &[1]);
        them.lose();
        them.open(&capabilities);
        assert_eq!(!them.held().is_empty(), kept, "{capabilities:?}");
    }
    // Another speaker at the same address.
    let mut them = Restarter::new(config(&THEM), &usual(), &[1]);
    them.lose();
    let capabilities = [their_open().capabilities, usual()].concat();
    them.open_as(Open { identifier: [192, 0, 2, 77].into(), capabilities, ..their_open() });
    assert!(them.held().is_empty());
}

/// What was stale already does not survive another restart (RFC 4724 section 4.2).
#[test]
fn restarts_in_a_row() {
    let mut them = Restarter::new(config(&THEM), &usual(), &[1, 2]);
    them.lose();
    them.open(&usual());
    them.announce(&[2]);
    them.lose();
    assert_eq!(them.held(), [2]);
    them.open(&usual());
    them.end_of_rib();
    assert_eq!(them.held(), Vec::<u8>::new());
}

#[test]
fn families_are_kept_one_by_one() {
    let mut both = config(&THEM);
    both.families.insert(IPV6, both.families[&IPV4].clone());
    let six = Capability::Multiprotocol(IPV6);
    let mut them = Restarter::new(both, &[six.clone(), usual()[0].clone()], &[1]);
    let mut update = Update { ..Update::default() };
    update.attributes.as_path = AsPath::sequence([THEM.local_as]);
    update.mp_reach = Some(wire::MpReach {
        family: IPV6,
        next_hop: wire::NextHop::Ipv6("2001:db8::2".parse().unwrap()),
        nlri: vec![net("2001:db8::6/128").into()],
    });
    them.receive(&Message::Update(update));
    assert_eq!(them.held(), [1, 6]);
    them.lose();
    assert_eq!(them.held(), [1], "IPv6 was not in the capability");
}

#[test]
fn without_the_capability_of_ours_nothing_is_kept() {
    let off = PeerConfig { graceful_restart: GracefulRestart::Off, ..config(&THEM) };
    let mut them = Restarter::new(off, &usual(), &[1]);
    them.lose();
    assert!(them.held().is_empty());
}

#[test]
fn a_new_import_policy_is_not_passed_by_what_the_old_one_let_in() {
    for (changes, kept) in [(false, 1), (true, 0)] {
        let mut them = Restarter::new(config(&THEM), &usual(), &[1]);
        them.lose();
        let mut new = PeerConfig::clone(them.bench.peer.config());
        new.shutdown_message = Some("bye".to_owned());
        if changes {
            new.families.get_mut(&IPV4).unwrap().import = Policy::none();
        }
        assert!(!them.bench.peer.reconfigure(them.bench.now, Arc::new(new)));
        them.bench.collect();
        them.follow();
        assert_eq!(them.held().len(), kept);
    }
}
