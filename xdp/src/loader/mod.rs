//! Loading the program and attaching it to interfaces.

mod attach;
mod copy;
mod earlier;
mod link;
mod permission;
mod pins;
mod tracer;

use std::path::PathBuf;

use aya::maps::{MapData, RingBuf};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfError, EbpfLoader};
use vc5_ebpf_abi::{
    BUCKET_WAYS, MAX_BUCKETS, MAX_REALS, PAGE_REALS, PROGRAM, SETTINGS, Settings, age_shift, maps,
};

pub(crate) use attach::{Attachments, Status};
pub(crate) use earlier::Earlier;
pub(crate) use permission::check as check_permission;
pub(crate) use pins::Pins;
pub use pins::detach;
pub(crate) use tracer::{Run, Tracer};

use crate::maps::KernelTables;
use crate::{DataplaneConfig, Error, clock, maglev};

/// The program as built by `make ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/vc5.o");

/// SYNs whose choice is remembered: the first packets of a connection are milliseconds apart.
const EMBRYONIC: u32 = 65_536;

/// Fragmented packets whose backend is remembered.
const FRAGMENTS: u32 = 8_192;

/// The maps whose size the configuration decides.
const SIZED: [&str; 5] =
    [maps::FLOWS, maps::EMBRYONIC, maps::FRAGMENTS, maps::REALS, maps::REAL_STATS];

/// What a program begins with.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// With empty tables.
    Fresh,
    /// With those of an earlier run.
    Adopted,
    /// With those of an earlier run; what was in some of them was copied into others of another
    /// size.
    Copied(copy::Copied),
}

/// The loaded program.
pub(crate) struct Loaded {
    ebpf: Ebpf,
    program_id: u32,
    settings: Settings,
}

/// Everything that loading gives.
pub(crate) struct Parts {
    pub(crate) loaded: Loaded,
    pub(crate) tables: KernelTables,
    pub(crate) samples: RingBuf<MapData>,
    pub(crate) beginning: Beginning,
}

impl Loaded {
    /// Loads the program with its maps, and pins those if asked to. Maps of an earlier run are used
    /// on as far as they are of the size wanted; what is in the others is copied. Nothing is
    /// attached yet.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::Load`], [`Error::Object`] and [`Error::PinPath`].
    pub(crate) fn load(
        config: &DataplaneConfig,
        pins: Option<&mut Pins>,
        earlier: Option<&Earlier>,
    ) -> Result<Parts, Error> {
        let cpus = aya::util::nr_cpus()
            .map_err(|(what, source)| Error::Load(format!("{what}: {source}")))?;
        let settings = settings(config)?;
        let sizes = sizes(config, &settings);
        let used_on = |name: &str| {
            let size = sizes.iter().find(|(sized, _)| *sized == name).map(|(_, size)| *size);
            earlier.and_then(|earlier| earlier.map(name, size))
        };
        let mut loader = EbpfLoader::new();
        loader.override_global(SETTINGS, &settings, true);
        for (name, size) in &sizes {
            loader.map_max_entries(name, *size);
        }
        let mut used: Vec<(&str, PathBuf)> = Vec::new();
        for name in maps::ALL {
            if let Some(path) = used_on(name) {
                loader.map_pin_path(name, path.clone());
                used.push((name, path));
            }
        }
        let mut ebpf = loader.load(OBJECT).map_err(|e| load_error(&e))?;
        let program = xdp(&mut ebpf)?;
        program.load().map_err(|e| load_error(&EbpfError::from(e)))?;
        let info = program.info().map_err(|e| Error::Load(chain(&e)))?;
        let beginning = match earlier {
            None => Beginning::Fresh,
            Some(_) if used.len() == maps::ALL.len() => Beginning::Adopted,
            Some(earlier) => Beginning::Copied(copy::all(earlier, &ebpf, cpus)?),
        };
        if let Some(pins) = pins {
            match (&beginning, earlier) {
                (Beginning::Adopted, Some(earlier)) => pins.use_on(earlier, &settings)?,
                _ => pins.pin_maps(&ebpf, &settings)?,
            }
        }
        let (tables, samples) = KernelTables::take(&mut ebpf, cpus)?;
        let loaded = Self { ebpf, program_id: info.id(), settings };
        Ok(Parts { loaded, tables, samples, beginning })
    }

    pub(crate) fn program_id(&self) -> u32 {
        self.program_id
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn program(&mut self) -> Result<&mut Xdp, Error> {
        xdp(&mut self.ebpf)
    }
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(PROGRAM)
        .ok_or_else(|| Error::Object(format!("program {PROGRAM} is missing")))?
        .try_into()
        .map_err(|_| Error::Object(format!("program {PROGRAM} is not an XDP program")))
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

/// Entries of the maps whose size the configuration decides.
fn sizes(config: &DataplaneConfig, settings: &Settings) -> [(&'static str, u32); SIZED.len()] {
    // The first page is nobody's.
    let reals = config.max_reals.clamp(1, MAX_REALS - PAGE_REALS).next_multiple_of(PAGE_REALS);
    let reals = reals + PAGE_REALS;
    [
        (maps::FLOWS, settings.flow_mask + 1),
        (maps::EMBRYONIC, settings.embryonic_mask + 1),
        (maps::FRAGMENTS, settings.fragment_mask + 1),
        (maps::REALS, reals),
        (maps::REAL_STATS, reals),
    ]
}

/// Buckets for so many flows, a power of two.
fn buckets(flows: u32) -> u32 {
    let buckets = flows.div_ceil(BUCKET_WAYS as u32).clamp(1, MAX_BUCKETS);
    buckets.next_power_of_two()
}

fn load_error(error: &EbpfError) -> Error {
    let text = chain(error);
    match permission::denied(error) {
        true => Error::Permission(permission::missing().unwrap_or_else(|| {
            "CAP_BPF and CAP_NET_ADMIN (both are there, so something else forbids BPF: a seccomp \
             filter, a container, or kernel lockdown)"
                .into()
        })),
        false => Error::Load(text),
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_rounded_up_to_a_power_of_two_of_buckets() {
        assert_eq!(buckets(0), 1);
        assert_eq!(buckets(8), 1);
        assert_eq!(buckets(9), 2);
        assert_eq!(buckets(1_000_000), 131_072);
        assert_eq!(buckets(4_000_000), 524_288);
        assert!(buckets(u32::MAX) <= MAX_BUCKETS);
    }
}
