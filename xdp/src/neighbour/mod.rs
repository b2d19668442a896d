//! The backends on the link layer: which MAC address each has, and whether it answers at all.
//!
//! The kernel keeps the addresses: each backend has a neighbour entry that the kernel itself
//! keeps resolved (`NTF_EXT_MANAGED`), and what it finds out arrives as events.

pub(crate) mod managed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::forwarding::Resolve;
use crate::netlink::{NeighbourEntry, NetEvent, Reachability};
use crate::topology::{Path, Topology, Update};
use crate::{Mac, NeighbourState, Way};

/// Where packets for a backend go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// This way, to this MAC address.
    Resolved { path: Path, mac: Mac },
    /// This way; the kernel is asking for the MAC address.
    Pending(Path),
    /// This way; the kernel asked and got no answer.
    Failed(Path),
    /// Nowhere: no interface of the dataplane has a subnet with it, or none may be used.
    NoPath,
}

/// What an event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that matters here.
    Nothing,
    /// The hop of one address.
    Hop(IpAddr, NeighbourState),
    /// The kernel has deleted the entry of an address: it must be made again, if wanted. What is
    /// known of the address is as little as before.
    Entry(IpAddr),
    /// Interfaces, their VLANs or subnets, and so any hop.
    Topology,
    /// Events were lost, or those of an interface were not listened to until now: everything has
    /// to be asked for anew.
    Lost,
}

/// The network as the dataplane sees it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) topology: Topology,
    /// Neighbours by address and interface.
    neighbours: BTreeMap<(IpAddr, u32), NeighbourState>,
    /// Backends for which it does not matter what the kernel knows.
    given: BTreeMap<IpAddr, Way>,
}

impl Network {
    /// Knows nothing yet of the interfaces of these names.
    pub(crate) fn new(interfaces: Vec<String>, vlans: BTreeMap<u16, Vec<IpNet>>) -> Self {
        let topology = Topology::new(interfaces, vlans);
        Self { topology, neighbours: BTreeMap::new(), given: BTreeMap::new() }
    }

    /// From now on these backends are reached so, whatever the kernel knows of them, and no others;
    /// those for which that is not as before.
    pub(crate) fn direct(&mut self, ways: BTreeMap<IpAddr, Way>) -> BTreeSet<IpAddr> {
        let before = std::mem::replace(&mut self.given, ways);
        let addresses = before.keys().chain(self.given.keys()).copied();
        addresses.filter(|address| before.get(address) != self.given.get(address)).collect()
    }

    /// The interface on which the kernel is to resolve an address, if it is.
    pub(crate) fn resolved_on(&self, address: IpAddr) -> Option<u32> {
        if self.given.contains_key(&address) {
            return None;
        }
        self.topology.path(address).map(|path| path.neighbour)
    }

    /// Forgets all but the configuration, before a new dump.
    pub(crate) fn clear(&mut self) {
        self.topology.clear();
        self.neighbours.clear();
    }

    /// Takes note of an event.
    pub(crate) fn handle(&mut self, event: NetEvent) -> Change {
        let topology = &mut self.topology;
        let changed = match event {
            NetEvent::Link(link) => match topology.update(link) {
                Update::New => return Change::Lost,
                update => update == Update::Changed,
            },
            NetEvent::LinkGone(index) => {
                self.neighbours.retain(|(_, on), _| *on != index);
                topology.remove(index)
            }
            NetEvent::Address(index, subnet) => topology.add_subnet(index, subnet),
            NetEvent::AddressGone(index, subnet) => topology.remove_subnet(index, subnet),
            NetEvent::Neighbour(entry) => return self.neighbour(entry),
            NetEvent::Lost => return Change::Lost,
        };
        if changed { Change::Topology } else { Change::Nothing }
    }

    fn neighbour(&mut self, entry: NeighbourEntry) -> Change {
        if !self.topology.carries(entry.index) {
            return Change::Nothing;
        }
        let key = (entry.address, entry.index);
        let before = self.neighbours.get(&key).copied().unwrap_or(NeighbourState::Unknown);
        let after = match (entry.reachability, entry.mac) {
            (Reachability::Usable, Some(mac)) => NeighbourState::Resolved(mac),
            (Reachability::Failed, _) => NeighbourState::Failed,
            (Reachability::Gone, _) => NeighbourState::Unknown,
            // The kernel asks again after a failure: until it has an answer nothing is new.
            (Reachability::Asking, _) | (Reachability::Usable, None) => before,
        };
        if after == NeighbourState::Unknown {
            self.neighbours.remove(&key);
        } else {
            self.neighbours.insert(key, after);
        }
        let gone = entry.reachability == Reachability::Gone;
        if before == after && !gone {
            return Change::Nothing;
        }
        // An entry on another interface than that by which the address is reached says nothing.
        if self.resolved_on(entry.address) != Some(entry.index) {
            return Change::Nothing;
        }
        if before == after {
            Change::Entry(entry.address)
        } else {
            Change::Hop(entry.address, after)
        }
    }
}

impl Resolve for Network {
    fn hop(&self, address: IpAddr) -> Hop {
        if let Some(Way { interface, vlan, mac }) = self.given.get(&address) {
            let path = self.topology.path_by(interface, *vlan);
            return path.map_or(Hop::NoPath, |path| Hop::Resolved { path, mac: *mac });
        }
        let Some(path) = self.topology.path(address) else { return Hop::NoPath };
        match self.neighbours.get(&(address, path.neighbour)) {
            Some(NeighbourState::Resolved(mac)) => Hop::Resolved { path, mac: *mac },
            Some(NeighbourState::Failed) => Hop::Failed(path),
            Some(NeighbourState::Unknown) | None => Hop::Pending(path),
        }
    }

    fn explain(&self, address: IpAddr) -> String {
        match self.given.get(&address) {
            Some(Way { interface, vlan: 0, .. }) => format!("{interface}, as given"),
            Some(Way { interface, vlan, .. }) => format!("{interface} vlan {vlan}, as given"),
            None => self.topology.explain(address),
        }
    }
}

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod tests;
