//! A router played by hand over a real TCP connection, and waiting with a bound.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use vc5_bgp::policy::Policy;
use vc5_bgp::session::StateName;
use vc5_bgp::speaker::{
    FamilyConfig, LocalRoute, PeerConfig, Speaker, SpeakerConfig, SpeakerSnapshot,
};
use vc5_bgp::wire::{
    DecodeContext, Decoded, EncodeContext, Family, MAX_LEN, Message, Open, decode, encode, frame,
};

pub(crate) const LOCAL_AS: u32 = 65001;
pub(crate) const ROUTER_AS: u32 = 65000;

/// Nothing here takes this long; it only keeps a broken test from hanging.
const BOUND: Duration = Duration::from_secs(20);

pub(crate) fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn route(prefix: &str) -> LocalRoute {
    LocalRoute::new(net(prefix))
}

pub(crate) async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("took far too long")
}

/// Waits until the speaker's picture is as wanted.
pub(crate) async fn until(speaker: &Speaker, wanted: impl Fn(&SpeakerSnapshot) -> bool) {
    bounded(async {
        while !wanted(&speaker.snapshot()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) async fn speaker(last: u8, local_as: u32) -> Speaker {
    speaker_at(loopback(last), last, local_as).await
}

pub(crate) async fn speaker_at(address: IpAddr, last: u8, local_as: u32) -> Speaker {
    let config = SpeakerConfig {
        router_id: Ipv4Addr::new(10, 0, 0, last),
        local_as,
        listen: vec![SocketAddr::new(address, 0)],
    };
    Speaker::start(config).await.unwrap()
}

/// The neighbour at 127.0.0.`last`: all our routes out, all of its routes in.
pub(crate) fn neighbour(name: &str, last: u8, neighbor_as: u32) -> PeerConfig {
    let next_hop = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let family = FamilyConfig {
        import: Policy::all(),
        export: Policy::all(),
        next_hop,
        ..FamilyConfig::default()
    };
    let mut config = PeerConfig::new(name, loopback(last), neighbor_as);
    config.families.insert(Family::IPV4_UNICAST, family);
    config
}

/// As [`neighbour`], and it has to dial.
pub(crate) fn passive(name: &str, last: u8) -> PeerConfig {
    PeerConfig { passive: true, ..neighbour(name, last, ROUTER_AS) }
}

pub(crate) fn state(snapshot: &SpeakerSnapshot, peer: &str) -> StateName {
    snapshot.peers[peer].state
}

/// A router that does only what it is told.
pub(crate) struct Router {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl Router {
    /// Connects from 127.0.0.`last`.
    pub(crate) async fn connect(speaker: &Speaker, last: u8) -> Self {
        Self::connect_from(speaker, last, 64).await
    }

    /// As [`connect`](Self::connect), with packets of that TTL.
    pub(crate) async fn connect_from(speaker: &Speaker, last: u8, ttl: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        SockRef::from(&socket).set_ttl_v4(ttl).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind(SocketAddr::new(loopback(last), 0)).unwrap();
        let stream = bounded(socket.connect(speaker.listen_addresses()[0])).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Connects and goes through to Established.
    pub(crate) async fn establish(speaker: &Speaker, last: u8) -> Self {
        let id = Ipv4Addr::new(10, 0, 0, last);
        let open = Open::new(ROUTER_AS, 90, id, &[Family::IPV4_UNICAST]);
        Self::establish_with(speaker, last, open).await
    }

    /// As [`establish`](Self::establish), with an OPEN of its own.
    pub(crate) async fn establish_with(speaker: &Speaker, last: u8, open: Open) -> Self {
        until(speaker, |snapshot| {
            snapshot.peers.values().any(|peer| {
                peer.config.neighbor == loopback(last) && peer.state == StateName::Active
            })
        })
        .await;
        let mut router = Self::connect(speaker, last).await;
        router.send(&Message::Open(open)).await;
        assert!(matches!(router.receive().await, Some(Decoded::Open(_))));
        router.send(&Message::Keepalive).await;
        assert_eq!(router.receive().await, Some(Decoded::Keepalive));
        router
    }

    pub(crate) async fn send(&mut self, message: &Message) {
        let bytes = encode(message, &EncodeContext::default()).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) async fn receive(&mut self) -> Option<Decoded> {
        bounded(async {
            loop {
                if let Some(message) = self.next_message() {
                    return Some(message);
                }
                let count = self.stream.read_buf(&mut self.received).await.unwrap();
                if count == 0 {
                    assert!(self.received.is_empty(), "cut off inside a message");
                    return None;
                }
            }
        })
        .await
    }

    fn next_message(&mut self) -> Option<Decoded> {
        let message = frame(&self.received, MAX_LEN).unwrap()?;
        let length = message.bytes.len();
        let decoded = decode(message, &DecodeContext::default()).unwrap();
        self.received.drain(..length);
        Some(decoded)
    }

    /// The next announcements and withdrawals; KEEPALIVEs and End-of-RIB markers are passed over.
    pub(crate) async fn changes(&mut self) -> (Vec<IpNet>, Vec<IpNet>) {
        loop {
            match self.receive().await {
                Some(Decoded::Keepalive) => {}
                Some(Decoded::Update(update)) if update.end_of_rib.is_some() => {}
                Some(Decoded::Update(update)) => {
                    assert_eq!(update.errors, []);
                    let announced = update.update.announcements().map(|(nlri, _)| nlri.prefix);
                    return (
                        announced.collect(),
                        update.update.withdrawals().map(|nlri| nlri.prefix).collect(),
                    );
                }
                other => panic!("expected an UPDATE, got {other:?}"),
            }
        }
    }

    /// (code, subcode, text) of the NOTIFICATION that comes before the end of the connection.
    pub(crate) async fn notification(&mut self) -> (u8, u8, Option<String>) {
        let mut last = None;
        while let Some(message) = self.receive().await {
            last = Some(message);
        }
        match last {
            Some(Decoded::Notification(n)) => (n.code.0, n.subcode, n.shutdown_text()),
            other => panic!("expected a NOTIFICATION at the end, got {other:?}"),
        }
    }
}

impl From<TcpStream> for Router {
    fn from(stream: TcpStream) -> Self {
        Self { stream, received: Vec::new() }
    }
}
