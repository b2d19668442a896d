//! Access to the bytes of a frame.

use vc5_ebpf_abi::Reason;

use crate::{
    echo,
    flow::{self, Flow},
    ip::Headers,
    ipv6,
    link::Link,
    reject,
    tables::Tables,
    verifier::opaque,
};

/// A frame, from its destination hardware address on.
pub trait Packet {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there is not a single byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `N` bytes at `offset` as they lie there, if the frame has them all.
    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// A copy of the `N` bytes at `offset`, if the frame has them all.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes(offset).copied()
    }

    /// The four bytes at `offset` as a number that is kept in a register: copied from place to place
    /// as bytes, the compiler would call a function for it.
    #[inline(always)]
    fn word(&self, offset: usize) -> Option<u32> {
        self.load(offset).map(|bytes| opaque(u64::from(u32::from_ne_bytes(bytes))) as u32)
    }

    /// Overwrites the four bytes at `offset` by such a number.
    #[inline(always)]
    fn set_word(&mut self, offset: usize, word: u32) -> Option<()> {
        self.store(offset, word.to_ne_bytes())
    }

    /// Overwrites the `N` bytes at `offset`, if the frame has them all.
    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()>;

    /// Makes the verifier forget what it learned of the frame's bounds: where ways come together that
    /// read more and less of it, they are then walked on as one.
    fn renew(&mut self);

    /// Adds `count` bytes of any content in front of the frame, if there is room.
    fn push(&mut self, count: usize) -> Option<()>;

    /// Removes the first `count` bytes.
    fn pull(&mut self, count: usize) -> Option<()>;

    /// Removes what is beyond the first `length` bytes.
    fn truncate(&mut self, length: usize) -> Option<()>;

    /// [`flow::uncommon`], as a function of its own.
    ///
    /// # Errors
    ///
    /// As that.
    #[inline(always)]
    fn uncommon<T: Tables>(
        &mut self,
        link: &Link,
        tables: &T,
        flow: &mut Flow,
    ) -> Result<(), Reason>
    where
        Self: Sized,
    {
        flow::uncommon(self, link, tables, flow)
    }

    /// [`ipv6::walk`], as a function of its own.
    ///
    /// # Errors
    ///
    /// As that.
    #[inline(always)]
    fn walk(&self, headers: &mut Headers) -> Result<(), Reason>
    where
        Self: Sized,
    {
        ipv6::walk(self, headers)
    }

    /// [`echo::answer`], as a function of its own.
    #[inline(always)]
    fn answer_echo(&mut self, link: &Link) -> Reason
    where
        Self: Sized,
    {
        echo::answer(self, link)
    }

    /// [`reject::answer`], as a function of its own.
    #[inline(always)]
    fn answer_unknown(&mut self, link: &Link) -> Reason
    where
        Self: Sized,
    {
        reject::answer(self, link)
    }
}

/// A frame in ordinary memory: the slice from `start` to `end`, the bytes before it being room to grow
/// into, as a driver leaves it.
#[derive(Debug)]
pub struct Buffer<'b> {
    memory: &'b mut [u8],
    start: usize,
    end: usize,
}

impl<'b> Buffer<'b> {
    /// The frame that begins `room` bytes into `memory` and goes to its end.
    #[must_use]
    pub fn new(memory: &'b mut [u8], room: usize) -> Self {
        let end = memory.len();
        Self { memory, start: room.min(end), end }
    }

    /// The frame as it is now.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }
}

impl Packet for Buffer<'_> {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.frame().get(offset..)?.first_chunk()
    }

    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        let frame = self.memory.get_mut(self.start..self.end)?;
        *frame.get_mut(offset..)?.first_chunk_mut()? = bytes;
        Some(())
    }

    fn renew(&mut self) {}

    fn push(&mut self, count: usize) -> Option<()> {
        self.start = self.start.checked_sub(count)?;
        Some(())
    }

    fn pull(&mut self, count: usize) -> Option<()> {
        if count > self.len() {
            return None;
        }
        self.start += count;
        Some(())
    }

    fn truncate(&mut self, length: usize) -> Option<()> {
        if length > self.len() {
            return None;
        }
        self.end = self.start + length;
        Some(())
    }
}

/// The `N` bytes at `at` of a header of known length; zero where it has none, which the compiler
/// finds out.
#[inline(always)]
pub(crate) fn field<const M: usize, const N: usize>(header: &[u8; M], at: usize) -> [u8; N] {
    header.get(at..).and_then(|rest| rest.first_chunk().copied()).unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_access_reaches_beyond_the_end() {
        let mut memory = [0u8, 0, 1, 2, 3, 4];
        let mut frame = Buffer::new(&mut memory, 2);
        assert_eq!(frame.load::<2>(2), Some([3, 4]));
        assert_eq!(frame.load::<2>(3), None);
        assert_eq!(frame.load::<1>(4), None);
        assert_eq!(frame.load::<1>(usize::MAX), None);
        assert_eq!(frame.store(3, [9, 9]), None);
        assert_eq!(frame.store(2, [9, 8]), Some(()));
        assert_eq!(frame.frame(), [1, 2, 9, 8]);
    }

    #[test]
    fn it_grows_and_shrinks_within_its_memory() {
        let mut memory = [0u8, 0, 1, 2, 3, 4];
        let mut frame = Buffer::new(&mut memory, 2);
        assert_eq!(frame.push(3), None);
        assert_eq!(frame.push(2), Some(()));
        assert_eq!(frame.store(0, [7, 8]), Some(()));
        assert_eq!(frame.pull(1), Some(()));
        assert_eq!(frame.truncate(6), None);
        assert_eq!(frame.truncate(3), Some(()));
        assert_eq!(frame.frame(), [8, 1, 2]);
        assert_eq!(frame.pull(4), None);
    }
}
