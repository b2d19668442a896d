//! Copying what is in the maps of an earlier run into others.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use vc5_ebpf_abi::{Active, BUCKET_WAYS, FlowEntry, NO_REAL, Real, Traffic, maps};

use super::{Earlier, chain};
use crate::Error;
use crate::growth::{put, records};
use crate::maps::{FlowTable, Mapped};

/// What became of the records that a flow table lacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) copied: u64,
    /// Those for which there was no way left.
    pub(super) lost: u64,
}

/// The flow table of an earlier run.
///
/// # Errors
/// [`Error::Load`] when a map cannot be read.
pub(super) fn flow_table(earlier: &Earlier) -> Result<FlowTable, Error> {
    let active = mapped(&pinned(earlier, maps::ACTIVE)?, maps::ACTIVE, size_of::<Active>() / 8)?;
    let flows = mapped(&pinned(earlier, maps::FLOWS)?, maps::FLOWS, BUCKET_WAYS)?;
    Ok(FlowTable::new(flows, earlier.settings().flow_mask + 1, Some(active)))
}

/// Puts into the flow table of an earlier run what only the one before it has, of which so many buckets
/// were in use, so that a program can do without that one. The program that runs asks both, and so
/// goes on as it was.
///
/// # Errors
/// [`Error::Load`] when a map cannot be read.
pub(super) fn join(earlier: &Earlier, to: &FlowTable) -> Result<Joined, Error> {
    let from = mapped(&pinned(earlier, maps::BEFORE)?, maps::BEFORE, BUCKET_WAYS)?;
    let from = FlowTable::new(from, earlier.settings().before_mask.saturating_add(1), None);
    Ok(join_tables(from.words(), to.words()))
}

/// Copies the reals and what was counted for them, if a loaded program has maps of its own for them.
///
/// The maps of the earlier run stay as they are, and only user space writes to reals: whoever is
/// killed before its program is in force has changed nothing.
///
/// # Errors
/// [`Error::Load`] when a map cannot be read or written.
pub(super) fn reals(earlier: &Earlier, ebpf: &Ebpf, cpus: usize) -> Result<(), Error> {
    const NAME: &str = maps::REALS;
    let from = pinned(earlier, NAME)?;
    let Some(Map::Array(to)) = ebpf.map(NAME) else {
        return Err(Error::Object(format!("map {NAME} is no array")));
    };
    if id(&from, NAME)? != id(to, NAME)? {
        let words = size_of::<Real>() / 8;
        let (from, to) = (mapped(&from, NAME, words)?, mapped(to, NAME, words)?);
        for (from, to) in from.words().iter().zip(to.words()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    traffic(earlier, ebpf, cpus)
}

fn traffic(earlier: &Earlier, ebpf: &Ebpf, cpus: usize) -> Result<(), Error> {
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

fn pinned(earlier: &Earlier, name: &str) -> Result<MapData, Error> {
    MapData::from_pin(earlier.pin(name)).map_err(|e| failed(name, &e))
}

fn id(map: &MapData, name: &str) -> Result<u32, Error> {
    map.info().map(|info| info.id()).map_err(|e| failed(name, &e))
}

fn mapped(map: &MapData, name: &str, words: usize) -> Result<Mapped, Error> {
    let entries = map.info().map_err(|e| failed(name, &e))?.max_entries();
    Mapped::new(map.fd().as_fd(), entries, words).map_err(|e| failed(name, &e))
}

fn failed(name: &str, error: &dyn std::error::Error) -> Error {
    Error::Load(format!("copying {name}: {}", chain(error)))
}

/// Copies the records of flows that the other table, of any size, does not have.
///
/// A bucket's number is the low bits of the flow hash. A smaller table uses fewer of them; for a
/// larger one those that are more are not known, so a record goes into each bucket that they could
/// mean, and all but one of its copies age away.
fn join_tables(from: &[AtomicU64], to: &[AtomicU64]) -> Joined {
    let buckets = |words: &[AtomicU64]| (words.len() / BUCKET_WAYS).max(1);
    let (old, new) = (buckets(from), buckets(to));
    let mut joined = Joined::default();
    for (bucket, ways) in from.chunks(BUCKET_WAYS).enumerate() {
        let candidates = || {
            let starts = ((bucket % new)..new).step_by(old.min(new)).map(|c| c * BUCKET_WAYS);
            starts.filter_map(|start| to.get(start..start + BUCKET_WAYS))
        };
        for (number, way) in ways.iter().enumerate() {
            let entry = FlowEntry(way.load(Ordering::SeqCst));
            if entry.real() == NO_REAL || candidates().any(|ways| records(ways, entry) > 0) {
                continue;
            }
            match candidates().fold(true, |found, ways| found & put(ways, number, entry, way)) {
                true => joined.copied += 1,
                false => joined.lost += 1,
            }
        }
    }
    joined
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

    /// The reals of the records of a flow.
    fn reals(table: &[AtomicU64], hash: u64) -> Vec<u32> {
        let entries = ways(table, hash).iter().map(|way| FlowEntry(way.load(Ordering::Relaxed)));
        entries.filter(|entry| entry.matches(hash)).map(FlowEntry::real).collect()
    }

    fn add(table: &[AtomicU64], hash: u64, real: u32) {
        let is_empty = |way: &&AtomicU64| way.load(Ordering::Relaxed) == 0;
        let way = ways(table, hash).iter().find(is_empty).expect("an empty way");
        way.store(FlowEntry::new(hash, real, 1, 0).0, Ordering::Relaxed);
    }

    fn filled(buckets: usize, hashes: &[u64]) -> Vec<AtomicU64> {
        let table = table(buckets);
        hashes.iter().for_each(|hash| add(&table, *hash, 7));
        table
    }

    fn hashes(count: u64) -> Vec<u64> {
        (1..=count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    }

    #[test]
    fn records_are_found_again_in_tables_of_any_size() {
        let hashes = hashes(60);
        let from = filled(64, &hashes);
        for buckets in [16, 32, 64, 128, 1024] {
            let to = table(buckets);
            let copied = hashes.len() as u64;
            assert_eq!(join_tables(&from, &to), Joined { copied, lost: 0 }, "{buckets} buckets");
            assert!(hashes.iter().all(|hash| reals(&to, *hash) == [7]), "{buckets} buckets");
            assert_eq!(join_tables(&from, &to), Joined::default(), "again");
        }
    }

    #[test]
    fn what_finds_no_way_is_counted() {
        let hashes: Vec<u64> = (0..32u64).map(|n| (n << 59) | (n % 4)).collect();
        let joined = join_tables(&filled(4, &hashes), &table(1));
        assert_eq!(joined, Joined { copied: 8, lost: 24 });
    }

    #[test]
    fn a_record_that_is_there_stays_as_it_is() {
        let hashes = hashes(6);
        for buckets in [4, 16, 64] {
            let (from, to) = (filled(16, &hashes), table(buckets));
            add(&to, hashes[2], 9);
            assert_eq!(join_tables(&from, &to), Joined { copied: 5, lost: 0 });
            let found: Vec<_> = hashes.iter().map(|hash| reals(&to, *hash)).collect();
            assert_eq!(found, [[7], [7], [9], [7], [7], [7]], "{buckets} buckets");
        }
    }

    #[test]
    fn a_copy_is_taken_back_when_the_program_was_first() {
        let hash = hashes(1)[0];
        let entry = FlowEntry::new(hash, 7, 1, 0);
        let [kept, deleted] = [entry.0, 0].map(AtomicU64::new);
        let to = table(1);
        assert!(put(&to, 0, entry, &deleted));
        assert_eq!(reals(&to, hash), [], "deleted meanwhile");
        add(&to, hash, 9);
        assert!(put(&to, 0, entry, &kept));
        assert_eq!(reals(&to, hash), [9], "recorded meanwhile");
    }
}
