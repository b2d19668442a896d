//! Datagrams as Linux 6.1 sends them, of a namespace with these interfaces and neighbours:
//!
//! ```text
//! 2 e0     192.0.2.1/24 2001:db8::1/64     3 e0.10  VLAN 10, 192.0.2.1 peer 198.51.100.7/32
//! 4 e0.s   service VLAN 30                         2001:db8:10::1/64
//! 5 bond0  7 s0, a port of it              192.0.2.10, 2001:db8::a: managed neighbours on e0
//! ```

use std::net::IpAddr;

use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;

use super::socket::messages;
use super::{NeighbourEntry, NetEvent, Reachability};
use crate::Mac;
use crate::topology::{Link, Subnet, Vlan};

fn events(datagram: &[u8]) -> Vec<NetEvent> {
    let event = |message: NetlinkMessage<RouteNetlinkMessage>| match message.payload {
        NetlinkPayload::InnerMessage(message) => NetEvent::of(message),
        _ => None,
    };
    messages(datagram).filter_map(event).collect()
}

fn vlan(index: u32, name: &str, up: bool, id: u16, service_tag: bool) -> Link {
    let vlan = Some(Vlan { parent: Some(2), id, service_tag });
    let (mac, name) = (Mac([2, 0, 0, 0, 0, 1]), name.into());
    Link { index, name, mac, up, xdp: None, vlan, controller: None }
}

#[test]
fn vlans_and_ports_of_bonds_are_told_as_such() {
    let expected = vlan(3, "e0.10", true, 10, false);
    assert_eq!(events(include_bytes!("vlan.bin")), [NetEvent::Link(expected)]);
    let expected = vlan(4, "e0.s", false, 30, true);
    assert_eq!(events(include_bytes!("service-vlan.bin")), [NetEvent::Link(expected)]);

    // It is one end of a veth too: that the other is number 6 makes it no VLAN of that.
    let expected = Link {
        index: 7,
        name: "s0".into(),
        mac: Mac([0x3e, 0xad, 0x8f, 0x33, 0x2f, 0x87]),
        up: false,
        xdp: None,
        vlan: None,
        controller: Some(5),
    };
    assert_eq!(events(include_bytes!("bond-port.bin")), [NetEvent::Link(expected)]);
}

#[test]
fn subnets_of_both_families() {
    let address = |index, own: &str, within: &str, length| {
        let (own, within): (IpAddr, IpAddr) = (own.parse().unwrap(), within.parse().unwrap());
        NetEvent::Address(index, Subnet::new(own, within, length).unwrap())
    };
    let expected =
        [address(2, "192.0.2.1", "192.0.2.0", 24), address(3, "192.0.2.1", "198.51.100.7", 32)];
    assert_eq!(events(include_bytes!("addresses4.bin")), expected);

    let heard = events(include_bytes!("addresses6.bin"));
    for (index, own) in [(2, "2001:db8::1"), (3, "2001:db8:10::1")] {
        let expected = address(index, own, own, 64);
        assert!(heard.contains(&expected), "{expected:?} is not in {heard:?}");
    }
}

#[test]
fn managed_neighbours_of_both_families() {
    let datagrams = [
        (&include_bytes!("neighbours4.bin")[..], "192.0.2.10"),
        (&include_bytes!("neighbours6.bin")[..], "2001:db8::a"),
    ];
    for (datagram, address) in datagrams {
        let expected = NetEvent::Neighbour(NeighbourEntry {
            index: 2,
            address: address.parse().unwrap(),
            reachability: Reachability::Usable,
            mac: Some(Mac([2, 0, 0, 0, 0, 2])),
        });
        let heard = events(datagram);
        assert!(heard.contains(&expected), "{expected:?} is not in {heard:?}");
    }
}

#[test]
fn cut_off_datagrams_tell_no_more_than_whole_ones() {
    for datagram in [&include_bytes!("vlan.bin")[..], include_bytes!("neighbours6.bin")] {
        let whole = events(datagram);
        for length in 0..datagram.len() {
            let heard = events(datagram.get(..length).unwrap());
            assert!(whole.starts_with(&heard) && heard.len() <= whole.len());
        }
        assert!(events(&datagram[..datagram.len() - 1]).len() < whole.len());
    }
}
