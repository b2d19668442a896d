//! The maps that an earlier run has left pinned, and whether this run can use them on.

use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData, MapError, MapInfo};
use aya::programs::links::FdLink;
use aya::programs::loaded_programs;
use vc5_ebpf_abi::{LAYOUT_VERSION, SETTINGS, Settings, maps};

use super::{Pins, SIZED};

/// The maps of an earlier run.
#[derive(Debug)]
pub(crate) struct Earlier {
    directory: PathBuf,
    settings: Settings,
}

impl Earlier {
    /// Finds those of the program that runs, else the newest.
    pub(crate) fn find(pins: &Pins) -> Option<Self> {
        let programs: Vec<u32> = pins
            .links()
            .into_iter()
            .filter_map(|link| Some(FdLink::from(link).info().ok()?.program_id()))
            .collect();
        let running: Vec<u32> = loaded_programs()
            .filter_map(Result::ok)
            .filter(|program| programs.contains(&program.id()))
            .filter_map(|program| program.map_ids().ok()?)
            .flatten()
            .collect();
        let mut found: Vec<Self> = pins.earlier_maps().into_iter().filter_map(Self::read).collect();
        // A run that was killed before its program took over has left copies of some of these, and
        // pinned the others as it had found them.
        let is_running = |earlier: &Self| {
            SIZED.iter().all(|name| {
                MapInfo::from_pin(earlier.pin(name)).is_ok_and(|info| running.contains(&info.id()))
            })
        };
        let place = found.iter().position(is_running).unwrap_or(0);
        (place < found.len()).then(|| found.swap_remove(place))
    }

    fn read(directory: PathBuf) -> Option<Self> {
        let settings = settings_at(&directory.join(SETTINGS)).ok()?.get(&0, 0).ok()?;
        Some(Self { directory, settings })
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
