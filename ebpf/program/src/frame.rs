//! The frame of an XDP context.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use vc5_ebpf_path::Packet;

/// A frame between two addresses that the verifier knows as packet data and its end.
pub(crate) struct Frame {
    ctx: *mut xdp_md,
    data: usize,
    end: usize,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.ctx, data: ctx.data(), end: ctx.data_end() }
    }

    /// Address of `N` bytes at `offset`, in the one form of bounds check that the verifier follows.
    #[inline(always)]
    fn at<const N: usize>(&self, offset: usize) -> Option<usize> {
        let start = self.data + offset;
        (start + N <= self.end).then_some(start)
    }

    /// Moves the start of the frame by so many bytes, or its end if it is `TAIL`.
    #[inline(always)]
    fn adjust<const TAIL: bool>(&mut self, by: isize) -> Option<()> {
        // SAFETY: what the helpers ask for; all addresses of the frame are made anew afterwards.
        let failed = unsafe {
            let (ctx, by) = (self.ctx, by as i32);
            if TAIL { bpf_xdp_adjust_tail(ctx, by) } else { bpf_xdp_adjust_head(ctx, by) }
        };
        let ctx = XdpContext::new(self.ctx);
        (self.data, self.end) = (ctx.data(), ctx.data_end());
        (failed == 0).then_some(())
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.data
    }

    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let start = self.at::<N>(offset)? as *const [u8; N];
        // SAFETY: inside the frame, as `at` has checked; bytes need no alignment.
        Some(unsafe { &*start })
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        let start = self.at::<N>(offset)? as *mut [u8; N];
        // SAFETY: inside the frame, as `at` has checked, and nothing else refers to it.
        unsafe { start.write(bytes) };
        Some(())
    }

    #[inline(always)]
    fn push(&mut self, count: usize) -> Option<()> {
        self.adjust::<false>(-(count as isize))
    }

    #[inline(always)]
    fn pull(&mut self, count: usize) -> Option<()> {
        self.adjust::<false>(count as isize)
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        self.adjust::<true>(length as isize - self.len() as isize)
    }
}
