//! Copying what is in the maps of an earlier run into maps of another size.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry, Real, Traffic, maps};

use super::{Earlier, chain};
use crate::Error;
use crate::maps::Mapped;

/// Bits of a record below those that say of which flow and of which backend it is.
const STATUS_BITS: u32 = FlowEntry::AGE_BITS + 1;

/// A flow table of an earlier run and the one in its place.
#[derive(Debug)]
struct FlowTables {
    from: Mapped,
    to: Mapped,
    /// What was in `from` when it was copied last.
    copied: Vec<u64>,
}

/// What was copied.
#[derive(Debug)]
pub(crate) struct Copied {
    flows: Vec<FlowTables>,
    /// Flow records copied so far, and those for which there was no way left.
    pub(crate) copied: u64,
    pub(crate) lost: u64,
}

impl Copied {
    /// Follows what the earlier program has done to its flow records since they were copied.
    ///
    /// Just before the programs are exchanged it makes the time short in which a record can change
    /// unnoticed: such as that of a connection on a backend that drains, which a SYN puts elsewhere.
    /// Once more after it, it catches what changed until then.
    pub(crate) fn again(&mut self) {
        for FlowTables { from, to, copied } in &mut self.flows {
            let (more, lost) = copy_flows(from.words(), to.words(), copied);
            self.copied += more;
            self.lost += lost;
        }
    }
}

/// Copies into each map of a loaded program that is not the earlier run's own.
///
/// # Errors
/// [`Error::Load`] when a map cannot be read or written.
pub(super) fn all(earlier: &Earlier, ebpf: &Ebpf, cpus: usize) -> Result<Copied, Error> {
    let mut flows = Vec::new();
    for name in [maps::FLOWS, maps::EMBRYONIC, maps::FRAGMENTS] {
        if let Some((from, to)) = pair(earlier, ebpf, name, BUCKET_WAYS)? {
            let copied = vec![0; from.words().len()];
            flows.push(FlowTables { from, to, copied });
        }
    }
    if let Some((from, to)) = pair(earlier, ebpf, maps::REALS, size_of::<Real>() / 8)? {
        for (from, to) in from.words().iter().zip(to.words()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    copy_traffic(earlier, ebpf, cpus)?;
    let mut copied = Copied { flows, copied: 0, lost: 0 };
    copied.again();
    Ok(copied)
}

/// The earlier run's map of this name and this run's, if they are two.
fn pair(
    earlier: &Earlier,
    ebpf: &Ebpf,
    name: &str,
    words: usize,
) -> Result<Option<(Mapped, Mapped)>, Error> {
    let from = MapData::from_pin(earlier.pin(name)).map_err(|e| failed(name, &e))?;
    let Some(Map::Array(to)) = ebpf.map(name) else {
        return Err(Error::Object(format!("map {name} is no array")));
    };
    let [old, new] = [&from, to].map(MapData::info);
    let (old, new) = (old.map_err(|e| failed(name, &e))?, new.map_err(|e| failed(name, &e))?);
    if old.id() == new.id() {
        return Ok(None);
    }
    let mapped = |map: &MapData, entries: u32| {
        Mapped::new(map.fd().as_fd(), entries, words).map_err(|e| failed(name, &e))
    };
    Ok(Some((mapped(&from, old.max_entries())?, mapped(to, new.max_entries())?)))
}

fn copy_traffic(earlier: &Earlier, ebpf: &Ebpf, cpus: usize) -> Result<(), Error> {
    const NAME: &str = maps::REAL_STATS;
    let error = |e: aya::maps::MapError| failed(NAME, &e);
    let from = MapData::from_pin(earlier.pin(NAME)).map_err(error)?;
    let Some(Map::PerCpuArray(to)) = ebpf.map(NAME) else {
        return Err(Error::Object(format!("map {NAME} is no per-CPU array")));
    };
    let [old, new] = [from.info().map_err(error)?, to.info().map_err(error)?];
    if old.id() == new.id() {
        return Ok(());
    }
    let to = MapData::from_id(new.id()).map_err(error)?;
    let count = old.max_entries().min(new.max_entries());
    let per_cpu = |data| PerCpuArray::<MapData, Traffic>::try_from(Map::PerCpuArray(data));
    let (from, mut to) = (per_cpu(from).map_err(error)?, per_cpu(to).map_err(error)?);
    for id in 0..count {
        let traffic = from.get(&id, 0).map_err(error)?;
        if traffic.iter().take(cpus).any(|cpu| *cpu != Traffic::default()) {
            to.set(id, traffic, 0).map_err(error)?;
        }
    }
    Ok(())
}

fn failed(name: &str, error: &dyn std::error::Error) -> Error {
    Error::Load(format!("copying {name}: {}", chain(error)))
}

/// Copies the records that are not as `copied` has them into a table of another size, and takes out
/// those that are no more; how many found a way and how many did not.
///
/// A bucket's number is the low bits of the flow hash. A smaller table uses fewer of them; for a
/// larger one those that are more are not known, so a record goes into each bucket that they could
/// mean, and all but one of its copies age away.
fn copy_flows(from: &[AtomicU64], to: &[AtomicU64], copied: &mut [u64]) -> (u64, u64) {
    let buckets = |words: &[AtomicU64]| (words.len() / BUCKET_WAYS).max(1);
    let (old, new) = (buckets(from), buckets(to));
    let (mut more, mut lost) = (0, 0);
    let (ways, _) = from.as_chunks::<BUCKET_WAYS>();
    let (before, _) = copied.as_chunks_mut::<BUCKET_WAYS>();
    for (bucket, (ways, before)) in ways.iter().zip(before).enumerate() {
        let now = ways.each_ref().map(|way| way.load(Ordering::Relaxed));
        if now == *before {
            continue;
        }
        let before = std::mem::replace(before, now);
        let candidates = || {
            let starts = ((bucket % new)..new).step_by(old.min(new)).map(|c| c * BUCKET_WAYS);
            starts.filter_map(|start| to.get(start..start + BUCKET_WAYS))
        };
        for gone in before.iter().filter(|entry| !has(&now, **entry)) {
            candidates().for_each(|to| take_out(to, *gone));
        }
        for entry in now.iter().filter(|entry| !has(&before, **entry)) {
            if candidates().fold(true, |found, to| found & put(to, FlowEntry(*entry))) {
                more += 1;
            } else {
                lost += 1;
            }
        }
    }
    (more, lost)
}

/// Whether a bucket has a record of the same flow and backend. An empty way is none.
fn has(bucket: &[u64; BUCKET_WAYS], entry: u64) -> bool {
    entry == 0 || bucket.iter().any(|other| (other ^ entry) >> STATUS_BITS == 0)
}

/// Takes a record out of a bucket, unless the flow has gone to another backend there.
fn take_out(ways: &[AtomicU64], gone: u64) {
    for way in ways {
        let held = way.load(Ordering::Relaxed);
        if (held ^ gone) >> STATUS_BITS == 0 {
            let _newer = way.compare_exchange(held, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Puts a record into a bucket that has none of that flow; whether it is there now.
fn put(ways: &[AtomicU64], entry: FlowEntry) -> bool {
    let tag = entry.0 >> FlowEntry::TAG_SHIFT << FlowEntry::TAG_SHIFT;
    let held = |way: &AtomicU64| FlowEntry(way.load(Ordering::Relaxed)).matches(tag);
    if ways.iter().any(held) {
        return true;
    }
    ways.iter()
        .any(|way| way.compare_exchange(0, entry.0, Ordering::Relaxed, Ordering::Relaxed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(buckets: usize) -> Vec<AtomicU64> {
        (0..buckets * BUCKET_WAYS).map(|_| AtomicU64::new(0)).collect()
    }

    fn ways(table: &[AtomicU64], hash: u64) -> &[AtomicU64] {
        let buckets = table.len() / BUCKET_WAYS;
        let start = (hash as usize % buckets) * BUCKET_WAYS;
        &table[start..start + BUCKET_WAYS]
    }

    /// The real of a flow, 0 if there is no record of it.
    fn real(table: &[AtomicU64], hash: u64) -> u32 {
        let entries = ways(table, hash).iter().map(|way| FlowEntry(way.load(Ordering::Relaxed)));
        entries.into_iter().find(|entry| entry.matches(hash)).map_or(0, FlowEntry::real)
    }

    /// Gives a flow another real, or none.
    fn change(table: &[AtomicU64], hash: u64, real: u32) {
        let entry = if real == 0 { 0 } else { FlowEntry::new(hash, real, 1, 0).0 };
        let ways = ways(table, hash);
        let is_its = |way: &&AtomicU64| FlowEntry(way.load(Ordering::Relaxed)).matches(hash);
        ways.iter().find(is_its).unwrap().store(entry, Ordering::Relaxed);
    }

    fn filled(buckets: usize, hashes: &[u64]) -> Vec<AtomicU64> {
        let table = table(buckets);
        for hash in hashes {
            let start = (*hash as usize % buckets) * BUCKET_WAYS;
            assert!(put(&table[start..start + BUCKET_WAYS], FlowEntry::new(*hash, 7, 1, 0)));
        }
        table
    }

    #[test]
    fn records_are_found_again_in_tables_of_any_size() {
        let hashes: Vec<u64> = (1..60u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let from = filled(64, &hashes);
        for buckets in [16, 32, 64, 128, 1024] {
            let to = table(buckets);
            let mut copied = vec![0; from.len()];
            let outcome = copy_flows(&from, &to, &mut copied);
            assert_eq!(outcome, (hashes.len() as u64, 0), "{buckets} buckets");
            assert!(hashes.iter().all(|hash| real(&to, *hash) == 7), "{buckets} buckets");
            assert_eq!(copy_flows(&from, &to, &mut copied), (0, 0), "again");
        }
    }

    #[test]
    fn what_finds_no_way_is_counted() {
        let hashes: Vec<u64> = (0..32u64).map(|n| (n << 59) | (n % 4)).collect();
        let outcome = copy_flows(&filled(4, &hashes), &table(1), &mut [0; 4 * BUCKET_WAYS]);
        assert_eq!(outcome, (8, 24));
    }

    #[test]
    fn what_changes_in_the_table_copied_is_followed_but_for_what_is_newer() {
        let hashes: Vec<u64> = (1..6u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        for buckets in [4, 16, 64] {
            let (from, to) = (filled(16, &hashes), table(buckets));
            let mut copied = vec![0; from.len()];
            copy_flows(&from, &to, &mut copied);
            let [deleted, moved, newer, touched, _] = hashes[..] else { panic!() };
            change(&from, deleted, 0);
            change(&from, moved, 8);
            change(&from, newer, 8);
            change(&to, newer, 9);
            let older = FlowEntry::new(touched, 7, 1, 5).0;
            ways(&from, touched)
                .iter()
                .find(|way| FlowEntry(way.load(Ordering::Relaxed)).matches(touched))
                .unwrap()
                .store(older, Ordering::Relaxed);
            copy_flows(&from, &to, &mut copied);
            let reals = [deleted, moved, newer, touched].map(|hash| real(&to, hash));
            assert_eq!(reals, [0, 8, 9, 7], "{buckets} buckets");
        }
    }
}
