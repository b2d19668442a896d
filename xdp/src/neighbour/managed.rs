//! Neighbour entries that the kernel keeps resolved on our behalf.
//!
//! They are managed, so that the kernel asks again by itself (`NTF_EXT_MANAGED`, since Linux 5.16),
//! and marked as learned by us (`NTF_EXT_LEARNED`), which exempts them from the limits and from the
//! garbage collection of the neighbour table (`gc_thresh1` to `gc_thresh3`): those count for the
//! whole host, and cannot be raised from within a container.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{NetEvent, Reachability, Requests, destination};

/// Marks entries as made by vc5 (`NDA_PROTOCOL`), so that they are found again after a crash.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0x76);

/// An address, and the interface on which it is resolved.
type Entry = (IpAddr, u32);

/// The entries made.
#[derive(Debug, Default)]
pub(crate) struct Managed {
    entries: BTreeSet<Entry>,
    /// Those that serve as well, which the administrator has set and nobody else may remove.
    permanent: BTreeSet<Entry>,
}

impl Managed {
    /// Makes entries for the backends that have none on their interface, and removes those that
    /// they have on others. Entries that the administrator has set (permanent) are used as they
    /// are.
    ///
    /// # Errors
    /// The first failure that will not go away by itself, in words.
    pub(crate) fn add(
        &mut self,
        requests: &mut Requests,
        wanted: &BTreeMap<IpAddr, u32>,
    ) -> Result<(), String> {
        self.remove(requests, |(address, index)| {
            wanted.get(&address).is_some_and(|now| *now != index)
        });
        let missing: Vec<Entry> = wanted
            .iter()
            .map(|(address, index)| (*address, *index))
            .filter(|entry| !self.entries.contains(entry) && !self.permanent.contains(entry))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let trouble = |error: io::Error| format!("neighbour table: {error}");
        let permanent = permanent(requests).map_err(trouble)?;
        let (set, unset): (Vec<Entry>, Vec<Entry>) =
            missing.into_iter().partition(|entry| permanent.contains(entry));
        self.permanent.extend(set);
        let messages = unset.iter().copied().map(create).collect();
        let outcomes =
            requests.tell_all(messages, NLM_F_CREATE | NLM_F_REPLACE).map_err(trouble)?;
        let mut failure = None;
        for (entry, outcome) in unset.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    self.entries.insert(entry);
                }
                Err(error) if is_lasting(&error) => {
                    failure.get_or_insert_with(|| {
                        format!("no neighbour entry for {}: {error}", entry.0)
                    });
                }
                // The interface is about to be told gone; its coming back is an event.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => {
                    tracing::warn!(address = %entry.0, %error, "no neighbour entry could be made");
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Removes the entries of addresses that are no backends any more.
    pub(crate) fn remove_others(
        &mut self,
        requests: &mut Requests,
        wanted: &BTreeMap<IpAddr, u32>,
    ) {
        self.remove(requests, |(address, index)| wanted.get(&address) != Some(&index));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn remove(&mut self, requests: &mut Requests, goes: impl Fn(Entry) -> bool) {
        self.permanent.retain(|entry| !goes(*entry));
        delete(requests, self.entries.extract_if(.., |entry| goes(*entry)));
    }

    /// Takes note of entries that the kernel has deleted: they must be made again.
    pub(crate) fn note(&mut self, event: &NetEvent) {
        match event {
            NetEvent::Neighbour(entry) if entry.reachability == Reachability::Gone => {
                self.entries.remove(&(entry.address, entry.index));
                self.permanent.remove(&(entry.address, entry.index));
            }
            NetEvent::LinkGone(gone) => {
                self.entries.retain(|(_, index)| index != gone);
                self.permanent.retain(|(_, index)| index != gone);
            }
            _ => {}
        }
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
        self.permanent.clear();
        Ok(())
    }
}

/// Removes the entries that any vc5 has made on these interfaces.
///
/// # Errors
/// When the kernel does not list its neighbours.
pub(crate) fn remove_all(requests: &mut Requests, interfaces: &BTreeSet<u32>) -> io::Result<()> {
    let entries = ours(requests, interfaces)?;
    delete(requests, entries);
    Ok(())
}

/// Whether a failure to make an entry is one of the node, not of an interface.
fn is_lasting(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOBUFS | libc::ENOMEM | libc::EPERM | libc::EOPNOTSUPP)
    )
}

fn ours(requests: &mut Requests, interfaces: &BTreeSet<u32>) -> io::Result<BTreeSet<Entry>> {
    let made_by_us = |m: &&NeighbourMessage| {
        m.attributes.contains(&NeighbourAttribute::Protocol(PROTOCOL))
            && interfaces.contains(&m.header.ifindex)
    };
    let neighbours = requests.neighbours()?;
    Ok(neighbours.iter().filter(made_by_us).filter_map(entry).collect())
}

fn permanent(requests: &mut Requests) -> io::Result<BTreeSet<Entry>> {
    let neighbours = requests.neighbours()?;
    let permanent = neighbours.iter().filter(|m| m.header.state == NeighbourState::Permanent);
    Ok(permanent.filter_map(entry).collect())
}

fn entry(message: &NeighbourMessage) -> Option<Entry> {
    Some((destination(message)?, message.header.ifindex))
}

fn message((address, index): Entry) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.attributes = vec![NeighbourAttribute::Destination(address)];
    message
}

fn create(entry: Entry) -> RouteNetlinkMessage {
    let mut message = message(entry);
    message.header.state = NeighbourState::None;
    message.header.flags = NeighbourFlags::ExtLearned;
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message.attributes.push(NeighbourAttribute::Protocol(PROTOCOL));
    RouteNetlinkMessage::NewNeighbour(message)
}

fn delete(requests: &mut Requests, entries: impl IntoIterator<Item = Entry>) {
    let entries: Vec<Entry> = entries.into_iter().collect();
    let delete = |entry: &Entry| RouteNetlinkMessage::DelNeighbour(message(*entry));
    let outcomes = match requests.tell_all(entries.iter().map(delete).collect(), 0) {
        Ok(outcomes) => outcomes,
        Err(error) => return tracing::warn!(%error, "removing neighbour entries"),
    };
    for ((address, _), outcome) in entries.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => {}
            // The entry or its interface is gone already.
            Err(e)
                if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {}
            Err(error) => {
                tracing::warn!(%address, %error, "a neighbour entry could not be removed");
            }
        }
    }
}
