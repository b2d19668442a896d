//! The harness program and the programs that are the floor.

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramFd, TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode, xdp::XdpLinkId},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../xdp/bpf/bench.o");

/// Words at the start of a packet that the harness writes, and those of what it is told.
const WORDS: usize = 4;
const CONTROL: usize = 4 + WORDS;

pub(in crate::bench) struct Harness {
    ebpf: Ebpf,
    frame: Vec<u8>,
}

impl Harness {
    pub(in crate::bench) fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("loading xdp/bpf/bench.o")?;
        for (_, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().context("loading the harness: is this root, and BPF allowed?")?;
        }
        Ok(Self { ebpf, frame: Vec::new() })
    }

    /// Sets the packet and over how many flows (less one) its copies are spread, by the last four
    /// bytes of the source address, which lie at `source_at`.
    pub(in crate::bench) fn control(
        &mut self,
        frame: &[u8],
        source_at: usize,
        mask: u32,
    ) -> Result<()> {
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
    pub(in crate::bench) fn own(&self, name: &str) -> Result<ProgramFd> {
        Ok(self.program(name)?.fd()?.try_clone()?)
    }

    /// Chooses the program that the harness goes on into.
    pub(in crate::bench) fn aim(&mut self, program: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut("UNDER_TEST").context("bench.o has no UNDER_TEST")?;
        let mut map: ProgramArray<_> = map.try_into()?;
        Ok(map.set(0, program, 0)?)
    }

    /// Nanoseconds a packet, of so many packets.
    pub(in crate::bench) fn time(&self, packets: u32) -> Result<f64> {
        let result = self.program("harness")?.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            repeat: packets,
            ..TestRunOptions::new()
        })?;
        ensure!(result.return_value != 0, "XDP_ABORTED: the harness could not go on");
        Ok(result.duration.as_nanos() as f64)
    }

    /// Attaches one of the programs that return at once to an interface, in native mode, for as long as
    /// `self` lives.
    pub(in crate::bench) fn attach(&mut self, name: &str, index: u32) -> Result<XdpLinkId> {
        let program = self.ebpf.program_mut(name).context("no such program in bench.o")?;
        let program: &mut Xdp = program.try_into()?;
        Ok(program.attach_to_if_index(index, XdpMode::Driver)?)
    }

    /// Takes such a program off again.
    pub(in crate::bench) fn detach(&mut self, name: &str, link: XdpLinkId) -> Result<()> {
        let program = self.ebpf.program_mut(name).context("no such program in bench.o")?;
        let program: &mut Xdp = program.try_into()?;
        Ok(program.detach(link)?)
    }

    /// Sends so many packets by an interface of this thread's namespace that has a program.
    pub(in crate::bench) fn send(&self, packets: u32, index: u32, batch: u32) -> Result<()> {
        // The kernel's `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index and
        // egress_ifindex.
        let md = [0, u32::try_from(self.frame.len())?, 0, index, 0, 0];
        let md: Vec<u8> = md.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        self.program("harness")?.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&md),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
            ..TestRunOptions::new()
        })?;
        Ok(())
    }

    fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self.ebpf.program(name).with_context(|| format!("bench.o has no {name}"))?;
        Ok(program.try_into()?)
    }
}
