//! The forwarding path: parse a frame, choose its backend, rewrite it.
//!
//! The code is generic over [`Packet`] (a frame) and [`Tables`] (what the maps hold), and so is the
//! same for the XDP program, where both are kernel memory, and for the host model, where both are
//! ordinary vectors. Nothing here allocates, panics or knows the time.
//!
//! One pass, in the order of cost: is the frame for us ([`link`]), is its destination a VIP, which
//! flow is it of ([`flow`]), does the flow table know that, else what says the ring
//! ([`mod@choose`]), then the rewrite. Both IP versions, ICMP errors and fragments all come to the
//! one [`Flow`], so that the choice is one piece of code. Echo requests and packets that no service
//! is for may be answered instead.
//!
//! Every frame ends with exactly one [`Reason`], under which it is counted.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod bucket;
mod checksum;
pub mod choose;
pub mod echo;
pub mod flow;
mod fragment;
mod icmp;
pub mod ip;
mod ipv4;
pub mod ipv6;
pub mod link;
mod lookup;
pub mod packet;
pub mod reject;
mod rewrite;
pub mod siphash;
pub mod tables;
pub mod verifier;

pub use flow::{Flow, Segment};
pub use packet::{Buffer, Packet};
pub use siphash::{FLOW_HASH, flow_hash, siphash13, slot};
pub use tables::{Tables, Way};

use core::mem::MaybeUninit;

use vc5_ebpf_abi::{Iface, NO_RING, Real, Reason, ServiceKey, Trace, Traffic};

use crate::{choose::Choice, link::Link, verifier::forget_reason};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why; whether it is to be passed, dropped or sent is [`Reason::verdict`].
    pub reason: Reason,
    /// If it is to be sent by another interface than it came in by, the
    /// [`Iface::index`] of that.
    pub egress: Option<u8>,
}

/// Puts one frame that came in by interface `ifindex` through the path and counts it.
///
/// It is changed only if it is to be sent.
#[inline(always)]
pub fn process<P: Packet, T: Tables>(packet: &mut P, ifindex: u32, tables: &T) -> Outcome {
    tables.trace(|t| *t = NOTHING_FOUND);
    let length = packet.len() as u64;
    let iface = link::iface(ifindex, tables);
    let outcome = match forward(packet, iface, ifindex, tables) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome { reason: forget_reason(reason, length), egress: None },
    };
    tables.trace(|t| t.reason = outcome.reason as u32);
    if !tables.tracing() {
        tables.count(iface.map_or(0, |i| i.index), outcome.reason, length);
    }
    outcome
}

const NOTHING_FOUND: Trace = Trace {
    hash: 0,
    flow: 0,
    embryonic: 0,
    reason: 0,
    real: 0,
    ring: NO_RING,
    slot: 0,
    member: 0,
    service: ServiceKey { addr: [0; 16], port: [0; 2], protocol: 0, pad: 0 },
    pad: 0,
};

/// `Err` is a frame that is not forwarded.
#[inline(always)]
fn forward<P: Packet, T: Tables>(
    packet: &mut P,
    iface: Option<&Iface>,
    ifindex: u32,
    tables: &T,
) -> Result<Outcome, Reason> {
    let link = link::read(packet, iface)?;
    let mut place = MaybeUninit::uninit();
    let found = flow::of(packet, &link, tables, &mut place);
    // From here on the verifier walks all kinds of packets as one.
    packet.renew();
    match found.and_then(|flow| send(packet, &link, flow, ifindex, tables)) {
        Err(Reason::Echo) => Err(packet.answer_echo(&link)),
        Err(Reason::UnknownRejected) => Err(packet.answer_unknown(&link)),
        done => done,
    }
}

#[inline(always)]
fn send<P: Packet, T: Tables>(
    packet: &mut P,
    link: &Link,
    flow: &mut Flow,
    ifindex: u32,
    tables: &T,
) -> Result<Outcome, Reason> {
    flow.hash = flow.five_tuple_hash(tables);
    tables.trace(|t| t.hash = flow.hash);
    let bytes = packet.len() as u64;
    let choice = choose::choose(flow, tables)?;
    let choice = Choice { reason: forget_reason(choice.reason, u64::from(choice.id)), ..choice };
    tables.trace(|t| t.real = choice.id);
    let real = tables.real(choice.id).ok_or(Reason::RealDown)?;
    let egress = egress(real, ifindex, tables)?;
    rewrite::to_real(packet, link, real)?;
    let recorded = choose::remember(flow, &choice, real, tables);
    if !tables.tracing() {
        tables.count_traffic(choice.id, &traffic(flow, recorded, bytes));
    }
    Ok(Outcome { reason: choice.reason, egress })
}

/// The interface by which the real is reached, if it is another than the frame came in by.
#[inline(always)]
fn egress<T: Tables>(real: &Real, ifindex: u32, tables: &T) -> Result<Option<u8>, Reason> {
    if real.mac == [0; 6] {
        return Err(Reason::NoNeighbour);
    }
    if real.ifindex == ifindex {
        return Ok(None);
    }
    if tables.can_send(real.tx) { Ok(Some(real.tx)) } else { Err(Reason::NoInterface) }
}

#[inline(always)]
fn traffic(flow: &Flow, recorded: bool, bytes: u64) -> Traffic {
    let flag = |bit: u8| u64::from(flow.tcp_flags & bit != 0);
    Traffic {
        packets: 1,
        bytes,
        flows: u64::from(recorded),
        syns: u64::from(flow.segment.is([Segment::Open])),
        fins: flag(flow::FIN),
        rsts: flag(flow::RST),
    }
}
