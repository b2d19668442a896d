//! The flow table grows under live traffic, and connections that were there before go on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::maps::{Array, Map, MapData};
use tokio::sync::mpsc::UnboundedReceiver;
use vc5_conformance::lab::live::{
    Ledger, Machine, Pace, Report, Rng, Standing, Target, Transport, Violation, Wire, owner,
};
use vc5_ebpf_abi::{Active, BUCKET_WAYS, maps};
use vc5_xdp::{
    AttachMode, BackendSpec, Dataplane, DataplaneConfig, Desired, Event, OnStop, RealState,
};

use super::{Stopping, seed, turn, wire};

const BACKENDS: u16 = 40;
/// Flows to remember: 32 times as many as there is room for at first.
const FLOWS: u32 = 32 * Active::FIRST * BUCKET_WAYS as u32;
/// How often the part of the table that is in use doubles.
const DOUBLINGS: u32 = 3;
/// Services whose connections last, TCP and UDP by turns, and connections to each.
const LASTING: (u16, u16) = (4, 4_000);
/// Services with brief connections, which make the table fill, and connections to each.
const BRIEF: (u16, u16) = (9, 48_000);
const PATIENCE: Duration = Duration::from_secs(60);
/// For how long the table may take to double: that is up to how fast frames can be sent.
const DOUBLING: Duration = Duration::from_secs(120);

fn targets() -> Vec<Target> {
    let vips: [IpAddr; 2] = [[203, 0, 113, 1].into(), [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1].into()];
    let target = |number: u16, vip, connections, brief| Target {
        vip,
        ports: (80 + number, 80 + number),
        transport: if number.is_multiple_of(2) { Transport::Tcp } else { Transport::Udp },
        ttl: 1,
        connections,
        packets: (50, 60),
        brief,
    };
    let lasting = (0..LASTING.0).map(|n| target(n, vips[usize::from(n / 2 % 2)], LASTING.1, false));
    let brief = (0..BRIEF.0).map(|n| target(2 * n + 100, vips[0], BRIEF.1, true));
    lasting.chain(brief).collect()
}

/// A state. From each to the next, backends come, and all change their weights, so that most flows
/// would go elsewhere if there were no record of them.
fn state(number: u32) -> Desired {
    let there = (20 + number as u16 * 5).min(BACKENDS);
    owner::desired(targets(), || {
        let mut rng = Rng::new(u64::from(number));
        let backend = |backend| BackendSpec {
            address: Wire::address(backend),
            weight: rng.below(8) as u32 + 1,
            state: RealState::Live,
        };
        (0..there).map(backend).collect()
    })
}

struct Story<'a> {
    dataplane: Dataplane,
    events: UnboundedReceiver<Event>,
    ledger: &'a Ledger,
    active: Array<MapData, Active>,
    state: u32,
    /// Services with brief connections that get packets already.
    open: u16,
}

impl Story<'_> {
    fn change(&mut self) {
        self.state += 1;
        let seq = u64::from(self.state);
        self.ledger.mark_change();
        self.dataplane.apply(seq, state(self.state));
        loop {
            match self.events.blocking_recv().expect("the dataplane has ended") {
                Event::Applied { seq: s, not_ready, .. } if s == seq => {
                    assert_eq!(not_ready, []);
                    return self.ledger.mark_change();
                }
                Event::ApplyFailed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Waits until so many frames more have arrived.
    fn watch(&self, frames: u64) {
        let from = self.ledger.received();
        self.wait(|| self.ledger.received() >= from + frames);
    }

    fn wait(&self, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() && !self.ledger.is_stopped() {
            assert!(Instant::now() < deadline, "it does not come to that within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Buckets in use, once all records are where they belong.
    fn buckets(&self) -> Option<u32> {
        let mask = FLOWS / BUCKET_WAYS as u32 - 1;
        let active = self.active.get(&0, 0).unwrap();
        active.former_mask(mask).is_none().then(|| active.mask(mask) + 1)
    }

    /// Opens one service after another until the table has grown as often as it shall.
    fn tell(&mut self) {
        let lasting = 0..usize::from(LASTING.0);
        lasting.for_each(|service| self.ledger.open(service));
        self.watch(u64::from(LASTING.0 * LASTING.1) * 6);
        assert_eq!(self.buckets(), Some(Active::FIRST));
        for doubled in (1..=DOUBLINGS).map(|times| Active::FIRST << times) {
            self.change();
            let deadline = Instant::now() + DOUBLING;
            while self.buckets().is_none_or(|buckets| buckets < doubled) {
                assert!(!self.ledger.is_stopped(), "frames are lost");
                let is_late = Instant::now() >= deadline;
                assert!(!is_late, "{doubled} buckets are not in use after {DOUBLING:?}");
                if self.open < BRIEF.0 {
                    self.ledger.open(usize::from(LASTING.0 + self.open));
                    self.open += 1;
                }
                self.watch(100_000);
            }
            self.watch(100_000);
        }
    }
}

/// The map that says how much of the table is in use.
fn active(pins: &Path) -> Result<Array<MapData, Active>> {
    for entry in std::fs::read_dir(pins)? {
        let path = entry?.path().join(maps::ACTIVE);
        if path.exists() {
            return Ok(Map::from_map_data(MapData::from_pin(path)?)?.try_into()?);
        }
    }
    anyhow::bail!("no map {} in {}", maps::ACTIVE, pins.display())
}

/// No frame may be lost, and no connection moved but those whose record had to make room.
fn judge(seed: u64, report: &Report, replaced: u64) {
    assert_eq!((report.received, report.dropped), (report.sent, 0), "{report}");
    for (what, (count, _)) in &report.violations {
        let is_replaced = *what == Violation::Moved && *count <= replaced;
        assert!(is_replaced, "VC5_SEED={seed}, {replaced} records made room: {report}");
    }
}

#[test]
fn the_flow_table_grows_and_no_packet_is_lost() {
    let _turn = turn();
    let seed = seed();
    let wire = wire(BACKENDS);
    let targets = targets();
    let ledger = Ledger::new(targets.len(), usize::from(BACKENDS));
    for backend in (0..targets.len()).flat_map(|s| (0..BACKENDS).map(move |b| (s, b))) {
        let backend = ledger.backend(backend.0, backend.1).unwrap();
        backend.before(Standing::Live);
        backend.after(Standing::Live);
    }
    let pace = Pace { rate: 150_000, vlan: 0 };
    let machine = Machine::new(&ledger, targets, pace, wire.macs().unwrap(), seed);
    let config = DataplaneConfig {
        interfaces: Wire::interfaces(),
        vlans: BTreeMap::new(),
        mode: AttachMode::Native,
        pin_path: Some(wire.pin_path()),
        hash_key: *b"a key of the lab",
        flows: FLOWS,
        max_reals: 1 << 14,
        settle_time: Duration::from_millis(200),
        drain_time: Duration::from_secs(60),
        sample: None,
    };
    let (dataplane, events) = wire.at_balancer(|| Dataplane::start(config)).unwrap().unwrap();
    let active = active(&wire.pin_path()).context("no pinned map").unwrap();
    let ends = wire.ends_entry().unwrap();
    let mut story = Story { dataplane, events, ledger: &ledger, active, state: 0, open: 0 };
    story.change();
    let report = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| ends.run(|| machine.run()).unwrap());
        let stopping = Stopping(&ledger);
        story.tell();
        drop(stopping);
        traffic.join().unwrap().unwrap()
    });
    let flows = story.dataplane.flows().unwrap();
    // Counters are read once a second.
    std::thread::sleep(Duration::from_millis(1500));
    let snapshot = story.dataplane.snapshot();
    let count = |name| snapshot.events.iter().find(|(event, _)| *event == name).unwrap().1;
    let replaced = count("flow-replaced");
    println!("{report}{} flows are known, {replaced} records had to make room", flows.used);
    story.dataplane.stop(OnStop::Remove).unwrap();
    judge(seed, &report, replaced);
    let tuples = report.connections - report.reused;
    // Each has one record, but where that had to make room, and where there was no more than a SYN.
    let displaced = replaced + count("flow-replaced-closing");
    let least = tuples.saturating_sub(u64::from(LASTING.0 * LASTING.1) + displaced);
    assert!(
        (least..=tuples).contains(&flows.used),
        "{} flows of {tuples} 5-tuples, of which {displaced} were displaced",
        flows.used
    );
}
