//! Growth of a table of ordinary memory, with packets in between.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry};
use vc5_ebpf_path::bucket::{find, victim};

use super::double::Doubling;
use super::filling::{self, Filling};

const BUCKETS: usize = 16;
const FLOWS: u64 = 50;

/// What a program would do to the table, and what it should find there.
struct Traffic<'t> {
    table: &'t [AtomicU64],
    buckets: usize,
    random: u64,
    age: u8,
    /// The real of each flow that has a record.
    reals: HashMap<u64, u32>,
    /// Flows that were new since their bucket was copied, until that is settled: the only ones that
    /// may be missed, for that long.
    unsettled: HashSet<u64>,
    /// Whether the upper half is in use, and not all of it settled yet.
    settling: bool,
    /// Buckets of the lower half that were full at some time, in which a new flow displaces another.
    full: HashSet<usize>,
}

impl Traffic<'_> {
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn bucket(&self, hash: u64) -> &[AtomicU64] {
        let start = (hash as usize & (self.buckets - 1)) * BUCKET_WAYS;
        &self.table[start..start + BUCKET_WAYS]
    }

    fn ways(&self, hash: u64) -> [Cell<u64>; BUCKET_WAYS] {
        let bucket = self.bucket(hash);
        std::array::from_fn(|way| Cell::new(bucket[way].load(Ordering::Relaxed)))
    }

    /// Carries out on the table what was done to a copy of its bucket.
    fn put_back(&self, hash: u64, ways: &[Cell<u64>; BUCKET_WAYS]) {
        for (word, way) in self.bucket(hash).iter().zip(ways) {
            word.store(way.get(), Ordering::Relaxed);
        }
    }

    fn found(&self, hash: u64) -> Option<u32> {
        find(&self.ways(hash), hash).map(|way| FlowEntry(way.get()).real())
    }

    /// A packet of some flow: it is new, goes on, or ends and begins anew with another real.
    fn packet(&mut self) {
        let flow = self.random() % FLOWS + 1;
        let hash = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes().wrapping_mul(5);
        if self.settling && self.unsettled.contains(&hash) {
            return;
        }
        let lower = hash as usize & (BUCKETS - 1);
        let choice = self.random();
        self.age = self.age.wrapping_add(u8::from(choice & 63 == 0)) & 127;
        let ways = self.ways(hash);
        let record = find(&ways, hash);
        let known = self.reals.get(&hash).copied();
        if !self.full.contains(&lower) {
            assert_eq!(record.map(|way| FlowEntry(way.get()).real()), known, "flow {flow}");
        }
        match record {
            Some(way) if choice & 7 != 0 => {
                way.set(FlowEntry(way.get()).touched(self.age, choice & 8 != 0).0);
                return self.put_back(hash, &ways);
            }
            Some(way) => way.set(0),
            None => {}
        }
        let real = (choice >> 8) as u32 % 100 + 1;
        let (way, _) = victim(&ways, hash, self.age).unwrap();
        way.set(FlowEntry::new(hash, real, 0, self.age).0);
        if ways.iter().all(|way| way.get() != 0) {
            self.full.insert(lower);
        }
        self.put_back(hash, &ways);
        self.reals.insert(hash, real);
        if !self.settling {
            self.unsettled.insert(hash);
        }
    }

    fn packets(&mut self, count: u64) {
        (0..count).for_each(|_| self.packet());
    }

    fn is_copied(&mut self, bucket: usize) {
        self.unsettled.retain(|hash| *hash as usize & (BUCKETS - 1) != bucket);
    }
}

fn table(buckets: usize) -> Vec<AtomicU64> {
    (0..buckets * BUCKET_WAYS).map(|_| AtomicU64::new(0)).collect()
}

proptest! {
    #[test]
    fn no_flow_is_lost_or_moved_by_packets_between(seed in 1u64.., gap in 0u64..6, passes in 1..4) {
        let table = table(2 * BUCKETS);
        let mut traffic = Traffic {
            table: &table,
            buckets: BUCKETS,
            random: seed,
            age: 0,
            reals: HashMap::new(),
            unsettled: HashSet::new(),
            settling: false,
            full: HashSet::new(),
        };
        traffic.packets(100);
        let mut doubling = Doubling::new(&table, BUCKETS).unwrap();
        for _ in 0..passes {
            for bucket in 0..BUCKETS {
                doubling.copy(bucket);
                traffic.is_copied(bucket);
                traffic.packets(gap);
            }
        }
        (traffic.buckets, traffic.settling) = (2 * BUCKETS, true);
        for bucket in 0..BUCKETS {
            traffic.packets(gap);
            doubling.settle(bucket);
            traffic.is_copied(bucket);
        }
        traffic.packets(gap);
        (0..BUCKETS).for_each(|bucket| doubling.settle(bucket));
        let (mut checked, mut upper) = (0, 0);
        for (hash, real) in &traffic.reals {
            if !traffic.full.contains(&(*hash as usize & (BUCKETS - 1))) {
                prop_assert_eq!(traffic.found(*hash), Some(*real));
                checked += 1;
                upper += usize::from(*hash as usize & BUCKETS != 0);
            }
        }
        prop_assert!(checked > 10 && upper > 0, "{} flows, {} of them moved up", checked, upper);
    }
}

#[test]
fn a_record_replaced_by_the_program_is_not_written_over() {
    let table = table(2);
    let word = |way: usize| table[way].load(Ordering::Relaxed);
    let entry = |tag: u64, real| FlowEntry::new(tag << 40, real, 0, 0).0;
    table[0].store(entry(1, 5), Ordering::Relaxed);
    let mut doubling = Doubling::new(&table, 1).unwrap();
    assert_eq!((doubling.copy(0), doubling.copy(0)), (1, 0));
    assert_eq!(word(8), entry(1, 5));
    table[0].store(entry(1, 6), Ordering::Relaxed);
    table[8].store(entry(1, 7), Ordering::Relaxed);
    doubling.settle(0);
    assert_eq!(word(8), entry(1, 7), "the program's, not that of the lower half");
}

#[test]
fn in_a_full_bucket_no_other_flow_is_displaced() {
    let table = table(2);
    let entry = |tag: u64| FlowEntry::new(tag << 40, 5, 0, 0).0;
    (0..8).for_each(|way| table[way].store(entry(way as u64 + 1), Ordering::Relaxed));
    let mut doubling = Doubling::new(&table, 1).unwrap();
    doubling.copy(0);
    table[3].store(entry(100), Ordering::Relaxed);
    doubling.settle(0);
    let upper: Vec<u64> = table[8..].iter().map(|way| way.load(Ordering::Relaxed)).collect();
    assert_eq!(upper, (1..9).map(entry).collect::<Vec<_>>());
}

#[test]
fn a_table_without_room_does_not_double() {
    assert!(Doubling::new(&table(2), 2).is_none());
    assert!(Doubling::new(&table(3), 2).is_none());
}

#[test]
fn copies_of_a_flow_count_once() {
    let table = table(8);
    let put = |bucket: usize, way: usize, tag: u64| {
        let entry = FlowEntry::new(tag << 40, 1, 0, (bucket + way) as u8).0;
        table[bucket * BUCKET_WAYS + way].store(entry, Ordering::Relaxed);
    };
    // Flow 7 in all copies of bucket 1, flow 8 in one of them; flow 7 of bucket 0 is another.
    (0..4).for_each(|copy| put(copy * 2 + 1, copy, 7));
    put(3, 7, 8);
    put(0, 0, 7);
    assert_eq!(filling::of(&table, 2, 0, 2), Filling { flows: 3, ways: 64 });
    assert_eq!(filling::of(&table, 2, 1, 1), Filling { flows: 2, ways: 32 });
    assert_eq!(filling::of(&table, 2, 1, 2), filling::of(&table, 2, 0, 2), "past the end");
}

#[test]
fn three_of_eight_ways_are_enough_to_grow() {
    assert!(!Filling { flows: 2999, ways: 8000 }.is_high());
    assert!(Filling { flows: 3000, ways: 8000 }.is_high());
    assert!(!Filling::default().is_high());
}
