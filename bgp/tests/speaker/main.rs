//! The speaker over real sockets on the loopback interface.

#[cfg(test)]
mod common;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod scoped;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod transport;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::*;
use tokio::io::AsyncWriteExt;
use vc5_bgp::policy::Policy;
use vc5_bgp::session::StateName;
use vc5_bgp::speaker::{
    FlushReport, LocalRoute, PeerConfig, PeerSnapshot, Speaker, SpeakerConfig, SpeakerError,
    SpeakerEvent, SpeakerSnapshot,
};
use vc5_bgp::wire::{Attributes, Decoded, Family, Message, Notification, RouteRefresh, Update};

fn established(snapshot: &SpeakerSnapshot) -> bool {
    snapshot.peers.values().all(|peer| peer.state == StateName::Established)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_speakers_exchange_routes() {
    let node = speaker(11, LOCAL_AS).await;
    let router = speaker(12, ROUTER_AS).await;
    let mut events = node.subscribe();
    node.set_peer(PeerConfig { passive: true, ..neighbour("router", 12, ROUTER_AS) }).unwrap();
    router
        .set_peer(PeerConfig {
            port: node.listen_addresses()[0].port(),
            source_address: Some(loopback(12)),
            ..neighbour("node", 11, LOCAL_AS)
        })
        .unwrap();
    node.announce(route("192.0.2.100/32"));
    until(&router, |snapshot| snapshot.received_routes.len() == 1).await;
    let snapshot = router.snapshot();
    let learned = &snapshot.received_routes[0];
    assert_eq!(learned.prefix, net("192.0.2.100/32"));
    assert_eq!(learned.attributes.as_path.to_string(), "65001");
    assert!(learned.selected);
    assert_eq!(&*learned.peer, "node");
    until(&node, |snapshot| snapshot.local_routes[0].exported_to == ["router"]).await;
    assert_eq!(
        bounded(events.recv()).await.unwrap(),
        SpeakerEvent::Established { peer: "router".to_owned() }
    );
    let session = node.snapshot().peers["router"].session.clone().unwrap();
    assert_eq!(session.neighbor_id, Ipv4Addr::new(10, 0, 0, 12));
    assert_eq!(session.hold_time, Duration::from_secs(9));
    assert!(session.as4 && session.external);

    let before = Instant::now();
    let report = bounded(node.withdraw(net("192.0.2.100/32"))).await;
    assert_eq!(report.peers, 1);
    assert!(report.written_at.is_some_and(|at| at >= before && at <= Instant::now()));
    until(&router, |snapshot| snapshot.received_routes.is_empty()).await;
    // Nothing more to write: flushed at once.
    let report = bounded(node.withdraw(net("192.0.2.100/32"))).await;
    assert_eq!(report, FlushReport { peers: 1, written_at: None });

    node.shutdown(Some("bye")).await;
    until(&router, |snapshot| snapshot.peers["node"].last_error.is_some()).await;
    let error = router.snapshot().peers["node"].last_error.clone();
    assert!(error.is_some_and(|error| error.contains("Administrative shutdown: bye")));
    assert!(matches!(node.set_peer(passive("late", 99)), Err(SpeakerError::Closed)));
    router.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_speakers_that_both_dial_end_with_one_session() {
    let (a, b) = (speaker(21, LOCAL_AS).await, speaker(22, ROUTER_AS).await);
    for (near, far, ours, theirs, far_as) in
        [(&a, &b, 21, 22, ROUTER_AS), (&b, &a, 22, 21, LOCAL_AS)]
    {
        near.set_peer(PeerConfig {
            port: far.listen_addresses()[0].port(),
            source_address: Some(loopback(ours)),
            connect_retry_time: Duration::from_millis(200),
            error_wait_time: (Duration::from_millis(100), Duration::from_secs(1)),
            ..neighbour("other", theirs, far_as)
        })
        .unwrap();
    }
    until(&a, established).await;
    until(&b, established).await;
    a.announce(route("192.0.2.100/32"));
    until(&b, |snapshot| snapshot.received_routes.len() == 1).await;
    a.shutdown(None).await;
    b.shutdown(None).await;
}

/// A neighbour that reads nothing: the other one hears of a withdrawal all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_neighbour_holds_up_nobody() {
    let node = speaker(31, LOCAL_AS).await;
    node.set_peer(passive("stuck", 32)).unwrap();
    node.set_peer(passive("good", 33)).unwrap();
    let stuck = Router::establish(&node, 32).await;
    let mut good = Router::establish(&node, 33).await;
    until(&node, established).await;
    // Different attributes, so that each route is an UPDATE of its own: more than buffers hold.
    let count = 6_000_u32;
    for index in 0..count {
        let prefix = format!("10.{}.{}.{}/32", index >> 16, index >> 8 & 255, index & 255);
        let mut route = route(&prefix);
        route.med = Some(index);
        node.announce(route);
    }
    let mut seen = 0;
    while seen < count as usize {
        seen += good.changes().await.0.len();
    }
    let mut flush = node.withdraw(net("10.0.0.7/32"));
    assert_eq!(good.changes().await, (vec![], vec![net("10.0.0.7/32")]));
    let waiting = tokio::time::timeout(Duration::from_millis(50), &mut flush).await;
    assert!(waiting.is_err(), "the stuck neighbour still has it to read");
    assert_eq!(state(&node.snapshot(), "stuck"), StateName::Established);
    drop(stuck);
    let report = bounded(flush).await;
    assert_eq!(report.peers, 1, "a neighbour that is gone does not count");
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_answered_and_hurts_nobody_else() {
    let node = speaker(41, LOCAL_AS).await;
    node.set_peer(passive("good", 42)).unwrap();
    node.set_peer(passive("bad", 43)).unwrap();
    let mut good = Router::establish(&node, 42).await;
    let mut bad = Router::connect(&node, 43).await;
    bad.stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(bad.notification().await, (1, 1, None));
    // A second connection from where a session stands is refused.
    let mut second = Router::connect(&node, 42).await;
    assert_eq!(second.receive().await, None);
    until(&node, |snapshot| snapshot.peers["bad"].last_error.is_some()).await;
    let snapshot = node.snapshot();
    let error = snapshot.peers["bad"].last_error.as_deref();
    assert_eq!(error, Some("BGP Error: Connection not synchronized"));
    assert_eq!(state(&snapshot, "good"), StateName::Established);
    assert_eq!(snapshot.peers["good"].counters.dropped, 0);
    node.announce(route("192.0.2.100/32"));
    assert_eq!(good.changes().await.0, [net("192.0.2.100/32")]);
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_closed_and_counted() {
    let node = speaker(51, LOCAL_AS).await;
    let mut stranger = Router::connect(&node, 52).await;
    assert_eq!(stranger.receive().await, None);
    // The count, made after the connection is closed, is part of the next picture that is taken.
    let med = std::cell::Cell::new(0);
    until(&node, |snapshot| {
        med.set(med.get() + 1);
        node.announce(LocalRoute { med: Some(med.get()), ..route("192.0.2.100/32") });
        snapshot.refused_connections == 1
    })
    .await;
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_withdraws_before_it_ceases() {
    let node = speaker(61, LOCAL_AS).await;
    node.set_peer(passive("router", 62)).unwrap();
    node.announce(route("192.0.2.100/32"));
    node.announce(route("192.0.2.101/32"));
    let mut router = Router::establish(&node, 62).await;
    assert_eq!(router.changes().await.0.len(), 2);
    let closing = tokio::spawn({
        let node = node.clone();
        async move { node.shutdown(Some("new kernel")).await }
    });
    let withdrawn = [net("192.0.2.100/32"), net("192.0.2.101/32")];
    assert_eq!(router.changes().await.1, withdrawn);
    assert_eq!(router.notification().await, (6, 2, Some("new kernel".to_owned())));
    drop(router);
    bounded(closing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_of_a_neighbour() {
    let node = speaker(71, LOCAL_AS).await;
    node.set_peer(passive("router", 72)).unwrap();
    let mut router = Router::establish(&node, 72).await;
    node.disable("router", Some("cabling")).unwrap();
    assert_eq!(router.notification().await, (6, 2, Some("cabling".to_owned())));
    until(&node, |snapshot| !snapshot.peers["router"].enabled).await;
    let snapshot = node.snapshot();
    assert_eq!(snapshot.peers["router"].message.as_deref(), Some("cabling"));
    assert_eq!(state(&snapshot, "router"), StateName::Idle);
    assert_eq!(Router::connect(&node, 72).await.receive().await, None, "refused");

    node.enable("router").unwrap();
    until(&node, |snapshot| state(snapshot, "router") == StateName::Active).await;
    let mut router = Router::establish(&node, 72).await;
    node.restart("router", None).unwrap();
    assert_eq!(router.notification().await, (6, 4, None));

    let mut router = Router::establish(&node, 72).await;
    let hold_time = Duration::from_secs(30);
    node.set_peer(PeerConfig { hold_time, ..passive("router", 72) }).unwrap();
    assert_eq!(router.notification().await, (6, 6, None));

    let mut router = Router::establish(&node, 72).await;
    node.remove_peer("router");
    assert_eq!(router.notification().await, (6, 3, None));
    assert!(node.snapshot().peers.is_empty());
    assert!(
        matches!(node.enable("router"), Err(SpeakerError::UnknownPeer(name)) if name == "router")
    );
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_policy_changes_without_a_reset() {
    let node = speaker(81, LOCAL_AS).await;
    node.set_peer(passive("router", 82)).unwrap();
    node.announce(route("192.0.2.100/32"));
    let mut router = Router::establish(&node, 82).await;
    assert_eq!(router.changes().await.0, [net("192.0.2.100/32")]);
    let mut closed = passive("router", 82);
    closed.families.get_mut(&Family::IPV4_UNICAST).unwrap().export = Policy::none();
    node.set_peer(closed).unwrap();
    assert_eq!(router.changes().await.1, [net("192.0.2.100/32")]);
    node.set_peer(passive("router", 82)).unwrap();
    assert_eq!(router.changes().await.0, [net("192.0.2.100/32")]);
    router.send(&Message::RouteRefresh(RouteRefresh::request(Family::IPV4_UNICAST))).await;
    assert_eq!(router.changes().await.0, [net("192.0.2.100/32")]);
    let before = node.snapshot().peers["router"].clone();
    assert_eq!(before.counters.established, 1);
    // A KEEPALIVE changes nothing but the counters and the hold timer, and they are shown.
    router.send(&Message::Keepalive).await;
    let hold = |peer: &PeerSnapshot| peer.session.as_ref().and_then(|s| s.hold_expires);
    until(&node, |snapshot| {
        let now = &snapshot.peers["router"];
        now.counters.messages_in > before.counters.messages_in && hold(now) > hold(&before)
    })
    .await;
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn learned_routes_come_and_go_with_their_neighbour() {
    let node = speaker(91, LOCAL_AS).await;
    node.set_peer(passive("a", 92)).unwrap();
    node.set_peer(passive("b", 93)).unwrap();
    let (mut a, mut b) = (Router::establish(&node, 92).await, Router::establish(&node, 93).await);
    let update = Update {
        attributes: Attributes {
            as_path: vc5_bgp::wire::AsPath::sequence([ROUTER_AS]),
            next_hop: Some(Ipv4Addr::new(192, 0, 2, 92)),
            ..Attributes::default()
        },
        nlri: vec!["0.0.0.0/0".parse().unwrap()],
        ..Update::default()
    };
    a.send(&Message::Update(update.clone())).await;
    b.send(&Message::Update(update)).await;
    until(&node, |snapshot| snapshot.received_routes.len() == 2).await;
    let selected = |snapshot: &SpeakerSnapshot| {
        let best = snapshot.received_routes.iter().filter(|route| route.selected);
        best.map(|route| route.peer.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(selected(&node.snapshot()), ["a"], "the lower identifier");
    let cease = Message::Notification(Notification::cease(2));
    a.send(&cease).await;
    until(&node, |snapshot| snapshot.received_routes.len() == 1).await;
    assert_eq!(selected(&node.snapshot()), ["b"]);
    node.announce(route("192.0.2.100/32"));
    let (announced, _) = b.changes().await;
    assert_eq!(announced, [net("192.0.2.100/32")], "what was learned is not passed on");
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_come_from_any_thread() {
    let node = speaker(101, LOCAL_AS).await;
    let handle = node.clone();
    let thread = std::thread::spawn(move || {
        handle.set_peer(passive("router", 102)).unwrap();
        handle.announce(route("192.0.2.100/32"));
        handle.announce(route("192.0.2.101/32"));
        drop(handle.withdraw(net("192.0.2.101/32")));
    });
    thread.join().unwrap();
    let mut router = Router::establish(&node, 102).await;
    assert_eq!(router.changes().await, (vec![net("192.0.2.100/32")], vec![]));
    let handle = node.clone();
    std::thread::spawn(move || drop(handle.withdraw(net("192.0.2.100/32")))).join().unwrap();
    assert_eq!(router.changes().await.1, [net("192.0.2.100/32")]);
    node.shutdown(None).await;
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let node = speaker(111, LOCAL_AS).await;
    let address = node.listen_addresses()[0];
    let config = SpeakerConfig {
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        local_as: LOCAL_AS,
        listen: vec![address],
    };
    let error = Speaker::start(config.clone()).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");
    let zero = SpeakerConfig { local_as: 0, listen: Vec::new(), ..config };
    assert!(matches!(Speaker::start(zero).await, Err(SpeakerError::InvalidLocal(_))));

    node.set_peer(passive("a", 112)).unwrap();
    let reason = |config: PeerConfig| node.set_peer(config).unwrap_err().to_string();
    assert!(reason(passive("b", 112)).contains("a's address"));
    let seconds = Duration::from_secs;
    assert!(
        reason(PeerConfig { hold_time: seconds(2), ..passive("b", 113) }).contains("hold time")
    );
    assert!(reason(PeerConfig { neighbor_as: 0, ..passive("b", 113) }).contains("AS"));
    let error_wait_time = (seconds(2), seconds(1));
    assert!(reason(PeerConfig { error_wait_time, ..passive("b", 113) }).contains("error wait"));
    let source_address = Some("::1".parse().unwrap());
    assert!(reason(PeerConfig { source_address, ..passive("b", 113) }).contains("family"));
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialled_neighbour_that_refuses_is_tried_again() {
    let node = speaker(121, LOCAL_AS).await;
    let router = tokio::net::TcpSocket::new_v4().unwrap();
    router.bind(SocketAddr::new(loopback(122), 0)).unwrap();
    let port = router.local_addr().unwrap().port();
    let mut events = node.subscribe();
    node.set_peer(PeerConfig {
        port,
        connect_retry_time: Duration::from_millis(100),
        ..neighbour("router", 122, ROUTER_AS)
    })
    .unwrap();
    let refused = SpeakerEvent::Failed {
        peer: "router".to_owned(),
        reason: "Socket: Connection refused".to_owned(),
    };
    assert_eq!(bounded(events.recv()).await.unwrap(), refused);
    let listener = router.listen(1).unwrap();
    let (stream, _) = bounded(listener.accept()).await.unwrap();
    let mut router = Router::from(stream);
    assert!(matches!(router.receive().await, Some(Decoded::Open(_))));
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_over_ipv6() {
    let start = |last, local_as| {
        let listen = vec![SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)];
        Speaker::start(SpeakerConfig { router_id: Ipv4Addr::new(10, 0, 0, last), local_as, listen })
    };
    let node = start(141, LOCAL_AS).await.unwrap();
    let router = start(142, ROUTER_AS).await.unwrap();
    let peer = |far_as, port, passive| {
        let mut config = neighbour("other", 1, far_as);
        let mut six = config.families[&Family::IPV4_UNICAST].clone();
        six.next_hop = Some("2001:db8::1".parse().unwrap());
        config.families.insert(Family::IPV6_UNICAST, six);
        PeerConfig { neighbor: Ipv6Addr::LOCALHOST.into(), port, passive, ..config }
    };
    node.set_peer(peer(ROUTER_AS, 179, true)).unwrap();
    router.set_peer(peer(LOCAL_AS, node.listen_addresses()[0].port(), false)).unwrap();
    node.announce(route("2001:db8:101::1/128"));
    node.announce(route("192.0.2.100/32"));
    until(&router, |snapshot| snapshot.received_routes.len() == 2).await;
    let next_hops: Vec<String> =
        router.snapshot().received_routes.iter().map(|route| route.next_hop.to_string()).collect();
    assert_eq!(next_hops, ["192.0.2.1", "2001:db8::1"]);
    let report = bounded(node.withdraw(net("2001:db8:101::1/128"))).await;
    assert_eq!(report.peers, 1);
    until(&router, |snapshot| snapshot.received_routes.len() == 1).await;
    node.shutdown(None).await;
    router.shutdown(None).await;
}
