//! The order in which one backend wants the slots of a ring.

use std::net::Ipv4Addr;

use super::{SLOTS, VERSION};

/// The prime over which the permutations run.
const PRIME: u32 = 65_537;

/// Walks all slots in the order (offset + j * skip) mod 65537, leaving out slot 65536.
pub(super) struct Permutation {
    next: u32,
    skip: u32,
}

impl Permutation {
    /// The backend's order under the fleet's key. What is hashed is three little-endian 64-bit
    /// words: the version, then the two halves of the address as an IPv4-mapped IPv6 address
    /// (RFC 4291 section 2.5.5.2) in network order. The hash's upper half gives the offset, its
    /// lower half the skip.
    pub(super) fn new(key: &[u8; 16], address: Ipv4Addr) -> Self {
        let mut input = [0; 24];
        input[0] = VERSION;
        input[8..].copy_from_slice(&address.to_ipv6_mapped().octets());
        let hash = siphash13(key, &input);
        Self { next: (hash >> 32) as u32 % PRIME, skip: hash as u32 % (PRIME - 1) + 1 }
    }

    /// The next slot in the backend's order, below [`SLOTS`].
    pub(super) fn next_slot(&mut self) -> usize {
        loop {
            let slot = self.next as usize;
            self.next += self.skip;
            if self.next >= PRIME {
                self.next -= PRIME;
            }
            if slot < SLOTS {
                return slot;
            }
        }
    }
}

/// SipHash-1-3 of a byte string (Aumasson and Bernstein, "SipHash: a fast short-input PRF").
pub(super) fn siphash13(key: &[u8; 16], bytes: &[u8]) -> u64 {
    let key = u128::from_le_bytes(*key);
    let (k0, k1) = (key as u64, (key >> 64) as u64);
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let chunks = bytes.chunks_exact(8);
    let mut last = (bytes.len() as u64) << 56;
    for (i, byte) in chunks.remainder().iter().enumerate() {
        last |= u64::from(*byte) << (8 * i);
    }
    let words = chunks.map(|c| c.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b)));
    for word in words.chain([last]) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    /// The standard library's default hasher is SipHash-1-3 under the zero key.
    #[test]
    fn the_hash_agrees_with_the_standard_library() {
        let bytes: Vec<u8> = (0..64).collect();
        for len in 0..bytes.len() {
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write(&bytes[..len]);
            assert_eq!(siphash13(&[0; 16], &bytes[..len]), hasher.finish());
        }
    }

    #[test]
    fn a_permutation_visits_every_slot_once() {
        for last in [1, 2, 77, 255] {
            let mut permutation = Permutation::new(&[7; 16], Ipv4Addr::new(192, 0, 2, last));
            let mut seen = vec![false; SLOTS];
            for _ in 0..SLOTS {
                let slot = permutation.next_slot();
                assert!(!std::mem::replace(&mut seen[slot], true), "slot {slot} came twice");
            }
        }
    }
}
