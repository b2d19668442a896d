//! Each codec at its tasks, in the way that its own documentation shows.
//!
//! A task is a closure over the feed; it returns what it found, counted in what the codec gave.

pub(crate) mod netgauze;
pub(crate) mod ours;
pub(crate) mod routecore;
pub(crate) mod rustbgpd;

use anyhow::Result;

use crate::feed::Tally;

/// One run over the whole feed.
type Run<'f> = Box<dyn FnMut() -> Result<Tally> + 'f>;
