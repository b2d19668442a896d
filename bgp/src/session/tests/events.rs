//! The 29 events of RFC 4271 section 8.1 and RFC 9687 in each of the six states, on the connection
//! that is dialled and on the one that is accepted.

use std::time::Duration;

use StateName::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

use super::fixture::*;
use crate::session::{
    Event, LimitAction, PeerConfig, PeerEvent, PrefixLimit, Role, StateName, StopCause,
};
use crate::wire::{AsPath, Attributes, ErrorCode, Family, Message, Notification, Open, Update};

const STATES: [StateName; 6] = [Idle, Connect, Active, OpenSent, OpenConfirm, Established];

/// The state after the event, and the NOTIFICATION sent.
type Cell = (StateName, Option<(u8, u8)>);

/// How an event is brought about, if it can be in that state. Events of which the state knows nothing
/// (a timer that does not run, a message without a connection) give `false`: the machine cannot meet
/// them there.
type Cause = fn(&mut Bench, Role) -> bool;

struct Row {
    number: u8,
    name: &'static str,
    config: fn() -> PeerConfig,
    roles: &'static [Role],
    cause: Cause,
    cells: [Cell; 6],
}

const fn to(state: StateName) -> Cell {
    (state, None)
}

const fn told(code: u8, subcode: u8) -> Cell {
    (Idle, Some((code, subcode)))
}

/// Nothing changes in any state.
const IGNORED: [Cell; 6] =
    [to(Idle), to(Connect), to(Active), to(OpenSent), to(OpenConfirm), to(Established)];

fn plain() -> PeerConfig {
    config(&THEM)
}

fn delayed() -> PeerConfig {
    PeerConfig { delay_open_time: Duration::from_secs(7), ..plain() }
}

/// Rows whose cells depend on what the event finds: only from OPEN on there is a connection.
const fn from_open_sent(open_sent: Cell, open_confirm: Cell, established: Cell) -> [Cell; 6] {
    [to(Idle), to(Connect), to(Active), open_sent, open_confirm, established]
}

fn start(bench: &mut Bench, _: Role) -> bool {
    bench.start();
    true
}

fn stop(bench: &mut Bench, cause: StopCause) -> bool {
    bench.handle(Event::Stop { cause, message: None });
    true
}

fn connected(bench: &mut Bench, role: Role) -> bool {
    bench.connected(role);
    true
}

fn receive(bench: &mut Bench, role: Role, message: &Message) -> bool {
    let heard = bench.peer.state() >= OpenSent;
    bench.receive(role, message);
    heard
}

fn octets(bench: &mut Bench, role: Role, octets: &[u8]) -> bool {
    let heard = bench.peer.state() >= OpenSent;
    bench.handle(Event::Received { role, bytes: octets });
    heard
}

/// Lets the timers run until the one of that state fires that is meant. KEEPALIVEs of the neighbour
/// keep the hold timer from it where another one is meant.
fn expire(bench: &mut Bench, role: Role, wanted: impl Fn(StateName) -> bool, feed: bool) -> bool {
    let state = bench.peer.state();
    if !wanted(state) {
        return false;
    }
    for _ in 0..100 {
        if bench.peer.state() != state {
            break;
        }
        bench.fire();
        if feed && bench.peer.state() == Established {
            bench.receive(role, &Message::Keepalive);
        }
    }
    true
}

fn update(attributes: Attributes) -> Message {
    let nlri = vec!["198.51.100.0/24".parse::<ipnet::Ipv4Net>().unwrap().into()];
    Message::Update(Update { attributes, nlri, ..Update::default() })
}

fn good_update() -> Message {
    update(Attributes {
        as_path: AsPath::sequence([THEM.local_as]),
        next_hop: Some(THEM.router_id),
        ..Attributes::default()
    })
}

fn notification(code: u8, subcode: u8) -> Message {
    Message::Notification(Notification::new(ErrorCode(code), subcode))
}

/// One row an event, by the numbers of RFC 4271 section 8.1.
fn rows() -> Vec<Row> {
    let start_cells =
        [to(Connect), to(Connect), to(Active), to(OpenSent), to(OpenConfirm), to(Established)];
    let passive_cells =
        [to(Active), to(Connect), to(Active), to(OpenSent), to(OpenConfirm), to(Established)];
    let connected_cells =
        [to(Idle), to(OpenSent), to(OpenSent), to(OpenSent), to(OpenConfirm), to(Established)];
    let ceased = |subcode| {
        [to(Idle), to(Idle), to(Idle), told(6, subcode), told(6, subcode), told(6, subcode)]
    };
    let row = |number, name, cause: Cause, cells| Row {
        number,
        name,
        config: plain,
        roles: &Role::ALL,
        cause,
        cells,
    };
    let dials = |row| Row { roles: &[Role::Outgoing], ..row };
    let listens = |row| Row { roles: &[Role::Incoming], ..row };
    vec![
        dials(row(1, "ManualStart", start, start_cells)),
        row(2, "ManualStop", |bench, _| stop(bench, StopCause::Shutdown), ceased(2)),
        // AllowAutomaticStart is what follows an error, event 13, and the start of the speaker.
        dials(row(3, "AutomaticStart", start, start_cells)),
        listens(row(4, "ManualStart_with_PassiveTcpEstablishment", start, passive_cells)),
        listens(row(5, "AutomaticStart_with_PassiveTcpEstablishment", start, passive_cells)),
        // The next two come from the machine itself, as event 13.
        dials(row(
            6,
            "AutomaticStart_with_DampPeerOscillations",
            idle_hold_expires,
            [to(Connect); 6],
        )),
        listens(row(
            7,
            "AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment",
            idle_hold_expires,
            [to(Active); 6],
        )),
        Row {
            config: limited,
            ..row(
                8,
                "AutomaticStop",
                too_many_routes,
                from_open_sent(told(5, 1), told(5, 2), told(6, 1)),
            )
        },
        row(
            9,
            "ConnectRetryTimer_Expires",
            |bench, role| {
                role == Role::Outgoing
                    && expire(bench, role, |state| matches!(state, Connect | Active), false)
            },
            [to(Idle), to(Connect), to(Connect), to(OpenSent), to(OpenConfirm), to(Established)],
        ),
        row(
            10,
            "HoldTimer_Expires",
            |bench, role| expire(bench, role, |state| state >= OpenSent, false),
            from_open_sent(told(4, 0), told(4, 0), told(4, 0)),
        ),
        row(11, "KeepaliveTimer_Expires", keepalive_timer, IGNORED),
        Row {
            config: delayed,
            ..row(12, "DelayOpenTimer_Expires", delay_open_expires, [to(OpenSent); 6])
        },
        dials(row(13, "IdleHoldTimer_Expires", idle_hold_expires, [to(Connect); 6])),
        // A SYN is the kernel's affair; the machine hears of what was accepted, event 17.
        row(14, "TcpConnection_Valid", |_, _| false, IGNORED),
        // Closed and counted by the listener.
        row(15, "Tcp_CR_Invalid", |_, _| false, IGNORED),
        dials(row(16, "Tcp_CR_Acked", connected, connected_cells)),
        listens(row(17, "TcpConnectionConfirmed", connected, connected_cells)),
        row(
            18,
            "TcpConnectionFails",
            |bench, role| {
                bench.handle(Event::TcpFailed { role, error: "reset" });
                true
            },
            [to(Idle), to(Active), to(Active), to(Active), to(Idle), to(Idle)],
        ),
        row(
            19,
            "BGPOpen",
            |bench, role| receive(bench, role, &Message::Open(their_open())),
            from_open_sent(to(OpenConfirm), told(5, 2), told(5, 3)),
        ),
        Row {
            config: delayed,
            ..row(
                20,
                "BGPOpen with DelayOpenTimer running",
                open_while_delayed,
                [to(OpenConfirm); 6],
            )
        },
        row(
            21,
            "BGPHeaderErr",
            |bench, role| octets(bench, role, &[0; 19]),
            from_open_sent(told(1, 1), told(1, 1), told(1, 1)),
        ),
        row(
            22,
            "BGPOpenMsgErr",
            |bench, role| {
                receive(
                    bench,
                    role,
                    &Message::Open(Open { identifier: [0; 4].into(), ..their_open() }),
                )
            },
            from_open_sent(told(2, 3), told(5, 2), told(5, 3)),
        ),
        // Against the other connection; see the tests of collisions.
        row(23, "OpenCollisionDump", |_, _| false, IGNORED),
        row(
            24,
            "NotifMsgVerErr",
            |bench, role| receive(bench, role, &notification(2, 1)),
            from_open_sent(to(Active), to(Active), to(Active)),
        ),
        row(
            25,
            "NotifMsg",
            |bench, role| receive(bench, role, &notification(3, 1)),
            from_open_sent(to(Idle), to(Idle), to(Idle)),
        ),
        row(
            26,
            "KeepAliveMsg",
            |bench, role| receive(bench, role, &Message::Keepalive),
            from_open_sent(told(5, 1), to(Established), to(Established)),
        ),
        row(
            27,
            "UpdateMsg",
            |bench, role| receive(bench, role, &good_update()),
            from_open_sent(told(5, 1), told(5, 2), to(Established)),
        ),
        row(
            28,
            "UpdateMsgErr",
            |bench, role| {
                let mut update = bytes(&good_update());
                // Withdrawn routes length beyond the message.
                update[20] = 0xFF;
                octets(bench, role, &update)
            },
            from_open_sent(told(5, 1), told(5, 2), told(3, 1)),
        ),
        row(
            29,
            "SendHoldTimer_Expires",
            |bench, role| expire(bench, role, |state| state == Established, true),
            from_open_sent(to(OpenSent), to(OpenConfirm), told(8, 0)),
        ),
    ]
}

fn limited() -> PeerConfig {
    let mut config = plain();
    let family = config.families.get_mut(&Family::IPV4_UNICAST).unwrap();
    family.import_limit = Some(PrefixLimit { max: 1, action: LimitAction::Disable });
    config
}

fn too_many_routes(bench: &mut Bench, role: Role) -> bool {
    let Message::Update(mut update) = good_update() else { unreachable!() };
    update.nlri.push("203.0.113.0/24".parse::<ipnet::Ipv4Net>().unwrap().into());
    receive(bench, role, &Message::Update(update))
}

/// An error, then the wait to its end.
fn idle_hold_expires(bench: &mut Bench, role: Role) -> bool {
    if bench.peer.state() < OpenSent {
        return false;
    }
    bench.receive(role, &notification(3, 1));
    assert_eq!(bench.peer.state(), Idle);
    assert_eq!(bench.fire(), Duration::from_secs(1));
    true
}

fn keepalive_timer(bench: &mut Bench, role: Role) -> bool {
    if bench.peer.state() < OpenConfirm {
        return false;
    }
    bench.fire();
    assert!(matches!(bench.sent(role)[..], [crate::wire::Decoded::Keepalive]));
    true
}

/// A second connection in the place of the first, whose OPEN is delayed.
fn delay_open_expires(bench: &mut Bench, role: Role) -> bool {
    if bench.peer.state() != OpenSent {
        return false;
    }
    bench.connected(role);
    assert!(bench.peer.state() < OpenSent, "no OPEN yet");
    assert_eq!(bench.fire(), Duration::from_secs(7));
    true
}

fn open_while_delayed(bench: &mut Bench, role: Role) -> bool {
    if bench.peer.state() != OpenSent {
        return false;
    }
    bench.connected(role);
    bench.receive(role, &Message::Open(their_open()));
    true
}

/// Events that the machine does not meet on its own: two are the listener's, one has tests of its own.
const ELSEWHERE: [u8; 3] = [14, 15, 23];

#[test]
fn each_event_in_each_state() {
    let rows = rows();
    let numbers: Vec<u8> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=29).collect::<Vec<_>>());
    for row in rows {
        let mut happened = 0;
        for role in row.roles {
            for (state, cell) in STATES.into_iter().zip(row.cells) {
                // What is accepted does not dial.
                if (*role, state) != (Role::Incoming, Connect) {
                    happened += u32::from(check(&row, *role, state, cell));
                }
            }
        }
        assert_eq!(happened == 0, ELSEWHERE.contains(&row.number), "event {}", row.number);
    }
}

fn check(row: &Row, role: Role, state: StateName, cell: Cell) -> bool {
    let mut bench = Bench::at(plain(), state, role);
    let config = PeerConfig { passive: role == Role::Incoming, ..(row.config)() };
    assert!(!bench.peer.reconfigure(bench.now, config.into()));
    let happened = (row.cause)(&mut bench, role);
    let at = format!("event {} {} in {state}, {role:?}", row.number, row.name);
    let (next, notification) = if happened { cell } else { (state, None) };
    assert_eq!(bench.peer.state(), next, "{at}");
    assert_eq!(bench.notified(role), notification, "{at}");
    let down = bench.events.iter().any(|event| matches!(event, PeerEvent::Down { .. }));
    let left = state == Established && next != Established;
    assert_eq!(down, left, "{at}");
    if state >= OpenSent && next < OpenSent {
        assert!(bench.closed(role), "{at}: the connection is closed");
    }
    happened
}
