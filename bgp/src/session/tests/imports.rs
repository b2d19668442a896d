//! What is taken from a neighbour and what is not, with its counters and its limits.

use std::time::Duration;

use ipnet::IpNet;

use super::fixture::*;
use crate::policy::{Policy, Verdict};
use crate::session::{
    ChannelCounters, Event, LimitAction, LocalSpeaker, PeerConfig, PeerEvent, PrefixLimit, Reason,
    Role, StateName,
};
use crate::wire::{AsPath, Attributes, Decoded, Family, Message, Nlri, Update};

const IPV4: Family = Family::IPV4_UNICAST;

fn update(path: &[u32], next_hop: [u8; 4], last: impl IntoIterator<Item = u8>) -> Message {
    let nlri = last
        .into_iter()
        .map(|last| Nlri::from(ipnet::Ipv4Net::new([198, 51, 100, last].into(), 32).unwrap()));
    Message::Update(Update {
        attributes: Attributes {
            as_path: AsPath::sequence(path.iter().copied()),
            next_hop: Some(next_hop.into()),
            ..Attributes::default()
        },
        nlri: nlri.collect(),
        ..Update::default()
    })
}

fn usual(last: impl IntoIterator<Item = u8>) -> Message {
    update(&[THEM.local_as], THEM.router_id.octets(), last)
}

fn withdrawal(last: u8) -> Message {
    let prefix: ipnet::Ipv4Net = format!("198.51.100.{last}/32").parse().unwrap();
    Message::Update(Update { withdrawn: vec![prefix.into()], ..Update::default() })
}

/// An Established session whose interface has these addresses.
fn on_interface(config: PeerConfig, interface: &[IpNet]) -> Bench {
    let mut bench = Bench::new(PeerConfig { passive: true, ..config });
    bench.start();
    let local = address(&US);
    bench.handle(Event::TcpConnected { role: Role::Incoming, local, interface });
    let open = crate::wire::Open::new(bench.peer.config().neighbor_as, 90, THEM.router_id, &[IPV4]);
    bench.receive(Role::Incoming, &Message::Open(open));
    bench.receive(Role::Incoming, &Message::Keepalive);
    assert_eq!(bench.peer.state(), StateName::Established);
    let _ = bench.sent(Role::Incoming);
    bench.events.clear();
    bench
}

fn accepted(bench: &Bench) -> usize {
    bench.peer.session().unwrap().channels[&IPV4].adj_in.accepted()
}

fn counters(bench: &Bench) -> ChannelCounters {
    bench.peer.session().unwrap().channels[&IPV4].counters
}

#[test]
fn a_path_starts_with_the_neighbours_as() {
    for (enforce_first_as, path, taken) in [
        (true, &[THEM.local_as, 3][..], true),
        (true, &[3, THEM.local_as], false),
        (true, &[], false),
        (false, &[3, THEM.local_as], true),
    ] {
        let mut bench = on_interface(PeerConfig { enforce_first_as, ..config(&THEM) }, &[]);
        bench.receive(Role::Incoming, &update(path, THEM.router_id.octets(), [1]));
        assert_eq!(accepted(&bench) == 1, taken, "{enforce_first_as} {path:?}");
        assert_eq!(counters(&bench).import_updates.rejected, u64::from(!taken));
    }
}

#[test]
fn an_internal_path_may_start_with_any_as() {
    let inside = LocalSpeaker { local_as: US.local_as, ..THEM };
    let mut bench = on_interface(config(&inside), &[]);
    bench.receive(Role::Incoming, &update(&[3], THEM.router_id.octets(), [1]));
    bench.receive(Role::Incoming, &update(&[], THEM.router_id.octets(), [2]));
    assert_eq!(accepted(&bench), 2);
}

#[test]
fn our_as_in_the_path_is_counted() {
    let (them, us) = (THEM.local_as, US.local_as);
    for (allow_local_as, path, taken) in [
        (0, &[them, us][..], false),
        (1, &[them, us], true),
        (1, &[them, us, 7, us], false),
        (2, &[them, us, 7, us], true),
    ] {
        let mut bench = on_interface(PeerConfig { allow_local_as, ..config(&THEM) }, &[]);
        bench.receive(Role::Incoming, &update(path, THEM.router_id.octets(), [1]));
        assert_eq!(accepted(&bench) == 1, taken, "{allow_local_as} {path:?}");
    }
}

/// RFC 4456 section 8: a reflector tells us what we told it.
#[test]
fn our_own_reflected_to_us_is_refused() {
    let inside = LocalSpeaker { local_as: US.local_as, ..THEM };
    for (originator, taken) in [(US.router_id, false), (THEM.router_id, true)] {
        let mut bench = on_interface(config(&inside), &[]);
        let Message::Update(mut update) = update(&[3], [192, 0, 2, 77], [1]) else { panic!() };
        update.attributes.originator_id = Some(originator);
        update.attributes.cluster_list = vec![THEM.router_id];
        bench.receive(Role::Incoming, &Message::Update(update));
        assert_eq!(accepted(&bench) == 1, taken, "{originator}");
    }
}

/// A route that cannot be used takes the place of the one before all the same.
#[test]
fn an_unusable_route_is_a_withdrawal() {
    let mut bench = on_interface(config(&THEM), &[]);
    bench.receive(Role::Incoming, &usual([1]));
    bench.receive(Role::Incoming, &update(&[THEM.local_as, US.local_as], [192, 0, 2, 2], [1]));
    assert_eq!(accepted(&bench), 0);
    assert!(matches!(bench.events[..], [PeerEvent::Learned(..), PeerEvent::Unlearned(..)]));
}

#[test]
fn next_hops() {
    let interface: [IpNet; 3] =
        [net_of("192.0.2.1/24"), net_of("203.0.113.9/28"), net_of("2001:db8::1/64")];
    let far = PeerConfig { multihop: Some(64), ..config(&THEM) };
    let inside = config(&LocalSpeaker { local_as: US.local_as, ..THEM });
    for (config, interface, next_hop, taken) in [
        (config(&THEM), &interface[..], [192, 0, 2, 2], true),
        // A third party on the same subnet (RFC 4271 section 5.1.3), or on another one of the interface.
        (config(&THEM), &interface, [192, 0, 2, 200], true),
        (config(&THEM), &interface, [203, 0, 113, 3], true),
        (config(&THEM), &interface, [203, 0, 113, 30], false),
        (config(&THEM), &interface, [10, 0, 0, 1], false),
        // Ourselves, by any address of the interface.
        (config(&THEM), &interface, [192, 0, 2, 1], false),
        (config(&THEM), &interface, [203, 0, 113, 9], false),
        (config(&THEM), &[], [192, 0, 2, 1], false),
        (far.clone(), &interface, [203, 0, 113, 9], false),
        // Nothing is known of the subnets, or they do not matter.
        (config(&THEM), &[], [10, 0, 0, 1], true),
        (config(&THEM), &interface[2..], [10, 0, 0, 1], true),
        (far, &interface, [10, 0, 0, 1], true),
        (inside, &interface, [10, 0, 0, 1], true),
    ] {
        let internal = config.neighbor_as == US.local_as;
        let mut bench = on_interface(config, interface);
        let path = if internal { vec![] } else { vec![THEM.local_as] };
        bench.receive(Role::Incoming, &update(&path, next_hop, [1]));
        assert_eq!(accepted(&bench) == 1, taken, "{next_hop:?} on {interface:?}");
        assert_eq!(bench.peer.state(), StateName::Established, "no NOTIFICATION for it");
    }
}

fn net_of(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn counters_are_birds() {
    let mut config = config(&THEM);
    let family = config.families.get_mut(&IPV4).unwrap();
    let mut policy = Policy::all();
    policy.rules = vec![crate::policy::Rule {
        prefixes: vec![crate::policy::PrefixMatch::exact(net("198.51.100.9/32"))],
        ..crate::policy::Rule::always(crate::policy::Then::Reject)
    }];
    assert_eq!(policy.default, Verdict::Accept);
    family.import = policy;
    let mut bench = on_interface(config, &[]);
    bench.receive(Role::Incoming, &usual([1, 2, 9]));
    bench.receive(Role::Incoming, &usual([1]));
    bench.receive(Role::Incoming, &update(&[7], THEM.router_id.octets(), [3]));
    bench.receive(Role::Incoming, &withdrawal(1));
    bench.receive(Role::Incoming, &withdrawal(77));
    let ChannelCounters { import_updates: up, import_withdraws: down, .. } = counters(&bench);
    assert_eq!((up.received, up.rejected, up.filtered, up.ignored, up.accepted), (5, 1, 1, 1, 2));
    assert_eq!((down.received, down.ignored, down.accepted), (2, 1, 1));
    let rib = &bench.peer.session().unwrap().channels[&IPV4].adj_in;
    assert_eq!((rib.accepted(), rib.filtered()), (1, 1));
}

fn limited(action: LimitAction) -> Bench {
    let mut config = config(&THEM);
    config.families.get_mut(&IPV4).unwrap().import_limit = Some(PrefixLimit { max: 2, action });
    let mut bench = on_interface(config, &[]);
    bench.receive(Role::Incoming, &usual([1, 2]));
    assert!(!bench.peer.session().unwrap().channels[&IPV4].import_limit_hit);
    bench.receive(Role::Incoming, &usual([3]));
    bench
}

#[test]
fn a_limit_that_warns_takes_all() {
    let mut bench = limited(LimitAction::Warn);
    assert_eq!(accepted(&bench), 3);
    assert!(bench.peer.session().unwrap().channels[&IPV4].import_limit_hit);
    bench.receive(Role::Incoming, &withdrawal(1));
    bench.receive(Role::Incoming, &withdrawal(2));
    assert!(!bench.peer.session().unwrap().channels[&IPV4].import_limit_hit);
}

#[test]
fn a_limit_that_blocks_takes_no_more() {
    let mut bench = limited(LimitAction::Block);
    assert_eq!(accepted(&bench), 2);
    assert_eq!(counters(&bench).import_updates.rejected, 1);
    // What is there already may change.
    bench.receive(Role::Incoming, &update(&[THEM.local_as, 7], THEM.router_id.octets(), [1]));
    assert_eq!((accepted(&bench), counters(&bench).import_updates.accepted), (2, 3));
    bench.receive(Role::Incoming, &withdrawal(1));
    bench.receive(Role::Incoming, &usual([3]));
    assert_eq!(accepted(&bench), 2, "there is room again");
}

#[test]
fn a_limit_that_ends_the_session_says_which() {
    for (action, wait) in [
        (LimitAction::Restart(None), Some(1)),
        (LimitAction::Restart(Some(Duration::from_secs(300))), Some(300)),
        (LimitAction::Disable, None),
    ] {
        let mut bench = limited(action);
        let Some(Decoded::Notification(sent)) = bench.sent(Role::Incoming).pop() else { panic!() };
        assert_eq!((sent.code.0, sent.subcode), (6, 1));
        assert_eq!(&sent.data[..], [0, 1, 1, 0, 0, 0, 2], "RFC 4486 section 4: AFI, SAFI, limit");
        assert!(bench.closed(Role::Incoming));
        assert_eq!(bench.peer.state(), StateName::Idle);
        assert_eq!(bench.peer.is_running(), wait.is_some());
        assert_eq!(bench.peer.idle_hold().map(|(_, whole)| whole.as_secs()), wait);
        let reason = bench.peer.last_error().map(Reason::to_string);
        assert!(reason.unwrap().starts_with("Automatic shutdown: ipv4 import limit of 2"));
        if wait.is_some() {
            bench.fire();
        } else {
            assert_eq!(bench.peer.poll_timeout(), None);
            bench.start();
        }
        assert_eq!(bench.peer.state(), StateName::Active);
    }
}

#[test]
fn a_policy_that_opens_up_meets_the_limit_too() {
    let mut config = config(&THEM);
    let family = config.families.get_mut(&IPV4).unwrap();
    family.import = Policy::none();
    family.import_limit = Some(PrefixLimit { max: 2, action: LimitAction::Disable });
    let mut bench = on_interface(config, &[]);
    bench.receive(Role::Incoming, &usual([1, 2, 3]));
    assert_eq!(accepted(&bench), 0);
    let mut open = PeerConfig::clone(bench.peer.config());
    open.families.get_mut(&IPV4).unwrap().import = Policy::all();
    assert!(!bench.peer.reconfigure(bench.now, open.into()));
    bench.collect();
    assert_eq!(bench.notified(Role::Incoming), Some((6, 1)));
    assert_eq!(bench.peer.state(), StateName::Idle);
}

#[test]
fn no_automatic_start_after_an_error() {
    let mut bench = on_interface(PeerConfig { automatic_start: false, ..config(&THEM) }, &[]);
    bench.handle(Event::Received { role: Role::Incoming, bytes: &[0; 19] });
    assert_eq!((bench.peer.state(), bench.peer.poll_timeout()), (StateName::Idle, None));
    bench.start();
    assert_eq!(bench.peer.state(), StateName::Active);
}
