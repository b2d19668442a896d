//! The harness program and the programs that are the floor.

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramFd, TestRun, TestRunOptions, Xdp},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../xdp/bpf/bench.o");

/// Words at the start of a packet that the harness writes, and those of what it is told.
const WORDS: usize = 4;
const CONTROL: usize = 4 + WORDS;

pub(super) struct Harness {
    ebpf: Ebpf,
    frame: Vec<u8>,
}

impl Harness {
    pub(super) fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("loading xdp/bpf/bench.o")?;
        for (_, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().context("loading the harness: is this root, and BPF allowed?")?;
        }
        Ok(Self { ebpf, frame: Vec::new() })
    }

    /// Sets the packet and over how many flows (less one) its copies are spread, by the last four
    /// bytes of the source address, which lie at `source_at`.
    pub(super) fn control(&mut self, frame: &[u8], source_at: usize, mask: u32) -> Result<()> {
        let source = frame.get(source_at..).and_then(|s| s.first_chunk()).context("no source")?;
        let source = u32::from_ne_bytes(*source);
        let mut control = [0; CONTROL];
        let head = frame.as_chunks::<8>().0.iter().map(|w| u64::from_ne_bytes(*w));
        let told = [0, u64::from(mask), source_at as u64, u64::from(source)];
        for (field, value) in control.iter_mut().zip(told.into_iter().chain(head)) {
            *field = value;
        }
        let map = self.ebpf.map_mut("CONTROL").context("bench.o has no CONTROL")?;
        let mut map: Array<_, [u64; CONTROL]> = map.try_into()?;
        map.set(0, control, 0)?;
        self.frame = frame.to_vec();
        Ok(())
    }

    /// One of the programs that return at once: `pass`, `drop` or `tx`.
    pub(super) fn own(&self, name: &str) -> Result<ProgramFd> {
        Ok(self.program(name)?.fd()?.try_clone()?)
    }

    /// Chooses the program that the harness goes on into.
    pub(super) fn aim(&mut self, program: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut("UNDER_TEST").context("bench.o has no UNDER_TEST")?;
        let mut map: ProgramArray<_> = map.try_into()?;
        Ok(map.set(0, program, 0)?)
    }

    /// Nanoseconds a packet, of so many packets.
    pub(super) fn time(&self, packets: u32) -> Result<f64> {
        let result = self.program("harness")?.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            repeat: packets,
            ..TestRunOptions::new()
        })?;
        ensure!(result.return_value != 0, "XDP_ABORTED: the harness could not go on");
        Ok(result.duration.as_nanos() as f64)
    }

    fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self.ebpf.program(name).with_context(|| format!("bench.o has no {name}"))?;
        Ok(program.try_into()?)
    }
}
