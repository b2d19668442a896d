//! The frame of an XDP context.

use aya_ebpf::programs::XdpContext;
use vc5_ebpf_path::Packet;

/// A frame between two addresses that the verifier knows as packet data and its end.
pub(crate) struct Frame {
    data: usize,
    end: usize,
}

impl Frame {
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self { data: ctx.data(), end: ctx.data_end() }
    }

    /// Address of `N` bytes at `offset`, in the one form of bounds check that the verifier follows.
    #[inline(always)]
    fn at<const N: usize>(&self, offset: usize) -> Option<usize> {
        let start = self.data + offset;
        (start + N <= self.end).then_some(start)
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.data
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.at::<N>(offset)? as *const [u8; N];
        // SAFETY: inside the frame, as `at` has checked; bytes need no alignment.
        Some(unsafe { start.read() })
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        let start = self.at::<N>(offset)? as *mut [u8; N];
        // SAFETY: inside the frame, as `at` has checked, and nothing else refers to it.
        unsafe { start.write(bytes) };
        Some(())
    }
}
