//! What few packets need, as functions that the verifier walks once each: global ones, of which it
//! takes nothing but the types of what they are given and give back.
//!
//! The path calls them by the methods of [`Frame`] and [`Kernel`].

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use vc5_ebpf_abi::{REASON_COUNT, Reason};
use vc5_ebpf_path::{
    Flow, Tables as _,
    choose::{self, Choice},
    echo, flow,
    ip::{Addresses, Headers},
    ipv6,
    link::Link,
    reject,
    siphash::hash_words,
};

use crate::{frame::Frame, kernel::Kernel};

/// What such a function returns where all is well; else it is a reason.
const DONE: u32 = REASON_COUNT;

#[inline(always)]
fn number(result: Result<(), Reason>) -> u32 {
    match result {
        Ok(()) => DONE,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
pub(crate) fn result(number: u32) -> Result<(), Reason> {
    if number >= DONE { Ok(()) } else { Err(reason(number)) }
}

#[inline(always)]
pub(crate) fn reason(number: u32) -> Reason {
    // SAFETY: these functions return reasons, and the bound is that of their numbers.
    unsafe { core::mem::transmute::<u32, Reason>(if number < DONE { number } else { 0 }) }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn uncommon(ctx: *mut xdp_md, ip: u64, v6: u64, flow: *mut Flow) -> u32 {
    // SAFETY: null, or what the caller has a reference to.
    let Some(flow) = (unsafe { flow.as_mut() }) else { return DONE };
    let frame = Frame::new(&XdpContext::new(ctx));
    number(flow::uncommon(&frame, &Link::new(ip, 0, v6 != 0), &Kernel, flow))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn walk(ctx: *mut xdp_md, headers: *mut Headers) -> u32 {
    // SAFETY: null, or what the caller has a reference to.
    let Some(headers) = (unsafe { headers.as_mut() }) else { return DONE };
    number(ipv6::walk(&Frame::new(&XdpContext::new(ctx)), headers))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn answer_echo(ctx: *mut xdp_md, ip: u64, v6: u64) -> u32 {
    let mut frame = Frame::new(&XdpContext::new(ctx));
    echo::answer(&mut frame, &Link::new(ip, 0, v6 != 0)) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn answer_unknown(ctx: *mut xdp_md, ip: u64, v6: u64) -> u32 {
    let mut frame = Frame::new(&XdpContext::new(ctx));
    reject::answer(&mut frame, &Link::new(ip, 0, v6 != 0)) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn choose_anew(flow: *const Flow, known: u64, choice: *mut Choice) -> u32 {
    // SAFETY: null, or what the caller has references to.
    let (Some(flow), Some(choice)) = (unsafe { (flow.as_ref(), choice.as_mut()) }) else {
        return DONE;
    };
    // On the stack: Linux 6.1 looks up no key that lies in what a function was given.
    let flow = *flow;
    number(choose::choose_anew(&flow, known != 0, &Kernel, choice))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn remember_new(
    flow: *const Flow,
    choice: *const Choice,
    generation: u64,
) -> u32 {
    // SAFETY: null, or what the caller has references to.
    let (Some(flow), Some(choice)) = (unsafe { (flow.as_ref(), choice.as_ref()) }) else {
        return 0;
    };
    u32::from(choose::remember_new(flow, choice, generation as u8, &Kernel))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hash(addresses: *const Addresses, ports: u64, protocol: u64) -> u64 {
    // SAFETY: null, or what the caller has a reference to.
    let Some(Addresses { source, destination }) = (unsafe { addresses.as_ref() }) else {
        return 0;
    };
    hash_words(Kernel.hash_key(), *source, *destination, ports as u32, protocol as u8)
}
