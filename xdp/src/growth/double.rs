//! Doubling the part of the flow table in use, while packets are forwarded by it.

use std::sync::atomic::{AtomicU64, Ordering};

use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry};

/// One doubling: buckets in use, and as many after them that shall be.
///
/// A record goes to the same way of the bucket that many further on. There it is right for the flows
/// whose hash has the bit set that the number of their bucket is taken from anew, and where it was
/// for the others; nobody finds the other copy.
pub(super) struct Doubling<'t> {
    lower: &'t [AtomicU64],
    upper: &'t [AtomicU64],
    /// The upper half as it was written here last.
    copied: Vec<u64>,
}

impl<'t> Doubling<'t> {
    /// Of a table of which so many buckets are in use; none if it has no room for as many more.
    pub(super) fn new(table: &'t [AtomicU64], buckets: usize) -> Option<Self> {
        let (lower, rest) = table.split_at_checked(buckets * BUCKET_WAYS)?;
        let upper = rest.get(..lower.len())?;
        let copied = upper.iter().map(|way| way.load(Ordering::Relaxed)).collect();
        Some(Self { lower, upper, copied })
    }

    /// Number of buckets to go through.
    pub(super) fn buckets(&self) -> usize {
        self.lower.len() / BUCKET_WAYS
    }

    /// Brings the copy of a bucket up to date while the upper half is not in use; how many of its
    /// ways had changed.
    pub(super) fn copy(&mut self, bucket: usize) -> usize {
        let mut changed = 0;
        for (lower, upper, copied) in self.ways(bucket) {
            let now = lower.load(Ordering::Relaxed);
            if now != *copied {
                upper.store(now, Ordering::Relaxed);
                *copied = now;
                changed += 1;
            }
        }
        changed
    }

    /// Brings over what has changed in a bucket since it was copied, once the upper half is in use.
    ///
    /// Which of that was changed before is not known, nor which flows' the records are. So a record
    /// that is none of the copy's is replaced only by one of the same flow; and where a full bucket
    /// gave away one for another, as it does all the time, either is as good.
    pub(super) fn settle(&mut self, bucket: usize) {
        let full = self.ways(bucket).all(|(lower, ..)| lower.load(Ordering::Relaxed) != 0);
        let mut new = [0; BUCKET_WAYS];
        for ((lower, upper, copied), new) in self.ways(bucket).zip(&mut new) {
            let now = lower.load(Ordering::Relaxed);
            if now == *copied {
                continue;
            }
            let same_flow = tag(now) == tag(*copied) && now != 0 && *copied != 0;
            if same_flow || !full {
                let by = if same_flow { now } else { 0 };
                // If it fails, the program has written there, and knows better.
                let _ = upper.compare_exchange(*copied, by, Ordering::Relaxed, Ordering::Relaxed);
            }
            if !same_flow {
                *new = now;
            }
            *copied = now;
        }
        let start = bucket * BUCKET_WAYS;
        for entry in new.into_iter().filter(|entry| *entry != 0) {
            if let Some(ways) = self.upper.get(start..start + BUCKET_WAYS) {
                put(ways, FlowEntry(entry));
            }
        }
    }

    /// The ways of a bucket: lower, upper, and what was copied.
    fn ways(
        &mut self,
        bucket: usize,
    ) -> impl Iterator<Item = (&'t AtomicU64, &'t AtomicU64, &mut u64)> {
        let place = bucket * BUCKET_WAYS..(bucket + 1) * BUCKET_WAYS;
        let lower = self.lower.get(place.clone()).unwrap_or_default();
        let upper = self.upper.get(place.clone()).unwrap_or_default();
        let copied = self.copied.get_mut(place).unwrap_or_default();
        let ways = lower.iter().zip(upper).zip(copied);
        ways.map(|((lower, upper), copied)| (lower, upper, copied))
    }
}

fn tag(entry: u64) -> u64 {
    entry >> FlowEntry::TAG_SHIFT
}

/// Puts a record into a bucket that has none of that flow; whether there is one now.
pub(crate) fn put(ways: &[AtomicU64], entry: FlowEntry) -> bool {
    let hash = tag(entry.0) << FlowEntry::TAG_SHIFT;
    let held = |way: &AtomicU64| FlowEntry(way.load(Ordering::Relaxed)).matches(hash);
    if ways.iter().any(held) {
        return true;
    }
    ways.iter()
        .any(|way| way.compare_exchange(0, entry.0, Ordering::Relaxed, Ordering::Relaxed).is_ok())
}
