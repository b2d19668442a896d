//! The kernel's neighbour table as it behaves. Needs root, for network namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use super::managed::Managed;
use super::*;
use crate::netlink::namespace::Namespace;
use crate::netlink::{Listener, Requests};

/// Far longer than anything here takes: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

const BACKENDS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10)),
];

/// A balancer with `e0` on a wire with a backend that has two addresses on `p0`.
fn wire() -> (Namespace, Namespace) {
    let (balancer, backend) = (Namespace::new(), Namespace::new());
    balancer.wire_to(&backend);
    for (namespace, interface, host) in [(&balancer, "e0", 1), (&backend, "p0", 10)] {
        namespace.ip(&format!("addr add 192.0.2.{host}/24 dev {interface}"));
        let address = format!("2001:db8::{host:x}/64");
        namespace.ip(&format!("addr add {address} dev {interface} nodad"));
    }
    (balancer, backend)
}

/// What a dataplane does with its neighbours.
struct Watch {
    listener: Listener,
    requests: Requests,
    network: Network,
    managed: Managed,
}

impl Watch {
    fn open() -> Self {
        let listener = Listener::open().unwrap();
        let mut watch = Self {
            listener,
            requests: Requests::open().unwrap(),
            network: Network::new(vec!["e0".into()], BTreeMap::new()),
            managed: Managed::default(),
        };
        watch.dump();
        watch
    }

    fn dump(&mut self) {
        self.network.clear();
        for event in self.requests.dump().unwrap() {
            self.network.handle(event);
        }
    }

    fn wanted(&self, addresses: impl IntoIterator<Item = IpAddr>) -> BTreeMap<IpAddr, u32> {
        let on = |address| Some((address, self.network.topology.path(address)?.neighbour));
        addresses.into_iter().filter_map(on).collect()
    }

    fn add(&mut self) {
        let wanted = self.wanted(BACKENDS);
        assert_eq!(wanted.len(), BACKENDS.len());
        self.managed.add(&mut self.requests, &wanted).unwrap();
    }

    /// Listens until the hops of all these backends are, or were, as they should be. Meanwhile the
    /// one waited for is sent something, as by health checks: what the kernel finds out by itself
    /// it does every 5 s.
    async fn until(&mut self, backends: &[IpAddr], what: &str, reached: impl Fn(Hop) -> bool) {
        let mut waiting = backends.to_vec();
        let listening = async {
            let mut probe = tokio::time::interval(Duration::from_millis(50));
            while let Some(next) = waiting.last() {
                if reached(self.network.hop(*next)) {
                    waiting.pop();
                    continue;
                }
                let events = tokio::select! {
                    events = self.listener.next() => events.unwrap(),
                    _ = probe.tick() => {
                        send_something(*next);
                        continue;
                    }
                };
                for event in events {
                    self.managed.note(&event);
                    if self.network.handle(event) == Change::Lost {
                        self.dump();
                    }
                }
            }
        };
        if tokio::time::timeout(PATIENCE, listening).await.is_err() {
            let next = waiting.last().map(|backend| (backend, self.network.hop(*backend)));
            panic!("{what}: {} still wait, such as {next:?}", waiting.len());
        }
    }
}

fn send_something(to: IpAddr) {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    // It fails while there is no carrier or no route, and arrives nowhere in any case.
    let _unheard = socket.send_to(b"?", (to, 9));
}

fn is_resolved_to(hop: Hop, wanted: Mac) -> bool {
    matches!(hop, Hop::Resolved { mac, .. } if mac == wanted)
}

#[test]
fn backends_of_both_families_are_resolved_move_and_fail() {
    let (balancer, backend) = wire();
    let [first, second] = [[2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 0, 0x0b]].map(Mac);
    backend.ip(&format!("link set p0 address {first}"));
    // A change of address is told, as by a failover of the backend.
    backend.sysctl("ipv4/conf/p0/arp_notify", "1");
    backend.sysctl("ipv6/conf/p0/ndisc_notify", "1");
    for family in ["ipv4", "ipv6"] {
        for (name, value) in [
            ("base_reachable_time_ms", "500"),
            ("delay_first_probe_time", "1"),
            ("retrans_time_ms", "100"),
            ("ucast_solicit", "1"),
            ("mcast_solicit", "1"),
        ] {
            balancer.sysctl(&format!("{family}/neigh/e0/{name}"), value);
        }
    }
    balancer.block_on(async || {
        let mut watch = Watch::open();
        watch.add();
        watch.until(&BACKENDS, "resolved", |hop| is_resolved_to(hop, first)).await;

        backend.ip(&format!("link set p0 address {second}"));
        watch.until(&BACKENDS, "moved", |hop| is_resolved_to(hop, second)).await;

        // Nothing but the kernel's own probing finds out that nobody has the addresses now.
        backend.ip("addr del 192.0.2.10/24 dev p0");
        backend.ip("addr del 2001:db8::a/64 dev p0");
        watch.until(&BACKENDS, "failed", |hop| matches!(hop, Hop::Failed(_))).await;

        backend.ip("addr add 192.0.2.10/24 dev p0");
        backend.ip("addr add 2001:db8::a/64 dev p0 nodad");
        watch.until(&BACKENDS, "resolved again", |hop| is_resolved_to(hop, second)).await;
    });
}

#[test]
fn entries_lost_with_the_carrier_are_made_again() {
    let (balancer, backend) = wire();
    balancer.block_on(async || {
        let mut watch = Watch::open();
        watch.add();
        watch.until(&BACKENDS, "resolved", |hop| matches!(hop, Hop::Resolved { .. })).await;
        backend.ip("link set p0 down");
        watch.until(&BACKENDS, "lost", |hop| matches!(hop, Hop::Pending(_))).await;
        backend.ip("link set p0 up");
        backend.ip("addr replace 2001:db8::a/64 dev p0 nodad");
        watch.add();
        watch.until(&BACKENDS, "resolved again", |hop| matches!(hop, Hop::Resolved { .. })).await;
    });
}

#[test]
fn the_administrators_own_entries_stay_as_they_are() {
    let (balancer, _backend) = wire();
    balancer.ip("neigh add 192.0.2.10 lladdr 02:00:00:00:00:99 dev e0 nud permanent");
    balancer.block_on(async || {
        let mut watch = Watch::open();
        watch.add();
        assert!(is_resolved_to(watch.network.hop(BACKENDS[0]), Mac([2, 0, 0, 0, 0, 0x99])));
        let entries = balancer.ip("neigh show dev e0");
        let entry = entries.lines().find(|line| line.starts_with("192.0.2.10 ")).unwrap();
        assert!(entry.contains("02:00:00:00:00:99 PERMANENT"), "{entry}");
        let other = entries.lines().find(|line| line.starts_with("2001:db8::a ")).unwrap();
        assert!(other.contains("managed extern_learn"), "{other}");
        watch.managed.remove_others(&mut watch.requests, &BTreeMap::new());
        let entries = balancer.ip("neigh show dev e0");
        assert!(entries.contains("02:00:00:00:00:99 PERMANENT"), "{entries}");
        assert!(!entries.contains("managed"), "{entries}");
    });
}

/// The default limit of the neighbour table is 1,024 entries (`gc_thresh3`), and is the host's: a
/// namespace can neither see nor raise it.
#[test]
fn five_thousand_backends_of_each_family_have_entries() {
    const COUNT: u32 = 5_000;
    let (balancer, backend) = wire();
    balancer.ip("addr add 10.0.0.1/16 dev e0");
    // It has them all, as far as ARP goes; neighbour discovery knows of no such thing.
    backend.ip("addr add 10.0.0.2/24 dev p0");
    backend.ip("link set lo up");
    backend.ip("route add local 10.0.16.0/20 dev lo");
    backend.ip("route add local 10.0.32.0/20 dev lo");
    let v4: Vec<IpAddr> = (0..COUNT).map(|n| Ipv4Addr::from_bits(0x0a00_1000 + n).into()).collect();
    let v6 = (0..COUNT).map(|n| {
        let bits = 0x2001_0db8_u128 << 96 | u128::from(0x1000 + n);
        Ipv6Addr::from_bits(bits).into()
    });
    let backends: BTreeSet<IpAddr> = v4.iter().copied().chain(v6).collect();

    balancer.block_on(async || {
        let mut watch = Watch::open();
        let wanted = watch.wanted(backends.iter().copied());
        assert_eq!(wanted.len(), 2 * COUNT as usize);
        watch.managed.add(&mut watch.requests, &wanted).unwrap();
        assert_eq!(listed(&balancer, "10."), COUNT);
        assert_eq!(listed(&balancer, "2001:"), COUNT);
        watch.until(&v4, "resolved", |hop| matches!(hop, Hop::Resolved { .. })).await;

        // A restarted daemon finds them, and makes or removes none that it need not.
        let mut adopted = Managed::default();
        let carriers = watch.network.topology.carriers();
        adopted.adopt(&mut watch.requests, &carriers).unwrap();
        assert_eq!(adopted.len(), wanted.len());
        let kept: BTreeMap<_, _> = wanted.into_iter().step_by(1000).collect();
        adopted.remove_others(&mut watch.requests, &kept);
        assert_eq!(adopted.len(), kept.len());
        assert_eq!(listed(&balancer, "10.") + listed(&balancer, "2001:"), 10);

        super::managed::remove_all(&mut watch.requests, &carriers).unwrap();
        assert_eq!(listed(&balancer, "10.") + listed(&balancer, "2001:"), 0);
    });
}

/// The managed entries of addresses that begin so.
fn listed(namespace: &Namespace, start: &str) -> u32 {
    let entries = namespace.ip("neigh show dev e0");
    let ours = |line: &&str| line.starts_with(start) && line.contains(" managed extern_learn");
    entries.lines().filter(ours).count() as u32
}
