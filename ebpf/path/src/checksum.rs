//! The Internet checksum (RFC 1071), kept right after a change and made from scratch.

use crate::{packet::Packet, verifier::forget};

/// The checksum after one word of what it covers changed (RFC 1624 section 3, equation 3).
#[inline(always)]
#[must_use]
pub(crate) const fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 + !old as u32 + new as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// Most bytes that [`range`] adds.
const RANGE: usize = 1280;
const PIECE: usize = 128;

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

    /// The checksum.
    #[inline(always)]
    pub(crate) fn finish(self) -> u16 {
        !folded(self.0)
    }
}

/// The sum of the bytes of a frame from `from` to `to`, which is a multiple of four bytes and no more
/// than [`RANGE`] away.
#[inline(always)]
pub fn range<P: Packet>(packet: &P, from: usize, to: usize) -> Option<u16> {
    // By large pieces, as the verifier walks every turn of a loop; and by little-endian words,
    // which are only turned round in the end (RFC 1071 section 2).
    let mut sum = 0u64;
    let mut at = from;
    for _ in 0..RANGE / PIECE {
        if at + PIECE > to {
            break;
        }
        sum += words(packet.bytes::<PIECE>(at)?);
        at += PIECE;
    }
    // Wherever the loop ended, and whatever was learned by that.
    let unknown = packet.len() as u64;
    let to = forget::<0xfff>(to, unknown);
    at = piece::<P, { PIECE / 2 }>(packet, at, to, &mut sum)?;
    at = piece::<P, { PIECE / 4 }>(packet, at, to, &mut sum)?;
    at = piece::<P, { PIECE / 8 }>(packet, at, to, &mut sum)?;
    at = piece::<P, { PIECE / 16 }>(packet, at, to, &mut sum)?;
    piece::<P, { PIECE / 32 }>(packet, at, to, &mut sum)?;
    Some(folded(sum).swap_bytes())
}

/// Adds so many bytes, if there are as many up to `to`; where the rest is.
#[inline(always)]
fn piece<P: Packet, const N: usize>(
    packet: &P,
    at: usize,
    to: usize,
    sum: &mut u64,
) -> Option<usize> {
    let at = forget::<0xfff>(at, packet.len() as u64);
    if at + N > to {
        return Some(at);
    }
    *sum += words(packet.bytes::<N>(at)?);
    Some(at + N)
}

/// The sum of the words of four bytes.
#[inline(always)]
fn words<const N: usize>(bytes: &[u8; N]) -> u64 {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().fold(0, |sum, word| sum + u64::from(u32::from_le_bytes(*word)))
}

/// The sum of the words of a sum.
#[inline(always)]
fn folded(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
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
