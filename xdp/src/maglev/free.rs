//! The slots that nobody has yet.

use super::SLOTS;
use super::permutation::Permutation;

/// With so few slots left, looking at each of them is quicker than walking along the permutation
/// until one turns up: of all steps of such walks half would be for the last hundredth of the slots.
const FEW: usize = 256;

/// With more slots left than that, the next step mostly gets to one.
const MANY: usize = SLOTS / 2;

/// A bit for each slot, so that all of them lie in the nearest cache; the last few as a list.
pub(super) struct Free {
    /// One word more than there are slots for: the permutations come by slot 65536 too.
    bits: [u64; SLOTS / 64 + 1],
    left: usize,
    last: Vec<u32>,
}

impl Free {
    pub(super) fn all() -> Self {
        let mut bits = [u64::MAX; SLOTS / 64 + 1];
        let [.., beyond] = &mut bits;
        *beyond = 0;
        Self { bits, left: SLOTS, last: Vec::new() }
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
        let bits = &mut self.bits;
        let word = |slot: u32| slot as usize / 64;
        let is_free = |slot| bits.get(word(slot)).is_some_and(|bits| bits >> (slot % 64) & 1 == 1);
        let slot = if self.left > MANY {
            permutation.advance_to(is_free)
        } else {
            permutation.advance_far_to(is_free)
        };
        if let Some(bits) = bits.get_mut(word(slot)) {
            *bits &= !(1 << (slot % 64));
        }
        slot as usize
    }

    fn list(&self) -> Vec<u32> {
        let mut slots = Vec::with_capacity(self.left);
        for (first, mut word) in (0..).step_by(64).zip(self.bits) {
            while word != 0 {
                slots.push(first + word.trailing_zeros());
                word &= word - 1;
            }
        }
        slots
    }
}
