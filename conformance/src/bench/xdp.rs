//! Nanoseconds a packet of the XDP program, by BPF_PROG_TEST_RUN.
//!
//! A harness program makes each packet new and goes on into the program under test by a tail call
//! (`ebpf/program/src/bench.rs`); the same harness before a program that returns XDP_TX or XDP_PASS
//! at once is the floor that is subtracted. Runs of both take turns, on one CPU.

pub(in crate::bench) mod harness;
mod packet;
mod subject;

use anyhow::{Context, Result, anyhow, ensure};
use vc5_ebpf_abi::Reason;

use self::{
    harness::Harness,
    packet::{ACK, Kind, SYN, vips},
    subject::Subject,
};
use super::{Record, min_and_median};

/// Pairs of runs (floor, program).
const RUNS: usize = 31;
/// Packets of a run.
const PACKETS: u32 = 200_000;
/// Flow records: what vc5d has by default.
const FLOWS: u32 = 1 << 20;

/// Measures all of it.
///
/// # Errors
/// A program cannot be loaded (no root, no BPF), or packets did not take the path to be measured.
pub fn run() -> Result<Vec<Record>> {
    // A thread of its own, so that only it stays on one CPU.
    std::thread::scope(|scope| scope.spawn(measure_all).join())
        .map_err(|_| anyhow!("the measuring thread panicked"))?
}

/// What is measured: packets of a kind, and the one reason under which they must be counted.
struct Scenario {
    name: &'static str,
    kind: Kind,
    /// Number of flows, less one, over which the packets are spread in turn.
    mask: u32,
    /// Flow records that there is room for.
    room: u32,
    /// Packets to put through before measuring.
    warm_up: u32,
    /// Packets of a run.
    packets: u32,
    /// The flow table is emptied before each run.
    empty: bool,
    reason: Reason,
}

impl Scenario {
    /// One flow that is known.
    const fn hit(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            mask: 0,
            room: FLOWS,
            warm_up: 1000,
            packets: PACKETS,
            empty: false,
            reason: Reason::Flow,
        }
    }

    /// So many flows (a power of two) that are known.
    const fn of(self, flows: u32) -> Self {
        Self { mask: flows - 1, warm_up: flows * 4, ..self }
    }

    /// A new flow each time.
    const fn miss(name: &'static str, kind: Kind) -> Self {
        Self { mask: u32::MAX, reason: Reason::Ring, ..Self::hit(name, kind) }
    }
}

const TCP: Kind = Kind::TcpV4(ACK);

const SCENARIOS: [Scenario; 12] = [
    Scenario { reason: Reason::NotVip, ..Scenario::hit("xdp.pass", Kind::Elsewhere) },
    Scenario::hit("xdp.hit_v4_tcp_1", TCP),
    Scenario::hit("xdp.hit_v4_tcp_64k", TCP).of(1 << 16),
    Scenario::hit("xdp.hit_v4_udp_1", Kind::UdpV4),
    Scenario::hit("xdp.hit_v4_udp_64k", Kind::UdpV4).of(1 << 16),
    Scenario::hit("xdp.hit_v6_tcp_1", Kind::TcpV6(ACK)),
    Scenario::hit("xdp.hit_v6_tcp_64k", Kind::TcpV6(ACK)).of(1 << 16),
    // The same SYN again and again, and a flood of them: then each looks for its flow in a line of the
    // table that is in no near cache.
    Scenario { reason: Reason::Ring, ..Scenario::hit("xdp.syn", Kind::TcpV4(SYN)) },
    Scenario { warm_up: 1 << 18, ..Scenario::miss("xdp.syn_flood", Kind::TcpV4(SYN)) },
    // Of a hundred thousand new flows in an empty table few find their bucket full.
    Scenario { packets: PACKETS / 2, empty: true, ..Scenario::miss("xdp.miss_insert", TCP) },
    Scenario { warm_up: FLOWS * 3, ..Scenario::miss("xdp.miss_insert_full", TCP) },
    Scenario { room: FLOWS * 4, ..Scenario::hit("xdp.hit_v4_tcp_1m", TCP) }.of(1 << 20),
];

fn measure_all() -> Result<Vec<Record>> {
    let cpu = pin()?;
    let mut harness = Harness::load()?;
    let mut records = Vec::new();
    for floor in ["pass", "tx"] {
        records.push(measure_floor(&mut harness, floor, cpu)?);
    }
    records.push(verified()?);
    for scenario in &SCENARIOS {
        records.push(measure(&mut harness, scenario, cpu).context(scenario.name)?);
    }
    Ok(records)
}

fn measure_floor(harness: &mut Harness, name: &str, cpu: usize) -> Result<Record> {
    harness.control(&TCP.frame(), TCP.source_at(), 0)?;
    harness.aim(&harness.own(name)?)?;
    let runs = (0..RUNS).map(|_| harness.time(PACKETS)).collect::<Result<Vec<f64>>>()?;
    let method = format!(
        "BPF_PROG_TEST_RUN, {PACKETS} repeats a run, CPU {cpu}: the harness (36 bytes of the packet \
         written, a tail call) before a program that returns at once; the kernel's own time, in \
         whole nanoseconds"
    );
    Ok(record(&format!("xdp.floor_{name}"), runs, None, method))
}

fn verified() -> Result<Record> {
    let instructions = Subject::load(&vips(), FLOWS)?.verified()?;
    let method = "what the kernel's verifier walked at loading, by the kernel's own count".into();
    let record = record("xdp.verified", vec![f64::from(instructions)], None, method);
    Ok(Record { unit: "instructions".into(), ..record })
}

fn measure(harness: &mut Harness, scenario: &Scenario, cpu: usize) -> Result<Record> {
    // Loaded anew each time: tables that hold nothing of the scenario before.
    let mut subject = Subject::load(&vips(), scenario.room)?;
    harness.control(&scenario.kind.frame(), scenario.kind.source_at(), scenario.mask)?;
    let (floor, program) = (harness.own("tx")?, subject.fd()?);
    harness.aim(&program)?;
    harness.time(scenario.warm_up)?;
    let before = subject.count(scenario.reason)?;
    let (mut floors, mut figures) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        harness.aim(&floor)?;
        floors.push(harness.time(scenario.packets)?);
        if scenario.empty {
            subject.forget()?;
        }
        harness.aim(&program)?;
        figures.push(harness.time(scenario.packets)?);
    }
    let counted = subject.count(scenario.reason)? - before;
    let packets = RUNS as u64 * u64::from(scenario.packets);
    // Of many flows a few share a full bucket, and then a hit is a miss now and then.
    ensure!(
        counted * 1000 >= packets * 999,
        "of {packets} packets only {counted} went the way to be measured"
    );
    Ok(record(scenario.name, figures, Some(floors), method(scenario, cpu)))
}

fn record(name: &str, figures: Vec<f64>, floors: Option<Vec<f64>>, method: String) -> Record {
    let runs = figures.len();
    let (min, median) = min_and_median(figures);
    let floor = floors.map(min_and_median);
    let (floor_min, floor_median) = floor.unwrap_or_default();
    Record {
        name: name.into(),
        value: min - floor_min,
        unit: "ns/packet".into(),
        min: min - floor_min,
        median: median - floor_median,
        runs,
        floor: floor.map(|(min, _)| min),
        peer: None,
        peer_value: None,
        method,
    }
}

fn method(scenario: &Scenario, cpu: usize) -> String {
    let Scenario { packets, room, .. } = scenario;
    let flows = match scenario.mask {
        u32::MAX => "a new flow each time".to_owned(),
        0 => "one flow".to_owned(),
        mask => format!("{} flows in turn", u64::from(mask) + 1),
    };
    let emptied = if scenario.empty { ", emptied before each run" } else { "" };
    format!(
        "BPF_PROG_TEST_RUN, {packets} repeats a run, {RUNS} runs in turn with the floor's on CPU \
         {cpu}: harness (36 bytes of the packet written, a tail call) and program, less harness and \
         XDP_TX; least less least, median less median; frames of {} bytes, {flows}, {} backends, flow \
         table of {room} records{emptied}; by its counters the program did take this path",
        scenario.kind.frame().len(),
        subject::BACKENDS,
    )
}

/// Keeps this thread on the last CPU that it may use; interrupts tend to go to the first.
pub(in crate::bench) fn pin() -> Result<usize> {
    // SAFETY: CPU sets are plain bits, and the calls get their right size.
    unsafe {
        let size = size_of::<libc::cpu_set_t>();
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        ensure!(libc::sched_getaffinity(0, size, &mut set) == 0, "cannot read the CPU affinity");
        let last = (0..libc::CPU_SETSIZE as usize).rfind(|&cpu| libc::CPU_ISSET(cpu, &set));
        let cpu = last.context("no CPU to run on")?;
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(cpu, &mut set);
        ensure!(libc::sched_setaffinity(0, size, &set) == 0, "cannot stay on CPU {cpu}");
        Ok(cpu)
    }
}
