//! The maps that an earlier run has left pinned, and whether this run can use them on.

use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData, MapError, MapInfo};
use aya::programs::links::FdLink;
use aya::programs::loaded_programs;
use vc5_ebpf_abi::{LAYOUT_VERSION, SETTINGS, Settings, maps};

use super::Pins;
use super::plan::SIZED;

/// The ids of those maps of a run that may be others than the ones of the run before.
type Sized = [Option<u32>; SIZED.len()];

/// The maps of an earlier run.
#[derive(Debug)]
pub(crate) struct Earlier {
    directory: PathBuf,
    settings: Settings,
    is_mixed: bool,
}

impl Earlier {
    /// Finds those of the newest program that runs, else the newest.
    pub(crate) fn find(pins: &Pins) -> Option<Self> {
        let programs: Vec<u32> = pins
            .links()
            .into_iter()
            .filter_map(|link| Some(FdLink::from(link).info().ok()?.program_id()))
            .collect();
        let running: Vec<Vec<u32>> = loaded_programs()
            .filter_map(Result::ok)
            .filter(|program| programs.contains(&program.id()))
            .filter_map(|program| program.map_ids().ok()?)
            .collect();
        let mut found: Vec<Self> = pins.earlier_maps().into_iter().filter_map(Self::read).collect();
        let sets: Vec<Sized> = found.iter().map(Self::sized).collect();
        let (place, is_mixed) = in_force(&sets, &running);
        let earlier = (place < found.len()).then(|| found.swap_remove(place))?;
        Some(Self { is_mixed, ..earlier })
    }

    fn read(directory: PathBuf) -> Option<Self> {
        let settings = settings_at(&directory.join(SETTINGS)).ok()?.get(&0, 0).ok()?;
        Some(Self { directory, settings, is_mixed: false })
    }

    /// The ids of the maps by which it is told which program runs by these.
    fn sized(&self) -> Sized {
        SIZED.map(|name| Some(MapInfo::from_pin(self.pin(name)).ok()?.id()))
    }

    /// What its program was loaded with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a program with other maps is in force too: on one interface, where a run was killed
    /// before its program took over on that as well.
    pub(super) fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    /// Whether its maps have so many entries; that of the table before is what it happens to be.
    pub(super) fn has_sizes(&self, sizes: &[(&str, u32)]) -> bool {
        let mut sizes = sizes.iter().filter(|(name, _)| *name != maps::BEFORE);
        sizes.all(|(name, size)| self.map(name, Some(*size)).is_some())
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a program with these settings can go on with it; why not is said in the log.
    pub(crate) fn is_adoptable(&self, settings: &Settings) -> bool {
        let obstacle = self.obstacle(settings);
        if let Some(reason) = &obstacle {
            tracing::warn!(
                reason,
                "nothing of the earlier run can be taken over: its flows are lost"
            );
        }
        obstacle.is_none()
    }

    /// Why a program with these settings can use nothing of it; none if it can. The sizes of tables
    /// do not matter.
    fn obstacle(&self, settings: &Settings) -> Option<String> {
        let theirs = &self.settings;
        if theirs.layout_version != LAYOUT_VERSION {
            return Some(format!(
                "its tables are of layout {}, and this release has layout {LAYOUT_VERSION}",
                theirs.layout_version
            ));
        }
        if theirs.hash_key != settings.hash_key {
            return Some("it had another hash key, so that its flows lie elsewhere".into());
        }
        if theirs.age_shift != settings.age_shift {
            return Some("it counted the age of flows in another unit".into());
        }
        maps::ALL
            .iter()
            .find(|name| !self.directory.join(name).exists())
            .map(|name| format!("its map {name} is gone"))
    }

    /// The pin of a map, if that has as many entries, where that matters.
    pub(super) fn map(&self, name: &str, size: Option<u32>) -> Option<PathBuf> {
        let path = self.pin(name);
        let entries = MapInfo::from_pin(&path).ok()?.max_entries();
        size.is_none_or(|size| size == entries).then_some(path)
    }

    pub(super) fn pin(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn set_settings(&self, settings: &Settings) -> Result<(), MapError> {
        settings_at(&self.directory.join(SETTINGS))?.set(0, settings, 0)
    }
}

/// Which of these sets of maps, the newest first, is that of the newest program in force, else the
/// first; and whether a program with other maps is in force too.
///
/// A run that was killed before its program took over has left maps that no program uses, and pinned
/// the others as it had found them.
fn in_force(sets: &[Sized], running: &[Vec<u32>]) -> (usize, bool) {
    let runs_by = |set: &Sized, program: &Vec<u32>| {
        set.iter().all(|map| map.is_some_and(|id| program.contains(&id)))
    };
    let is_running = |set: &Sized| running.iter().any(|program| runs_by(set, program));
    let place = sets.iter().position(is_running).unwrap_or(0);
    let is_other = |set: &Sized| running.iter().any(|program| !runs_by(set, program));
    (place, sets.get(place).is_some_and(is_other))
}

fn settings_at(path: &Path) -> Result<Array<MapData, Settings>, MapError> {
    Array::try_from(Map::from_map_data(MapData::from_pin(path)?)?)
}

/// Pins a map with the settings, so that a later run can compare them with its own.
pub(super) fn pin_settings(path: &Path, settings: &Settings) -> Result<(), String> {
    let definition = aya_obj::Map::new_from_params(
        aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<Settings>() as u32,
        1,
        0,
    );
    let pinned = || -> Result<(), MapError> {
        let data = MapData::create(definition, "vc5_settings", None)?;
        data.pin(path).map_err(|error| MapError::PinError { name: None, error })?;
        let mut map: Array<MapData, Settings> = Map::Array(data).try_into()?;
        map.set(0, settings, 0)
    };
    pinned().map_err(|e| super::chain(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maps that all runs have in common, those of a set, and the ids of both as a program has them.
    fn set(flows: u32, before: u32) -> (Sized, Vec<u32>) {
        let ids = [flows, before, 90, 91, 92, 93];
        (ids.map(Some), ids.into_iter().chain([70, 71]).collect())
    }

    #[test]
    fn a_set_that_no_program_runs_by_is_ignored() {
        let ((newer, _), (older, program)) = (set(2, 1), set(1, 50));
        assert_eq!(in_force(&[newer, older], std::slice::from_ref(&program)), (1, false));
        assert_eq!(in_force(&[newer, older], &[program.clone(), program]), (1, false));
    }

    #[test]
    fn between_two_interfaces_the_newer_set_counts() {
        let ((newer, new), (older, old)) = (set(2, 1), set(1, 50));
        for running in [[old.clone(), new.clone()], [new.clone(), old]] {
            assert_eq!(in_force(&[newer, older], &running), (0, true));
        }
        assert_eq!(in_force(&[newer, older], &[new.clone(), new]), (0, false));
    }

    #[test]
    fn without_a_program_the_newest_set_is_taken() {
        let ((newer, _), (older, _)) = (set(2, 1), set(1, 50));
        assert_eq!(in_force(&[newer, older], &[]), (0, false));
        assert_eq!(in_force(&[], &[]), (0, false));
    }

    #[test]
    fn a_set_that_lacks_a_map_is_no_programs() {
        let ((mut newer, new), (older, old)) = (set(2, 1), set(1, 50));
        newer[1] = None;
        assert_eq!(in_force(&[newer, older], &[new, old]), (1, true));
    }
}
