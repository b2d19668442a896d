use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        mac: Mac([2, 0, 0, 0, 0, index as u8]),
        up: true,
        xdp: None,
        vlan: None,
        controller: None,
    }
}

fn child(index: u32, name: &str, parent: u32, id: u16) -> Link {
    let vlan = Some(Vlan { parent: Some(parent), id, service_tag: false });
    Link { vlan, ..link(index, name) }
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// `10.1.2.3/24`, an address with the subnet around it.
fn subnet(address: &str) -> Subnet {
    let net: IpNet = address.parse().unwrap();
    Subnet::new(net.addr(), net.addr(), net.prefix_len()).unwrap()
}

fn vlans(configured: &[(u16, &str)]) -> BTreeMap<u16, Vec<IpNet>> {
    let mut vlans: BTreeMap<u16, Vec<IpNet>> = BTreeMap::new();
    for (id, net) in configured {
        vlans.entry(*id).or_default().push(net.parse().unwrap());
    }
    vlans
}

/// Interfaces 2, 3 and so on of these names, all the dataplane's.
fn ports(names: &[&str], configured: &[(u16, &str)]) -> Topology {
    let owned = names.iter().map(|name| (*name).to_owned()).collect();
    let mut topology = Topology::new(owned, vlans(configured));
    for (index, name) in (2..).zip(names) {
        assert_eq!(topology.update(link(index, name)), Update::New);
    }
    topology
}

/// Interface and VLAN by which an address is reached.
fn way(topology: &Topology, address: &str) -> Option<(u32, u16)> {
    topology.path(ip(address)).map(|path| (path.ifindex, path.vlan))
}

#[test]
fn one_subnet_of_each_family() {
    let mut topology = ports(&["e0"], &[]);
    assert!(topology.add_subnet(2, subnet("192.0.2.1/24")));
    assert!(topology.add_subnet(2, subnet("2001:db8::1/64")));
    let src_mac = Mac([2, 0, 0, 0, 0, 2]);
    let path = Path { ifindex: 2, tx: 1, vlan: 0, src_mac, neighbour: 2 };
    for backend in ["192.0.2.10", "2001:db8::10"] {
        assert_eq!(topology.path(ip(backend)), Some(path), "{backend}");
    }
    assert_eq!(topology.explain(ip("192.0.2.10")), "e0, connected subnet 192.0.2.0/24");
    assert_eq!(topology.explain(ip("2001:db8::10")), "e0, connected subnet 2001:db8::/64");
    let port = Port { ifindex: 2, mac: src_mac, number: 1, trunk: false };
    assert_eq!(topology.ports(), [port]);
}

#[test]
fn the_longest_prefix_decides_among_interfaces() {
    let mut topology = ports(&["e0", "e1"], &[]);
    assert!(topology.add_subnet(2, subnet("10.0.0.1/8")));
    assert!(topology.add_subnet(3, subnet("10.1.1.1/24")));
    assert_eq!(way(&topology, "10.1.1.9"), Some((3, 0)));
    assert_eq!(topology.path(ip("10.1.1.9")).unwrap().tx, 2);
    assert_eq!(way(&topology, "10.1.2.9"), Some((2, 0)));
    assert_eq!(way(&topology, "11.1.1.9"), None);
    assert_eq!(topology.explain(ip("11.1.1.9")), "none: no connected subnet of e0, e1 has it");

    assert!(topology.remove_subnet(3, subnet("10.1.1.1/24")));
    assert!(!topology.remove_subnet(3, subnet("10.1.1.1/24")));
    assert_eq!(way(&topology, "10.1.1.9"), Some((2, 0)));
    assert!(topology.add_subnet(3, subnet("10.0.1.1/0")));
    assert_eq!(way(&topology, "11.1.1.9"), Some((3, 0)));
}

#[test]
fn of_equal_subnets_the_one_that_is_up_is_taken_then_the_first_configured() {
    let mut topology = ports(&["e0", "e1"], &[]);
    assert!(topology.add_subnet(2, subnet("10.1.1.1/24")));
    assert!(topology.add_subnet(3, subnet("10.1.1.2/24")));
    assert_eq!(way(&topology, "10.1.1.9"), Some((2, 0)));
    let down = Link { up: false, ..link(2, "e0") };
    assert_eq!(topology.update(down), Update::Changed);
    assert_eq!(way(&topology, "10.1.1.9"), Some((3, 0)));
}

#[test]
fn a_trunk_as_the_kernel_has_it() {
    let mut topology = ports(&["e0", "e1"], &[]);
    assert_eq!(topology.update(child(8, "e0.10", 2, 10)), Update::New);
    assert_eq!(topology.update(child(9, "storage", 3, 20)), Update::New);
    assert!(topology.add_subnet(2, subnet("10.1.1.1/24")));
    assert!(topology.add_subnet(8, subnet("10.1.10.1/24")));
    assert!(topology.add_subnet(8, subnet("2001:db8:10::1/64")));
    assert!(topology.add_subnet(9, subnet("10.1.20.1/24")));

    // The native VLAN is that of the interface itself.
    assert_eq!(way(&topology, "10.1.1.9"), Some((2, 0)));
    let src_mac = Mac([2, 0, 0, 0, 0, 8]);
    let path = Path { ifindex: 2, tx: 1, vlan: 10, src_mac, neighbour: 8 };
    assert_eq!(topology.path(ip("10.1.10.9")), Some(path));
    assert_eq!(topology.path(ip("2001:db8:10::9")), Some(path));
    assert_eq!(way(&topology, "10.1.20.9"), Some((3, 20)));
    let explained = topology.explain(ip("10.1.10.9"));
    assert_eq!(explained, "e0 vlan 10 (e0.10), connected subnet 10.1.10.0/24");
    assert!(topology.ports().iter().all(|port| port.trunk));
    assert_eq!(topology.carriers(), BTreeSet::from([2, 3, 8, 9]));

    assert!(topology.remove(9));
    assert_eq!(way(&topology, "10.1.20.9"), None);
    let trunks: Vec<bool> = topology.ports().iter().map(|port| port.trunk).collect();
    assert_eq!(trunks, [true, false]);
}

#[test]
fn the_configuration_decides_for_the_addresses_that_it_has() {
    let configured = [(10, "10.1.0.0/16"), (20, "10.1.20.0/24"), (10, "2001:db8::/32")];
    let mut topology = ports(&["e0"], &configured);
    assert!(topology.ports()[0].trunk, "tagged packets may come before there is a sub-interface");
    // All is connected untagged, which does not help an address that belongs to a VLAN.
    assert!(topology.add_subnet(2, subnet("10.1.0.1/16")));
    assert!(topology.add_subnet(2, subnet("192.0.2.1/24")));
    assert_eq!(way(&topology, "10.1.10.9"), None);
    assert_eq!(
        topology.explain(ip("10.1.10.9")),
        "none: [dataplane.vlans] has it in VLAN 10, and e0 has no VLAN sub-interface of that id; \
         `ip link add link e0 name vlan10 type vlan id 10` makes one"
    );
    assert_eq!(way(&topology, "192.0.2.9"), Some((2, 0)), "the kernel decides for the others");

    assert_eq!(topology.update(child(8, "e0.10", 2, 10)), Update::New);
    assert_eq!(
        topology.explain(ip("10.1.10.9")),
        "none: [dataplane.vlans] has it in VLAN 10, and e0.10 has no address in a subnet with it"
    );
    assert!(topology.add_subnet(8, subnet("10.1.10.1/24")));
    assert_eq!(way(&topology, "10.1.10.9"), Some((2, 10)));
    assert_eq!(
        topology.explain(ip("10.1.10.9")),
        "e0 vlan 10 (e0.10) by [dataplane.vlans], connected subnet 10.1.10.0/24"
    );
    // Of the configured prefixes too the longest decides.
    assert!(topology.add_subnet(8, subnet("10.1.20.1/24")));
    assert_eq!(way(&topology, "10.1.20.9"), None);
    assert_eq!(topology.update(child(9, "e0.20", 2, 20)), Update::New);
    assert!(topology.add_subnet(9, subnet("10.1.20.2/25")));
    assert_eq!(way(&topology, "10.1.20.9"), Some((2, 20)));
    assert!(topology.add_subnet(8, subnet("2001:db8:1::1/64")));
    assert_eq!(way(&topology, "2001:db8:1::9"), Some((2, 10)));
}

#[test]
fn a_vlan_known_before_its_carrier_counts_once_that_is_there() {
    let mut topology = Topology::new(vec!["e0".into()], BTreeMap::new());
    assert_eq!(topology.update(child(8, "e0.10", 9, 10)), Update::Nothing);
    assert!(!topology.add_subnet(8, subnet("10.1.10.1/24")));
    assert_eq!(way(&topology, "10.1.10.9"), None);
    assert_eq!(topology.update(link(9, "e0")), Update::New);
    assert_eq!(way(&topology, "10.1.10.9"), Some((9, 10)));
    // Renamed, it is not ours, and nor are its VLANs.
    assert_eq!(topology.update(link(9, "other")), Update::Changed);
    assert_eq!(way(&topology, "10.1.10.9"), None);
    assert!(topology.by_name("e0").is_none());
}

#[test]
fn what_cannot_be_sent_is_no_path() {
    let mut topology = ports(&["e0"], &[]);
    let elsewhere = Vlan { parent: None, id: 10, service_tag: false };
    let service = Vlan { parent: Some(2), id: 10, service_tag: true };
    for (index, vlan) in [(8, elsewhere), (9, service)] {
        topology.update(Link { vlan: Some(vlan), ..link(index, "v") });
        assert!(!topology.add_subnet(index, subnet("10.1.10.1/24")));
    }
    topology.update(child(10, "stacked", 9, 20));
    assert!(!topology.add_subnet(10, subnet("10.1.20.1/24")));
    for address in ["10.1.10.9", "10.1.20.9"] {
        assert_eq!(way(&topology, address), None, "{address}");
    }
}

#[test]
fn addresses_that_are_no_backends() {
    let mut topology = ports(&["e0"], &[]);
    for address in ["192.0.2.1/24", "198.51.100.0/31", "2001:db8::1/64", "fe80::1/64"] {
        topology.add_subnet(2, subnet(address));
    }
    for (address, reason) in [
        ("192.0.2.1", "it is an address of this node"),
        ("2001:db8::1", "it is an address of this node"),
        ("192.0.2.0", "it is the network or broadcast address of 192.0.2.0/24"),
        ("192.0.2.255", "it is the network or broadcast address of 192.0.2.0/24"),
        (
            "fe80::9",
            "a link-local address does not say which link; use a global or unique local one",
        ),
        ("ff02::1", "it is no unicast address"),
        ("::", "it is no unicast address"),
        ("224.0.0.5", "it is no unicast address"),
        ("255.255.255.255", "it is no unicast address"),
        ("127.0.0.1", "it is no unicast address"),
    ] {
        assert_eq!(topology.explain(ip(address)), format!("none: {reason}"), "{address}");
        assert_eq!(topology.path(ip(address)), None, "{address}");
    }
    assert_eq!(way(&topology, "198.51.100.1"), Some((2, 0)), "RFC 3021: both are hosts");
}

#[test]
fn a_point_to_point_link_reaches_its_peer() {
    let mut topology = ports(&["e0"], &[]);
    let peer = Subnet::new(ip("192.0.2.1"), ip("198.51.100.7"), 32).unwrap();
    assert!(topology.add_subnet(2, peer));
    assert_eq!(way(&topology, "198.51.100.7"), Some((2, 0)));
    assert_eq!(topology.explain(ip("192.0.2.1")), "none: it is an address of this node");
    assert_eq!(Subnet::new(ip("192.0.2.1"), ip("192.0.2.1"), 33), None);
}

#[test]
fn only_the_named_interfaces_count() {
    let mut topology = ports(&["e0", "e1"], &[]);
    assert_eq!(topology.update(link(4, "lan")), Update::Nothing);
    assert!(!topology.add_subnet(4, subnet("10.9.9.1/24")));
    assert_eq!(topology.update(link(2, "e0")), Update::Nothing, "nothing has changed");
    assert_eq!(topology.update(Link { up: false, ..link(2, "e0") }), Update::Changed);
    assert_eq!(topology.update(link(2, "renamed")), Update::Changed);
    assert!(topology.by_name("e0").is_none());
    assert_eq!(topology.update(link(2, "renamed")), Update::Nothing);
    assert!(topology.remove(3));
    assert!(!topology.remove(3));
    assert_eq!(topology.carriers(), BTreeSet::new());
}

#[test]
fn a_bond_is_the_interface_and_its_ports_are_looked_after() {
    let mut topology = ports(&["bond0"], &[]);
    let port = Link { controller: Some(2), ..link(5, "eth0") };
    assert_eq!(topology.update(port.clone()), Update::Changed);
    assert_eq!(topology.update(port.clone()), Update::Nothing);
    assert_eq!(topology.update(child(8, "bond0.10", 2, 10)), Update::New);
    assert!(topology.add_subnet(8, subnet("10.1.10.1/24")));
    assert_eq!(way(&topology, "10.1.10.9"), Some((2, 10)));
    assert_eq!(topology.carriers(), BTreeSet::from([2, 8]));
    let [bond] = topology.ports()[..] else { panic!("{:?}", topology.ports()) };
    assert!(bond.trunk);
    assert_eq!(topology.bonded(), [Port { ifindex: 5, ..bond }], "frames come in by the port");
    assert_eq!(
        topology.caveats(2, true),
        ["frames to the MAC address that bond0.10 has of its own are passed"]
    );
    let [generic, _] = &topology.caveats(2, false)[..] else { panic!("two caveats") };
    assert!(generic.starts_with("in generic mode"), "{generic}");
    assert_eq!(topology.update(Link { controller: None, ..port }), Update::Changed);
    assert_eq!(topology.bonded(), []);
}

#[test]
fn what_is_worth_knowing_of_an_interface() {
    let mut topology = ports(&["e0", "e1"], &[]);
    assert_eq!(topology.caveats(2, false), [""; 0]);
    topology.update(Link { controller: Some(3), ..link(2, "e0") });
    assert_eq!(topology.caveats(2, false), ["it is a port of e1; name that one instead"]);
    topology.update(Link { controller: Some(9), ..link(2, "e0") });
    let unknown = "it is a port of a bond or bridge, interface 9; name that one instead";
    assert_eq!(topology.caveats(2, false), [unknown]);

    let mac = link(3, "e1").mac;
    topology.update(Link { mac, ..child(10, "e1.10", 3, 10) });
    assert_eq!(topology.caveats(3, true), [""; 0]);
    topology.update(child(11, "e1.11", 3, 11));
    let service_tag = Some(Vlan { parent: Some(3), id: 12, service_tag: true });
    topology.update(Link { vlan: service_tag, ..link(12, "e1.12") });
    topology.update(child(13, "inner", 10, 5));
    assert_eq!(
        topology.caveats(3, true),
        [
            "inner is a VLAN in a VLAN, where no backend is reached",
            "frames to the MAC address that e1.11 has of its own are passed",
            "e1.12 is a service VLAN (802.1ad), where no backend is reached",
        ]
    );
}

proptest! {
    /// The subnets' order of arrival decides nothing, and what is found has the address.
    #[test]
    fn a_path_is_on_a_subnet_with_the_address(
        subnets in proptest::collection::vec((2_u32..4, any::<[u8; 2]>(), 16_u8..=32), 0..12),
        host in any::<[u8; 2]>(),
    ) {
        let address = IpAddr::V4(Ipv4Addr::new(10, 1, host[0], host[1]));
        let build = |subnets: &mut dyn Iterator<Item = &(u32, [u8; 2], u8)>| {
            let mut topology = ports(&["e0", "e1"], &[]);
            for (index, [c, d], length) in subnets {
                let own = Ipv4Addr::new(10, 1, *c, *d).into();
                topology.add_subnet(*index, Subnet::new(own, own, *length).unwrap());
            }
            topology
        };
        let topology = build(&mut subnets.iter());
        prop_assert_eq!(topology.path(address), build(&mut subnets.iter().rev()).path(address));
        match topology.find(address) {
            Ok(found) => {
                prop_assert!(found.subnet.contains(address) && found.subnet.own != address);
                let length = found.subnet.network.prefix_len();
                let on = |ifindex: u32| subnets.iter().filter(move |s| s.0 == ifindex);
                prop_assert!(on(found.path.ifindex).any(|s| s.2 == length));
            }
            Err(NoPath::NoSubnet) => {
                let mut having = topology.ways().flat_map(|w| &w.on.subnets);
                prop_assert!(having.all(|s| !s.contains(address)));
            }
            Err(NoPath::Own | NoPath::Reserved(_)) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn no_address_is_taken_for_a_backend_without_interfaces(bits in any::<u128>()) {
        let topology = Topology::new(vec!["e0".into()], BTreeMap::new());
        prop_assert_eq!(topology.path(Ipv6Addr::from_bits(bits).into()), None);
    }
}
