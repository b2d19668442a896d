//! The XDP Maglev dataplane: rings, map layout, loader, neighbour tracking, statistics and a host
//! model.
//!
//! [`maglev`] and [`model`] are usable without a kernel.

pub mod maglev;
pub mod model;
