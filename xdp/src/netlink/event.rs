//! From messages to what the dataplane wants to know of them.

use std::net::IpAddr;

use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoPortKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
    VlanProtocol, XdpAttached,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as Nud,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::Mac;
use crate::topology::{Link, Subnet, Vlan, XdpInfo};

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
    pub(crate) address: IpAddr,
    pub(crate) reachability: Reachability,
    pub(crate) mac: Option<Mac>,
}

/// Something about links, or addresses or neighbours of either family.
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
    let (mut name, mut mac, mut xdp, mut controller) = (None, None, None, None);
    let (mut parent, mut elsewhere, mut vlan, mut in_vrf) = (None, false, None, false);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value),
            LinkAttribute::Address(bytes) => mac = to_mac(&bytes),
            LinkAttribute::Xdp(attributes) => xdp = xdp_info(&attributes),
            LinkAttribute::Controller(index) => controller = Some(index),
            LinkAttribute::Link(index) => parent = Some(index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(info) => {
                vlan = info.iter().find_map(vlan_info);
                in_vrf = info.contains(&LinkInfo::PortKind(InfoPortKind::Vrf));
            }
            _ => {}
        }
    }
    let parent = parent.filter(|_| !elsewhere);
    let flags = message.header.flags;
    Some(Link {
        index: message.header.index,
        name: name?,
        // What has none, such as a tunnel, cannot carry a dataplane.
        mac: mac?,
        up: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
        xdp,
        vlan: vlan.map(|(id, service_tag)| Vlan { parent, id, service_tag }),
        // A VRF is only a routing table: its ports keep their addresses.
        controller: controller.filter(|_| !in_vrf),
    })
}

/// The id of a VLAN interface, and whether its tag is a service tag.
fn vlan_info(info: &LinkInfo) -> Option<(u16, bool)> {
    let LinkInfo::Data(InfoData::Vlan(attributes)) = info else { return None };
    let (mut id, mut service_tag) = (None, false);
    for attribute in attributes {
        match attribute {
            InfoVlan::Id(value) => id = Some(*value),
            InfoVlan::Protocol(protocol) => service_tag = *protocol == VlanProtocol::Ieee8021Ad,
            _ => {}
        }
    }
    Some((id?, service_tag))
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
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(value) => local = Some(*value),
            AddressAttribute::Address(value) => address = Some(*value),
            _ => {}
        }
    }
    // `IFA_ADDRESS` is the peer's on a point-to-point link; without a peer both are the same, and
    // one may be missing.
    let within = address.or(local)?;
    Subnet::new(local.unwrap_or(within), within, message.header.prefix_len)
}

fn neighbour(message: &NeighbourMessage, reachability: Reachability) -> Option<NeighbourEntry> {
    // Bridges and tunnels have forwarding tables that are told of by the same messages.
    let family = message.header.family;
    if !matches!(family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => to_mac(bytes),
        _ => None,
    });
    let (index, address) = (message.header.ifindex, destination(message)?);
    Some(NeighbourEntry { index, address, reachability, mac })
}

/// The address that an entry of the neighbour table is for.
pub(crate) fn destination(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
            Some(IpAddr::V4(*address))
        }
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
            Some(IpAddr::V6(*address))
        }
        _ => None,
    })
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
    use std::net::Ipv4Addr;

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
            vlan: None,
            controller: None,
        };
        let event = NetEvent::of(RouteNetlinkMessage::NewLink(message.clone()));
        assert_eq!(event, Some(NetEvent::Link(expected.clone())));

        message.attributes.push(LinkAttribute::Controller(9));
        let event = NetEvent::of(RouteNetlinkMessage::NewLink(message.clone()));
        let port = Link { controller: Some(9), ..expected.clone() };
        assert_eq!(event, Some(NetEvent::Link(port)));
        let vrf = LinkInfo::PortKind(InfoPortKind::Vrf);
        message.attributes.push(LinkAttribute::LinkInfo(vec![vrf]));
        let event = NetEvent::of(RouteNetlinkMessage::NewLink(message.clone()));
        assert_eq!(event, Some(NetEvent::Link(expected.clone())), "a VRF takes nothing from it");

        message.header.flags = LinkFlags::Up;
        message.attributes.truncate(2);
        let event = NetEvent::of(RouteNetlinkMessage::NewLink(message));
        assert_eq!(event, Some(NetEvent::Link(Link { up: false, xdp: None, ..expected })));
    }

    #[test]
    fn the_states_of_a_neighbour_are_told_apart() {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 5;
        message.header.state = Nud::Stale;
        message.header.family = AddressFamily::Inet;
        let address = Ipv4Addr::new(192, 0, 2, 9);
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9]),
        ];
        let entry = |reachability| {
            let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
            let address = IpAddr::V4(address);
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
