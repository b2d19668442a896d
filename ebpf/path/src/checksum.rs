//! The Internet checksum (RFC 1071), kept right after a change and made from scratch.

use crate::packet::Packet;

/// The checksum after one word of what it covers changed (RFC 1624 section 3, equation 3).
#[inline(always)]
#[must_use]
pub(crate) const fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 + !old as u32 + new as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// A sum of 16-bit words in network byte order, in the making.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    #[inline(always)]
    pub(crate) fn add(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// Adds the words of a header.
    #[inline(always)]
    pub(crate) fn bytes<const N: usize>(self, bytes: &[u8; N]) -> Self {
        let (words, _) = bytes.as_chunks::<2>();
        words.iter().fold(self, |sum, word| sum.add(u16::from_be_bytes(*word)))
    }

    /// Adds `4 * COUNT` bytes at most of a frame, those from `from` to `to`, which is a multiple of
    /// four bytes away.
    #[inline(always)]
    pub(crate) fn range<P: Packet, const COUNT: usize>(
        mut self,
        packet: &P,
        from: usize,
        to: usize,
    ) -> Option<Self> {
        for i in 0..COUNT {
            let at = from + 4 * i;
            if at >= to {
                break;
            }
            let [a, b, c, d] = packet.load(at)?;
            self = self.add(u16::from_be_bytes([a, b])).add(u16::from_be_bytes([c, d]));
        }
        Some(self)
    }

    /// The checksum.
    #[inline(always)]
    pub(crate) fn finish(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000.
        assert_eq!(updated(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn the_example_of_rfc_1071() {
        // Section 3: the sum of these is 0xddf2.
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), !0xddf2);
    }

    /// The checksum over a header whose other words sum up to `rest`.
    fn from_scratch(rest: u16, word: u16) -> u16 {
        let (sum, carry) = rest.overflowing_add(word);
        !(sum + u16::from(carry))
    }

    #[test]
    fn agrees_with_the_sum_from_scratch() {
        // A header is never all zero, nor so its sum: it begins with the version.
        for rest in 1..=u16::MAX {
            for (old, new) in [(0x3906, 0x0106), (0, 0xff11), (0xffff, 0), (1, 0xffff), (6, 6)] {
                let updated = updated(from_scratch(rest, old), old, new);
                assert_eq!(updated, from_scratch(rest, new), "{rest:#x}: {old:#x} to {new:#x}");
            }
        }
    }
}
