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
    random: u64,
    age: u8,
    /// Reals given out so far.
    given: u32,
    /// The real of each flow that has a record.
    reals: HashMap<u64, u32>,
    /// Whether twice as many buckets are in use as before, and whether flows are looked for where they
    /// lay before too.
    doubled: bool,
    copying: bool,
    /// Buckets of the lower half that were full at some time, or a copy of them, in which a new flow
    /// displaces another.
    full: HashSet<usize>,
}

impl Traffic<'_> {
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Number of a flow's bucket, of so many in use.
    fn bucket(&self, hash: u64, buckets: usize) -> &[AtomicU64] {
        let start = (hash as usize & (buckets - 1)) * BUCKET_WAYS;
        &self.table[start..start + BUCKET_WAYS]
    }

    /// The bucket that a flow belongs to, and that where it may lie still.
    fn places(&self, hash: u64) -> (&[AtomicU64], Option<&[AtomicU64]>) {
        let former = self.copying.then(|| self.bucket(hash, BUCKETS));
        (self.bucket(hash, if self.doubled { 2 * BUCKETS } else { BUCKETS }), former)
    }

    /// As the program finds a record, which it then has in its place.
    fn found(&mut self, hash: u64) -> Option<u32> {
        let (here, former) = self.places(hash);
        if let Some(way) = find(&ways(here), hash) {
            return Some(FlowEntry(way.get()).real());
        }
        let record = find(&ways(former?), hash)?.get();
        self.put(hash, FlowEntry(record));
        Some(FlowEntry(record).real())
    }

    fn put(&mut self, hash: u64, entry: FlowEntry) {
        let (here, _) = self.places(hash);
        let ways = ways(here);
        victim(&ways, hash, self.age).unwrap().0.set(entry.0);
        put_back(here, &ways);
        if ways.iter().all(|way| way.get() != 0) {
            self.full.insert(hash as usize & (BUCKETS - 1));
        }
    }

    /// Touches a flow's record, or deletes all that there are of it.
    fn change(&self, hash: u64, change: impl Fn(FlowEntry) -> FlowEntry, everywhere: bool) {
        let (here, former) = self.places(hash);
        for bucket in former.into_iter().filter(|_| everywhere).chain([here]) {
            let ways = ways(bucket);
            for way in ways.iter().filter(|way| FlowEntry(way.get()).matches(hash)) {
                way.set(change(FlowEntry(way.get())).0);
            }
            put_back(bucket, &ways);
        }
    }

    /// A packet of some flow: it is new, goes on, or ends and begins anew with another real.
    fn packet(&mut self) {
        let flow = self.random() % FLOWS + 1;
        let hash = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes().wrapping_mul(5);
        let choice = self.random();
        self.age = self.age.wrapping_add(u8::from(choice & 63 == 0)) & 127;
        let known = self.reals.get(&hash).copied();
        let found = self.found(hash);
        if !self.full.contains(&(hash as usize & (BUCKETS - 1))) {
            assert_eq!(found, known, "flow {flow}");
        }
        if found.is_some() && choice & 7 != 0 {
            let age = self.age;
            return self.change(hash, |entry| entry.touched(age, choice & 8 != 0), false);
        }
        self.change(hash, |_| FlowEntry(0), true);
        if choice & 16 != 0 {
            self.reals.remove(&hash);
            return;
        }
        // A record as it was is made again only after longer than copying takes.
        self.given += 1;
        let real = self.given;
        self.put(hash, FlowEntry::new(hash, real, 0, self.age));
        self.reals.insert(hash, real);
    }

    fn packets(&mut self, count: u64) {
        (0..count).for_each(|_| self.packet());
    }

    /// A run of the program that began before the doubling records a new flow.
    fn late_packet(&mut self, flow: u64) {
        let hash = (FLOWS + flow).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (self.doubled, self.copying) = (false, false);
        self.given += 1;
        self.put(hash, FlowEntry::new(hash, self.given, 0, self.age));
        (self.doubled, self.copying) = (true, true);
        self.reals.insert(hash, self.given);
    }
}

fn ways(bucket: &[AtomicU64]) -> [Cell<u64>; BUCKET_WAYS] {
    std::array::from_fn(|way| Cell::new(bucket[way].load(Ordering::Relaxed)))
}

/// Carries out on the table what was done to a copy of its bucket.
fn put_back(bucket: &[AtomicU64], ways: &[Cell<u64>; BUCKET_WAYS]) {
    for (word, way) in bucket.iter().zip(ways) {
        word.store(way.get(), Ordering::Relaxed);
    }
}

fn table(buckets: usize) -> Vec<AtomicU64> {
    (0..buckets * BUCKET_WAYS).map(|_| AtomicU64::new(0)).collect()
}

proptest! {
    #[test]
    fn no_flow_is_lost_or_moved_by_packets_between(seed in 1u64.., gap in 0u64..6) {
        let table = table(2 * BUCKETS);
        let mut traffic = Traffic {
            table: &table,
            random: seed,
            age: 0,
            given: 0,
            reals: HashMap::new(),
            doubled: false,
            copying: false,
            full: HashSet::new(),
        };
        traffic.packets(100);
        (traffic.doubled, traffic.copying) = (true, true);
        let mut doubling = Doubling::new(&table, BUCKETS).unwrap();
        for bucket in 0..BUCKETS {
            traffic.packets(gap);
            doubling.copy(bucket);
            if bucket % 4 == 1 {
                traffic.late_packet(bucket as u64);
            }
        }
        for bucket in 0..BUCKETS {
            traffic.packets(gap);
            if doubling.copy(bucket) > 0 {
                traffic.full.insert(bucket);
            }
        }
        (0..BUCKETS).for_each(|bucket| doubling.retract(bucket));
        traffic.copying = false;
        let (mut checked, mut upper) = (0, 0);
        for (hash, real) in traffic.reals.clone() {
            if !traffic.full.contains(&(hash as usize & (BUCKETS - 1))) {
                prop_assert_eq!(traffic.found(hash), Some(real));
                checked += 1;
                upper += usize::from(hash as usize & BUCKETS != 0);
            }
        }
        prop_assert!(checked > 3 && upper > 0, "{} flows, {} of them moved up", checked, upper);
    }
}

fn entry(tag: u64, real: u32) -> u64 {
    FlowEntry::new(tag << 40, real, 0, 0).0
}

#[test]
fn what_the_program_has_recorded_itself_is_not_written_over() {
    let table = table(2);
    let word = |way: usize| table[way].load(Ordering::Relaxed);
    table[0].store(entry(1, 5), Ordering::Relaxed);
    table[9].store(entry(1, 7), Ordering::Relaxed);
    let mut doubling = Doubling::new(&table, 1).unwrap();
    assert_eq!(doubling.copy(0), 0);
    assert_eq!((word(8), word(9)), (0, entry(1, 7)), "the program's, and no other");
}

#[test]
fn a_copy_of_what_was_deleted_meanwhile_is_taken_out_unless_it_is_in_use() {
    let table = table(2);
    let word = |way: usize| table[way].load(Ordering::Relaxed);
    (0..3).for_each(|way| table[way].store(entry(way as u64 + 1, 5), Ordering::Relaxed));
    let mut doubling = Doubling::new(&table, 1).unwrap();
    doubling.copy(0);
    assert_eq!([word(8), word(9), word(10)], [entry(1, 5), entry(2, 5), entry(3, 5)]);
    let touched = FlowEntry(entry(2, 5)).touched(9, false).0;
    table[9].store(touched, Ordering::Relaxed);
    (0..2).for_each(|way| table[way].store(0, Ordering::Relaxed));
    table[2].store(entry(100, 5), Ordering::Relaxed);
    doubling.retract(0);
    assert_eq!([word(8), word(9), word(10)], [0, touched, entry(3, 5)], "one was displaced");
}

#[test]
fn without_room_for_a_copy_no_other_flow_is_displaced() {
    let table = table(2);
    (0..8).for_each(|way| table[8 + way].store(entry(way as u64 + 1, 5), Ordering::Relaxed));
    table[0].store(entry(100, 5), Ordering::Relaxed);
    assert_eq!(Doubling::new(&table, 1).unwrap().copy(0), 1);
    let upper: Vec<u64> = table[8..].iter().map(|way| way.load(Ordering::Relaxed)).collect();
    assert_eq!(upper, (1..9).map(|tag| entry(tag, 5)).collect::<Vec<_>>());
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
