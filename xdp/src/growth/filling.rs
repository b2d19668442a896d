//! How full the part of the flow table in use is.

use std::sync::atomic::{AtomicU64, Ordering};

use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry};

/// Flows and room for them, in a part of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filling {
    pub(super) flows: usize,
    pub(super) ways: usize,
}

impl Filling {
    /// Whether there should be more room.
    ///
    /// With three flows in a bucket of eight on average one record in 600 finds its own full.
    pub(super) fn is_high(self) -> bool {
        self.flows * 8 >= self.ways * 3 && self.ways > 0
    }
}

/// Counts the flows in `count` buckets of the first `period` of a table from one on, and in all
/// those that records of them were copied to as the table grew; a flow counts once, however many
/// copies it has left.
pub(super) fn of(table: &[AtomicU64], period: usize, first: usize, count: usize) -> Filling {
    let mut filling = Filling::default();
    let mut tags = Vec::new();
    for bucket in (first..first + count).map(|bucket| bucket % period.max(1)) {
        tags.clear();
        for ways in table.chunks_exact(BUCKET_WAYS * period.max(1)) {
            let ways = ways.chunks_exact(BUCKET_WAYS).nth(bucket).unwrap_or_default();
            let entries = ways.iter().map(|way| FlowEntry(way.load(Ordering::Relaxed)));
            let used = entries.filter(|entry| entry.real() != 0);
            tags.extend(used.map(|entry| entry.0 >> FlowEntry::TAG_SHIFT));
            filling.ways += BUCKET_WAYS;
        }
        tags.sort_unstable();
        tags.dedup();
        filling.flows += tags.len();
    }
    filling
}
