//! The XDP Maglev dataplane: rings, map layout, loader, neighbour tracking, statistics and a host
//! model.
//!
//! [`Dataplane::start`] loads the program, attaches it to the interfaces and starts a thread that
//! owns all of it. [`Dataplane::apply`] hands that thread the forwarding state wanted
//! ([`Desired`]); it acknowledges by [`Event::Applied`]. What it knows and counts is in
//! [`Dataplane::snapshot`].
//!
//! [`maglev`] is usable without a kernel.

mod dataplane;
mod desired;
mod error;
mod event;
pub mod maglev;
mod snapshot;

pub use dataplane::{AttachMode, Dataplane, DataplaneConfig, OnStop, detach};
pub use desired::{BackendSpec, Desired, L4, OnDown, RealState, ServiceSpec, VipSpec};
pub use error::Error;
pub use event::{Event, NeighbourState, NotReady};
pub use snapshot::{
    BackendStatus, Counters, InterfaceStatus, Mac, ReasonCount, ServiceStatus, Snapshot, VipStatus,
};
