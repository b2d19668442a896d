//! Neighbour entries that the kernel keeps resolved on our behalf.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::Requests;

/// Marks entries as made by vc5 (`NDA_PROTOCOL`), so that they are found again after a crash.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0x76);

/// The entries made, by address, with the interface each is on.
#[derive(Debug, Default)]
pub(crate) struct Managed {
    entries: BTreeMap<Ipv4Addr, u32>,
}

impl Managed {
    /// Makes entries for the backends that have none on their interface. Those that the
    /// administrator has set (permanent) are used as they are.
    ///
    /// # Errors
    /// The first failure that will not go away by itself, in words.
    pub(crate) fn add(
        &mut self,
        requests: &mut Requests,
        wanted: &BTreeMap<Ipv4Addr, u32>,
    ) -> Result<(), String> {
        let missing: Vec<(Ipv4Addr, u32)> = wanted
            .iter()
            .filter(|(address, index)| self.entries.get(address) != Some(index))
            .map(|(address, index)| (*address, *index))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let permanent = permanent(requests).map_err(|e| format!("neighbour table: {e}"))?;
        for (address, index) in missing {
            if !permanent.contains(&(address, index)) {
                match requests.tell(create(address, index), NLM_F_CREATE | NLM_F_REPLACE) {
                    Ok(()) => {}
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        return Err(format!(
                            "the kernel's neighbour table is full at {address}; raise \
                             net.ipv4.neigh.default.gc_thresh3 above the number of backends"
                        ));
                    }
                    // Most likely the interface is down; its coming up is an event.
                    Err(error) => {
                        tracing::warn!(%address, %error, "no neighbour entry could be made");
                        continue;
                    }
                }
            }
            self.entries.insert(address, index);
        }
        Ok(())
    }

    /// Removes the entries of addresses that are no backends any more.
    pub(crate) fn remove_others(
        &mut self,
        requests: &mut Requests,
        wanted: &BTreeMap<Ipv4Addr, u32>,
    ) {
        self.entries.retain(|address, index| {
            let stays = wanted.get(address) == Some(index);
            if !stays {
                delete(requests, *address, *index);
            }
            stays
        });
    }

    /// The kernel has deleted this entry, or its interface: it must be made again.
    pub(crate) fn forget(&mut self, address: Ipv4Addr) {
        self.entries.remove(&address);
    }

    /// Takes over the entries that are in the kernel already, such as those of an earlier run, and
    /// forgets those that are not.
    ///
    /// # Errors
    /// When the kernel does not list its neighbours.
    pub(crate) fn adopt(
        &mut self,
        requests: &mut Requests,
        interfaces: &BTreeSet<u32>,
    ) -> io::Result<()> {
        self.entries = ours(requests, interfaces)?;
        Ok(())
    }
}

/// Removes the entries that any vc5 has made on these interfaces.
///
/// # Errors
/// When the kernel does not list its neighbours.
pub(crate) fn remove_all(requests: &mut Requests, interfaces: &BTreeSet<u32>) -> io::Result<()> {
    for (address, index) in ours(requests, interfaces)? {
        delete(requests, address, index);
    }
    Ok(())
}

fn ours(
    requests: &mut Requests,
    interfaces: &BTreeSet<u32>,
) -> io::Result<BTreeMap<Ipv4Addr, u32>> {
    let made_by_us = |m: &&NeighbourMessage| {
        m.attributes.contains(&NeighbourAttribute::Protocol(PROTOCOL))
            && interfaces.contains(&m.header.ifindex)
    };
    let neighbours = requests.neighbours()?;
    let entry = |m: &NeighbourMessage| Some((destination(m)?, m.header.ifindex));
    Ok(neighbours.iter().filter(made_by_us).filter_map(entry).collect())
}

fn permanent(requests: &mut Requests) -> io::Result<Vec<(Ipv4Addr, u32)>> {
    let neighbours = requests.neighbours()?;
    let permanent = neighbours.iter().filter(|m| m.header.state == NeighbourState::Permanent);
    Ok(permanent.filter_map(|m| Some((destination(m)?, m.header.ifindex))).collect())
}

fn destination(message: &NeighbourMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        _ => None,
    })
}

fn message(address: Ipv4Addr, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(address))];
    message
}

fn create(address: Ipv4Addr, index: u32) -> RouteNetlinkMessage {
    let mut message = message(address, index);
    message.header.state = NeighbourState::None;
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message.attributes.push(NeighbourAttribute::Protocol(PROTOCOL));
    RouteNetlinkMessage::NewNeighbour(message)
}

fn delete(requests: &mut Requests, address: Ipv4Addr, index: u32) {
    let message = RouteNetlinkMessage::DelNeighbour(message(address, index));
    match requests.tell(message, 0) {
        Ok(()) => {}
        // The entry or its interface is gone already.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {}
        Err(error) => tracing::warn!(%address, %error, "a neighbour entry could not be removed"),
    }
}
