//! The dataplane's interfaces: their VLANs and addresses, and whether the program runs on them.
//!
//! Backends are reached on layer 2, so each must be on a subnet that is connected: by one of the
//! dataplane's interfaces itself, or by a VLAN sub-interface of it. The kernel resolves the
//! backend's MAC address on that one; the program always sends by the former, with the tag that
//! the sub-interface stands for.

mod caveat;
mod link;
mod path;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::Mac;

pub(crate) use link::{Link, Subnet, Vlan, XdpInfo};
pub(crate) use path::Path;
use path::{Found, NoPath};

/// One of the dataplane's interfaces, as the program has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) ifindex: u32,
    pub(crate) mac: Mac,
    /// Its place among the interfaces configured, from 1 on.
    pub(crate) number: u8,
    /// Tagged frames are ours too.
    pub(crate) trunk: bool,
}

/// What news of an interface means for the dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// Nothing.
    Nothing,
    /// It is not as it was.
    Changed,
    /// It is one that was not looked at until now, so that its addresses and neighbours are not
    /// known.
    New,
}

/// An interface that is looked at.
#[derive(Clone, Debug)]
struct Known {
    link: Link,
    subnets: Vec<Subnet>,
    /// Its place among the interfaces configured, from 0 on; none if it is none of them.
    position: Option<usize>,
}

/// An interface on which backends can be resolved, and where the program sends to reach them.
#[derive(Clone, Copy)]
struct Way<'a> {
    port: &'a Known,
    position: usize,
    /// 0 for untagged.
    vlan: u16,
    on: &'a Known,
}

/// The dataplane's interfaces that exist, with the VLANs and the ports of bonds. Others are not
/// looked at.
#[derive(Debug)]
pub(crate) struct Topology {
    names: Vec<String>,
    vlans: BTreeMap<u16, Vec<IpNet>>,
    links: BTreeMap<u32, Known>,
}

impl Topology {
    /// Will know the interfaces of these names once it is told of them. An address in one of
    /// `vlans`' prefixes is reached in that VLAN, or not at all.
    pub(crate) fn new(names: Vec<String>, vlans: BTreeMap<u16, Vec<IpNet>>) -> Self {
        Self { names, vlans, links: BTreeMap::new() }
    }

    /// Forgets all but the configuration.
    pub(crate) fn clear(&mut self) {
        self.links.clear();
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether backends can be resolved on an interface.
    pub(crate) fn carries(&self, index: u32) -> bool {
        self.links.get(&index).is_some_and(|known| self.way(known).is_some())
    }

    /// The interfaces on which backends can be resolved.
    pub(crate) fn carriers(&self) -> BTreeSet<u32> {
        self.ways().map(|way| way.on.link.index).collect()
    }

    pub(crate) fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.get(&index).map(|known| &known.link)
    }

    /// The dataplane's interface of this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Link> {
        self.named().map(|(_, known)| &known.link).find(|link| link.name == name)
    }

    /// The dataplane's interfaces that exist.
    pub(crate) fn ports(&self) -> Vec<Port> {
        let port = |(position, known): (usize, &Known)| Port {
            ifindex: known.link.index,
            mac: known.link.mac,
            number: u8::try_from(position + 1).unwrap_or(u8::MAX),
            trunk: self.is_trunk(known.link.index),
        };
        self.named().map(port).collect()
    }

    /// The ports of those that are bonds, each as the bond that it is of: to a program in the driver
    /// a frame comes in by the port.
    pub(crate) fn bonded(&self) -> Vec<Port> {
        let unnamed = self.links.values().filter(|known| known.position.is_none());
        let bonds = self.ports();
        let port = |known: &Known| {
            let bond = bonds.iter().find(|bond| known.link.controller == Some(bond.ifindex))?;
            Some(Port { ifindex: known.link.index, ..*bond })
        };
        unnamed.filter_map(port).collect()
    }

    /// The names of the NICs that one of the dataplane's interfaces stands for: the ports of a bond,
    /// else itself.
    pub(crate) fn devices(&self, index: u32) -> Vec<&str> {
        let is_port = |known: &&Known| known.link.controller == Some(index);
        let ports = self.links.values().filter(is_port);
        let mut names: Vec<&str> = ports.map(|known| known.link.name.as_str()).collect();
        if names.is_empty() {
            names.extend(self.by_index(index).map(|link| link.name.as_str()));
        }
        names
    }

    /// Whether VLANs come tagged by one of the dataplane's interfaces.
    fn is_trunk(&self, index: u32) -> bool {
        let is_child = |known: &Known| known.link.vlan.is_some_and(|v| v.parent == Some(index));
        !self.vlans.is_empty() || self.links.values().any(is_child)
    }

    fn find(&self, address: IpAddr) -> Result<Found, NoPath> {
        check_unicast(address)?;
        let own = |way: Way<'_>| way.on.subnets.iter().any(|subnet| subnet.own == address);
        if self.ways().any(own) {
            return Err(NoPath::Own);
        }
        let wanted = self.configured_vlan(address);
        let connected = self
            .ways()
            .filter(|way| wanted.is_none_or(|id| way.vlan == id))
            .flat_map(|way| way.on.subnets.iter().map(move |subnet| (way, *subnet)))
            .filter(|(_, subnet)| subnet.contains(address));
        let best = connected.max_by_key(|(way, subnet)| {
            let order = (Reverse(way.position), Reverse(way.vlan));
            (subnet.network.prefix_len(), way.on.link.up, order)
        });
        match (best, wanted) {
            (Some((_, subnet)), _) if subnet.is_reserved(address) => Err(NoPath::Reserved(subnet)),
            (Some((way, subnet)), _) => {
                Ok(Found { path: way.path(), subnet, configured: wanted.is_some() })
            }
            (None, None) => Err(NoPath::NoSubnet),
            (None, Some(id)) if self.ways().any(|way| way.vlan == id) => {
                Err(NoPath::NoSubnetInVlan(id))
            }
            (None, Some(id)) => Err(NoPath::NoVlan(id)),
        }
    }

    /// The VLAN that the configuration gives to an address, by the longest prefix.
    fn configured_vlan(&self, address: IpAddr) -> Option<u16> {
        let prefixes = self.vlans.iter().flat_map(|(id, nets)| nets.iter().map(move |n| (*id, n)));
        let having = prefixes.filter(|(_, net)| net.contains(&address));
        having.max_by_key(|(id, net)| (net.prefix_len(), Reverse(*id))).map(|(id, _)| id)
    }

    fn named(&self) -> impl Iterator<Item = (usize, &Known)> {
        self.links.values().filter_map(|known| Some((known.position?, known)))
    }

    fn ways(&self) -> impl Iterator<Item = Way<'_>> {
        self.links.values().filter_map(|known| self.way(known))
    }

    /// The way that an interface stands for: it is one of the dataplane's, or a VLAN of one.
    fn way<'a>(&'a self, on: &'a Known) -> Option<Way<'a>> {
        if let Some(position) = on.position {
            return Some(Way { port: on, position, vlan: 0, on });
        }
        let vlan = on.link.vlan.filter(|vlan| !vlan.service_tag)?;
        let port = self.links.get(&vlan.parent?)?;
        Some(Way { port, position: port.position?, vlan: vlan.id, on })
    }

    /// An interface is new or has changed.
    pub(crate) fn update(&mut self, link: Link) -> Update {
        let index = link.index;
        let before = (self.concerns(index), self.carries(index));
        match self.links.get_mut(&index) {
            Some(known) if known.link == link => return Update::Nothing,
            Some(known) => {
                known.position = self.names.iter().position(|name| *name == link.name);
                known.link = link;
            }
            None => {
                let position = self.names.iter().position(|name| *name == link.name);
                self.links.insert(index, Known { link, subnets: Vec::new(), position });
            }
        }
        let after = (self.concerns(index), self.carries(index));
        if self.links.get(&index).is_some_and(Known::is_of_no_use) {
            self.links.remove(&index);
        }
        match (before, after) {
            ((_, false), (_, true)) => Update::New,
            ((true, _), _) | (_, (true, _)) => Update::Changed,
            _ => Update::Nothing,
        }
    }

    /// An interface is gone; whether that concerns the dataplane.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        let concerned = self.concerns(index);
        self.links.remove(&index);
        concerned
    }

    /// An interface has an address more; whether that concerns the dataplane.
    pub(crate) fn add_subnet(&mut self, index: u32, subnet: Subnet) -> bool {
        let carries = self.carries(index);
        match self.links.get_mut(&index) {
            Some(known) if !known.subnets.contains(&subnet) => {
                known.subnets.push(subnet);
                carries
            }
            _ => false,
        }
    }

    /// An interface has an address less; whether that concerns the dataplane.
    pub(crate) fn remove_subnet(&mut self, index: u32, subnet: Subnet) -> bool {
        let carries = self.carries(index);
        let Some(known) = self.links.get_mut(&index) else { return false };
        let before = known.subnets.len();
        known.subnets.retain(|s| *s != subnet);
        known.subnets.len() < before && carries
    }

    /// Whether an interface is one of the dataplane's, or a VLAN or a port of one.
    fn concerns(&self, index: u32) -> bool {
        let Some(known) = self.links.get(&index) else { return false };
        let is_named = |index: u32| self.links.get(&index).is_some_and(|k| k.position.is_some());
        known.position.is_some()
            || known.link.vlan.and_then(|vlan| vlan.parent).is_some_and(is_named)
            || known.link.controller.is_some_and(is_named)
    }
}

impl Known {
    /// It is neither one of the dataplane's interfaces nor could it be a VLAN or port of one.
    fn is_of_no_use(&self) -> bool {
        self.position.is_none() && self.link.vlan.is_none() && self.link.controller.is_none()
    }
}

impl Way<'_> {
    fn path(self) -> Path {
        Path {
            ifindex: self.port.link.index,
            tx: u8::try_from(self.position + 1).unwrap_or(u8::MAX),
            vlan: self.vlan,
            src_mac: self.on.link.mac,
            neighbour: self.on.link.index,
        }
    }
}

fn check_unicast(address: IpAddr) -> Result<(), NoPath> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast {
        return Err(NoPath::NotUnicast);
    }
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(NoPath::LinkLocal),
        _ => Ok(()),
    }
}
