//! Withdrawals written by their caller, ahead of the task. Each test has its runtime on its one thread, so that
//! no task runs but while the test awaits something.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use ipnet::Ipv4Net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::shared::lock;
use super::super::{FamilyConfig, LocalRoute, Speaker, SpeakerConfig};
use super::*;
use crate::policy::Policy;
use crate::wire::{EncodeContext, Family, MAX_LEN, Message, Nlri, Open, Update, encode, frame};

const ROUTER_AS: u32 = 65000;
const FILL: [u8; 1000] = [0xEE; 1000];

fn octets(message: &Message) -> Vec<u8> {
    encode(message, &EncodeContext::default()).unwrap().to_vec()
}

fn vip(last: u8) -> Ipv4Net {
    Ipv4Net::from(Ipv4Addr::new(192, 0, 2, last))
}

fn withdrawal(last: u8) -> Vec<u8> {
    let withdrawn = vec![Nlri::from(vip(last))];
    octets(&Message::Update(Update { withdrawn, ..Update::default() }))
}

/// A speaker with one neighbour, and that one's end of their session.
struct Pair {
    speaker: Speaker,
    driver: Arc<Mutex<Driver>>,
    router: TcpStream,
}

impl Pair {
    /// With a session over which VIPs 1 to 3 have been announced.
    async fn new() -> Self {
        let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let router_id = Ipv4Addr::new(10, 0, 0, 1);
        let speaker =
            Speaker::start(SpeakerConfig { router_id, local_as: 65001, listen }).await.unwrap();
        let mut config = PeerConfig::new("router", IpAddr::from(Ipv4Addr::LOCALHOST), ROUTER_AS);
        config.passive = true;
        let next_hop = Some(Ipv4Addr::new(192, 0, 2, 9).into());
        let family = FamilyConfig { export: Policy::all(), next_hop, ..FamilyConfig::default() };
        config.families.insert(Family::IPV4_UNICAST, family);
        speaker.set_peer(config).unwrap();
        (1..=3).for_each(|last| speaker.announce(LocalRoute::new(vip(last).into())));

        let mut router = TcpStream::connect(speaker.listen_addresses()[0]).await.unwrap();
        let open = Open::new(ROUTER_AS, 90, Ipv4Addr::LOCALHOST, &[Family::IPV4_UNICAST]);
        let hello = [octets(&Message::Open(open)), octets(&Message::Keepalive)].concat();
        router.write_all(&hello).await.unwrap();
        let driver = speaker.shared.driver("router").unwrap();
        let mut pair = Self { speaker, driver, router };
        let end = octets(&Message::Update(Update::end_of_rib(Family::IPV4_UNICAST)));
        while pair.next_message().await != end {}
        pair
    }

    async fn next_message(&mut self) -> Vec<u8> {
        let mut message = vec![0; 19];
        self.router.read_exact(&mut message).await.unwrap();
        let length = usize::from(u16::from_be_bytes([message[16], message[17]]));
        message.resize(length, 0);
        self.router.read_exact(&mut message[19..]).await.unwrap();
        assert!(frame(&message, MAX_LEN).unwrap().is_some());
        message
    }

    async fn hear(&mut self, length: usize) -> Vec<u8> {
        let mut heard = vec![0; length];
        self.router.read_exact(&mut heard).await.unwrap();
        heard
    }

    /// Octets of no meaning, until the kernel takes no more; how many.
    fn fill(&self) -> usize {
        let driver = lock(&self.driver);
        let stream = &driver.incoming.as_ref().unwrap().stream;
        let mut filled = 0;
        loop {
            match stream.try_write(&FILL) {
                Ok(count) => filled += count,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return filled;
                }
            }
        }
    }

    /// Octets that wait for the kernel.
    fn waiting(&self) -> usize {
        let driver = lock(&self.driver);
        let link = driver.incoming.as_ref().unwrap();
        usize::try_from(link.queued - link.written).unwrap()
    }
}

#[tokio::test]
async fn the_caller_writes() {
    let mut pair = Pair::new().await;
    let flush = pair.speaker.withdraw(vip(1).into());
    let heard = withdrawal(1);
    let before = lock(&pair.driver).channels.progress.borrow().written_at;
    assert!(before.is_some(), "on return, without the task's doing, it is written");
    assert_eq!(pair.hear(heard.len()).await, heard);
    let report = flush.await;
    assert_eq!((report.peers, report.written_at), (1, before));
    // The task does not say it once more, and goes on from there.
    pair.speaker.announce(LocalRoute::new(vip(1).into()));
    assert_ne!(pair.next_message().await, withdrawal(1));
    pair.speaker.shutdown(None).await;
}

#[tokio::test]
async fn what_the_kernel_does_not_take_is_left_to_the_task_in_order() {
    let mut pair = Pair::new().await;
    let filled = pair.fill();
    let first = pair.speaker.withdraw(vip(1).into());
    assert_eq!(pair.waiting(), withdrawal(1).len(), "handed over");
    let second = pair.speaker.withdraw(vip(2).into());
    assert_eq!(pair.waiting(), withdrawal(1).len(), "nothing goes into what waits");
    let progress = *lock(&pair.driver).channels.progress.borrow();
    assert_eq!(progress.written_at, None);

    let heard = pair.hear(filled).await;
    assert!(heard.iter().all(|octet| *octet == FILL[0]), "nothing came between");
    assert_eq!(pair.next_message().await, withdrawal(1));
    assert_eq!(pair.next_message().await, withdrawal(2));
    assert_eq!((first.await.peers, second.await.peers), (1, 1));
    pair.speaker.shutdown(None).await;
}

#[tokio::test]
async fn whoever_holds_a_neighbour_holds_up_no_caller() {
    let mut pair = Pair::new().await;
    let flush = {
        let _held = lock(&pair.driver);
        pair.speaker.withdraw(vip(3).into())
    };
    assert_eq!(pair.next_message().await, withdrawal(3));
    assert_eq!(flush.await.peers, 1);
    pair.speaker.shutdown(None).await;
}

#[tokio::test]
async fn a_lost_connection_is_found_by_the_task() {
    let pair = Pair::new().await;
    socket2::SockRef::from(&pair.router).set_linger(Some(Duration::ZERO)).unwrap();
    drop(pair.router);
    let mut events = pair.speaker.subscribe();
    let flush = pair.speaker.withdraw(vip(1).into());
    assert!(lock(&pair.driver).ahead_error.is_some(), "the reset came first");
    assert_eq!(flush.await.peers, 0);
    let down = events.recv().await.unwrap();
    let reason = Some("Socket: Connection reset by peer".to_owned());
    assert_eq!(down, SpeakerEvent::Down { peer: "router".to_owned(), reason });
    pair.speaker.shutdown(None).await;
}
