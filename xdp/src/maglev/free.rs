//! The slots that nobody has yet.

use super::SLOTS;
use super::permutation::Permutation;

/// With so few slots left, looking at each of them is quicker than walking along the permutation
/// until one turns up: of all steps of such walks half would be for the last hundredth of the slots.
const FEW: usize = 256;

/// A bit for each slot, so that all of them lie in the nearest cache; the last few as a list.
pub(super) struct Free {
    bits: [u64; SLOTS / 64],
    left: usize,
    last: Vec<u32>,
}

impl Free {
    pub(super) fn all() -> Self {
        Self { bits: [u64::MAX; SLOTS / 64], left: SLOTS, last: Vec::new() }
    }

    /// Takes the first free slot of the permutation; `None` when there is no free one at all.
    #[inline]
    pub(super) fn claim(&mut self, permutation: &mut Permutation) -> Option<usize> {
        if self.left > FEW {
            let slot = self.walk(permutation);
            self.left -= 1;
            return Some(slot);
        }
        if self.left == FEW {
            self.last = self.list();
        }
        let place = permutation.advance_to_first(&self.last)?;
        self.left -= 1;
        Some(self.last.swap_remove(place) as usize)
    }

    fn walk(&mut self, permutation: &mut Permutation) -> usize {
        loop {
            let slot = permutation.next_slot();
            let bit = 1 << (slot % 64);
            if let Some(word) = self.bits.get_mut(slot / 64)
                && *word & bit != 0
            {
                *word &= !bit;
                return slot;
            }
        }
    }

    fn list(&self) -> Vec<u32> {
        let words = (0..).zip(&self.bits);
        let slots = words.flat_map(|(n, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| n * 64 + bit)
        });
        slots.collect()
    }
}
