//! The host as it is: links, addresses, and what this process may do.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, VlanProtocol,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::neighbour_table::{NeighbourTableAttribute, NeighbourTableMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    /// Whether packets can pass: up, and so is what is below.
    pub(crate) running: bool,
    pub(crate) loopback: bool,
    /// The interface that this one is stacked on, as a VLAN is.
    pub(crate) lower: Option<u32>,
    /// The VLAN that it is on that one by a customer tag (IEEE 802.1Q).
    pub(crate) vlan: Option<u16>,
    /// The bond or bridge that this one is a port of.
    pub(crate) controller: Option<u32>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) link: u32,
    /// The host's own address.
    pub(crate) local: IpAddr,
    /// The connected subnet.
    pub(crate) subnet: IpNet,
}

/// How many neighbour entries the kernel keeps in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeighbourLimits {
    /// `gc_thresh2`: beyond it old ones are cleared whenever one is made.
    pub(crate) forced: u32,
    /// `gc_thresh3`: the most.
    pub(crate) most: u32,
}

/// The neighbour tables, as far as the kernel tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    pub(crate) ipv4: Option<NeighbourLimits>,
    pub(crate) ipv6: Option<NeighbourLimits>,
    /// Whose entry is exempt from the limits: permanent, or learned by a program.
    pub(crate) exempt: BTreeSet<IpAddr>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<Address>,
    /// The effective capabilities, a bit for each.
    pub(crate) capabilities: u64,
    /// Only known after [`Machine::with_neighbours`].
    pub(crate) neighbours: Neighbours,
}

impl Machine {
    /// Asks the kernel about the network namespace and the permissions of this process.
    pub(crate) fn read() -> io::Result<Self> {
        let mut requests = Requests::open()?;
        let links = requests.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let addresses =
            requests.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(Self {
            links: links
                .into_iter()
                .filter_map(|message| match message {
                    RouteNetlinkMessage::NewLink(message) => Some(link(message)),
                    _ => None,
                })
                .collect(),
            addresses: addresses
                .into_iter()
                .filter_map(|message| match message {
                    RouteNetlinkMessage::NewAddress(message) => address(&message),
                    _ => None,
                })
                .collect(),
            capabilities: capabilities(&std::fs::read_to_string("/proc/self/status")?),
            neighbours: Neighbours::default(),
        })
    }

    /// Asks for the neighbour tables too. Netlink tells their limits in every network namespace, where `/proc` has
    /// them in the first one only; what a kernel does not tell is left unjudged.
    pub(crate) fn with_neighbours(mut self) -> Self {
        if let Ok(mut requests) = Requests::open() {
            self.neighbours = neighbours(&mut requests);
        }
        self
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The interface that holds an address.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<&Link> {
        let found = self.addresses.iter().find(|held| held.local == address)?;
        self.link(found.link)
    }

    /// The interface whose connected subnet holds an address: the longest prefix wins, as in routing.
    pub(crate) fn connected(&self, address: IpAddr) -> Option<&Link> {
        self.addresses
            .iter()
            .filter(|held| held.subnet.contains(&address))
            .filter_map(|held| Some((held.subnet.prefix_len(), self.link(held.link)?)))
            .filter(|(_, link)| !link.loopback)
            .max_by_key(|(length, link)| (*length, link.up))
            .map(|(_, link)| link)
    }

    /// Whether an interface has a connected subnet with an address.
    pub(crate) fn is_connected(&self, link: &Link, address: IpAddr) -> bool {
        self.addresses.iter().any(|held| held.link == link.index && held.subnet.contains(&address))
    }

    pub(crate) fn may(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }
}

fn link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        loopback: flags.contains(LinkFlags::Loopback),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Link(index) => link.lower = Some(index),
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::LinkInfo(info) => link.vlan = info.iter().find_map(vlan),
            _ => {}
        }
    }
    link
}

/// The id of a VLAN interface, unless its tag is a service tag.
fn vlan(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(attributes)) = info else { return None };
    let service = InfoVlan::Protocol(VlanProtocol::Ieee8021Ad);
    if attributes.contains(&service) {
        return None;
    }
    attributes.iter().find_map(|attribute| match attribute {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut subnet) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            // On a point-to-point link the peer's, else the same as the local one.
            AddressAttribute::Address(address) => subnet = Some(*address),
            _ => {}
        }
    }
    let subnet = subnet.or(local)?;
    Some(Address {
        link: message.header.index,
        local: local.unwrap_or(subnet),
        subnet: IpNet::new(subnet, message.header.prefix_len).ok()?,
    })
}

fn neighbours(requests: &mut Requests) -> Neighbours {
    let mut neighbours = Neighbours::default();
    let tables = RouteNetlinkMessage::GetNeighbourTable(NeighbourTableMessage::default());
    for table in requests.dump(tables).unwrap_or_default() {
        let RouteNetlinkMessage::NewNeighbourTable(table) = table else { continue };
        let Some(limits) = limits(&table.attributes) else { continue };
        match table.header.family {
            AddressFamily::Inet => neighbours.ipv4 = Some(limits),
            AddressFamily::Inet6 => neighbours.ipv6 = Some(limits),
            _ => {}
        }
    }
    let entries = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    let entries = requests.dump(entries).unwrap_or_default();
    neighbours.exempt = entries.iter().filter_map(exempt).collect();
    neighbours
}

/// The address of an entry, if that is exempt from the limits.
fn exempt(message: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewNeighbour(NeighbourMessage { header, attributes, .. }) = message
    else {
        return None;
    };
    let learned = header.flags.contains(NeighbourFlags::ExtLearned);
    if header.state != NeighbourState::Permanent && !learned {
        return None;
    }
    attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}

/// `None` for what is about one interface.
fn limits(attributes: &[NeighbourTableAttribute]) -> Option<NeighbourLimits> {
    let (mut forced, mut most) = (None, None);
    for attribute in attributes {
        match attribute {
            NeighbourTableAttribute::Threshold2(entries) => forced = Some(*entries),
            NeighbourTableAttribute::Threshold3(entries) => most = Some(*entries),
            _ => {}
        }
    }
    Some(NeighbourLimits { forced: forced?, most: most? })
}

/// The line `CapEff:` of `/proc/self/status` (proc_pid_status(5)).
fn capabilities(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or_default()
}

/// How often a dump is begun anew because the tables changed while it went on.
const DUMP_ATTEMPTS: u32 = 5;

/// The kernel marks a dump that met a change (`NLM_F_DUMP_INTR`).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// A netlink socket for requests.
struct Requests {
    socket: Socket,
    sequence: u32,
}

impl Requests {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 1..DUMP_ATTEMPTS {
            if let (answers, false) = self.ask(request.clone())? {
                return Ok(answers);
            }
        }
        self.ask(request).map(|(answers, _)| answers)
    }

    /// The answers, and whether they may be inconsistent.
    fn ask(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let (mut answers, mut interrupted) = (Vec::new(), false);
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok((answers, interrupted)),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    _ => {}
                }
            }
        }
    }
}

/// The messages of a datagram. One that cannot be read is left out: it is of a kind not asked for.
fn messages(datagram: &[u8]) -> Vec<NetlinkMessage<RouteNetlinkMessage>> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while let Ok(frame) = NetlinkBuffer::new_checked(rest) {
        // Messages start at multiples of four bytes.
        let length = (frame.length() as usize).next_multiple_of(4);
        messages.extend(NetlinkMessage::deserialize(rest));
        rest = rest.get(length..).unwrap_or_default();
    }
    messages
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn only_customer_tags_make_a_vlan() {
        let mut message = LinkMessage::default();
        let mut read = |data: Vec<InfoVlan>| {
            let info = vec![LinkInfo::Data(InfoData::Vlan(data))];
            message.attributes = vec![LinkAttribute::LinkInfo(info), LinkAttribute::Link(3)];
            let link = link(message.clone());
            (link.lower, link.vlan)
        };
        let protocol = InfoVlan::Protocol;
        assert_eq!(read(vec![InfoVlan::Id(10)]), (Some(3), Some(10)));
        let customer = vec![protocol(VlanProtocol::Ieee8021Q), InfoVlan::Id(11)];
        assert_eq!(read(customer), (Some(3), Some(11)));
        let service = vec![InfoVlan::Id(12), protocol(VlanProtocol::Ieee8021Ad)];
        assert_eq!(read(service), (Some(3), None));
    }

    #[test]
    fn effective_capabilities_are_a_hexadecimal_line() {
        let status = "Name:\tvc5d\nCapPrm:\tffffffffffffffff\nCapEff:\t0000000000001000\n";
        assert_eq!(capabilities(status), 1 << 12);
        let machine = Machine { capabilities: capabilities(status), ..Machine::default() };
        assert!(machine.may(12) && !machine.may(11) && !machine.may(39));
        assert_eq!(capabilities(""), 0);
    }
}
