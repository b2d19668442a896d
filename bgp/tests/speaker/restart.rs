//! A neighbour restarts: its routes stay, for readers and for other neighbours (RFC 4724 section 4.2).

use std::net::Ipv4Addr;
use std::time::Duration;

use vc5_bgp::session::StateName;
use vc5_bgp::speaker::Speaker;
use vc5_bgp::wire::{
    AsPath, Attributes, Capability, Decoded, Family, GracefulRestart, Message, Open, RestartFamily,
    Update,
};

use super::common::*;

/// The OPEN of a router that forwards on while it restarts.
fn open(last: u8) -> Open {
    let restart = GracefulRestart {
        restart_time: Duration::from_secs(60),
        families: vec![RestartFamily { family: Family::IPV4_UNICAST, forwarding: true }],
        ..GracefulRestart::default()
    };
    let id = Ipv4Addr::new(10, 0, 0, last);
    let mut open = Open::new(ROUTER_AS, 90, id, &[Family::IPV4_UNICAST]);
    open.capabilities.push(Capability::GracefulRestart(restart));
    open
}

fn announcement(last: u8) -> Message {
    let attributes = Attributes {
        as_path: AsPath::sequence([ROUTER_AS]),
        next_hop: Some(Ipv4Addr::new(192, 0, 2, 2)),
        ..Attributes::default()
    };
    let nlri = vec![format!("198.51.100.{last}/32").parse().unwrap()];
    Message::Update(Update { attributes, nlri, ..Update::default() })
}

/// A session in which that router announced two routes.
async fn session(node: &Speaker, last: u8) -> Router {
    node.set_peer(passive("restarts", last)).unwrap();
    let mut router = Router::establish_with(node, last, open(last)).await;
    for last in [1, 2] {
        router.send(&announcement(last)).await;
    }
    until(node, |snapshot| snapshot.received_routes.len() == 2).await;
    router
}

async fn all_stale(node: &Speaker) {
    until(node, |snapshot| snapshot.received_routes.iter().all(|route| route.stale)).await;
    let kept = node.snapshot().received_routes.clone();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|route| route.selected && &*route.peer == "restarts"));
}

/// The router announces one of the routes anew, and that was all.
async fn converge(node: &Speaker, router: &mut Router) {
    router.send(&announcement(2)).await;
    until(node, |snapshot| {
        let stale: Vec<_> = snapshot.received_routes.iter().map(|route| route.stale).collect();
        stale == [true, false]
    })
    .await;
    router.send(&Message::Update(Update::end_of_rib(Family::IPV4_UNICAST))).await;
    until(node, |snapshot| snapshot.received_routes.len() == 1).await;
    assert_eq!(node.snapshot().received_routes[0].prefix, net("198.51.100.2/32"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_restarts_keeps_its_routes() {
    let node = speaker(44, LOCAL_AS).await;
    drop(session(&node, 45).await);
    until(&node, |snapshot| state(snapshot, "restarts") != StateName::Established).await;
    all_stale(&node).await;
    let mut router = Router::establish_with(&node, 45, open(45)).await;
    converge(&node, &mut router).await;
    node.shutdown(None).await;
}

/// As after a power cut: no end of the old connection is ever heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_is_back_before_its_end_is_noticed() {
    let node = speaker(46, LOCAL_AS).await;
    node.announce(route("192.0.2.46/32"));
    let mut before = session(&node, 47).await;
    assert_eq!(before.changes().await.0, [net("192.0.2.46/32")]);
    let mut router = Router::connect(&node, 47).await;
    assert!(matches!(router.receive().await, Some(Decoded::Open(_))));
    all_stale(&node).await;
    let end = Message::Update(Update::end_of_rib(Family::IPV4_UNICAST));
    loop {
        match before.receive().await {
            None => break,
            Some(Decoded::Keepalive) => {}
            Some(Decoded::Update(update)) if update.end_of_rib.is_some() => {}
            Some(other) => panic!("{other:?} on a connection that is over"),
        }
    }
    for message in [Message::Open(open(47)), Message::Keepalive] {
        router.send(&message).await;
    }
    assert_eq!(router.receive().await, Some(Decoded::Keepalive));
    assert_eq!(router.changes().await.0, [net("192.0.2.46/32")]);
    // What is withdrawn goes to the new connection.
    let flush = node.withdraw(net("192.0.2.46/32"));
    assert_eq!(router.changes().await.1, [net("192.0.2.46/32")]);
    assert_eq!(bounded(flush).await.peers, 1);
    router.send(&end).await;
    until(&node, |snapshot| snapshot.received_routes.is_empty()).await;
    node.shutdown(None).await;
}
