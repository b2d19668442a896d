//! The XDP Maglev dataplane: rings, map layout, loader, neighbour tracking, statistics and a host
//! model.
//!
//! [`Dataplane::start`] loads the program, attaches it to the interfaces and starts a thread that
//! owns all of it. [`Dataplane::apply`] hands that thread the forwarding state wanted
//! ([`Desired`]); it acknowledges by [`Event::Applied`]. What it knows and counts is in
//! [`Dataplane::snapshot`].
//!
//! [`maglev`] and [`model`] are usable without a kernel.

mod clock;
mod dataplane;
mod desired;
mod error;
mod event;
mod forwarding;
mod growth;
mod loader;
pub mod maglev;
mod maps;
pub mod model;
mod neighbour;
mod netlink;
mod offload;
mod question;
mod snapshot;
mod stats;
mod topology;
mod way;

pub use dataplane::{AttachMode, Dataplane, DataplaneConfig, OnStop};
pub use desired::{
    BackendSpec, Desired, L4, OnDown, Ports, RealState, ServiceSpec, Unknown, VipSpec,
};
pub use error::Error;
pub use event::{Event, NeighbourState, NotReady};
pub use loader::detach;
pub use question::{
    AgeClass, Departure, FlowRecord, FlowShare, FlowView, FlowsView, MaglevMember, MaglevView,
    NewFlow, TcpKind, TraceAnswer, TraceQuestion, Tuple,
};
pub use snapshot::{
    BackendStatus, Counters, InterfaceStatus, Mac, ReasonCount, ServiceStatus, Snapshot, VipStatus,
};
pub use way::Way;
