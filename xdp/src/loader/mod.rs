//! Loading the program and attaching it to interfaces.

mod attach;
mod permission;
mod pins;

use aya::programs::Xdp;
use aya::{Ebpf, EbpfError, EbpfLoader};
use vc5_ebpf_abi::{
    BUCKET_WAYS, MAX_BUCKETS_PER_CPU, PROGRAM, SETTINGS, Settings, age_shift, maps,
};

pub(crate) use attach::{Attachments, Status};
pub(crate) use permission::check as check_permission;
pub(crate) use pins::Pins;
pub use pins::detach;

use crate::maps::KernelTables;
use crate::{DataplaneConfig, Error, clock, maglev};

/// The program as built by `make ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/vc5.o");

/// SYNs whose choice one CPU remembers: the first packets of a connection are milliseconds apart.
const EMBRYONIC_PER_CPU: u32 = 8192;

/// The loaded program.
pub(crate) struct Loaded {
    ebpf: Ebpf,
    program_id: u32,
}

impl Loaded {
    /// Loads the program with its maps, and pins those if asked to. Nothing is attached yet.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::Load`], [`Error::Object`] and [`Error::PinPath`].
    pub(crate) fn load(
        config: &DataplaneConfig,
        pins: Option<&mut Pins>,
    ) -> Result<(Self, KernelTables), Error> {
        let cpus = aya::util::nr_cpus()
            .map_err(|(what, source)| Error::Load(format!("{what}: {source}")))?;
        let settings = settings(config)?;
        let per_cpu = |mask: u32| (mask + 1).saturating_mul(cpus as u32);
        let mut ebpf = EbpfLoader::new()
            .override_global(SETTINGS, &settings, true)
            .map_max_entries(maps::FLOWS, per_cpu(settings.flow_mask))
            .map_max_entries(maps::EMBRYONIC, per_cpu(settings.embryonic_mask))
            .load(OBJECT)
            .map_err(|e| load_error(&e))?;
        let program = xdp(&mut ebpf)?;
        program.load().map_err(|e| load_error(&EbpfError::from(e)))?;
        let info = program.info().map_err(|e| Error::Load(chain(&e)))?;
        if let Some(pins) = pins {
            pins.pin_maps(&ebpf)?;
        }
        let tables = KernelTables::take(&mut ebpf, cpus)?;
        Ok((Self { ebpf, program_id: info.id() }, tables))
    }

    pub(crate) fn program_id(&self) -> u32 {
        self.program_id
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

fn settings(config: &DataplaneConfig) -> Result<Settings, Error> {
    let hz = clock::jiffies_hz().map_err(Error::io("reading the resolution of the clock"))?;
    Ok(Settings {
        hash_key: maglev::words(&config.hash_key),
        age_shift: age_shift(hz),
        flow_mask: buckets(config.flows_per_cpu) - 1,
        embryonic_mask: buckets(EMBRYONIC_PER_CPU) - 1,
        ..Settings::DEFAULT
    })
}

/// Buckets for so many flows, a power of two.
fn buckets(flows: u32) -> u32 {
    let buckets = flows.div_ceil(BUCKET_WAYS as u32).clamp(1, MAX_BUCKETS_PER_CPU);
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
        assert_eq!(buckets(u32::MAX), MAX_BUCKETS_PER_CPU);
    }
}
