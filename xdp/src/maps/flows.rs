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
        let word = self.active.as_ref().and_then(|active| active.words().first());
        let unused = word.map_or(0, |word| word.load(Ordering::Acquire) as u32);
        Active { unused, pad: 0 }.mask(self.buckets.saturating_sub(1))
    }

    /// From now on so many buckets (a power of two) are in use, if there are as many.
    pub(crate) fn set_in_use(&self, buckets: u32) {
        let active = Active::new(self.buckets.saturating_sub(1), buckets);
        if let Some(word) = self.active.as_ref().and_then(|active| active.words().first()) {
            word.store(u64::from(active.unused), Ordering::Release);
        }
    }

    /// The ways of the buckets in use.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let words = self.all_words();
        words.get(..(self.mask() as usize + 1) * BUCKET_WAYS).unwrap_or(words)
    }

    /// The ways of all buckets.
    pub(crate) fn all_words(&self) -> &[AtomicU64] {
        self.ways.words()
    }
}
