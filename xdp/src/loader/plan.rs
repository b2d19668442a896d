//! Which maps a program is loaded with: those of an earlier run, as far as they are of the size wanted.

use std::path::PathBuf;

use vc5_ebpf_abi::{
    BUCKET_WAYS, MAX_BUCKETS, MAX_REALS, NO_TABLE, PAGE_REALS, Settings, age_shift, maps,
};

use super::Earlier;
use crate::{DataplaneConfig, Error, clock, maglev};

/// SYNs whose choice is remembered: the first packets of a connection are milliseconds apart.
const EMBRYONIC: u32 = 65_536;

/// Fragmented packets whose backend is remembered.
const FRAGMENTS: u32 = 8_192;

/// The maps of which a run may have others than the run before it.
pub(super) const SIZED: [&str; 6] =
    [maps::FLOWS, maps::BEFORE, maps::EMBRYONIC, maps::FRAGMENTS, maps::REALS, maps::REAL_STATS];

/// What a program is loaded with.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    /// Entries of the maps of [`SIZED`], where they are made anew.
    pub(super) sizes: [(&'static str, u32); SIZED.len()],
    /// The maps that are used on, and their pins.
    pub(super) used: Vec<(&'static str, PathBuf)>,
    /// What only the earlier run's `BEFORE` has is to be put into its `FLOWS` first.
    pub(super) join: bool,
}

impl Plan {
    /// What a configuration asks for, without an earlier run.
    ///
    /// # Errors
    /// As [`settings`].
    pub(super) fn fresh(config: &DataplaneConfig) -> Result<Self, Error> {
        let settings = settings(config)?;
        // The first page is nobody's.
        let reals = config.max_reals.clamp(1, MAX_REALS - PAGE_REALS).next_multiple_of(PAGE_REALS);
        let reals = reals + PAGE_REALS;
        let entries = [
            settings.flow_mask + 1,
            1,
            settings.embryonic_mask + 1,
            settings.fragment_mask + 1,
            reals,
            reals,
        ];
        let mut sizes = SIZED.map(|name| (name, 0));
        sizes.iter_mut().zip(entries).for_each(|((_, size), entries)| *size = entries);
        Ok(Self { settings, sizes, used: Vec::new(), join: false })
    }

    /// The same after an earlier run, whose maps are used on; of its flow table `in_use` buckets, less
    /// one, are in use.
    ///
    /// # Errors
    /// As [`settings`].
    pub(super) fn after(
        config: &DataplaneConfig,
        earlier: &Earlier,
        in_use: u32,
    ) -> Result<Self, Error> {
        let fresh = Self::fresh(config)?;
        let (wanted, theirs) = (fresh.settings, earlier.settings());
        let flows = FlowTables::after(theirs, in_use, earlier.is_mixed(), wanted.flow_mask);
        let mut settings =
            Settings { flow_mask: flows.flow_mask, before_mask: flows.before_mask, ..wanted };
        let mut used = Vec::new();
        for name in maps::ALL {
            let of = match name {
                maps::FLOWS => flows.flows,
                // How much of a table is in use belongs to that table.
                maps::ACTIVE => flows.flows.map(|_| maps::ACTIVE),
                maps::BEFORE => flows.before,
                other => Some(other),
            };
            let size = fresh.sizes.iter().find(|(sized, _)| *sized == name);
            let is_any = earlier.is_mixed() || matches!(name, maps::FLOWS | maps::BEFORE);
            let size = size.map(|(_, size)| *size).filter(|_| !is_any);
            if let Some(path) = of.and_then(|of| earlier.map(of, size)) {
                used.push((name, path));
            }
        }
        if earlier.is_mixed() {
            settings.embryonic_mask = theirs.embryonic_mask;
            settings.fragment_mask = theirs.fragment_mask;
            if !earlier.has_sizes(&fresh.sizes) {
                tracing::warn!(
                    "the tables keep their sizes until the next start: an earlier run has ended \
                     while it replaced the program, so that each interface needs the same tables"
                );
            }
        }
        Ok(Self { settings, used, join: flows.join, ..fresh })
    }
}

/// What becomes of the flow tables of an earlier run.
#[derive(Debug, PartialEq, Eq)]
struct FlowTables {
    flow_mask: u32,
    before_mask: u32,
    /// Which of the earlier maps is `FLOWS` and which is `BEFORE`; `None` is a new one.
    flows: Option<&'static str>,
    before: Option<&'static str>,
    join: bool,
}

impl FlowTables {
    /// A table of another size begins empty, and the earlier one is asked for what it lacks. So no
    /// record has to be copied while the earlier program still makes and deletes them.
    ///
    /// Where programs of several runs are in force, all of them know the tables of the newest of
    /// those runs, one as `FLOWS` and one as `BEFORE`: they are used on as they are until only one is.
    fn after(earlier: &Settings, in_use: u32, is_mixed: bool, wanted: u32) -> Self {
        let Settings { flow_mask, before_mask, .. } = *earlier;
        let (flows, before) = (Some(maps::FLOWS), Some(maps::BEFORE));
        if is_mixed {
            return Self { flow_mask, before_mask, flows, before, join: false };
        }
        let join = before_mask != NO_TABLE;
        if wanted == flow_mask {
            let before = before.filter(|_| !join);
            return Self { flow_mask, before_mask: NO_TABLE, flows, before, join };
        }
        Self { flow_mask: wanted, before_mask: in_use, flows: None, before: flows, join }
    }
}

/// The settings that a configuration asks for.
///
/// # Errors
/// [`Error::Io`] when the kernel does not know its own clock.
pub(crate) fn settings(config: &DataplaneConfig) -> Result<Settings, Error> {
    let hz = clock::jiffies_hz().map_err(Error::io("reading the resolution of the clock"))?;
    Ok(Settings {
        hash_key: maglev::words(&config.hash_key),
        age_shift: age_shift(hz),
        flow_mask: buckets(config.flows) - 1,
        embryonic_mask: buckets(EMBRYONIC) - 1,
        fragment_mask: buckets(FRAGMENTS) - 1,
        sample_shift: config.sample.map_or(32, u32::from),
        ..Settings::DEFAULT
    })
}

/// Buckets for so many flows, a power of two.
fn buckets(flows: u32) -> u32 {
    let buckets = flows.div_ceil(BUCKET_WAYS as u32).clamp(1, MAX_BUCKETS);
    buckets.next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: u32 = 0xff;
    const IN_USE: u32 = 3;

    fn tables(before_mask: u32, is_mixed: bool, wanted: u32) -> FlowTables {
        let earlier = Settings { flow_mask: 0xf, before_mask, ..Settings::DEFAULT };
        FlowTables::after(&earlier, IN_USE, is_mixed, wanted)
    }

    fn as_they_are(before_mask: u32) -> FlowTables {
        let (flows, before) = (Some(maps::FLOWS), Some(maps::BEFORE));
        FlowTables { flow_mask: 0xf, before_mask, flows, before, join: false }
    }

    #[test]
    fn flows_are_rounded_up_to_a_power_of_two_of_buckets() {
        assert_eq!(buckets(0), 1);
        assert_eq!(buckets(8), 1);
        assert_eq!(buckets(9), 2);
        assert_eq!(buckets(1_000_000), 131_072);
        assert_eq!(buckets(4_000_000), 524_288);
        assert!(buckets(u32::MAX) <= MAX_BUCKETS);
    }

    #[test]
    fn tables_of_the_size_wanted_are_used_on() {
        assert_eq!(tables(NO_TABLE, false, 0xf), as_they_are(NO_TABLE));
    }

    #[test]
    fn at_another_size_the_table_becomes_that_before() {
        let resized = FlowTables {
            flow_mask: OTHER,
            before_mask: IN_USE,
            flows: None,
            before: Some(maps::FLOWS),
            join: false,
        };
        assert_eq!(tables(NO_TABLE, false, OTHER), resized);
        // At yet another, what is in the one before comes into the one that becomes it.
        assert_eq!(tables(OTHER, false, 7), FlowTables { flow_mask: 7, join: true, ..resized });
    }

    #[test]
    fn at_the_next_start_there_is_none_before() {
        let joined = FlowTables { before: None, join: true, ..as_they_are(NO_TABLE) };
        assert_eq!(tables(OTHER, false, 0xf), joined);
    }

    #[test]
    fn while_programs_of_two_runs_are_in_force_nothing_changes() {
        for before in [NO_TABLE, OTHER] {
            for wanted in [0xf, OTHER] {
                assert_eq!(tables(before, true, wanted), as_they_are(before));
            }
        }
    }
}
