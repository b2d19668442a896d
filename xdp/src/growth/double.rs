//! Copying into the upper half of the part of the flow table in use, while packets are forwarded by
//! it.

use std::sync::atomic::{AtomicU64, Ordering};

use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry, NO_REAL};

use super::record::{put, records};

/// One doubling: the buckets that were in use, and as many after them that are now.
///
/// A record is copied to the bucket that many further on. There it is right for the flows whose hash
/// has the bit set that the number of their bucket is taken from anew, and where it was for the
/// others; nobody finds the other copy.
pub(super) struct Doubling<'t> {
    lower: &'t [AtomicU64],
    upper: &'t [AtomicU64],
    /// Of each way of the lower half the record that was copied.
    copied: Vec<u64>,
}

impl<'t> Doubling<'t> {
    /// Of a table of which so many buckets were in use; none if it has no room for as many more.
    pub(super) fn new(table: &'t [AtomicU64], buckets: usize) -> Option<Self> {
        let (lower, rest) = table.split_at_checked(buckets * BUCKET_WAYS)?;
        let upper = rest.get(..lower.len())?;
        Some(Self { lower, upper, copied: vec![0; lower.len()] })
    }

    /// Number of buckets to go through.
    pub(super) fn buckets(&self) -> usize {
        self.lower.len() / BUCKET_WAYS
    }

    /// Copies the records of a bucket that the upper half does not have; of how many there was no room
    /// for a copy.
    pub(super) fn copy(&mut self, bucket: usize) -> usize {
        let Some((lower, upper, copied)) = self.bucket(bucket) else { return 0 };
        let mut lost = 0;
        for (way, (source, copied)) in lower.iter().zip(copied).enumerate() {
            let entry = FlowEntry(source.load(Ordering::SeqCst));
            if entry.real() == NO_REAL || records(upper, entry) > 0 {
                continue;
            }
            *copied = entry.0;
            lost += usize::from(!put(upper, way, entry, source));
        }
        lost
    }

    /// Takes the copies of records out again that the program has deleted just when they were copied,
    /// and so has perhaps not seen.
    pub(super) fn retract(&mut self, bucket: usize) {
        let Some((lower, upper, copied)) = self.bucket(bucket) else { return };
        for (source, copied) in lower.iter().zip(copied).filter(|(_, copied)| **copied != 0) {
            if source.load(Ordering::SeqCst) == 0 {
                for way in upper {
                    // Unless the program has brought it up to date.
                    let _ = way.compare_exchange(*copied, 0, Ordering::SeqCst, Ordering::SeqCst);
                }
            }
        }
    }

    /// The ways of a bucket: lower, upper, and what was copied.
    fn bucket(&mut self, bucket: usize) -> Option<(&'t [AtomicU64], &'t [AtomicU64], &mut [u64])> {
        let place = bucket * BUCKET_WAYS..(bucket + 1) * BUCKET_WAYS;
        let (lower, upper) = (self.lower.get(place.clone())?, self.upper.get(place.clone())?);
        Some((lower, upper, self.copied.get_mut(place)?))
    }
}
