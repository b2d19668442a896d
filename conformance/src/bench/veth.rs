//! Packets from end to end on one core: made by the kernel, over a veth, through the program, and back to where they
//! are dropped and counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use vc5_xdp::{
    AttachMode, BackendSpec, Dataplane, DataplaneConfig, Desired, Event, L4, OnDown, OnStop, Ports,
    RealState, ServiceSpec, Unknown, VipSpec,
};

use super::xdp::harness::Harness;
use super::{Record, min_and_median, xdp::pin};
use crate::lab::live::Wire;
use crate::lab::live::frame::flags;
use crate::lab::{Lab, Netns, wait};

const RUNS: usize = 21;
/// Packets of a run.
const PACKETS: u32 = 500_000;
/// Packets that the generator makes before it lets them be worked on: fewer than a veth's queue takes (256).
const BATCH: u32 = 64;
const BACKENDS: u16 = 100;
const FLOWS: u32 = 1 << 20;
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Where the last four bytes of an IPv4 source address lie in a frame.
const SOURCE_AT: usize = 26;

/// What is sent.
struct Scenario {
    name: &'static str,
    what: &'static str,
    tcp_flags: u8,
    /// Number of flows, less one.
    mask: u32,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario { name: "xdp.veth_mpps", what: "one flow", tcp_flags: flags::ACK, mask: 0 },
    Scenario {
        name: "xdp.veth_mpps_64k",
        what: "65,536 flows in turn",
        tcp_flags: flags::ACK,
        mask: 0xffff,
    },
    Scenario {
        name: "xdp.veth_mpps_syn",
        what: "SYNs, always of a new flow",
        tcp_flags: flags::SYN,
        mask: u32::MAX,
    },
    Scenario {
        name: "xdp.veth_mpps_new",
        what: "always a new flow, whose record is made",
        tcp_flags: flags::ACK,
        mask: u32::MAX,
    },
];

/// Measures all of it.
///
/// # Errors
/// The lab cannot be built, or a program cannot be loaded.
pub fn run() -> Result<Vec<Record>> {
    let mut wire = Wire::new(Lab::new(std::env::current_exe()?)?)?;
    for backend in 0..BACKENDS {
        // All behind the interface by which the packets come.
        wire.set_neighbour(backend * 2, 0)?;
    }
    wire.wait_neighbours(usize::from(BACKENDS))?;
    let mut bench = Bench::new(&wire)?;
    let floor = bench.floor()?;
    let (dataplane, mut events) = wire.at_balancer(|| Dataplane::start(config()))??;
    dataplane.apply(1, desired());
    loop {
        match events.blocking_recv().context("the dataplane has ended")? {
            Event::Applied { not_ready, .. } => {
                ensure!(not_ready.is_empty(), "{not_ready:?}");
                break;
            }
            Event::ApplyFailed { error, .. } => return Err(anyhow!(error)),
            _ => {}
        }
    }
    let floor_sent = bench.sent;
    let mut records = Vec::new();
    for scenario in &SCENARIOS {
        records.push(bench.measure(scenario, floor)?);
    }
    records.push(bench.loss());
    // Counters are read once a second.
    wait::until_true("all packets counted", Duration::from_secs(5), || {
        let snapshot = dataplane.snapshot();
        let services = snapshot.vips.iter().flat_map(|vip| &vip.services);
        let counted: u64 = services.map(|service| service.counters.packets).sum();
        Ok(counted + bench.lost == bench.sent - floor_sent)
    })?;
    dataplane.stop(OnStop::Remove)?;
    Ok(records)
}

/// The generator, the sink and what they have counted.
struct Bench<'w> {
    wire: &'w Wire,
    harness: Harness,
    mac: [u8; 6],
    /// Index of the interface at which packets begin and end.
    index: u32,
    sent: u64,
    lost: u64,
}

impl<'w> Bench<'w> {
    fn new(wire: &'w Wire) -> Result<Self> {
        let [mac, _] = wire.macs()?;
        let [end, _] = Wire::ends();
        let mut harness = Harness::load()?;
        wire.far_end().ip(&format!("link set dev {end} xdp off"))?;
        let index = index_of(wire.far_end(), end)?;
        wire.ends_entry()?.run(|| harness.attach("drop", index))??;
        harness.aim(&harness.own("tx")?)?;
        Ok(Self { wire, harness, mac, index, sent: 0, lost: 0 })
    }

    /// Millions a second with a program in the balancer's place that sends all back at once.
    fn floor(&mut self) -> Result<f64> {
        let interfaces = Wire::interfaces();
        let own = interfaces.first().context("no interface")?;
        let index = index_of(self.wire.balancer(), own)?;
        let harness = &mut self.harness;
        let link = self.wire.at_balancer(|| harness.attach("tx", index))??;
        let figures = self.rates(&SCENARIOS[0])?;
        self.harness.detach("tx", link)?;
        Ok(PACKETS_IN_MILLIONS / min_and_median(figures).0)
    }

    /// Seconds that each run took.
    fn rates(&mut self, scenario: &Scenario) -> Result<Vec<f64>> {
        self.harness.control(&frame(self.mac, scenario.tcp_flags), SOURCE_AT, scenario.mask)?;
        let [end, _] = Wire::ends();
        let (entry, mut times) = (self.wire.ends_entry()?, Vec::new());
        // The first ones make the flows.
        for run in 0..RUNS + 2 {
            let before = self.wire.far_end().counters(end)?.rx_packets;
            let (harness, index) = (&self.harness, self.index);
            let took = entry.run(|| -> Result<Duration> {
                pin()?;
                let began = Instant::now();
                harness.send(PACKETS, index, BATCH)?;
                Ok(began.elapsed())
            })??;
            let arrived = self.wire.far_end().counters(end)?.rx_packets - before;
            self.sent += u64::from(PACKETS);
            self.lost += u64::from(PACKETS).saturating_sub(arrived);
            if run >= 2 {
                times.push(took.as_secs_f64());
            }
        }
        Ok(times)
    }

    fn measure(&mut self, scenario: &Scenario, floor: f64) -> Result<Record> {
        let (sent, lost) = (self.sent, self.lost);
        let times = self.rates(scenario)?;
        let (least, median) = min_and_median(times);
        let (sent, lost) = (self.sent - sent, self.lost - lost);
        let best = PACKETS_IN_MILLIONS / least;
        Ok(Record {
            name: scenario.name.into(),
            value: best,
            unit: "Mpackets/s".into(),
            min: best,
            median: PACKETS_IN_MILLIONS / median,
            runs: RUNS,
            floor: Some(floor),
            peer: None,
            peer_value: None,
            method: format!(
                "BPF_PROG_TEST_RUN with live frames, {PACKETS} a run in batches of {BATCH}, {}: 60-byte TCP packets out \
                 by a veth, through the program in native mode to one of {BACKENDS} backends by XDP_TX, back and \
                 dropped by XDP, all on one core; floor: XDP_TX without more in the program's place; {lost} of \
                 {sent} packets lost",
                scenario.what,
            ),
        })
    }

    fn loss(&self) -> Record {
        let lost = self.lost as f64;
        Record {
            name: "xdp.veth_loss".into(),
            value: lost,
            unit: "packets".into(),
            min: lost,
            median: lost,
            runs: RUNS,
            floor: None,
            peer: None,
            peer_value: None,
            method: format!(
                "of {} packets of all runs of xdp.veth_mpps and its like, and of the floor, by the far end's counter",
                self.sent
            ),
        }
    }
}

const PACKETS_IN_MILLIONS: f64 = PACKETS as f64 / 1e6;

fn index_of(namespace: &Netns, interface: &str) -> Result<u32> {
    let link = namespace.ip(&format!("-o link show {interface}"))?;
    let index = link.split(':').next().context("no index")?;
    Ok(index.trim().parse()?)
}

fn config() -> DataplaneConfig {
    DataplaneConfig {
        interfaces: Wire::interfaces(),
        vlans: BTreeMap::new(),
        mode: AttachMode::Native,
        pin_path: None,
        hash_key: *b"a key of the lab",
        flows: FLOWS,
        max_reals: 1 << 12,
        settle_time: Duration::from_secs(1),
        drain_time: Duration::from_secs(1),
        sample: None,
    }
}

fn desired() -> Desired {
    let backend = |backend: u16| BackendSpec {
        address: Wire::address(backend * 2),
        weight: 1,
        state: RealState::Live,
    };
    let service = ServiceSpec {
        ports: Ports::One(80),
        protocol: L4::Tcp,
        ttl: Some(1),
        on_down: OnDown::Reselect,
        sticky: false,
        serving: true,
        needed: true,
        backends: (0..BACKENDS).map(backend).collect(),
    };
    let (address, unknown) = (IpAddr::V4(VIP), Unknown::Drop);
    Desired { vips: vec![VipSpec { address, up: true, unknown, services: vec![service] }] }
}

/// A TCP packet of 60 bytes; checksums are left out, as nothing here looks at them.
fn frame(mac: [u8; 6], tcp_flags: u8) -> Vec<u8> {
    let mut frame = [&mac[..], &[2, 0, 0, 0, 0, 9, 8, 0]].concat();
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 18, 0, 0]);
    frame.extend(VIP.octets());
    frame.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, tcp_flags]);
    frame.resize(60, 0);
    frame
}
