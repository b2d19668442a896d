//! Forwarding over tables that check, after every single write, what a packet would meet.

mod adoption;
mod changes;
mod checked;
mod faults;
mod leaving;
mod properties;
mod sharing;
mod vips;
mod world;

use super::*;
use crate::maglev::Ring;
use crate::maps::{Found, GRACE_NS};
use checked::Fault;
use world::*;
