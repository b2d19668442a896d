//! Nanoseconds a packet of the XDP program, by BPF_PROG_TEST_RUN.
//!
//! A harness program makes each packet new and goes on into the program under test by a tail call
//! (`ebpf/program/src/bench.rs`); the same harness before a program that returns XDP_TX or XDP_PASS
//! at once is the floor that is subtracted. Runs of both take turns, on one CPU.

mod harness;
mod subject;

use anyhow::{Context, Result, anyhow, ensure};
use vc5_ebpf_abi::Reason;

use self::{harness::Harness, subject::Subject};
use super::{Record, min_and_median};

/// Pairs of runs (floor, program).
const RUNS: usize = 31;
/// Packets of a run.
const PACKETS: u32 = 200_000;

const VIP: [u8; 4] = [192, 0, 2, 1];
const ELSEWHERE: [u8; 4] = [192, 0, 2, 77];

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

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
    destination: [u8; 4],
    tcp_flags: u8,
    /// Number of flows, less one, over which the packets are spread in turn.
    mask: u32,
    /// Packets to put through before measuring.
    warm_up: u32,
    reason: Reason,
    /// The program that is the floor.
    floor: &'static str,
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "xdp/pass",
        destination: ELSEWHERE,
        tcp_flags: ACK,
        mask: 0,
        warm_up: 1000,
        reason: Reason::NotVip,
        floor: "pass",
    },
    Scenario {
        name: "xdp/hit, 1 flow",
        destination: VIP,
        tcp_flags: ACK,
        mask: 0,
        warm_up: 1000,
        reason: Reason::Flow,
        floor: "tx",
    },
    Scenario {
        name: "xdp/hit, 65,536 flows",
        destination: VIP,
        tcp_flags: ACK,
        mask: 0xffff,
        warm_up: 1 << 18,
        reason: Reason::Flow,
        floor: "tx",
    },
    Scenario {
        name: "xdp/SYN, same flow",
        destination: VIP,
        tcp_flags: SYN,
        mask: 0,
        warm_up: 1000,
        reason: Reason::Ring,
        floor: "tx",
    },
    Scenario {
        name: "xdp/SYN, always a new flow",
        destination: VIP,
        tcp_flags: SYN,
        mask: u32::MAX,
        warm_up: 1 << 18,
        reason: Reason::Ring,
        floor: "tx",
    },
    Scenario {
        name: "xdp/miss, insert into a full table",
        destination: VIP,
        tcp_flags: ACK,
        mask: u32::MAX,
        warm_up: subject::FLOWS * 3,
        reason: Reason::Ring,
        floor: "tx",
    },
];

fn measure_all() -> Result<Vec<Record>> {
    let cpu = pin()?;
    let mut harness = Harness::load()?;
    let mut records = Vec::new();
    for floor in ["drop", "tx"] {
        records.push(measure_floor(&mut harness, floor, cpu)?);
    }
    for scenario in &SCENARIOS {
        records.push(measure(&mut harness, scenario, cpu).context(scenario.name)?);
    }
    Ok(records)
}

fn measure_floor(harness: &mut Harness, name: &str, cpu: usize) -> Result<Record> {
    harness.control(&frame(VIP, ACK), 0)?;
    harness.aim(&harness.own(name)?)?;
    let runs = (0..RUNS).map(|_| harness.time(PACKETS)).collect::<Result<Vec<f64>>>()?;
    let method = format!(
        "BPF_PROG_TEST_RUN, {PACKETS} repeats a run, CPU {cpu}: the harness (40 bytes of the packet \
         written, a tail call) before a program that returns at once; the kernel's own time, in \
         whole nanoseconds"
    );
    Ok(record(&format!("xdp/floor, XDP_{}", name.to_uppercase()), runs, None, method))
}

fn measure(harness: &mut Harness, scenario: &Scenario, cpu: usize) -> Result<Record> {
    // Loaded anew each time: tables that hold nothing of the scenario before.
    let mut subject = Subject::load(VIP)?;
    harness.control(&frame(scenario.destination, scenario.tcp_flags), scenario.mask)?;
    let (floor, program) = (harness.own(scenario.floor)?, subject.fd()?);
    harness.aim(&program)?;
    harness.time(scenario.warm_up)?;
    let before = subject.count(scenario.reason)?;
    let (mut floors, mut figures) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        harness.aim(&floor)?;
        floors.push(harness.time(PACKETS)?);
        harness.aim(&program)?;
        figures.push(harness.time(PACKETS)?);
    }
    let counted = subject.count(scenario.reason)? - before;
    let packets = RUNS as u64 * u64::from(PACKETS);
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
    let flows = match scenario.mask {
        u32::MAX => "a new flow each time".to_owned(),
        0 => "one flow".to_owned(),
        mask => format!("{} flows in turn", u64::from(mask) + 1),
    };
    format!(
        "BPF_PROG_TEST_RUN, {PACKETS} repeats a run, {RUNS} runs in turn with the floor's on CPU \
         {cpu}: harness (40 bytes of the packet written, a tail call) and program, less harness and \
         XDP_{}; least less least, median less median; 60-byte TCP packets, {flows}, {} backends, \
         flow table of {} records; by its counters the program did take this path",
        scenario.floor.to_uppercase(),
        subject::BACKENDS,
        subject::FLOWS,
    )
}

/// A TCP packet of 60 bytes; checksums are left out, as nothing here looks at them.
fn frame(destination: [u8; 4], tcp_flags: u8) -> Vec<u8> {
    let mut frame = [&subject::OUR_MAC[..], &[2, 0, 0, 0, 0, 9, 8, 0]].concat();
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 0]);
    frame.extend(destination);
    frame.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, tcp_flags]);
    frame.resize(60, 0);
    frame
}

/// Keeps this thread on the last CPU that it may use; interrupts tend to go to the first.
fn pin() -> Result<usize> {
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
