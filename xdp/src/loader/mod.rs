//! Loading the program and attaching it to interfaces.

mod attach;
mod copy;
mod earlier;
mod link;
mod permission;
mod pins;
mod plan;
mod tracer;

use aya::maps::{MapData, RingBuf};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfError, EbpfLoader};
use vc5_ebpf_abi::{Active, PROGRAM, SETTINGS, Settings, maps};

pub(crate) use attach::{Attachments, Status};
pub(crate) use earlier::Earlier;
pub(crate) use permission::check as check_permission;
pub(crate) use pins::Pins;
pub use pins::detach;
pub(crate) use plan::settings;
pub(crate) use tracer::{Run, Tracer};

use crate::maps::{FlowTable, KernelTables};
use crate::{DataplaneConfig, Error, growth};
use plan::Plan;

/// The program as built by `make ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/vc5.o");

/// What a program begins with.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// With empty tables.
    Fresh,
    /// With those of an earlier run.
    Adopted,
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
    /// on as far as they are of the size wanted. Nothing is attached yet.
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
        let flows = earlier.map(copy::flow_table).transpose()?;
        if let Some(flows) = &flows {
            growth::settle(flows);
        }
        let plan = match (earlier, &flows) {
            (Some(earlier), Some(flows)) => Plan::after(config, earlier, flows.mask())?,
            _ => Plan::fresh(config)?,
        };
        if plan.join
            && let (Some(earlier), Some(flows)) = (earlier, &flows)
        {
            let joined = copy::join(earlier, flows)?;
            tracing::info!(
                copied = joined.copied,
                lost = joined.lost,
                "flow records were copied from the table in use before"
            );
        }
        let Plan { settings, sizes, used, .. } = plan;
        let mut loader = EbpfLoader::new();
        loader.override_global(SETTINGS, &settings, true);
        for (name, size) in &sizes {
            loader.map_max_entries(name, *size);
        }
        for (name, path) in &used {
            loader.map_pin_path(name, path.clone());
        }
        let mut ebpf = loader.load(OBJECT).map_err(|e| load_error(&e))?;
        let program = xdp(&mut ebpf)?;
        program.load().map_err(|e| load_error(&EbpfError::from(e)))?;
        let info = program.info().map_err(|e| Error::Load(chain(&e)))?;
        if let Some(earlier) = earlier {
            copy::reals(earlier, &ebpf, cpus)?;
        }
        if let Some(pins) = pins {
            match earlier.filter(|_| used.len() == maps::ALL.len()) {
                Some(earlier) => pins.use_on(earlier, &settings)?,
                None => pins.pin_maps(&ebpf, &settings)?,
            }
        }
        let beginning = if earlier.is_some() { Beginning::Adopted } else { Beginning::Fresh };
        let (tables, samples) = KernelTables::take(&mut ebpf, &settings, cpus)?;
        if used.iter().all(|(name, _)| *name != maps::ACTIVE) {
            // What is fetched from a table before is to find room.
            let before = tables.before().map_or(0, FlowTable::buckets);
            tables.flows().set_in_use(before.max(Active::FIRST), false);
        }
        let loaded = Self { ebpf, program_id: info.id(), settings };
        Ok(Parts { loaded, tables, samples, beginning })
    }

    pub(crate) fn program_id(&self) -> u32 {
        self.program_id
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn program(&mut self) -> Result<&mut Xdp, Error> {
        xdp(&mut self.ebpf)
    }
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(PROGRAM)
        .ok_or_else(|| Error::Object(format!("program {PROGRAM} is missing")))?
        .try_into()
        .map_err(|_| Error::Object(format!("program {PROGRAM} is not an XDP program")))
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
