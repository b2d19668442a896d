//! The program loaded once more, over the same maps, to tell what it would do.

use aya::programs::{TestRun, TestRunOptions};
use aya::{Ebpf, EbpfError, EbpfLoader};
use vc5_ebpf_abi::{SETTINGS, Settings, maps};

use super::{Loaded, OBJECT, Pins, load_error, xdp};
use crate::Error;

/// Most bytes of a frame that the kernel takes for a test run, on a page of 4 KiB.
const MAX_FRAME: usize = 3520;
/// Bytes of an Ethernet header, of which the kernel takes no fewer.
const MIN_FRAME: usize = 14;
/// Room for what the program may put before the frame.
const GROWTH: usize = 256;

/// What the program did with a frame.
pub(crate) struct Run {
    /// An XDP action.
    pub(crate) action: u32,
    pub(crate) frame: Vec<u8>,
}

/// A program that answers questions and changes nothing.
pub(crate) struct Tracer {
    ebpf: Ebpf,
}

impl Tracer {
    /// Loads the program over the pinned maps of one that is loaded.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::Load`] and [`Error::Object`].
    pub(crate) fn load(loaded: &Loaded, pins: &Pins) -> Result<Self, Error> {
        let settings = Settings { trace: 1, ..*loaded.settings() };
        let mut loader = EbpfLoader::new();
        loader.override_global(SETTINGS, &settings, true);
        for name in maps::ALL {
            loader.map_pin_path(name, pins.maps().join(name));
        }
        let mut ebpf = loader.load(OBJECT).map_err(|e| load_error(&e))?;
        xdp(&mut ebpf)?.load().map_err(|e| load_error(&EbpfError::from(e)))?;
        Ok(Self { ebpf })
    }

    /// Runs a frame that comes in by an interface.
    ///
    /// # Errors
    /// [`Error::Question`] for a frame that is too short or too long, or when the kernel refuses.
    pub(crate) fn run(&mut self, frame: &[u8], ifindex: u32) -> Result<Run, Error> {
        if !(MIN_FRAME..=MAX_FRAME).contains(&frame.len()) {
            return Err(Error::Question(format!(
                "a frame of {} bytes cannot be traced; it must have {MIN_FRAME} to {MAX_FRAME}",
                frame.len()
            )));
        }
        let mut out = vec![0; frame.len() + GROWTH];
        let context = context(frame.len() as u32, ifindex);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = xdp(&mut self.ebpf)?
            .test_run(options)
            .map_err(|e| Error::Question(format!("a test run failed: {}", super::chain(&e))))?;
        out.truncate(result.data_size_out as usize);
        Ok(Run { action: result.return_value, frame: out })
    }
}

/// `struct xdp_md` for a frame of so many bytes (linux/bpf.h): where data, its end and its metadata
/// begin, the interface, its queue, and the interface that it leaves by.
fn context(bytes: u32, ifindex: u32) -> Vec<u8> {
    [0, bytes, 0, ifindex, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect()
}
