//! The kernel's view of links, addresses and neighbours: asked for, and listened to.

#[cfg(test)]
mod captured;
mod event;
#[cfg(test)]
pub(crate) mod namespace;
mod socket;

pub(crate) use event::{NeighbourEntry, NetEvent, Reachability, destination};
pub(crate) use socket::{Listener, Requests};
