//! Access to the bytes of a frame.

/// A frame, from its destination hardware address on.
pub trait Packet {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there is not a single byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `N` bytes at `offset`, if the frame has them all.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Overwrites the `N` bytes at `offset`, if the frame has them all.
    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()>;
}

impl Packet for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }

    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        *self.get_mut(offset..)?.first_chunk_mut()? = bytes;
        Some(())
    }
}

impl<P: Packet + ?Sized> Packet for &mut P {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        (**self).load(offset)
    }

    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        (**self).store(offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_access_reaches_beyond_the_end() {
        let mut frame = [1u8, 2, 3, 4];
        let frame: &mut [u8] = &mut frame;
        assert_eq!(frame.load::<2>(2), Some([3, 4]));
        assert_eq!(frame.load::<2>(3), None);
        assert_eq!(frame.load::<1>(4), None);
        assert_eq!(frame.load::<1>(usize::MAX), None);
        assert_eq!(frame.store(3, [9, 9]), None);
        assert_eq!(frame.store(2, [9, 8]), Some(()));
        assert_eq!(frame, [1, 2, 9, 8]);
    }
}
