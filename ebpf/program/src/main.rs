//! The XDP program: the forwarding path over real packets and maps.
//!
//! All that it decides is in `vc5-ebpf-path`; here is only how a frame and the tables look from
//! inside the kernel.

#![no_std]
#![no_main]
// The macro that makes the entry point leaves the function that it adds without documentation.
#![allow(missing_docs)]

mod apart;
mod frame;
mod kernel;
mod maps;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX},
    macros::xdp,
    programs::XdpContext,
};
use vc5_ebpf_abi::Verdict;

use crate::{frame::Frame, kernel::Kernel};

/// Entry point; its name is `vc5_ebpf_abi::PROGRAM`.
#[xdp]
#[inline(always)]
fn vc5(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(&ctx);
    let outcome = vc5_ebpf_path::process(&mut frame, ctx.ingress_ifindex() as u32, &Kernel);
    match (outcome.reason.verdict(), outcome.egress) {
        (Verdict::Pass, _) => XDP_PASS,
        (Verdict::Drop, _) => XDP_DROP,
        (Verdict::Sent, None) => XDP_TX,
        // Where to was set by `Tables::can_send`.
        (Verdict::Sent, Some(_)) => XDP_REDIRECT,
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
