//! Real ids: one for each pair of service and backend, given to services by pages.

use std::collections::BTreeSet;

use vc5_ebpf_abi::{PAGE_REALS, Real};

use crate::maps::{GRACE_NS, Ids, TableError, Tables};

/// Gives out pages, and for each use of an id another generation, so that flow records of its last
/// user do not count.
#[derive(Debug)]
pub(crate) struct Pages {
    ids: Ids,
    /// The last given out, by real id.
    generations: Vec<u8>,
}

impl Pages {
    /// None is in use. Page 0 is never given out, as its first id stands for nobody.
    pub(super) fn new(max_reals: u32) -> Self {
        let ids = Ids::new(1, max_reals / PAGE_REALS);
        Self { ids, generations: vec![0; max_reals as usize] }
    }

    /// Some are in use since an earlier run.
    pub(super) fn adopt(taken: &BTreeSet<u32>, reals: &[Real], now: u64) -> Self {
        let end = reals.len() as u32 / PAGE_REALS;
        let ids = Ids::adopt(1, end, taken, now.saturating_add(GRACE_NS));
        Self { ids, generations: reals.iter().map(|real| real.generation).collect() }
    }

    /// How many pages could be taken at `now`.
    pub(super) fn available(&self, now: u64) -> usize {
        self.ids.available(now)
    }

    /// A page that nobody has, or none if all are in use. What was counted for an earlier user is
    /// forgotten.
    pub(super) fn take(
        &mut self,
        tables: &mut impl Tables,
        now: u64,
    ) -> Result<Option<u16>, TableError> {
        let Some(taken) = self.ids.take(now) else { return Ok(None) };
        if taken.reused
            && let Err(error) = tables.reset_traffic(taken.id * PAGE_REALS, PAGE_REALS)
        {
            self.ids.put_back(taken);
            return Err(error);
        }
        Ok(u16::try_from(taken.id).ok())
    }

    /// Takes back a page that no service has in the tables from `now` on.
    pub(super) fn retire(&mut self, page: u16, now: u64) {
        self.ids.retire(u32::from(page), now.saturating_add(GRACE_NS));
    }

    /// The generation for a new user of an id.
    pub(super) fn next_generation(&mut self, id: u32) -> u8 {
        let Some(generation) = self.generations.get_mut(id as usize) else { return 0 };
        *generation = generation.wrapping_add(1);
        *generation
    }
}
