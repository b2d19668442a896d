//! What the speaker asks of TCP: TTL security, MD5 signatures, scoped addresses, a full backlog.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use vc5_bgp::session::{Password, StateName};
use vc5_bgp::speaker::{PeerConfig, Speaker};
use vc5_bgp::wire::{Family, Message, Open};

use super::common::*;

fn up(speaker: &Speaker, peer: &str) -> bool {
    state(&speaker.snapshot(), peer) == StateName::Established
}

/// Two speakers, the second of which dials the first, and how each sees the other.
struct Pair {
    node: Speaker,
    router: Speaker,
    /// The node's neighbour, which is passive.
    theirs: PeerConfig,
    /// The router's neighbour.
    ours: PeerConfig,
}

impl Pair {
    async fn new(last: u8) -> Self {
        Self::at(last, loopback(last), loopback(last + 1)).await
    }

    /// Both on the one address that IPv6 has for loopback.
    async fn ipv6(last: u8) -> Self {
        Self::at(last, Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()).await
    }

    async fn at(last: u8, node_at: IpAddr, router_at: IpAddr) -> Self {
        let node = speaker_at(node_at, last, LOCAL_AS).await;
        let router = speaker_at(router_at, last + 1, ROUTER_AS).await;
        let retry = PeerConfig {
            connect_retry_time: Duration::from_millis(100),
            error_wait_time: (Duration::from_millis(100), Duration::from_millis(200)),
            neighbor: node_at,
            ..neighbour("node", last, LOCAL_AS)
        };
        let ours = PeerConfig {
            port: node.listen_addresses()[0].port(),
            source_address: Some(router_at),
            ..retry
        };
        let theirs = PeerConfig { neighbor: router_at, ..passive("router", last + 1) };
        Self { node, router, theirs, ours }
    }

    fn set(&self) {
        self.node.set_peer(self.theirs.clone()).unwrap();
        self.router.set_peer(self.ours.clone()).unwrap();
    }

    async fn established(&self) {
        bounded(async {
            while !(up(&self.node, "router") && up(&self.router, "node")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn shutdown(self) {
        self.node.shutdown(None).await;
        self.router.shutdown(None).await;
    }
}

/// Begins to connect with packets of that TTL. On the loopback interface the answer, if there is one, has
/// come on return.
fn knock(speaker: &Speaker, from: IpAddr, ttl: u32) -> Socket {
    let to = speaker.listen_addresses()[0];
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    match from {
        IpAddr::V4(_) => socket.set_ttl_v4(ttl).unwrap(),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl).unwrap(),
    }
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&to.into());
    socket
}

fn is_connected(socket: &Socket) -> bool {
    socket.peer_addr().is_ok()
}

/// A counter of the kernel's TCP, for all sockets of the namespace.
fn tcp_counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|known| known == name).unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ttl_security_hears_only_the_near() {
    let mut pair = Pair::new(151).await;
    pair.theirs.ttl_security = true;
    pair.ours.ttl_security = true;
    pair.set();
    pair.established().await;

    // A neighbour whose packets have come far is not heard, until they come from near.
    let far = PeerConfig { ttl_security: true, ..passive("far", 153) };
    pair.node.set_peer(far).unwrap();
    assert!(!is_connected(&knock(&pair.node, loopback(153), 254)), "too far for a first packet");
    let mut far = Router::connect_from(&pair.node, 153, 255).await;
    until(&pair.node, |snapshot| state(snapshot, "far") == StateName::OpenSent).await;
    SockRef::from(&far.stream).set_ttl_v4(254).unwrap();
    let before = tcp_counter("TCPMinTTLDrop");
    let id = Ipv4Addr::new(10, 0, 0, 153);
    far.send(&Message::Open(Open::new(ROUTER_AS, 90, id, &[Family::IPV4_UNICAST]))).await;
    bounded(async {
        while tcp_counter("TCPMinTTLDrop") == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(state(&pair.node.snapshot(), "far"), StateName::OpenSent);
    SockRef::from(&far.stream).set_ttl_v4(255).unwrap();
    until(&pair.node, |snapshot| state(snapshot, "far") == StateName::OpenConfirm).await;

    // Two hops away is near enough where that was said.
    let two = PeerConfig { ttl_security: true, multihop: Some(2), ..passive("two", 154) };
    pair.node.set_peer(two).unwrap();
    assert!(!is_connected(&knock(&pair.node, loopback(154), 253)), "three hops are too many");
    let mut two = Router::connect_from(&pair.node, 154, 254).await;
    two.send(&Message::Open(Open::new(ROUTER_AS, 90, id, &[Family::IPV4_UNICAST]))).await;
    until(&pair.node, |snapshot| state(snapshot, "two") == StateName::OpenConfirm).await;

    // Who is removed, or does not want it any more, may be far.
    pair.node.remove_peer("far");
    assert!(is_connected(&knock(&pair.node, loopback(153), 1)));
    pair.node.set_peer(passive("two", 154)).unwrap();
    assert!(is_connected(&knock(&pair.node, loopback(154), 1)));
    pair.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ttl_security_over_ipv6() {
    let mut pair = Pair::ipv6(155).await;
    pair.theirs.ttl_security = true;
    pair.node.set_peer(pair.theirs.clone()).unwrap();
    let address = Ipv6Addr::LOCALHOST.into();
    assert!(!is_connected(&knock(&pair.node, address, 254)));
    pair.ours.ttl_security = true;
    pair.set();
    pair.established().await;
    pair.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_sessions_over_ipv6() {
    let mut pair = Pair::ipv6(163).await;
    pair.theirs.password = Password::new("old key");
    pair.node.set_peer(pair.theirs.clone()).unwrap();
    let address = Ipv6Addr::LOCALHOST.into();
    assert!(!is_connected(&knock(&pair.node, address, 1)), "without a signature");
    pair.ours.password = Password::new("old key");
    pair.set();
    pair.established().await;

    pair.theirs.password = Password::new("new key");
    pair.ours.password = Password::new("new key");
    pair.set();
    pair.node.announce(route("192.0.2.100/32"));
    until(&pair.router, |snapshot| snapshot.received_routes.len() == 1).await;
    assert_eq!(pair.node.snapshot().peers["router"].counters.established, 1);
    pair.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_sessions_survive_a_change_of_key() {
    let mut pair = Pair::new(161).await;
    pair.theirs.password = Password::new("old key");
    pair.ours.password = Password::new("old key");
    pair.set();
    pair.established().await;

    let before = pair.node.snapshot().peers["router"].counters.messages_in;
    pair.theirs.password = Password::new("new key");
    pair.ours.password = Password::new("new key");
    pair.set();
    // Both ends speak with the new key: something is heard, and the session is the same.
    pair.node.announce(route("192.0.2.100/32"));
    until(&pair.router, |snapshot| snapshot.received_routes.len() == 1).await;
    until(&pair.node, |snapshot| snapshot.peers["router"].counters.messages_in > before).await;
    assert_eq!(pair.node.snapshot().peers["router"].counters.established, 1);

    // The listening socket has it too.
    pair.router.restart("node", None).unwrap();
    until(&pair.node, |snapshot| snapshot.peers["router"].counters.established == 2).await;
    pair.established().await;
    pair.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_not_heard() {
    let mut pair = Pair::new(171).await;
    pair.theirs.password = Password::new("one");
    pair.ours.password = Password::new("another");
    let before = tcp_counter("TCPMD5Failure");
    pair.set();
    bounded(async {
        while tcp_counter("TCPMD5Failure") == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(state(&pair.node.snapshot(), "router"), StateName::Active);
    // Nor is one without a key where there has to be one.
    pair.ours.password = None;
    let before = tcp_counter("TCPMD5NotFound");
    pair.set();
    bounded(async {
        while tcp_counter("TCPMD5NotFound") == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(state(&pair.node.snapshot(), "router"), StateName::Active);
    pair.theirs.password = None;
    pair.set();
    pair.established().await;
    pair.shutdown().await;
}

/// Many connections at once from somebody unknown: each is accepted, closed and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_strangers_is_closed_and_counted() {
    const STRANGERS: u64 = 400;
    let node = speaker(181, LOCAL_AS).await;
    let address = node.listen_addresses()[0];
    // Blocking sockets, so that all of them knock before the speaker's turn.
    let knocking: Vec<Socket> = (0..STRANGERS)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(loopback(182), 0).into()).unwrap();
            socket.connect(&address.into()).unwrap();
            socket
        })
        .collect();
    for socket in knocking {
        socket.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(socket.into()).unwrap();
        let mut sink = [0];
        // An orderly end or a reset, but nothing said.
        let end = bounded(stream.read(&mut sink)).await;
        assert!(matches!(end, Ok(0) | Err(_)));
    }
    until(&node, |snapshot| snapshot.refused_connections == STRANGERS).await;
    node.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_are_marked_and_go_no_farther_than_they_have_to() {
    for (last, config, ttl) in [
        (191, passive("router", 192), 1),
        (193, PeerConfig { multihop: Some(7), ..passive("router", 194) }, 7),
        (195, PeerConfig { neighbor_as: LOCAL_AS, ..passive("router", 196) }, 64),
        (197, PeerConfig { ttl_security: true, ..passive("router", 198) }, 255),
    ] {
        let node = speaker(last, LOCAL_AS).await;
        node.set_peer(config).unwrap();
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))
            .expect("a raw socket: run the tests as root");
        raw.bind(&SocketAddr::new(loopback(last + 1), 0).into()).unwrap();
        raw.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _router = Router::connect_from(&node, last + 1, 255).await;
        let wait = move || (next_packet(&raw, false), next_packet(&raw, true));
        let (first, open) = tokio::task::spawn_blocking(wait).await.unwrap();
        // The SYN's answer comes before it is clear whose SYN it was; far enough for everybody.
        assert_eq!(first, Marks { ttl: 255, tos: 0xC0 }, "SYN and ACK");
        assert_eq!(open, Marks { ttl, tos: 0xC0 }, "OPEN: CS6, and just as far as needed");
        node.shutdown(None).await;
    }
}

#[derive(Debug, PartialEq)]
struct Marks {
    ttl: u8,
    tos: u8,
}

/// The next packet that a raw socket gets; with `data` the next that carries any.
fn next_packet(raw: &Socket, data: bool) -> Marks {
    let mut raw = raw;
    let mut packet = [0; 2048];
    loop {
        let length = std::io::Read::read(&mut raw, &mut packet).unwrap();
        let headers = usize::from(packet[0] & 15) * 4;
        let headers = headers + usize::from(packet[headers + 12] >> 4) * 4;
        if !data || length > headers {
            return Marks { ttl: packet[8], tos: packet[1] };
        }
    }
}
