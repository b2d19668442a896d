//! The machine as a table: one row for each event, one cell for each state.

use std::time::Duration;

use StateName::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

use super::fixture::*;
use crate::session::{Event, PeerConfig, PeerEvent, Reason, Role, StateName, StopCause};
use crate::wire::{
    Capability, ErrorCode, Family, Message, Notification, Open, RouteRefresh, Update,
};

const STATES: [StateName; 6] = [Idle, Connect, Active, OpenSent, OpenConfirm, Established];

/// What a cell says: the state after the event and the NOTIFICATION sent, if any.
type Cell = (StateName, Option<(u8, u8)>);

const fn quiet(state: StateName) -> Cell {
    (state, None)
}

const fn told(code: u8, subcode: u8) -> Cell {
    (Idle, Some((code, subcode)))
}

/// Runs one event in all six states of a connection.
fn row(role: Role, event: impl Fn(&mut Bench), cells: [Cell; 6]) {
    for (state, (next, notification)) in STATES.into_iter().zip(cells) {
        if role == Role::Incoming && state == Connect {
            continue;
        }
        let mut bench = Bench::at(config(&THEM), state, role);
        event(&mut bench);
        assert_eq!(bench.peer.state(), next, "from {state}, {role:?}");
        assert_eq!(bench.notified(role), notification, "from {state}, {role:?}");
        let ended = state >= OpenSent && next < OpenSent;
        assert_eq!(bench.closed(role) && ended, ended, "the connection is closed");
        let down = bench.events.iter().any(|event| matches!(event, PeerEvent::Down { .. }));
        assert_eq!(down, state == Established && next != Established);
        let up = bench.events.iter().any(|event| matches!(event, PeerEvent::Established));
        assert_eq!(up, state != Established && next == Established);
    }
}

fn both(event: impl Fn(&mut Bench, Role), cells: [Cell; 6]) {
    for role in Role::ALL {
        row(role, |bench| event(bench, role), cells);
    }
}

/// A message; nothing is heard where there is no TCP connection.
fn message(message: &Message, [open_sent, open_confirm, established]: [Cell; 3]) {
    let silent = [quiet(Idle), quiet(Connect), quiet(Active)];
    let [idle, connect, active] = silent;
    both(
        |bench, role| bench.receive(role, message),
        [idle, connect, active, open_sent, open_confirm, established],
    );
}

#[test]
fn start() {
    row(
        Role::Outgoing,
        Bench::start,
        [Connect, Connect, Active, OpenSent, OpenConfirm, Established].map(quiet),
    );
    row(
        Role::Incoming,
        Bench::start,
        [Active, Connect, Active, OpenSent, OpenConfirm, Established].map(quiet),
    );
}

#[test]
fn stop() {
    for (cause, subcode) in [
        (StopCause::Shutdown, 2),
        (StopCause::Deconfigured, 3),
        (StopCause::Reset, 4),
        (StopCause::ConfigChange, 6),
    ] {
        let cease = told(6, subcode);
        both(
            |bench, _| bench.handle(Event::Stop { cause, message: None }),
            [quiet(Idle), quiet(Idle), quiet(Idle), cease, cease, cease],
        );
    }
}

#[test]
fn stop_is_no_error_and_needs_no_wait() {
    let mut bench = Bench::at(config(&THEM), Established, Role::Outgoing);
    bench.handle(Event::Stop { cause: StopCause::Shutdown, message: Some("tea") });
    assert_eq!((bench.peer.last_error(), bench.peer.idle_hold()), (None, None));
    assert_eq!(bench.peer.poll_timeout(), None);
    bench.start();
    assert_eq!(bench.peer.state(), Connect);
}

#[test]
fn tcp_connected() {
    // In OpenConfirm and Established the driver does not even offer it.
    both(
        Bench::connected,
        [Idle, OpenSent, OpenSent, OpenSent, OpenConfirm, Established].map(quiet),
    );
    let mut bench = Bench::at(config(&THEM), Idle, Role::Incoming);
    assert!(!bench.peer.accepts_incoming());
    bench.connected(Role::Incoming);
    assert!(bench.closed(Role::Incoming), "refused");
}

#[test]
fn tcp_failed() {
    both(
        |bench, role| bench.handle(Event::TcpFailed { role, error: "reset" }),
        [Idle, Active, Active, Active, Idle, Idle].map(quiet),
    );
}

#[test]
fn next_timer() {
    row(
        Role::Outgoing,
        |bench| {
            if bench.peer.poll_timeout().is_some() {
                bench.fire();
            }
        },
        [
            quiet(Idle),
            quiet(Connect),
            quiet(Connect),
            told(4, 0),
            quiet(OpenConfirm),
            quiet(Established),
        ],
    );
}

#[test]
fn hold_timer() {
    let silence = |bench: &mut Bench, _| {
        let start = bench.now;
        while bench.peer.state() >= OpenSent {
            bench.fire();
        }
        let expected = if bench.peer.state() == Idle { bench.now - start } else { Duration::ZERO };
        assert!(
            [0, 9, 240].map(Duration::from_secs).contains(&expected),
            "after {expected:?}: the hold timer has no jitter"
        );
    };
    both(silence, [quiet(Idle), quiet(Connect), quiet(Active), told(4, 0), told(4, 0), told(4, 0)]);
}

#[test]
fn open() {
    message(&Message::Open(their_open()), [quiet(OpenConfirm), told(5, 2), told(5, 3)]);
}

#[test]
fn open_that_does_not_suit() {
    let as_trans = Open {
        my_as: 23456,
        capabilities: vec![Capability::FourOctetAs(4_200_000_000)],
        ..their_open()
    };
    let other_family = Open::new(THEM.local_as, 90, THEM.router_id, &[Family::IPV6_UNICAST]);
    for (open, subcode) in [
        (Open::new(65009, 90, THEM.router_id, &[Family::IPV4_UNICAST]), 2),
        (as_trans, 2),
        (other_family, 7),
    ] {
        message(&Message::Open(open), [told(2, subcode), told(5, 2), told(5, 3)]);
    }
}

/// Errors inside the OPEN's octets, set by hand: offset in the message, octets, subcode.
#[test]
fn open_that_is_wrong() {
    for (offset, octets, subcode) in [
        (19, &[3][..], 1),
        (22, &[0, 1], 6),
        (22, &[0, 2], 6),
        (24, &[0, 0, 0, 0], 3),
        (28, &[0xFF], 0),
    ] {
        let mut open = bytes(&Message::Open(their_open()));
        open[offset..offset + octets.len()].copy_from_slice(octets);
        let mut bench = Bench::at(config(&THEM), OpenSent, Role::Incoming);
        bench.handle(Event::Received { role: Role::Incoming, bytes: &open });
        assert_eq!(bench.notified(Role::Incoming), Some((2, subcode)), "offset {offset}");
        assert_eq!(bench.peer.state(), Idle);
    }
}

#[test]
fn internal_neighbour_with_our_identifier() {
    let twin = crate::session::LocalSpeaker { local_as: US.local_as, ..THEM };
    for (identifier, expected) in [(US.router_id, Some((2, 3))), (THEM.router_id, None)] {
        let mut bench = Bench::at(config(&twin), OpenSent, Role::Outgoing);
        let open = Open::new(US.local_as, 90, identifier, &[Family::IPV4_UNICAST]);
        bench.receive(Role::Outgoing, &Message::Open(open));
        assert_eq!(bench.notified(Role::Outgoing), expected);
    }
}

#[test]
fn keepalive() {
    message(&Message::Keepalive, [told(5, 1), quiet(Established), quiet(Established)]);
}

#[test]
fn update() {
    let update = Message::Update(Update {
        withdrawn: vec!["192.0.2.0/24".parse().unwrap()],
        ..Update::default()
    });
    message(&update, [told(5, 1), told(5, 2), quiet(Established)]);
}

#[test]
fn route_refresh() {
    let request = Message::RouteRefresh(RouteRefresh::request(Family::IPV4_UNICAST));
    message(&request, [told(5, 1), told(5, 2), quiet(Established)]);
}

#[test]
fn notification_of_an_error() {
    for (code, subcode) in [(4, 0), (3, 1), (6, 1), (6, 8)] {
        let error = Message::Notification(Notification::new(ErrorCode(code), subcode));
        message(&error, [Idle, Idle, Idle].map(quiet));
    }
}

/// No oscillation: the connection is tried again without being held down.
#[test]
fn notification_of_something_else() {
    for (code, subcode) in [(6, 2), (6, 4), (6, 5), (6, 7), (2, 1)] {
        let word = Message::Notification(Notification::new(ErrorCode(code), subcode));
        message(&word, [Active, Active, Active].map(quiet));
    }
}

#[test]
fn garbage() {
    let keepalive = bytes(&Message::Keepalive);
    let with = |offset: usize, octet: u8| {
        let mut message = keepalive.clone();
        message[offset] = octet;
        message
    };
    for (garbage, subcode) in [
        (with(0, 0), 1),
        (with(17, 18), 2),
        (with(16, 0xFF), 2),
        (with(17, 20), 2),
        (with(18, 9), 3),
    ] {
        let error = told(1, subcode);
        both(
            |bench, role| bench.handle(Event::Received { role, bytes: &garbage }),
            [quiet(Idle), quiet(Connect), quiet(Active), error, error, error],
        );
    }
}

#[test]
fn malformed_update_resets_only_where_it_must() {
    // Withdrawn routes length beyond the message.
    let mut update = bytes(&Message::Update(Update::end_of_rib(Family::IPV4_UNICAST)));
    update[20] = 200;
    both(
        |bench, role| bench.handle(Event::Received { role, bytes: &update }),
        [quiet(Idle), quiet(Connect), quiet(Active), told(5, 1), told(5, 2), told(3, 1)],
    );
}

#[test]
fn delay_open() {
    let delayed = || {
        let delay_open_time = Duration::from_secs(7);
        let mut bench = Bench::new(PeerConfig { delay_open_time, ..config(&THEM) });
        bench.start();
        bench.connected(Role::Outgoing);
        assert_eq!((bench.peer.state(), bench.sent(Role::Outgoing).len()), (Connect, 0));
        bench
    };
    let mut bench = delayed();
    assert_eq!(bench.fire(), Duration::from_secs(7));
    assert_eq!(bench.peer.state(), OpenSent);

    let mut bench = delayed();
    bench.receive(Role::Outgoing, &Message::Open(their_open()));
    assert_eq!(bench.peer.state(), OpenConfirm);
    assert_eq!(bench.sent(Role::Outgoing).len(), 2, "OPEN and KEEPALIVE");

    let mut bench = delayed();
    bench.receive(Role::Outgoing, &Message::Keepalive);
    assert_eq!((bench.notified(Role::Outgoing), bench.peer.state()), (Some((5, 0)), Idle));

    let mut bench = delayed();
    bench.handle(Event::TcpFailed { role: Role::Outgoing, error: "reset" });
    assert_eq!(bench.peer.state(), Active);
}

#[test]
fn connect_delay_and_retry() {
    let connect_delay_time = Duration::from_secs(20);
    let mut bench = Bench::new(PeerConfig { connect_delay_time, ..config(&THEM) });
    bench.start();
    assert_eq!((bench.peer.state(), bench.dials()), (Active, 0));
    assert_eq!(bench.fire(), connect_delay_time);
    assert_eq!((bench.peer.state(), bench.dials()), (Connect, 1));
    for round in 2..20 {
        let wait = bench.fire();
        assert!((3.75..=5.0).contains(&wait.as_secs_f64()), "{wait:?}: jittered");
        assert_eq!(bench.dials(), round);
    }
}

#[test]
fn a_passive_peer_never_dials() {
    let mut bench = Bench::new(PeerConfig { passive: true, ..config(&THEM) });
    bench.start();
    bench.connected(Role::Incoming);
    bench.handle(Event::TcpFailed { role: Role::Incoming, error: "reset" });
    assert_eq!((bench.peer.state(), bench.dials()), (Active, 0));
    assert_eq!(bench.peer.poll_timeout(), None);
}

#[test]
fn errors_hold_the_peer_down_longer_and_longer() {
    let mut bench = Bench::new(config(&THEM));
    bench.start();
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        bench.connected(Role::Outgoing);
        bench.handle(Event::Received { role: Role::Outgoing, bytes: &[0; 19] });
        let (_, whole) = bench.peer.idle_hold().expect("held down");
        assert_eq!(whole, Duration::from_secs(wait));
        assert!(!bench.peer.accepts_incoming());
        assert_eq!(bench.fire(), whole);
        assert_eq!(bench.peer.state(), Connect);
    }
    let error = Reason::Sent(Notification::new(ErrorCode::MESSAGE_HEADER, 1));
    assert_eq!(bench.peer.last_error(), Some(&error));
    assert_eq!(error.to_string(), "BGP Error: Connection not synchronized");
}

#[test]
fn garbage_on_a_second_connection_does_not_hurt_the_first() {
    let mut bench = Bench::new(config(&THEM));
    bench.start();
    bench.connected(Role::Outgoing);
    bench.receive(Role::Outgoing, &Message::Open(their_open()));
    bench.receive(Role::Outgoing, &Message::Keepalive);
    for _ in 0..3 {
        assert!(bench.peer.accepts_incoming());
        bench.connected(Role::Incoming);
        bench
            .handle(Event::Received { role: Role::Incoming, bytes: b"GET / HTTP/1.1\r\n\r\n\r\n" });
        assert_eq!(bench.notified(Role::Incoming), Some((1, 1)));
    }
    assert_eq!(bench.peer.state(), Established);
    assert_eq!((bench.peer.last_error(), bench.peer.idle_hold()), (None, None));
}

#[test]
fn dialling_ends_when_the_neighbour_was_faster() {
    let mut bench = Bench::new(config(&THEM));
    bench.start();
    bench.connected(Role::Incoming);
    bench.receive(Role::Incoming, &Message::Open(their_open()));
    bench.receive(Role::Incoming, &Message::Keepalive);
    assert!(bench.closed(Role::Outgoing), "the attempt is given up");
    assert_eq!(bench.peer.connect_retry(), None);
}

#[test]
fn a_newer_connection_replaces_one_that_said_nothing() {
    let mut bench = Bench::at(config(&THEM), OpenSent, Role::Incoming);
    assert!(bench.peer.accepts_incoming());
    bench.connected(Role::Incoming);
    assert_eq!(bench.sent(Role::Incoming).len(), 1, "an OPEN for the new one");
    bench.receive(Role::Incoming, &Message::Open(their_open()));
    assert!(!bench.peer.accepts_incoming());
}

#[test]
fn no_hold_time_no_keepalives() {
    let mut bench = Bench::at(config(&THEM), OpenSent, Role::Outgoing);
    let open = Open { hold_time: 0, ..their_open() };
    bench.receive(Role::Outgoing, &Message::Open(open));
    bench.receive(Role::Outgoing, &Message::Keepalive);
    assert_eq!(bench.peer.session_timers(), (None, None));
    assert_eq!(bench.peer.poll_timeout(), None);
}

#[test]
fn no_hold_time_and_no_first_keepalive() {
    let mut bench = Bench::at(config(&THEM), OpenSent, Role::Outgoing);
    bench.receive(Role::Outgoing, &Message::Open(Open { hold_time: 0, ..their_open() }));
    assert_eq!(bench.fire(), Duration::from_secs(240), "not for ever");
    assert_eq!(bench.notified(Role::Outgoing), Some((4, 0)));
}

#[test]
fn keepalives_do_not_pile_up() {
    let mut bench = Bench::at(config(&THEM), Established, Role::Outgoing);
    for _ in 0..5 {
        bench.fire();
        bench.receive(Role::Outgoing, &Message::Keepalive);
    }
    assert_eq!(bench.sent(Role::Outgoing).len(), 1);
}

/// SendNOTIFICATIONwithoutOPEN, in each way that a connection ends before our OPEN.
#[test]
fn no_word_before_the_open_unless_allowed() {
    for allowed in [true, false] {
        type End = fn(&mut Bench);
        let endings: [(End, (u8, u8)); 3] = [
            (|bench| bench.receive(Role::Outgoing, &Message::Keepalive), (5, 0)),
            (
                |bench| bench.handle(Event::Received { role: Role::Outgoing, bytes: &[0; 19] }),
                (1, 1),
            ),
            (
                |bench| bench.handle(Event::Stop { cause: StopCause::Shutdown, message: None }),
                (6, 2),
            ),
        ];
        for (end, notification) in endings {
            let mut bench = Bench::new(PeerConfig {
                delay_open_time: Duration::from_secs(7),
                notification_without_open: allowed,
                ..config(&THEM)
            });
            bench.start();
            bench.connected(Role::Outgoing);
            end(&mut bench);
            assert_eq!(bench.peer.state(), Idle);
            assert!(bench.closed(Role::Outgoing));
            assert_eq!(bench.notified(Role::Outgoing), allowed.then_some(notification));
        }
    }
}

/// The least hold time there is, and others: KEEPALIVEs at a third of it but not below 1 s, each
/// shortened by up to a quarter (RFC 4271 sections 4.4 and 10); the hold timer as agreed on.
#[test]
fn keepalives_are_jittered_and_the_hold_timer_is_not() {
    for (ours, theirs, agreed) in [(3, 90, 3_u32), (9, 4, 4), (90, 90, 90), (9, 3, 3)] {
        let hold_time = Duration::from_secs(ours);
        let mut bench =
            Bench::at(PeerConfig { hold_time, ..config(&THEM) }, OpenSent, Role::Outgoing);
        bench.receive(Role::Outgoing, &Message::Open(Open { hold_time: theirs, ..their_open() }));
        bench.receive(Role::Outgoing, &Message::Keepalive);
        let whole = (f64::from(agreed) / 3.0).max(1.0);
        let mut shortest = f64::MAX;
        let mut longest = 0.0_f64;
        for _ in 0..200 {
            bench.receive(Role::Outgoing, &Message::Keepalive);
            let (hold, _) = bench.peer.session_timers();
            assert_eq!(hold, Some(bench.now + Duration::from_secs(agreed.into())));
            let waited = bench.fire().as_secs_f64();
            assert_eq!(bench.sent(Role::Outgoing).len(), 1);
            bench.handle(Event::Sent { role: Role::Outgoing });
            assert!((0.75 * whole..=whole).contains(&waited), "{waited} of {whole}");
            (shortest, longest) = (shortest.min(waited), longest.max(waited));
        }
        assert!(longest - shortest > 0.2 * whole, "all of the range is used");
    }
}

/// RFC 9687: the time is configurable, and zero means for ever.
#[test]
fn send_hold_time() {
    let seconds = Duration::from_secs;
    for (send_hold_time, expected) in [(None, Some(18)), (Some(40), Some(40)), (Some(0), None)] {
        let config = PeerConfig { send_hold_time: send_hold_time.map(seconds), ..config(&THEM) };
        let mut bench = Bench::at(config, Established, Role::Outgoing);
        let start = bench.now;
        while bench.peer.state() == Established && bench.now - start < seconds(100) {
            bench.fire();
            bench.receive(Role::Outgoing, &Message::Keepalive);
        }
        let lasted = (bench.peer.state() == Idle).then(|| (bench.now - start).as_secs());
        assert_eq!(lasted, expected);
        let told = bench.notified(Role::Outgoing);
        assert_eq!(told, expected.map(|_| (8, 0)));
    }
}
