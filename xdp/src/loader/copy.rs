//! Copying what is in the maps of an earlier run into maps of another size.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use vc5_ebpf_abi::{Active, BUCKET_WAYS, FlowEntry, Real, Traffic, maps};

use super::{Earlier, chain};
use crate::Error;
use crate::growth::put;
use crate::maps::{FlowTable, Mapped};

/// A flow table of an earlier run and the one in its place.
#[derive(Debug)]
struct FlowTables {
    from: FlowTable,
    to: FlowTable,
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
    /// Copies the flow records made since, while the earlier program ran on.
    pub(crate) fn again(&mut self) {
        (self.copied, self.lost) = (0, 0);
        for FlowTables { from, to } in &self.flows {
            let (copied, lost) = copy_flows(from.words(), to.words());
            self.copied += copied;
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
            let active = if name == maps::FLOWS {
                pair(earlier, ebpf, maps::ACTIVE, size_of::<Active>() / 8)?
            } else {
                None
            };
            let (old, new) = active.unzip();
            let table = |(ways, buckets), active: Option<(Mapped, u32)>| {
                FlowTable::new(ways, buckets, active.map(|(active, _)| active))
            };
            let (from, to) = (table(from, old), table(to, new));
            // With fewer, records of several buckets would come into one.
            to.set_in_use((from.mask() + 1).max(Active::FIRST));
            flows.push(FlowTables { from, to });
        }
    }
    if let Some(((from, _), (to, _))) = pair(earlier, ebpf, maps::REALS, size_of::<Real>() / 8)? {
        for (from, to) in from.words().iter().zip(to.words()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    copy_traffic(earlier, ebpf, cpus)?;
    let mut copied = Copied { flows, copied: 0, lost: 0 };
    copied.again();
    Ok(copied)
}

/// The elements of a map, and how many they are.
type Elements = (Mapped, u32);

/// The earlier run's map of this name and this run's, if they are two.
fn pair(
    earlier: &Earlier,
    ebpf: &Ebpf,
    name: &str,
    words: usize,
) -> Result<Option<(Elements, Elements)>, Error> {
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
        let elements = Mapped::new(map.fd().as_fd(), entries, words);
        elements.map(|elements| (elements, entries)).map_err(|e| failed(name, &e))
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

/// Copies records into a table of another size; how many found a way and how many did not.
///
/// A bucket's number is the low bits of the flow hash. A smaller table uses fewer of them; for a
/// larger one those that are more are not known, so a record goes into each bucket that they could
/// mean, and all but one of its copies age away.
fn copy_flows(from: &[AtomicU64], to: &[AtomicU64]) -> (u64, u64) {
    let buckets = |words: &[AtomicU64]| (words.len() / BUCKET_WAYS).max(1);
    let (old, new) = (buckets(from), buckets(to));
    let (mut copied, mut lost) = (0, 0);
    for (bucket, ways) in from.chunks_exact(BUCKET_WAYS).enumerate() {
        for entry in ways.iter().map(|way| FlowEntry(way.load(Ordering::Relaxed))) {
            if entry.real() == 0 {
                continue;
            }
            let mut found = true;
            for candidate in ((bucket % new)..new).step_by(old.min(new)) {
                let start = candidate * BUCKET_WAYS;
                found &= to.get(start..start + BUCKET_WAYS).is_some_and(|to| put(to, entry));
            }
            if found { copied += 1 } else { lost += 1 }
        }
    }
    (copied, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(buckets: usize) -> Vec<AtomicU64> {
        (0..buckets * BUCKET_WAYS).map(|_| AtomicU64::new(0)).collect()
    }

    fn has(table: &[AtomicU64], hash: u64) -> bool {
        let buckets = table.len() / BUCKET_WAYS;
        let start = (hash as usize % buckets) * BUCKET_WAYS;
        let ways = &table[start..start + BUCKET_WAYS];
        ways.iter().any(|way| FlowEntry(way.load(Ordering::Relaxed)).matches(hash))
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
            let (copied, lost) = copy_flows(&from, &to);
            assert_eq!((copied, lost), (hashes.len() as u64, 0), "{buckets} buckets");
            assert!(hashes.iter().all(|hash| has(&to, *hash)), "{buckets} buckets");
            assert_eq!(copy_flows(&from, &to), (copied, 0), "again");
        }
    }

    #[test]
    fn what_finds_no_way_is_counted() {
        let hashes: Vec<u64> = (0..32u64).map(|n| (n << 59) | (n % 4)).collect();
        let (copied, lost) = copy_flows(&filled(4, &hashes), &table(1));
        assert_eq!((copied, lost), (8, 24));
    }
}
