//! Copying a record from one bucket into another while the program uses both.

use std::sync::atomic::{AtomicU64, Ordering};

use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry, NO_REAL};

/// How many records of a flow a bucket has.
pub(crate) fn records(ways: &[AtomicU64], of: FlowEntry) -> usize {
    let is_of = |way: &&AtomicU64| {
        let entry = FlowEntry(way.load(Ordering::SeqCst));
        entry.real() != NO_REAL && (entry.0 ^ of.0) >> FlowEntry::TAG_SHIFT == 0
    };
    ways.iter().filter(is_of).count()
}

/// Puts a record into an empty way of a bucket, if there is one, and at best into the `way`th, in
/// which the program looks first if it came to lie there.
///
/// What the program has done to the flow meanwhile counts: when it has deleted the record in `source`,
/// or put one here itself, the copy is taken out again.
pub(crate) fn put(ways: &[AtomicU64], way: usize, entry: FlowEntry, source: &AtomicU64) -> bool {
    let exchange = |way: &AtomicU64, old, new| {
        way.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    let mut in_turn = ways.iter().cycle().skip(way).take(BUCKET_WAYS);
    let Some(taken) = in_turn.find(|way| exchange(way, 0, entry.0)) else { return false };
    let deleted = FlowEntry(source.load(Ordering::SeqCst)).real() == NO_REAL;
    if deleted || records(ways, entry) > 1 {
        // Unless the program has brought it up to date: then it is the program's own.
        exchange(taken, entry.0, 0);
    }
    true
}
