//! What the kernel tells of an interface.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::Mac;

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XdpInfo {
    pub(crate) program_id: u32,
    /// In the driver, not in the kernel's stack.
    pub(crate) native: bool,
}

/// That an interface is a VLAN of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vlan {
    /// Index of the interface that carries it, or none if that is in another namespace.
    pub(crate) parent: Option<u32>,
    /// 1 to 4094.
    pub(crate) id: u16,
    /// By a service tag (IEEE 802.1ad) instead of a customer tag (802.1Q).
    pub(crate) service_tag: bool,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Mac,
    /// Administratively up, with a carrier.
    pub(crate) up: bool,
    pub(crate) xdp: Option<XdpInfo>,
    pub(crate) vlan: Option<Vlan>,
    /// Index of the bond or bridge that it is a port of.
    pub(crate) controller: Option<u32>,
}

/// An address of an interface, and the subnet that it makes connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subnet {
    /// The interface's own address.
    pub(crate) own: IpAddr,
    /// Addresses that are neighbours there.
    pub(crate) network: IpNet,
}

impl Subnet {
    /// The subnet around `within`, which is the interface's own address except on a
    /// point-to-point link. None if the prefix is longer than the address.
    pub(crate) fn new(own: IpAddr, within: IpAddr, prefix_length: u8) -> Option<Self> {
        let network = IpNet::new(within, prefix_length).ok()?.trunc();
        Some(Self { own, network })
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        self.network.contains(&address)
    }

    /// Whether an address of the subnet is that of the subnet itself or its broadcast address.
    pub(super) fn is_reserved(self, address: IpAddr) -> bool {
        let IpNet::V4(network) = self.network else { return false };
        network.prefix_len() < 31
            && (address == network.network() || address == network.broadcast())
    }
}
