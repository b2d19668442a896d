//! Two connections with one neighbour (RFC 4271 section 6.8, RFC 6286 section 2.3).

use std::net::Ipv4Addr;

use StateName::{Active, Established, OpenConfirm, OpenSent};

use super::fixture::*;
use crate::session::{Event, LocalSpeaker, Role, StateName};
use crate::wire::{Family, Message, Open};

/// What the neighbour's identifier and AS are beside ours, and whose connection stays.
fn relations() -> [(LocalSpeaker, Role); 5] {
    let id = |id: [u8; 4], local_as| LocalSpeaker { router_id: Ipv4Addr::from(id), local_as };
    let ours = US.router_id.octets();
    [
        (id([203, 0, 113, 1], 65002), Role::Incoming),
        // As numbers, not as text: 9 is less than 192.
        (id([9, 255, 255, 255], 65002), Role::Outgoing),
        (id(ours, US.local_as + 1), Role::Incoming),
        (id(ours, US.local_as - 1), Role::Outgoing),
        // RFC 6793: more than 16 bits count too.
        (id(ours, 4_200_000_000), Role::Incoming),
    ]
}

struct Collision {
    bench: Bench,
    open: Message,
}

impl Collision {
    /// Both connections stand, `first` in `state`, the other one before its OPEN.
    fn new(them: &LocalSpeaker, first: Role, state: StateName) -> Self {
        let mut bench = Bench::new(config(them));
        bench.start();
        let open = Open::new(them.local_as, 90, them.router_id, &[Family::IPV4_UNICAST]);
        let mut collision = Self { bench, open: Message::Open(open) };
        if state >= OpenSent {
            collision.bench.connected(first);
        }
        collision.bench.connected(first.other());
        if state >= OpenConfirm {
            collision.bench.receive(first, &collision.open);
        }
        if state >= Established {
            collision.bench.receive(first, &Message::Keepalive);
        }
        for role in Role::ALL {
            let _ = collision.bench.sent(role);
        }
        collision.bench.events.clear();
        collision
    }

    fn open(&mut self, role: Role) {
        self.bench.receive(role, &self.open);
    }

    /// One connection was closed for the other one, which goes on.
    fn resolved(&mut self, survivor: Role, at: &str) {
        let loser = survivor.other();
        assert_eq!(self.bench.notified(loser), Some((6, 7)), "{at}");
        assert!(self.bench.closed(loser) && !self.bench.closed(survivor), "{at}");
        assert_eq!(self.bench.peer.idle_hold(), None, "{at}: nobody's error");
        self.bench.receive(survivor, &Message::Keepalive);
        assert_eq!(self.bench.peer.state(), Established, "{at}");
        assert_eq!(self.bench.peer.session_role(), Some(survivor), "{at}");
        assert_eq!(self.bench.peer.counters().established, 1, "{at}");
    }
}

/// The second connection's OPEN comes while the first one is in each state.
#[test]
fn each_pair_of_states() {
    for (them, survivor) in relations() {
        for first in Role::ALL {
            let second = first.other();
            for state in [Active, OpenSent, OpenConfirm, Established] {
                let at = format!("{them:?}, {first:?} in {state}");
                let mut collision = Collision::new(&them, first, state);
                collision.open(second);
                match state {
                    Established => collision.resolved(first, &at),
                    OpenConfirm => collision.resolved(survivor, &at),
                    // The identifier is not known on the first yet: both go on until it is.
                    OpenSent => {
                        assert_eq!(collision.bench.peer.state(), OpenConfirm, "{at}");
                        assert!(Role::ALL.iter().all(|role| !collision.bench.closed(*role)));
                        collision.open(first);
                        collision.resolved(survivor, &at);
                    }
                    _ => {
                        collision.bench.receive(second, &Message::Keepalive);
                        assert_eq!(collision.bench.peer.session_role(), Some(second), "{at}");
                    }
                }
            }
        }
    }
}

/// Both OPENs are in, and the loser's KEEPALIVE comes all the same.
#[test]
fn the_loser_is_not_heard_any_more() {
    for (them, survivor) in relations() {
        let mut collision = Collision::new(&them, survivor.other(), OpenConfirm);
        collision.open(survivor);
        collision.bench.receive(survivor.other(), &Message::Keepalive);
        assert_eq!(collision.bench.peer.state(), OpenConfirm);
        collision.resolved(survivor, "late KEEPALIVE");
    }
}

/// The survivor of a collision fails before it is Established: the peer tries again.
#[test]
fn a_survivor_that_fails_is_not_the_end() {
    for (them, survivor) in relations() {
        let mut collision = Collision::new(&them, Role::Outgoing, OpenConfirm);
        collision.open(Role::Incoming);
        collision.bench.handle(Event::TcpFailed { role: survivor, error: "reset" });
        let bench = &mut collision.bench;
        assert!(bench.peer.idle_hold().is_some() || bench.peer.state() >= Active);
        for _ in 0..3 {
            bench.fire();
        }
        assert!(bench.dials() > 0, "dialled again");
    }
}
