//! The order in which one backend wants the slots of a ring.

use std::net::IpAddr;

use vc5_ebpf_path::siphash13;

use super::VERSION;

/// The prime over which the permutations run.
const PRIME: u32 = 65_537;

/// Steps that are looked at together: none of them waits for the one before, and whether any of them
/// is free is easier to foresee than which.
pub(super) const STRIDE: usize = 4;

/// Walks all slots in the order (offset + j * skip) mod 65537, leaving out slot 65536.
pub(super) struct Permutation {
    next: u32,
    /// How far on from `next` the next steps are, that to `next` itself first: multiples of the skip,
    /// modulo the prime.
    steps: [u32; STRIDE + 1],
    /// What `skip` gives 1 with, modulo the prime; 0 until it is asked for.
    inverse: u32,
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
        let skip = hash as u32 % (PRIME - 1) + 1;
        let mut steps = [0; STRIDE + 1];
        let mut sum = 0;
        for step in &mut steps {
            *step = sum;
            sum = add(sum, skip);
        }
        Self { next: (hash >> 32) as u32 % PRIME, steps, inverse: 0 }
    }

    /// Of some slots, all of which are still to come, the place of the one that comes first; then
    /// those up to it have come. There are fewer than 2^15.
    pub(super) fn advance_to_first(&mut self, slots: &[u32]) -> Option<usize> {
        if self.inverse == 0 {
            self.inverse = inverse(self.skip());
        }
        let (next, inverse) = (self.next, u64::from(self.inverse));
        // How many steps it is to a slot, and below that its place.
        let key = |(place, slot): (u32, &u32)| {
            let distance = slot + PRIME - next;
            let distance = if distance >= PRIME { distance - PRIME } else { distance };
            remainder(u64::from(distance) * inverse) << 15 | place
        };
        let first = (0..).zip(slots).map(key).min()?;
        let place = (first & ((1 << 15) - 1)) as usize;
        self.next = add(*slots.get(place)?, self.skip());
        Some(place)
    }

    /// Goes on to the first slot that is free, 65536 being none, and behind it.
    #[inline]
    pub(super) fn advance_to(&mut self, is_free: impl Fn(u32) -> bool) -> u32 {
        let skip = self.skip();
        loop {
            let slot = self.next;
            self.next = add(slot, skip);
            if is_free(slot) {
                return slot;
            }
        }
    }

    /// The same, quicker where few slots are free.
    #[inline]
    pub(super) fn advance_far_to(&mut self, is_free: impl Fn(u32) -> bool) -> u32 {
        let [steps @ .., stride] = &self.steps;
        loop {
            let mut free = 0;
            for (bit, step) in steps.iter().enumerate() {
                free |= u32::from(is_free(add(self.next, *step))) << bit;
            }
            if let Some(step) = steps.get(free.trailing_zeros() as usize) {
                let slot = add(self.next, *step);
                self.next = add(slot, self.skip());
                return slot;
            }
            self.next = add(self.next, *stride);
        }
    }

    fn skip(&self) -> u32 {
        let [_, skip, ..] = self.steps;
        skip
    }
}

/// The sum modulo the prime, of which both are a remainder already.
#[inline]
fn add(a: u32, b: u32) -> u32 {
    // What is below zero is more than anything above it.
    (a + b).min((a + b).wrapping_sub(PRIME))
}

/// `value` modulo the prime, where it is at most (PRIME - 1)^2: as 2^16 is -1, the lower 16 bits less
/// the upper ones.
fn remainder(value: u64) -> u32 {
    let (upper, lower) = ((value >> 16) as u32, value as u32 & 0xffff);
    let difference = lower + PRIME - upper;
    if difference >= PRIME { difference - PRIME } else { difference }
}

/// What `value`, 1 to 65536, gives 1 with: its power of PRIME - 2, by Fermat's little theorem.
fn inverse(value: u32) -> u32 {
    let multiply = |a: u32, b: u32| remainder(u64::from(a) * u64::from(b));
    let (mut power, mut square) = (1, value);
    for bit in 0..16 {
        if (PRIME - 2) >> bit & 1 == 1 {
            power = multiply(power, square);
        }
        square = multiply(square, square);
    }
    power
}

/// The fleet's key as the hash takes it: two little-endian words.
pub(crate) fn words(key: &[u8; 16]) -> [u64; 2] {
    let key = u128::from_le_bytes(*key);
    [key as u64, (key >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::super::SLOTS;
    use super::*;

    #[test]
    fn a_permutation_visits_every_slot_once() {
        for last in [1, 2, 77, 255] {
            let mut permutation = Permutation::new(&[7; 16], [192, 0, 2, last].into());
            let mut seen = vec![false; SLOTS];
            for _ in 0..SLOTS {
                let slot = permutation.advance_to(|slot| slot < SLOTS as u32) as usize;
                assert!(!std::mem::replace(&mut seen[slot], true), "slot {slot} came twice");
            }
        }
    }

    #[test]
    fn the_first_of_some_slots_is_where_walking_gets_first() {
        for last in 0..50 {
            let address = [192, 0, 2, last].into();
            let (mut walker, mut jumper) =
                (Permutation::new(&[7; 16], address), Permutation::new(&[7; 16], address));
            let mut left: Vec<u32> = (0..200).map(|n| n * 331 % 65_536).collect();
            while !left.is_empty() {
                let walked = walker.advance_to(|slot| left.contains(&slot));
                let place = jumper.advance_to_first(&left).unwrap();
                assert_eq!(left.swap_remove(place), walked);
            }
            assert_eq!(jumper.advance_to_first(&left), None);
        }
    }

    #[test]
    fn inverses_give_one() {
        for value in [1, 2, 3, 4711, 32_768, 65_535, 65_536] {
            assert_eq!(remainder(u64::from(value) * u64::from(inverse(value))), 1, "{value}");
        }
    }
}
