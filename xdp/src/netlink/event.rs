//! From messages to what the dataplane wants to know of them.

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as Nud,
};

use crate::Mac;
use crate::topology::{Link, Subnet, XdpInfo};

/// Whether a neighbour can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reachability {
    /// Its MAC address can be used (NUD states reachable, stale, delay, probe, permanent, noarp).
    Usable,
    /// It was asked for and is not known yet (incomplete, none).
    Asking,
    /// It did not answer (failed).
    Failed,
    /// Its entry was deleted.
    Gone,
}

/// What the kernel tells of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeighbourEntry {
    pub(crate) index: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) reachability: Reachability,
    pub(crate) mac: Option<Mac>,
}

/// Something about links, IPv4 addresses or IPv4 neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetEvent {
    Link(Link),
    LinkGone(u32),
    Address(u32, Subnet),
    AddressGone(u32, Subnet),
    Neighbour(NeighbourEntry),
    /// The socket's buffer was full: some events were lost.
    Lost,
}

impl NetEvent {
    /// The event in a message, if it is of a kind that matters here.
    pub(crate) fn of(message: RouteNetlinkMessage) -> Option<Self> {
        match message {
            RouteNetlinkMessage::NewLink(m) => link(m).map(Self::Link),
            RouteNetlinkMessage::DelLink(m) => Some(Self::LinkGone(m.header.index)),
            RouteNetlinkMessage::NewAddress(m) => {
                subnet(&m).map(|s| Self::Address(m.header.index, s))
            }
            RouteNetlinkMessage::DelAddress(m) => {
                subnet(&m).map(|s| Self::AddressGone(m.header.index, s))
            }
            RouteNetlinkMessage::NewNeighbour(m) => {
                neighbour(&m, reachability(m.header.state)).map(Self::Neighbour)
            }
            RouteNetlinkMessage::DelNeighbour(m) => {
                neighbour(&m, Reachability::Gone).map(Self::Neighbour)
            }
            _ => None,
        }
    }
}

fn link(message: LinkMessage) -> Option<Link> {
    let (mut name, mut mac, mut xdp) = (None, None, None);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value),
            LinkAttribute::Address(bytes) => mac = to_mac(&bytes),
            LinkAttribute::Xdp(attributes) => xdp = xdp_info(&attributes),
            _ => {}
        }
    }
    // The loopback-like without a MAC address cannot carry a dataplane.
    let flags = message.header.flags;
    Some(Link {
        index: message.header.index,
        name: name?,
        mac: mac?,
        up: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
        xdp,
    })
}

fn xdp_info(attributes: &[LinkXdp]) -> Option<XdpInfo> {
    let (mut program_id, mut native) = (0, false);
    for attribute in attributes {
        match attribute {
            LinkXdp::ProgId(id) => program_id = *id,
            LinkXdp::Attached(XdpAttached::Driver) => native = true,
            _ => {}
        }
    }
    (program_id != 0).then_some(XdpInfo { program_id, native })
}

fn subnet(message: &AddressMessage) -> Option<Subnet> {
    let prefix_length = message.header.prefix_len;
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V4(address)) => {
            Some(Subnet { address: *address, prefix_length })
        }
        _ => None,
    })
}

fn neighbour(message: &NeighbourMessage, reachability: Reachability) -> Option<NeighbourEntry> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some(*a),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = to_mac(bytes),
            _ => {}
        }
    }
    let index = message.header.ifindex;
    Some(NeighbourEntry { index, address: address?, reachability, mac })
}

fn reachability(state: Nud) -> Reachability {
    match state {
        Nud::Reachable | Nud::Stale | Nud::Delay | Nud::Probe | Nud::Permanent | Nud::Noarp => {
            Reachability::Usable
        }
        Nud::Failed => Reachability::Failed,
        _ => Reachability::Asking,
    }
}

fn to_mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_message_tells_its_state_and_program() {
        let mut message = LinkMessage::default();
        message.header.index = 5;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes = vec![
            LinkAttribute::IfName("e0".into()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 5]),
            LinkAttribute::Xdp(vec![LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(42)]),
        ];
        let expected = Link {
            index: 5,
            name: "e0".into(),
            mac: Mac([2, 0, 0, 0, 0, 5]),
            up: true,
            xdp: Some(XdpInfo { program_id: 42, native: true }),
        };
        let event = NetEvent::of(RouteNetlinkMessage::NewLink(message.clone()));
        assert_eq!(event, Some(NetEvent::Link(expected.clone())));

        message.header.flags = LinkFlags::Up;
        message.attributes.pop();
        let event = NetEvent::of(RouteNetlinkMessage::NewLink(message));
        assert_eq!(event, Some(NetEvent::Link(Link { up: false, xdp: None, ..expected })));
    }

    #[test]
    fn the_states_of_a_neighbour_are_told_apart() {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 5;
        message.header.state = Nud::Stale;
        let address = Ipv4Addr::new(192, 0, 2, 9);
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9]),
        ];
        let entry = |reachability| {
            let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
            Some(NetEvent::Neighbour(NeighbourEntry { index: 5, address, reachability, mac }))
        };
        let event = NetEvent::of(RouteNetlinkMessage::NewNeighbour(message.clone()));
        assert_eq!(event, entry(Reachability::Usable));
        let event = NetEvent::of(RouteNetlinkMessage::DelNeighbour(message.clone()));
        assert_eq!(event, entry(Reachability::Gone));
        message.header.state = Nud::Failed;
        let event = NetEvent::of(RouteNetlinkMessage::NewNeighbour(message.clone()));
        assert_eq!(event, entry(Reachability::Failed));
        message.header.state = Nud::Incomplete;
        let event = NetEvent::of(RouteNetlinkMessage::NewNeighbour(message));
        assert_eq!(event, entry(Reachability::Asking));
    }
}
