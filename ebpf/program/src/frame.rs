//! The frame of an XDP context.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use vc5_ebpf_abi::Reason;
use vc5_ebpf_path::{Flow, Packet, Tables, ip::Headers, link::Link, verifier::opaque};

use crate::apart;

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

    /// The same as an address that the compiler does not put together anew for the access: the
    /// verifier knows only of the one that was compared.
    #[inline(always)]
    fn own<const N: usize>(&self, offset: usize) -> Option<usize> {
        let start = opaque((self.data + offset) as u64) as usize;
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
        self.renew();
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
    fn word(&self, offset: usize) -> Option<u32> {
        let start = self.own::<4>(offset)? as *const u32;
        // SAFETY: inside the frame, as `own` has checked.
        Some(opaque(u64::from(unsafe { start.read_unaligned() })) as u32)
    }

    #[inline(always)]
    fn set_word(&mut self, offset: usize, word: u32) -> Option<()> {
        let start = self.own::<4>(offset)? as *mut u32;
        // SAFETY: inside the frame, as `own` has checked, and nothing else refers to it.
        unsafe { start.write_unaligned(word) };
        Some(())
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        let start = self.at::<N>(offset)? as *mut [u8; N];
        // SAFETY: inside the frame, as `at` has checked, and nothing else refers to it.
        unsafe { start.write(bytes) };
        Some(())
    }

    #[inline(always)]
    fn renew(&mut self) {
        // SAFETY: fields of the context, which the kernel gave us.
        let read = |field: *const u32| unsafe { field.read_volatile() } as usize;
        // SAFETY: as above; nothing is read here.
        let (data, end) = unsafe { (&raw const (*self.ctx).data, &raw const (*self.ctx).data_end) };
        (self.data, self.end) = (read(data), read(end));
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

    #[inline(always)]
    fn uncommon<T: Tables>(&mut self, link: &Link, _: &T, flow: &mut Flow) -> Result<(), Reason> {
        let found = apart::uncommon(self.ctx, link.ip as u64, u64::from(link.v6), flow);
        apart::result(found)
    }

    #[inline(always)]
    fn walk(&self, headers: &mut Headers) -> Result<(), Reason> {
        apart::result(apart::walk(self.ctx, headers))
    }

    #[inline(always)]
    fn answer_echo(&mut self, link: &Link) -> Reason {
        apart::reason(apart::answer_echo(self.ctx, link.ip as u64, u64::from(link.v6)))
    }

    #[inline(always)]
    fn answer_unknown(&mut self, link: &Link) -> Reason {
        apart::reason(apart::answer_unknown(self.ctx, link.ip as u64, u64::from(link.v6)))
    }
}
