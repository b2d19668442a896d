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

use vc5_ebpf_abi::Address;

use super::*;
use crate::maglev::Ring;
use crate::maps::{Found, GRACE_NS};
use crate::{L4, Ports};
use checked::Fault;
use world::*;
