//! The harness for measuring an XDP program by BPF_PROG_TEST_RUN.
//!
//! The kernel repeats a test run on the same buffer, so that a program which rewrites the packet
//! meets its own output from the second time on. This program makes the packet new, of another flow
//! each time if asked for, and goes on into the program under test by a tail call. What that costs
//! is known from the same harness before programs that do nothing.

#![no_std]
#![no_main]
// The macro that makes the entry points leaves the functions that it adds without documentation.
#![allow(missing_docs)]

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
    },
    btf_maps::{Array, ProgramArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// Words at the start of a frame that are made new: up to the IPv4 addresses or the IPv6 hop limit.
const WORDS: usize = 4;
/// The last four bytes of the source address, which tell flows apart, begin below this.
const SOURCE_MAX: u64 = 63;

/// What user space asks for. Its place in the map is known to it by this order.
#[repr(C)]
struct Control {
    /// Packets so far.
    count: u64,
    /// Number of flows, less one; a power of two less one.
    mask: u64,
    /// Offset of the last four bytes of the source address.
    source_at: u64,
    /// What they are in the first flow.
    source: u64,
    /// The start of each frame.
    head: [u64; WORDS],
}

#[btf_map]
static CONTROL: Array<Control, 1> = Array::new();
/// Where in [`TABLE`] to read, and how many of its elements there are, less one.
#[repr(C)]
struct Place {
    state: u64,
    mask: u64,
}

/// As large as a table of buckets in use; the loader sets its size.
#[btf_map]
static TABLE: Array<[u64; 8], 1, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
static PLACE: Array<Place, 1> = Array::new();
#[btf_map]
static UNDER_TEST: ProgramArray<1> = ProgramArray::new();

#[xdp]
fn harness(ctx: XdpContext) -> u32 {
    if renew(&ctx).is_some() {
        // SAFETY: both are what the helper asks for; if there is no program, it returns.
        unsafe { UNDER_TEST.tail_call(&ctx, 0) };
    }
    XDP_ABORTED
}

#[inline(always)]
fn renew(ctx: &XdpContext) -> Option<()> {
    let control = CONTROL.get_ptr_mut(0)?;
    let frame = ctx.data();
    if frame + WORDS * size_of::<u64>() > ctx.data_end() {
        return None;
    }
    // SAFETY: a map value that only one run uses at a time, and bytes inside the frame.
    unsafe {
        (frame as *mut [u64; WORDS]).write_unaligned((*control).head);
        let source = frame + ((*control).source_at & SOURCE_MAX) as usize;
        if source + size_of::<u32>() > ctx.data_end() {
            return None;
        }
        let flow = (*control).count & (*control).mask;
        (*control).count += 1;
        (source as *mut u32).write_unaligned(((*control).source + flow) as u32);
    }
    Some(())
}

#[xdp]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

#[xdp]
fn drop(_: XdpContext) -> u32 {
    XDP_DROP
}

#[xdp]
fn tx(_: XdpContext) -> u32 {
    XDP_TX
}

/// Reads an element of a table. Which one is known only when that before has been read, so that no
/// two reads are under way at once.
#[xdp]
fn read(_: XdpContext) -> u32 {
    let Some(place) = PLACE.get_ptr_mut(0) else { return XDP_ABORTED };
    // SAFETY: a map value that only one run uses at a time.
    unsafe {
        let index = ((*place).state >> 33) & (*place).mask;
        let Some(element) = TABLE.get_ptr(index as u32) else { return XDP_ABORTED };
        let next = (*place).state.wrapping_add(element.cast::<u64>().read_volatile());
        (*place).state = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    XDP_TX
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
