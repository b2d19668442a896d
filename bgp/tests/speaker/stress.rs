//! Many changes at once from several threads, before neighbours some of which read nothing for a long time: each
//! stream is whole messages, says nothing twice, and ends where the last change left it.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use vc5_bgp::session::StateName;
use vc5_bgp::speaker::{LocalRoute, PeerConfig, Speaker};
use vc5_bgp::wire::Decoded;

use super::common::*;

/// What a neighbour knows, prefix and MED.
type Table = BTreeMap<IpNet, Option<u32>>;

const READING: std::ops::Range<u8> = 112..118;
const STUCK: std::ops::Range<u8> = 118..120;
const THREADS: u64 = 3;
const CHANGES: u64 = 2500;
/// That change: few, so that the threads meet.
const VIPS: u64 = 24;
/// More than the buffers of a stuck neighbour hold.
const LOAD: u32 = 6000;

fn vip(number: u64) -> IpNet {
    net(&format!("192.0.2.{number}/32"))
}

fn announce(node: &Speaker, prefix: IpNet, med: u32) {
    node.announce(LocalRoute { med: Some(med), ..LocalRoute::new(prefix) });
}

/// A session with a new neighbour, which need not send KEEPALIVEs.
async fn establish(node: &Speaker, address: u8) -> Router {
    let hold_time = Duration::ZERO;
    let config = PeerConfig { hold_time, ..passive(&format!("r{address}"), address) };
    node.set_peer(config).unwrap();
    Router::establish(node, address).await
}

/// Numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What one thread does to the VIPs.
fn change(node: &Speaker, seed: u64) {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15 ^ seed);
    for _ in 0..CHANGES {
        let prefix = vip(numbers.below(VIPS));
        match numbers.below(4) {
            0 | 1 => announce(node, prefix, u32::try_from(numbers.below(3)).unwrap()),
            2 => drop(node.withdraw(prefix)),
            _ => {
                drop(node.withdraw(prefix));
                announce(node, prefix, 7);
            }
        }
        if numbers.below(8) == 0 {
            std::thread::yield_now();
        }
    }
}

/// A neighbour that reads.
struct Reader {
    router: Router,
    table: Table,
    last: watch::Receiver<Option<Table>>,
}

impl Reader {
    /// Reads until the last state is known and the table is that.
    async fn converge(mut self) -> Self {
        while self.last.borrow().as_ref() != Some(&self.table) {
            tokio::select! {
                message = self.router.receive() => self.take(message),
                changed = self.last.changed() => changed.unwrap(),
            }
        }
        self
    }

    fn take(&mut self, message: Option<Decoded>) {
        let update = match message {
            Some(Decoded::Update(update)) => update,
            Some(Decoded::Keepalive) => return,
            other => panic!("{other:?} in a session that stands"),
        };
        assert_eq!(update.errors, []);
        for nlri in update.update.withdrawals() {
            let known = self.table.remove(&nlri.prefix);
            assert!(known.is_some(), "{} withdrawn, which was not there", nlri.prefix);
        }
        let med = update.update.attributes.med;
        for (nlri, _) in update.update.announcements() {
            let before = self.table.insert(nlri.prefix, med);
            assert_ne!(before, Some(med), "{} announced once more", nlri.prefix);
        }
    }

    /// The session ends as it should; all is withdrawn before.
    async fn end(mut self) {
        loop {
            match self.router.receive().await {
                Some(Decoded::Notification(notification)) => {
                    assert_eq!((notification.code.0, notification.subcode), (6, 2));
                    break;
                }
                message => self.take(message),
            }
        }
        assert_eq!(self.table, Table::new());
        assert_eq!(self.router.receive().await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_neighbour_ends_with_the_last_state() {
    let node = speaker(111, LOCAL_AS).await;
    let (tell, last) = watch::channel(None);
    let mut reading = Vec::new();
    let mut stuck = Vec::new();
    for (addresses, readers) in [(READING, &mut reading), (STUCK, &mut stuck)] {
        for address in addresses {
            let router = establish(&node, address).await;
            readers.push(Reader { router, table: Table::new(), last: last.clone() });
        }
    }
    let reading: Vec<_> =
        reading.into_iter().map(|reader| tokio::spawn(reader.converge())).collect();
    for index in 0..LOAD {
        announce(&node, net(&format!("10.0.{}.{}/32", index >> 8, index & 255)), index);
    }
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| {
            let node = node.clone();
            std::thread::spawn(move || change(&node, seed))
        })
        .collect();
    for thread in threads {
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    }
    for number in 0..VIPS {
        announce(&node, vip(number), 8);
        drop(node.withdraw(vip(number)));
        if number % 2 == 0 {
            announce(&node, vip(number), 9);
        }
    }
    let local = node.snapshot().local_routes.clone();
    assert_eq!(local.len(), LOAD as usize + VIPS as usize / 2);
    tell.send(Some(local.iter().map(|route| (route.prefix, route.attributes.med)).collect()))
        .unwrap();

    let mut readers = Vec::new();
    for reader in reading {
        readers.push(bounded(reader).await.unwrap());
    }
    let snapshot = node.snapshot();
    assert!(snapshot.peers.values().all(|peer| peer.state == StateName::Established));
    for reader in stuck {
        readers.push(bounded(reader.converge()).await);
    }
    let ends: Vec<_> = readers.into_iter().map(|reader| tokio::spawn(reader.end())).collect();
    node.shutdown(None).await;
    for end in ends {
        bounded(end).await.unwrap();
    }
}

/// More neighbours than the caller writes to alone: each hears of each withdrawal once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_hears_of_a_withdrawal() {
    let node = speaker(130, LOCAL_AS).await;
    for number in 0..2 {
        announce(&node, vip(number), 0);
    }
    let mut crowd = Vec::new();
    for address in 131..181 {
        crowd.push(establish(&node, address).await);
    }
    for router in &mut crowd {
        assert_eq!(router.changes().await.0, [vip(0), vip(1)]);
    }
    let caller = node.clone();
    // From outside of the runtime, the second one right behind the first.
    let flushes = std::thread::spawn(move || [0, 1].map(|number| caller.withdraw(vip(number))));
    for flush in flushes.join().unwrap() {
        assert_eq!(bounded(flush).await.peers, crowd.len());
    }
    for router in &mut crowd {
        let mut gone = Vec::new();
        while gone.len() < 2 {
            let (announced, withdrawn) = router.changes().await;
            assert_eq!(announced, []);
            gone.extend(withdrawn);
        }
        assert_eq!(gone, [vip(0), vip(1)]);
    }
    node.shutdown(None).await;
}
