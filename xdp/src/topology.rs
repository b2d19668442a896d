//! The dataplane's interfaces: their addresses, and whether the program runs on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::Mac;

/// An XDP program on an interface, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XdpInfo {
    pub(crate) program_id: u32,
    /// In the driver, not in the kernel's stack.
    pub(crate) native: bool,
}

/// What the kernel tells of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Mac,
    /// Administratively up, with a carrier.
    pub(crate) up: bool,
    pub(crate) xdp: Option<XdpInfo>,
}

/// An address of an interface. A subnet it is in is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subnet {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_length: u8,
}

impl Subnet {
    fn contains(self, address: Ipv4Addr) -> bool {
        let host_bits = 32 - u32::from(self.prefix_length.min(32));
        let differing = u32::from(self.address) ^ u32::from(address);
        u64::from(differing) >> host_bits == 0
    }
}

/// One of the dataplane's interfaces.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) link: Link,
    subnets: Vec<Subnet>,
}

/// The dataplane's interfaces that exist, by index. Others are not looked at.
#[derive(Debug)]
pub(crate) struct Topology {
    names: Vec<String>,
    interfaces: BTreeMap<u32, Interface>,
}

impl Topology {
    /// Will know the interfaces of these names once it is told of them.
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, interfaces: BTreeMap::new() }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn has(&self, index: u32) -> bool {
        self.interfaces.contains_key(&index)
    }

    pub(crate) fn indices(&self) -> BTreeSet<u32> {
        self.interfaces.keys().copied().collect()
    }

    pub(crate) fn by_index(&self, index: u32) -> Option<&Link> {
        self.interfaces.get(&index).map(|i| &i.link)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Link> {
        self.interfaces.values().map(|i| &i.link).find(|l| l.name == name)
    }

    /// The interface on whose subnet an address is, by the longest prefix.
    pub(crate) fn route(&self, address: Ipv4Addr) -> Option<&Link> {
        let subnets = self.interfaces.values().flat_map(|i| i.subnets.iter().map(move |s| (s, i)));
        subnets
            .filter(|(subnet, _)| subnet.contains(address))
            .max_by_key(|(subnet, _)| subnet.prefix_length)
            .map(|(_, interface)| &interface.link)
    }

    /// An interface is new or has changed; whether that concerns the dataplane.
    pub(crate) fn update(&mut self, link: Link) -> bool {
        if !self.names.contains(&link.name) {
            // Renamed away from one of our names, perhaps.
            return self.interfaces.remove(&link.index).is_some();
        }
        match self.interfaces.get_mut(&link.index) {
            Some(known) if known.link == link => false,
            Some(known) => {
                known.link = link;
                true
            }
            None => {
                self.interfaces.insert(link.index, Interface { link, subnets: Vec::new() });
                true
            }
        }
    }

    /// An interface is gone; whether that concerns the dataplane.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        self.interfaces.remove(&index).is_some()
    }

    /// An interface has an address more; whether that concerns the dataplane.
    pub(crate) fn add_subnet(&mut self, index: u32, subnet: Subnet) -> bool {
        match self.interfaces.get_mut(&index) {
            Some(interface) if !interface.subnets.contains(&subnet) => {
                interface.subnets.push(subnet);
                true
            }
            _ => false,
        }
    }

    /// An interface has an address less; whether that concerns the dataplane.
    pub(crate) fn remove_subnet(&mut self, index: u32, subnet: Subnet) -> bool {
        let Some(interface) = self.interfaces.get_mut(&index) else { return false };
        let before = interface.subnets.len();
        interface.subnets.retain(|s| *s != subnet);
        interface.subnets.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.into(),
            mac: Mac([2, 0, 0, 0, 0, index as u8]),
            up: true,
            xdp: None,
        }
    }

    fn subnet(a: u8, b: u8, prefix_length: u8) -> Subnet {
        Subnet { address: Ipv4Addr::new(10, a, b, 1), prefix_length }
    }

    fn topology() -> Topology {
        let mut topology = Topology::new(vec!["e0".into(), "e1".into()]);
        assert!(topology.update(link(2, "e0")));
        assert!(topology.update(link(3, "e1")));
        assert!(topology.add_subnet(2, subnet(0, 0, 8)));
        assert!(topology.add_subnet(3, subnet(1, 1, 24)));
        topology
    }

    #[test]
    fn the_longest_prefix_decides() {
        let mut topology = topology();
        let index = |t: &Topology, a| t.route(a).map(|l| l.index);
        assert_eq!(index(&topology, Ipv4Addr::new(10, 1, 1, 9)), Some(3));
        assert_eq!(index(&topology, Ipv4Addr::new(10, 1, 2, 9)), Some(2));
        assert_eq!(index(&topology, Ipv4Addr::new(11, 1, 1, 9)), None);
        assert!(topology.remove_subnet(3, subnet(1, 1, 24)));
        assert!(!topology.remove_subnet(3, subnet(1, 1, 24)));
        assert_eq!(index(&topology, Ipv4Addr::new(10, 1, 1, 9)), Some(2));
        assert!(topology.add_subnet(3, Subnet { prefix_length: 0, ..subnet(0, 0, 0) }));
        assert_eq!(index(&topology, Ipv4Addr::new(11, 1, 1, 9)), Some(3));
    }

    #[test]
    fn only_the_named_interfaces_count() {
        let mut topology = topology();
        assert!(!topology.update(link(4, "lan")));
        assert!(!topology.add_subnet(4, subnet(9, 9, 24)));
        assert!(!topology.update(link(2, "e0")), "nothing has changed");
        assert!(topology.update(Link { up: false, ..link(2, "e0") }));
        assert!(topology.update(link(2, "renamed")));
        assert!(topology.by_name("e0").is_none());
        assert!(topology.remove(3));
        assert!(!topology.remove(3));
        assert!(topology.route(Ipv4Addr::new(10, 1, 1, 9)).is_none());
    }
}
