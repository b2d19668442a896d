use std::net::{IpAddr, Ipv4Addr};

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

fn v4(a: u8, b: u8, c: u8) -> IpAddr {
    Ipv4Addr::new(10, a, b, c).into()
}

fn subnet(a: u8, b: u8, prefix_length: u8) -> Subnet {
    Subnet::new(v4(a, b, 1), v4(a, b, 1), prefix_length).unwrap()
}

fn topology() -> Topology {
    let mut topology = Topology::new(vec!["e0".into(), "e1".into()], BTreeMap::new());
    assert_eq!(topology.update(link(2, "e0")), Update::New);
    assert_eq!(topology.update(link(3, "e1")), Update::New);
    assert!(topology.add_subnet(2, subnet(0, 0, 8)));
    assert!(topology.add_subnet(3, subnet(1, 1, 24)));
    topology
}

#[test]
fn the_longest_prefix_decides() {
    let mut topology = topology();
    let index = |t: &Topology, address| t.path(address).map(|path| path.ifindex);
    assert_eq!(index(&topology, v4(1, 1, 9)), Some(3));
    assert_eq!(index(&topology, v4(1, 2, 9)), Some(2));
    assert_eq!(index(&topology, Ipv4Addr::new(11, 1, 1, 9).into()), None);
    assert!(topology.remove_subnet(3, subnet(1, 1, 24)));
    assert!(!topology.remove_subnet(3, subnet(1, 1, 24)));
    assert_eq!(index(&topology, v4(1, 1, 9)), Some(2));
    assert!(topology.add_subnet(3, subnet(0, 1, 0)));
    assert_eq!(index(&topology, Ipv4Addr::new(11, 1, 1, 9).into()), Some(3));
}
