//! What a peer shows of itself, and corners of its machine that no table reaches.

use std::time::Duration;

use super::fixture::*;
use crate::policy::Policy;
use crate::session::{
    Event, LimitAction, PeerConfig, PrefixLimit, Reason, Role, StateName, StopCause,
};
use crate::wire::{
    AsPath, Attributes, Community, Decoded, ErrorCode, Family, Message, Notification, Update,
};

const IPV4: Family = Family::IPV4_UNICAST;
const OUT: Role = Role::Outgoing;

/// An UPDATE of the neighbour about these hosts.
fn announcement(hosts: impl IntoIterator<Item = u8>) -> Message {
    let host = |last| ipnet::Ipv4Net::new([198, 51, 100, last].into(), 32).unwrap().into();
    Message::Update(Update {
        attributes: Attributes {
            as_path: AsPath::sequence([THEM.local_as]),
            next_hop: Some(THEM.router_id),
            ..Attributes::default()
        },
        nlri: hosts.into_iter().map(host).collect(),
        ..Update::default()
    })
}

#[test]
fn a_peer_shows_when_what_happens_next() {
    let mut bench = Bench::new(config(&THEM));
    let start = bench.now;
    assert_eq!((bench.peer.since(), bench.peer.connect_retry()), (start, None));
    bench.now += Duration::from_secs(1);
    bench.start();
    assert_eq!(bench.peer.since(), start + Duration::from_secs(1));
    let retry = bench.peer.connect_retry().expect("the attempt is given up in time");
    assert_eq!(bench.peer.poll_timeout(), Some(retry));
    bench.handle(Event::TcpFailed { role: OUT, error: "refused" });
    assert_eq!(bench.peer.state(), StateName::Active);
    assert!(bench.peer.connect_retry().is_some_and(|at| at > bench.now));
    assert_eq!(bench.peer.last_error().unwrap().to_string(), "Socket: refused");
    bench.fire();
    bench.connected(OUT);
    assert_eq!((bench.peer.connect_retry(), bench.peer.session_timers()), (None, (None, None)));
    bench.receive(OUT, &Message::Open(their_open()));
    let (hold, keepalive) = bench.peer.session_timers();
    assert_eq!(hold, Some(bench.now + Duration::from_secs(9)));
    assert!(keepalive.is_some_and(|at| at <= bench.now + Duration::from_secs(3)));
    bench.receive(OUT, &Message::Keepalive);
    assert_eq!(bench.peer.session_role(), Some(OUT));
    let from = bench.peer.session().unwrap().learned_from();
    assert_eq!((from.router_id, from.external), (THEM.router_id, true));
    assert_eq!(bench.peer.last_error(), None);
}

#[test]
fn withdrawals_are_pending_until_they_are_handed_out() {
    let mut bench = Bench::at(config(&THEM), StateName::Established, OUT);
    let prefix = net("203.0.113.0/24");
    bench.peer.export(prefix, Some(&route(1)));
    assert!(!bench.peer.withdrawals_pending(), "an announcement is none");
    let _ = bench.sent(OUT);
    bench.peer.export(prefix, None);
    assert!(bench.peer.withdrawals_pending());
    let _ = bench.sent(OUT);
    assert!(!bench.peer.withdrawals_pending());
    bench.handle(Event::Stop { cause: StopCause::Shutdown, message: None });
    assert!(!bench.peer.withdrawals_pending(), "nobody to tell");
}

#[test]
fn all_routes_said_anew_replace_those_before() {
    let mut bench = Bench::at(config(&THEM), StateName::Established, OUT);
    let [one, two] = [net("203.0.113.1/32"), net("203.0.113.2/32")];
    let (first, other) = (route(1), route(2));
    bench.peer.export_all([(&one, &first), (&two, &first)].into_iter());
    // Both routes in one message, and the End-of-RIB marker.
    assert_eq!(bench.sent(OUT).len(), 2);
    bench.peer.export_all([(&two, &other)].into_iter());
    let changes: Vec<_> = bench
        .sent(OUT)
        .into_iter()
        .map(|message| {
            let Decoded::Update(update) = message else { panic!("{message:?}") };
            let withdrawn = update.update.withdrawals().map(|nlri| nlri.prefix).collect::<Vec<_>>();
            let announced = update.update.announcements().map(|(nlri, _)| nlri.prefix);
            (withdrawn, announced.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(changes, [(vec![one], vec![]), (vec![], vec![two])], "and no second End-of-RIB");
}

/// The neighbour must not go on with an older form of a route that became too long for a message.
#[test]
fn a_route_that_cannot_be_encoded_is_withdrawn() {
    let mut bench = Bench::at(config(&THEM), StateName::Established, OUT);
    let (long, short) = (net("203.0.113.1/32"), net("203.0.113.2/32"));
    bench.peer.export(long, Some(&route(1)));
    assert_eq!(bench.sent(OUT).len(), 1);
    let communities = (0..2000).map(|value| Community::new(65000, value)).collect();
    let mut laden = route(1);
    laden.attributes = Attributes { communities, ..Attributes::default() }.into();
    bench.peer.export(long, Some(&laden));
    bench.peer.export(short, Some(&route(2)));
    let (mut withdrawn, mut announced) = (Vec::new(), Vec::new());
    for message in bench.sent(OUT) {
        let Decoded::Update(update) = message else { panic!("{message:?}") };
        withdrawn.extend(update.update.withdrawals().map(|nlri| nlri.prefix));
        announced.extend(update.update.announcements().map(|(nlri, _)| nlri.prefix));
    }
    assert_eq!((withdrawn, announced), (vec![long], vec![short]));
    let channel = &bench.peer.session().unwrap().channels[&IPV4];
    assert_eq!(channel.adj_out.prefixes().collect::<Vec<_>>(), [&short]);
}

#[test]
fn a_policy_that_opens_up_takes_no_more_than_the_limit() {
    let mut closed = config(&THEM);
    let family = closed.families.get_mut(&IPV4).unwrap();
    family.import = Policy::none();
    family.import_limit = Some(PrefixLimit { max: 2, action: LimitAction::Block });
    let mut bench = Bench::at(closed.clone(), StateName::Established, OUT);
    bench.receive(OUT, &announcement(1..=4));
    closed.families.get_mut(&IPV4).unwrap().import = Policy::all();
    assert!(!bench.peer.reconfigure(bench.now, closed.into()));
    let channel = &bench.peer.session().unwrap().channels[&IPV4];
    assert_eq!((channel.adj_in.accepted(), channel.adj_in.filtered()), (2, 2));
    assert!(channel.import_limit_hit);
}

/// RFC 9687 counts from OpenConfirm on: what is sent there may get stuck too.
#[test]
fn a_neighbour_that_takes_nothing_is_given_up_in_open_confirm() {
    let config = PeerConfig { send_hold_time: Some(Duration::from_secs(4)), ..config(&THEM) };
    let mut bench = Bench::at(config, StateName::OpenConfirm, OUT);
    bench.handle(Event::Sent { role: OUT });
    let mut passed = Duration::ZERO;
    while bench.peer.state() == StateName::OpenConfirm {
        passed += bench.fire();
    }
    assert_eq!(passed, Duration::from_secs(4));
    assert_eq!(bench.notified(OUT), Some((8, 0)));
}

/// While our OPEN waits, the neighbour may give one connection up for another.
#[test]
fn a_connection_in_the_place_of_another_starts_the_delay_anew() {
    let delay = Duration::from_secs(7);
    let config = PeerConfig { delay_open_time: delay, passive: true, ..config(&THEM) };
    let mut bench = Bench::new(config);
    bench.start();
    bench.connected(Role::Incoming);
    bench.now += Duration::from_secs(5);
    bench.handle(Event::Sent { role: Role::Incoming });
    assert_eq!(bench.peer.state(), StateName::Active);
    bench.connected(Role::Incoming);
    assert_eq!(bench.peer.poll_timeout(), Some(bench.now + delay));
    assert!(bench.sent(Role::Incoming).is_empty());
    bench.fire();
    assert!(matches!(bench.sent(Role::Incoming)[..], [Decoded::Open(_)]));
}

#[test]
fn a_start_in_the_middle_of_a_session_changes_nothing() {
    let mut bench = Bench::at(config(&THEM), StateName::Established, OUT);
    bench.receive(OUT, &announcement([1]));
    bench.events.clear();
    bench.start();
    assert_eq!(bench.peer.state(), StateName::Established);
    assert!(bench.events.is_empty() && bench.sent(OUT).is_empty());
}

/// As `birdc` words them.
#[test]
fn reasons_in_words() {
    let bye = Notification::cease_with_text(2, "bye");
    for (reason, words) in [
        (Reason::Sent(Notification::cease(6)), "BGP Error: Other configuration change"),
        (Reason::Received(bye.clone()), "Received: Administrative shutdown: bye"),
        (
            Reason::Received(Notification::hard_reset(&bye)),
            "Received: Hard reset: Administrative shutdown: bye",
        ),
        (
            Reason::Received(Notification::new(ErrorCode::HOLD_TIMER_EXPIRED, 0)),
            "Received: Hold timer expired",
        ),
        (Reason::Socket("Connection reset".to_owned()), "Socket: Connection reset"),
        (Reason::Automatic("limit".to_owned()), "Automatic shutdown: limit"),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}
