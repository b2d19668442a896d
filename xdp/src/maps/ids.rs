//! Numbers that are given out, retired, and given out again only after a while.

use std::collections::{BTreeSet, VecDeque};

/// The ids from a first one up to a limit. Those never used go first, then the one retired
/// longest ago: stale references to an id are the rarer the later it comes back.
#[derive(Debug)]
pub(crate) struct Ids {
    next_unused: u32,
    end: u32,
    retired: VecDeque<(u32, u64)>,
}

/// An id that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) id: u32,
    /// Somebody had it before.
    pub(crate) reused: bool,
}

impl Ids {
    /// Ids `first` to `end - 1`.
    pub(crate) fn new(first: u32, end: u32) -> Self {
        Self { next_unused: first, end, retired: VecDeque::new() }
    }

    /// The same, where `taken` are in use already, and others below the greatest of them may have
    /// been until now and can be given out from `from` (ns) on.
    pub(crate) fn adopt(first: u32, end: u32, taken: &BTreeSet<u32>, from: u64) -> Self {
        let next_unused = taken.last().map_or(first, |last| last + 1).clamp(first, end);
        let free = (first..next_unused).filter(|id| !taken.contains(id));
        Self { next_unused, end, retired: free.map(|id| (id, from)).collect() }
    }

    /// How many could be taken at `now`.
    pub(crate) fn available(&self, now: u64) -> usize {
        let rested = self.retired.iter().filter(|(_, from)| *from <= now).count();
        (self.end - self.next_unused) as usize + rested
    }

    /// The next id, if there is one at `now` (ns).
    pub(crate) fn take(&mut self, now: u64) -> Option<Taken> {
        if self.next_unused < self.end {
            self.next_unused += 1;
            return Some(Taken { id: self.next_unused - 1, reused: false });
        }
        // Those retired with a longer rest do not hold up the others.
        let rested = self.retired.iter().position(|(_, from)| *from <= now)?;
        self.retired.remove(rested).map(|(id, _)| Taken { id, reused: true })
    }

    /// Takes back an id whose taker could not use it.
    pub(crate) fn put_back(&mut self, taken: Taken) {
        self.retired.push_front((taken.id, 0));
    }

    /// Takes back `id`; it may be given out again from `from` (ns) on.
    pub(crate) fn retire(&mut self, id: u32, from: u64) {
        self.retired.push_back((id, from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(id: u32, reused: bool) -> Option<Taken> {
        Some(Taken { id, reused })
    }

    #[test]
    fn unused_ids_go_first_then_the_longest_retired_after_its_rest() {
        let mut ids = Ids::new(1, 4);
        assert_eq!(ids.take(0), taken(1, false));
        ids.retire(1, 50);
        assert_eq!(ids.take(100), taken(2, false));
        assert_eq!(ids.take(100), taken(3, false));
        ids.retire(3, 150);
        assert_eq!((ids.available(49), ids.available(50), ids.available(150)), (0, 1, 2));
        assert_eq!(ids.take(49), None);
        assert_eq!(ids.take(50), taken(1, true));
        assert_eq!(ids.take(149), None);
        assert_eq!(ids.take(150), taken(3, true));
        assert_eq!(ids.take(u64::MAX), None);
    }

    #[test]
    fn a_rested_id_is_found_behind_one_that_rests_on() {
        let mut ids = Ids::new(0, 2);
        ids.take(0);
        ids.take(0);
        ids.retire(0, 500);
        ids.retire(1, 50);
        assert_eq!(ids.available(100), 1);
        assert_eq!(ids.take(100), taken(1, true));
        assert_eq!(ids.take(100), None);
    }

    #[test]
    fn an_id_put_back_is_the_next_one() {
        let mut ids = Ids::new(0, 1);
        ids.take(0);
        ids.retire(0, 10);
        let again = ids.take(10).unwrap();
        ids.put_back(again);
        assert_eq!((ids.available(10), ids.take(10)), (1, taken(0, true)));
    }

    #[test]
    fn after_a_restart_those_in_use_are_not_given_out() {
        let mut ids = Ids::adopt(1, 6, &BTreeSet::from([1, 3]), 50);
        assert_eq!((ids.available(0), ids.available(50)), (2, 3));
        assert_eq!((ids.take(50), ids.take(50)), (taken(4, false), taken(5, false)));
        assert_eq!((ids.take(50), ids.take(50)), (taken(2, true), None));
    }
}
