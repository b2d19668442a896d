//! The forwarding path: parse a frame, choose its backend, rewrite it.
//!
//! The code is generic over [`Packet`] (a frame) and [`Tables`] (what the maps hold), and so is the
//! same for the XDP program, where both are kernel memory, and for the host model, where both are
//! ordinary vectors. Nothing here allocates, panics or knows the time.
//!
//! One pass, in the order of cost: is the frame for us ([`parse`]), is its destination a VIP, does
//! the flow table know it, else what says the ring ([`mod@choose`]), then the rewrite ([`rewrite`]).
//! Every frame ends with exactly one [`Reason`], under which it is counted.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod bucket;
pub mod choose;
pub mod packet;
pub mod parse;
pub mod rewrite;
pub mod siphash;
pub mod tables;

pub use packet::Packet;
pub use parse::{Flow, Segment};
pub use siphash::{FLOW_HASH, flow_hash_v4, siphash13, slot};
pub use tables::{Tables, Way};

use vc5_ebpf_abi::{Iface, Real, Reason, Traffic};

/// Puts one frame that came in by interface `ifindex` through the path and counts it.
///
/// Whether the frame is to be passed, dropped or sent back out is [`Reason::verdict`]. It is
/// changed only if it is to be sent.
#[inline(always)]
pub fn process<P: Packet, T: Tables>(packet: &mut P, ifindex: u32, tables: &T) -> Reason {
    let iface = parse::iface(ifindex, tables);
    let reason = match forward(packet, iface, ifindex, tables) {
        Ok(reason) | Err(reason) => reason,
    };
    tables.count(iface.map_or(0, |i| i.index), reason, packet.len() as u64);
    reason
}

/// `Err` is a frame that is not forwarded.
#[inline(always)]
fn forward<P: Packet, T: Tables>(
    packet: &mut P,
    iface: Option<&Iface>,
    ifindex: u32,
    tables: &T,
) -> Result<Reason, Reason> {
    parse::ours(packet, iface)?;
    let flow = parse::flow(packet, tables)?;
    let choice = choose::choose(&flow, tables)?;
    let real = reachable(choice.real, ifindex)?;
    let recorded = choose::remember(&flow, &choice, tables);
    rewrite::layer2(packet, real).ok_or(Reason::Short)?;
    let traffic = Traffic {
        packets: 1,
        bytes: packet.len() as u64,
        flows: u64::from(recorded),
        syns: u64::from(flow.segment == Segment::Open),
        ..Traffic::default()
    };
    tables.count_traffic(choice.id, &traffic);
    Ok(choice.reason)
}

/// The real, if a frame can be sent to it by the interface that it came in by.
#[inline(always)]
fn reachable(real: &Real, ifindex: u32) -> Result<&Real, Reason> {
    if real.ifindex != ifindex {
        return Err(Reason::NoInterface);
    }
    if real.mac == [0; 6] {
        return Err(Reason::NoNeighbour);
    }
    Ok(real)
}
