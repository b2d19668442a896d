use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::topology::{Link, Subnet, Vlan};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);
const BACKEND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const BACKEND6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10));

fn link(index: u32, name: &str) -> Link {
    let name = name.into();
    Link { index, name, mac: OURS, up: true, xdp: None, vlan: None, controller: None }
}

fn subnet(own: &str, prefix_length: u8) -> Subnet {
    let own = own.parse().unwrap();
    Subnet::new(own, own, prefix_length).unwrap()
}

fn network() -> Network {
    let mut network = Network::new(vec!["e0".into()], BTreeMap::new());
    assert_eq!(network.handle(NetEvent::Link(link(7, "e0"))), Change::Lost);
    let v4 = NetEvent::Address(7, subnet("192.0.2.1", 24));
    assert_eq!(network.handle(v4), Change::Topology);
    let v6 = NetEvent::Address(7, subnet("2001:db8::1", 64));
    assert_eq!(network.handle(v6), Change::Topology);
    network
}

const PATH: Path = Path { ifindex: 7, tx: 1, vlan: 0, src_mac: OURS, neighbour: 7 };

fn on(index: u32, address: IpAddr, reachability: Reachability, mac: Option<Mac>) -> NetEvent {
    NetEvent::Neighbour(NeighbourEntry { index, address, reachability, mac })
}

#[test]
fn a_neighbour_is_resolved_fails_and_comes_back() {
    for backend in [BACKEND, BACKEND6] {
        let mut network = network();
        let entry = |reachability, mac| on(7, backend, reachability, mac);
        assert_eq!(network.hop(backend), Hop::Pending(PATH));
        assert_eq!(network.handle(entry(Reachability::Asking, None)), Change::Nothing);

        let resolved = Change::Hop(backend, NeighbourState::Resolved(THEIRS));
        assert_eq!(network.handle(entry(Reachability::Usable, Some(THEIRS))), resolved);
        assert_eq!(network.handle(entry(Reachability::Usable, Some(THEIRS))), Change::Nothing);
        assert_eq!(network.hop(backend), Hop::Resolved { path: PATH, mac: THEIRS });

        let moved = Change::Hop(backend, NeighbourState::Resolved(OURS));
        assert_eq!(network.handle(entry(Reachability::Usable, Some(OURS))), moved);

        let failed = Change::Hop(backend, NeighbourState::Failed);
        assert_eq!(network.handle(entry(Reachability::Failed, None)), failed);
        assert_eq!(network.handle(entry(Reachability::Asking, None)), Change::Nothing);
        assert_eq!(network.hop(backend), Hop::Failed(PATH));

        assert_eq!(network.handle(entry(Reachability::Usable, Some(THEIRS))), resolved);
        let gone = Change::Hop(backend, NeighbourState::Unknown);
        assert_eq!(network.handle(entry(Reachability::Gone, None)), gone);
        // It was made again, and deleted before it was resolved.
        assert_eq!(network.handle(entry(Reachability::Asking, None)), Change::Nothing);
        assert_eq!(network.handle(entry(Reachability::Gone, None)), Change::Entry(backend));
    }
}

#[test]
fn what_is_not_on_our_interfaces_is_not_reached() {
    let mut network = network();
    let elsewhere = on(8, BACKEND, Reachability::Usable, Some(THEIRS));
    assert_eq!(network.handle(elsewhere), Change::Nothing);
    assert_eq!(network.hop(Ipv4Addr::new(198, 51, 100, 1).into()), Hop::NoPath);
    assert_eq!(network.handle(NetEvent::LinkGone(7)), Change::Topology);
    assert_eq!(network.hop(BACKEND), Hop::NoPath);
    assert_eq!(network.handle(NetEvent::Lost), Change::Lost);
}

#[test]
fn a_neighbour_in_a_vlan_is_that_of_the_sub_interface() {
    let mut network = network();
    let vlan = Some(Vlan { parent: Some(7), id: 10, service_tag: false });
    let child = Link { vlan, mac: THEIRS, ..link(9, "e0.10") };
    assert_eq!(network.handle(NetEvent::Link(child)), Change::Lost);
    let connected = NetEvent::Address(9, subnet("192.0.2.2", 25));
    assert_eq!(network.handle(connected), Change::Topology);
    let path = Path { ifindex: 7, tx: 1, vlan: 10, src_mac: THEIRS, neighbour: 9 };
    assert_eq!(network.hop(BACKEND), Hop::Pending(path));

    // What the kernel finds out about it in another VLAN changes nothing.
    let untagged = on(7, BACKEND, Reachability::Usable, Some(OURS));
    assert_eq!(network.handle(untagged), Change::Nothing);
    assert_eq!(network.hop(BACKEND), Hop::Pending(path));
    let tagged = on(9, BACKEND, Reachability::Usable, Some(OURS));
    let resolved = Change::Hop(BACKEND, NeighbourState::Resolved(OURS));
    assert_eq!(network.handle(tagged), resolved);
    assert_eq!(network.hop(BACKEND), Hop::Resolved { path, mac: OURS });

    // Without the VLAN it is on the untagged subnet, where it is known.
    assert_eq!(network.handle(NetEvent::LinkGone(9)), Change::Topology);
    assert_eq!(network.hop(BACKEND), Hop::Resolved { path: PATH, mac: OURS });
}

#[test]
fn what_its_owner_says_of_a_way_overrules_the_kernel() {
    let mut network = network();
    let resolved = || on(7, BACKEND, Reachability::Usable, Some(THEIRS));
    network.handle(resolved());
    let way = |vlan| BTreeMap::from([(BACKEND, Way { interface: "e0".into(), vlan, mac: OURS })]);
    assert_eq!(network.direct(way(10)), BTreeSet::from([BACKEND]));
    assert_eq!(network.direct(way(10)), BTreeSet::new());
    let path = Path { vlan: 10, ..PATH };
    assert_eq!(network.hop(BACKEND), Hop::Resolved { path, mac: OURS });
    assert_eq!(network.explain(BACKEND), "e0 vlan 10, as given");
    assert_eq!((network.resolved_on(BACKEND), network.resolved_on(BACKEND6)), (None, Some(7)));

    // What the kernel tells meanwhile holds once it is up to the kernel again.
    let other = Mac([2, 0, 0, 0, 0, 3]);
    let changed = on(7, BACKEND, Reachability::Usable, Some(other));
    assert_eq!(network.handle(changed), Change::Nothing);
    assert_eq!(network.direct(BTreeMap::new()), BTreeSet::from([BACKEND]));
    assert_eq!(network.hop(BACKEND), Hop::Resolved { path: PATH, mac: other });

    let elsewhere = Way { interface: "e1".into(), vlan: 0, mac: OURS };
    network.direct(BTreeMap::from([(BACKEND, elsewhere)]));
    assert_eq!(network.hop(BACKEND), Hop::NoPath);
}
