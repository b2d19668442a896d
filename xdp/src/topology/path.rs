//! How a backend is reached, or why it is not.

use std::net::IpAddr;

use super::{Subnet, Topology, Way};
use crate::Mac;

/// The way to a backend on the link layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Interface by which the program sends: one of the dataplane's, not a VLAN of it.
    pub(crate) ifindex: u32,
    /// Its [`Port::number`](super::Port::number).
    pub(crate) tx: u8,
    /// VLAN on it, 0 for untagged.
    pub(crate) vlan: u16,
    /// Our own MAC address in that VLAN.
    pub(crate) src_mac: Mac,
    /// Interface on which the kernel resolves the backend's MAC address: `ifindex`, or the VLAN
    /// sub-interface.
    pub(crate) neighbour: u32,
}

/// A path, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: Path,
    pub(super) subnet: Subnet,
    /// The VLAN is that which the configuration gives to the address.
    pub(super) configured: bool,
}

/// Why there is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPath {
    /// Unspecified, loopback, multicast or broadcast.
    NotUnicast,
    /// IPv6 link-local: which link is not said.
    LinkLocal,
    /// An address of this node.
    Own,
    /// The address of a subnet itself, or its broadcast address.
    Reserved(Subnet),
    /// No interface has a subnet with it.
    NoSubnet,
    /// Its VLAN by configuration, which no interface has.
    NoVlan(u16),
    /// Its VLAN by configuration, where it is in no subnet.
    NoSubnetInVlan(u16),
}

impl Topology {
    /// The way to a backend.
    pub(crate) fn path(&self, address: IpAddr) -> Option<Path> {
        self.find(address).ok().map(|found| found.path)
    }

    /// The way by one of the dataplane's interfaces, in a VLAN or untagged (0), of which the kernel
    /// need not know.
    pub(crate) fn path_by(&self, interface: &str, vlan: u16) -> Option<Path> {
        let (position, port) = self.named().find(|(_, known)| known.link.name == interface)?;
        Some(Way { port, position, vlan, on: port }.path())
    }

    /// The way to a backend in words, or "none: " and the reason.
    pub(crate) fn explain(&self, address: IpAddr) -> String {
        match self.find(address) {
            Ok(found) => self.describe(found),
            Err(reason) => format!("none: {}", self.reason(reason)),
        }
    }

    fn describe(&self, Found { path, subnet, configured }: Found) -> String {
        let port = self.name(path.ifindex);
        let network = subnet.network;
        if path.vlan == 0 {
            return format!("{port}, connected subnet {network}");
        }
        let by = if configured { " by [dataplane.vlans]" } else { "" };
        let on = self.name(path.neighbour);
        format!("{port} vlan {} ({on}){by}, connected subnet {network}", path.vlan)
    }

    fn reason(&self, reason: NoPath) -> String {
        let ports = self.names.join(", ");
        match reason {
            NoPath::NotUnicast => "it is no unicast address".into(),
            NoPath::LinkLocal => {
                "a link-local address does not say which link; use a global or unique local one"
                    .into()
            }
            NoPath::Own => "it is an address of this node".into(),
            NoPath::Reserved(subnet) => {
                format!("it is the network or broadcast address of {}", subnet.network)
            }
            NoPath::NoSubnet => format!("no connected subnet of {ports} has it"),
            NoPath::NoVlan(id) => format!(
                "[dataplane.vlans] has it in VLAN {id}, and {ports} {} no VLAN sub-interface of \
                 that id; `ip link add link {} name vlan{id} type vlan id {id}` makes one",
                if self.names.len() > 1 { "have" } else { "has" },
                self.names.first().map_or("IF", String::as_str),
            ),
            NoPath::NoSubnetInVlan(id) => format!(
                "[dataplane.vlans] has it in VLAN {id}, and {} no address in a subnet with it",
                self.vlan_names(id)
            ),
        }
    }

    fn vlan_names(&self, id: u16) -> String {
        let names: Vec<&str> =
            self.ways().filter(|w| w.vlan == id).map(|w| w.on.link.name.as_str()).collect();
        let verb = if names.len() > 1 { "have" } else { "has" };
        format!("{} {verb}", names.join(", "))
    }

    fn name(&self, index: u32) -> &str {
        self.by_index(index).map_or("?", |link| &link.name)
    }
}
