//! Tables that flows are remembered in, as mapped into memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vc5_ebpf_abi::{Active, BUCKET_WAYS};

use super::Mapped;

/// A table of buckets. All of it is in use, or as much as another map says.
#[derive(Clone, Debug)]
pub(crate) struct FlowTable {
    ways: Arc<Mapped>,
    buckets: u32,
    active: Option<Arc<Mapped>>,
}

impl FlowTable {
    /// A table of so many buckets (a power of two); `active` is the map of one [`Active`].
    pub(crate) fn new(ways: Mapped, buckets: u32, active: Option<Mapped>) -> Self {
        Self { ways: Arc::new(ways), buckets, active: active.map(Arc::new) }
    }

    /// Records that there is memory for.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.buckets) * BUCKET_WAYS as u64
    }

    /// Buckets that there is memory for.
    pub(crate) fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Buckets in use, less one.
    pub(crate) fn mask(&self) -> u32 {
        self.active().mask(self.buckets.saturating_sub(1))
    }

    /// The same before more came into use, as long as the records are not all copied.
    pub(crate) fn former_mask(&self) -> Option<u32> {
        self.active().former_mask(self.buckets.saturating_sub(1))
    }

    /// As it was before more of it came into use, if the records are not all copied.
    pub(crate) fn former(&self) -> Option<Self> {
        self.former_mask().map(|mask| self.first(mask + 1))
    }

    /// Its first buckets, as a table of so many.
    pub(crate) fn first(&self, buckets: u32) -> Self {
        Self { ways: self.ways.clone(), buckets: buckets.min(self.buckets), active: None }
    }

    /// From now on so many buckets (a power of two) are in use, if there are as many. `copying` says
    /// that records may lie where half as many put them.
    pub(crate) fn set_in_use(&self, buckets: u32, copying: bool) {
        let active = Active::new(self.buckets.saturating_sub(1), buckets);
        let copying = u64::from(copying) << 32;
        if let Some(word) = self.word() {
            word.store(u64::from(active.unused) | copying, Ordering::SeqCst);
        }
    }

    fn active(&self) -> Active {
        let word = self.word().map_or(0, |word| word.load(Ordering::SeqCst));
        Active { unused: word as u32, copying: (word >> 32) as u32 }
    }

    fn word(&self) -> Option<&AtomicU64> {
        self.active.as_ref().and_then(|active| active.words().first())
    }

    /// The ways of the buckets in use.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let words = self.all_words();
        words.get(..(self.mask() as usize + 1) * BUCKET_WAYS).unwrap_or(words)
    }

    /// The ways of all buckets.
    pub(crate) fn all_words(&self) -> &[AtomicU64] {
        let words = self.ways.words();
        words.get(..self.buckets as usize * BUCKET_WAYS).unwrap_or(words)
    }
}
