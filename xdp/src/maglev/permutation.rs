//! The order in which one backend wants the slots of a ring.

use std::net::IpAddr;

use vc5_ebpf_path::siphash13;

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
    /// words: the version, then the two halves of the address, IPv4 as an IPv4-mapped IPv6 address
    /// (RFC 4291 section 2.5.5.2) in network order. The hash's upper half gives the offset, its
    /// lower half the skip.
    pub(super) fn new(key: &[u8; 16], address: IpAddr) -> Self {
        let mut input = [0; 24];
        input[0] = VERSION;
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        input[8..].copy_from_slice(&address.octets());
        let hash = siphash13(words(key), &input);
        Self { next: (hash >> 32) as u32 % PRIME, skip: hash as u32 % (PRIME - 1) + 1 }
    }

    /// The next slot in the backend's order, below [`SLOTS`].
    #[inline]
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

/// The fleet's key as the hash takes it: two little-endian words.
pub(crate) fn words(key: &[u8; 16]) -> [u64; 2] {
    let key = u128::from_le_bytes(*key);
    [key as u64, (key >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_visits_every_slot_once() {
        for last in [1, 2, 77, 255] {
            let mut permutation = Permutation::new(&[7; 16], [192, 0, 2, last].into());
            let mut seen = vec![false; SLOTS];
            for _ in 0..SLOTS {
                let slot = permutation.next_slot();
                assert!(!std::mem::replace(&mut seen[slot], true), "slot {slot} came twice");
            }
        }
    }
}
