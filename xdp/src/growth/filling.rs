//! How full the part of the flow table in use is.

use std::sync::atomic::{AtomicU64, Ordering};

use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry, NO_REAL};

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

/// The records in a bucket of the first `period` of a table, and in all those that records of it were
/// copied to as the table grew, one for each flow: of several copies the one used last, as the others
/// are found by nobody. Ages begin anew after 8 to 17 minutes, so that of copies which that lies
/// between it may be another; it counts as one flow all the same. `now` is the time in units of age.
pub(crate) fn records_of(
    table: &[AtomicU64],
    period: usize,
    bucket: usize,
    now: u8,
    found: &mut Vec<FlowEntry>,
) {
    found.clear();
    for ways in table.chunks_exact(BUCKET_WAYS * period.max(1)) {
        let ways = ways.chunks_exact(BUCKET_WAYS).nth(bucket).unwrap_or_default();
        let entries = ways.iter().map(|way| FlowEntry(way.load(Ordering::Relaxed)));
        found.extend(entries.filter(|entry| entry.real() != NO_REAL));
    }
    let tag = |entry: FlowEntry| entry.0 >> FlowEntry::TAG_SHIFT;
    found.sort_unstable_by_key(|entry| (tag(*entry), entry.idle(now)));
    found.dedup_by_key(|entry| tag(*entry));
}

/// Counts the flows in `count` buckets of the first `period` of a table from one on, and in all
/// those that records of them were copied to as the table grew; a flow counts once, however many
/// copies it has left.
pub(super) fn of(table: &[AtomicU64], period: usize, first: usize, count: usize) -> Filling {
    let mut filling = Filling::default();
    let (mut flows, period) = (Vec::new(), period.max(1));
    for bucket in (first..first + count).map(|bucket| bucket % period) {
        records_of(table, period, bucket, 0, &mut flows);
        filling.flows += flows.len();
        filling.ways += table.len() / period;
    }
    filling
}
