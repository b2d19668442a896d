//! The routing information bases of RFC 4271 section 3.2, each as plain state.
//!
//! [`AdjRibIn`] holds what a neighbour told us, [`LocRib`] every usable route and the best one of
//! each prefix, [`AdjRibOut`] what a neighbour is to know and how much of it was already sent.

mod adj_in;
mod adj_out;
mod attrs;
mod decision;
mod loc;

pub use adj_in::{AdjRibIn, InEntry, PathKey};
pub use adj_out::{AdjRibOut, Batch, OutSet};
pub use attrs::Interner;
pub use decision::compare;
pub use loc::{LearnedFrom, LocRib, Origin, Route};
