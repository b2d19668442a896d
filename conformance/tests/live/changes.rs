//! Ten thousand changes under live traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use vc5_conformance::lab::live::frame::backend_mac;
use vc5_conformance::lab::live::{Ledger, Machine, Pace, Rng, Standing, Wire};
use vc5_xdp::{
    AttachMode, Dataplane, DataplaneConfig, Event, Mac, NeighbourState, NotReady, OnStop, Snapshot,
};

use super::model::{BACKENDS, CLIENTS, Change, DRAIN, Kind, Model, PLAN};
use super::{Stopping, seed, turn, wire};

const CHANGES: u32 = 10_000;
/// Far longer than anything here takes: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who changes the dataplane, and keeps the ledger.
struct Control<'a> {
    dataplane: Dataplane,
    events: UnboundedReceiver<Event>,
    ledger: &'a Ledger,
    wire: &'a mut Wire,
    seq: u64,
    backends: BTreeMap<IpAddr, u16>,
    /// MAC addresses that the dataplane has not followed yet: their number, and whether it was heard of.
    macs: BTreeMap<u16, (u16, bool)>,
    settled: Vec<u16>,
    slowest: Duration,
}

impl Control<'_> {
    /// Puts a state in force that differs from that before by these changes.
    fn apply(&mut self, model: &Model, changes: &[Change]) {
        self.before(model, changes);
        self.seq += 1;
        self.ledger.mark_change();
        self.direct(model, changes);
        self.dataplane.apply(self.seq, model.desired());
        let not_ready = self.wait_applied();
        self.ledger.mark_change();
        assert_eq!(not_ready, []);
        self.after(model, changes);
    }

    /// Has those that are in another VLAN now reached there.
    fn direct(&self, model: &Model, changes: &[Change]) {
        let is_moved = |change: &Change| match change {
            Change::Vlan(backend, _) => Some(*backend),
            _ => None,
        };
        let moved: Vec<u16> = changes.iter().filter_map(is_moved).collect();
        if moved.is_empty() {
            return;
        }
        self.dataplane.direct(model.ways()).unwrap();
        moved.iter().for_each(|backend| self.ledger.vlan(*backend).unwrap().after());
    }

    fn before(&mut self, model: &Model, changes: &[Change]) {
        let ends: Vec<usize> = changes
            .iter()
            .filter_map(
                |change| if let Change::End(service) = change { Some(*service) } else { None },
            )
            .collect();
        assert!(self.ledger.close(&ends), "frames to a service are lost");
        for change in changes {
            match *change {
                Change::Backend(service, backend, standing) => {
                    self.ledger.backend(service, backend).unwrap().before(standing);
                }
                Change::Begin(service) | Change::End(service) => {
                    let standing = standing_of(change);
                    for backend in model.services[service].members.keys() {
                        self.ledger.backend(service, *backend).unwrap().before(standing);
                    }
                }
                Change::Mac(backend, address) => {
                    self.ledger.mac(backend).unwrap().before(address);
                    self.macs.insert(backend, (address, false));
                    self.wire.set_neighbour(backend, address).unwrap();
                }
                Change::Vlan(backend, vlan) => self.ledger.vlan(backend).unwrap().before(vlan),
            }
        }
    }

    fn after(&mut self, model: &Model, changes: &[Change]) {
        for change in changes {
            match *change {
                Change::Backend(service, backend, standing) => {
                    self.ledger.backend(service, backend).unwrap().after(standing);
                }
                Change::Begin(service) | Change::End(service) => {
                    let standing = standing_of(change);
                    for backend in model.services[service].members.keys() {
                        self.ledger.backend(service, *backend).unwrap().after(standing);
                    }
                    if standing == Standing::Live {
                        self.ledger.open(service);
                    }
                }
                Change::Mac(..) | Change::Vlan(..) => {}
            }
        }
    }

    fn wait_applied(&mut self) -> Vec<NotReady> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Ok(event) = self.events.try_recv() else {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            };
            match event {
                Event::Applied { seq, took, not_ready } => {
                    self.slowest = self.slowest.max(took);
                    self.settle_macs();
                    if seq == self.seq {
                        return not_ready;
                    }
                }
                Event::ApplyFailed { seq, error } => panic!("change {seq}: {error}"),
                Event::Neighbour { address, state } => self.heard(address, state),
                Event::ReadinessChanged { .. } | Event::Attached { .. } => {}
                Event::Detached { interface, reason } => panic!("{interface}: {reason}"),
            }
        }
        panic!("change {} was not acknowledged within {PATIENCE:?}", self.seq);
    }

    /// Those that were left out are forgotten.
    fn wait_departures(&self) {
        let leaving = |snapshot: &Snapshot| {
            let services = snapshot.vips.iter().flat_map(|vip| &vip.services);
            services.flat_map(|service| &service.backends).any(|backend| backend.leaving)
        };
        let deadline = Instant::now() + PATIENCE;
        while leaving(&self.dataplane.snapshot()) {
            assert!(Instant::now() < deadline, "backends that were left out are there yet");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn heard(&mut self, address: IpAddr, state: NeighbourState) {
        let Some(backend) = self.backends.get(&address) else { return };
        if let Some((number, heard)) = self.macs.get_mut(backend) {
            *heard |= state == NeighbourState::Resolved(Mac(backend_mac(*backend, *number)));
        }
    }

    /// What was heard of before an acknowledgement is in force with it.
    fn settle_macs(&mut self) {
        for (backend, (address, _)) in self.macs.extract_if(.., |_, (_, heard)| *heard) {
            self.ledger.mac(backend).unwrap().after(address);
            self.settled.push(backend);
        }
    }
}

fn standing_of(change: &Change) -> Standing {
    match change {
        Change::Begin(_) => Standing::Live,
        _ => Standing::Absent { drain: 0 },
    }
}

/// Draws changes in batches and has each put in force.
fn play(
    control: &mut Control<'_>,
    model: &mut Model,
    rng: &mut Rng,
    wanted: u32,
) -> BTreeMap<Kind, u32> {
    let mut left: BTreeMap<Kind, u32> = PLAN.into_iter().collect();
    let mut done: BTreeMap<Kind, u32> = BTreeMap::new();
    let mut total = 0;
    while total < wanted || !control.macs.is_empty() {
        let (mut changes, mut touched) = (Vec::new(), BTreeSet::new());
        // Mostly a few at a time, now and then many.
        let most = if rng.below(3) == 0 { 60 } else { 8 };
        let size = if total < wanted { 1 + rng.below(most) } else { 0 };
        for _ in 0..size {
            let kind = kind(&left, rng);
            if let Some(made) = model.draw(kind, rng, &mut touched) {
                changes.extend(made);
                total += 1;
                *done.entry(kind).or_default() += 1;
                left.entry(kind).and_modify(|left| *left = left.saturating_sub(1));
            }
        }
        control.apply(model, &changes);
        for backend in control.settled.drain(..) {
            model.waiting.remove(&backend);
        }
        if control.ledger.is_stopped() {
            break;
        }
    }
    done
}

/// A kind, by how many of each are wanted yet.
fn kind(left: &BTreeMap<Kind, u32>, rng: &mut Rng) -> Kind {
    let sum: u32 = left.values().map(|left| left + 1).sum();
    let mut at = rng.below(sum as usize) as u32;
    for (kind, left) in left {
        if at <= *left {
            return *kind;
        }
        at -= left + 1;
    }
    Kind::Weight
}

#[test]
fn ten_thousand_changes_lose_no_packet_and_move_no_connection() {
    let _turn = turn();
    let seed = seed();
    let wanted = std::env::var("VC5_CHANGES").map_or(CHANGES, |text| text.parse().unwrap());
    let mut rng = Rng::new(seed);
    let mut wire = wire(BACKENDS);
    let mut model = Model::new();
    let ledger = Ledger::new(model.services.len(), usize::from(BACKENDS));
    let pace = Pace { rate: 150_000, packets: (4, 24), vlan: CLIENTS };
    let machine = Machine::new(&ledger, model.targets(), pace, wire.macs().unwrap(), rng.next());
    let config = DataplaneConfig {
        interfaces: Wire::interfaces(),
        // Of no backend: only so that the interfaces are trunks.
        vlans: BTreeMap::from([(CLIENTS, vec!["192.0.2.0/24".parse().unwrap()])]),
        mode: AttachMode::Native,
        pin_path: None,
        hash_key: *b"a key of the lab",
        flows: 1 << 20,
        max_reals: 1 << 16,
        settle_time: Duration::from_millis(500),
        drain_time: DRAIN,
        sample: Some(6),
    };
    let (dataplane, events) = wire.at_balancer(|| Dataplane::start(config)).unwrap().unwrap();
    let ends = wire.ends_entry().unwrap();
    let backends = (0..BACKENDS).map(|backend| (Wire::address(backend), backend)).collect();
    let mut control = Control {
        dataplane,
        events,
        ledger: &ledger,
        wire: &mut wire,
        seq: 0,
        backends,
        macs: BTreeMap::new(),
        settled: Vec::new(),
        slowest: Duration::ZERO,
    };
    for (service, backend, standing) in model.standings() {
        ledger.backend(service, backend).unwrap().before(standing);
    }
    control.apply(&model, &[]);
    for (service, backend, standing) in model.standings() {
        ledger.backend(service, backend).unwrap().after(standing);
    }
    for service in (0..model.services.len()).filter(|at| model.services[*at].in_force) {
        ledger.open(service);
    }

    let (report, done) = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| ends.run(|| machine.run()).unwrap());
        let stopping = Stopping(&ledger);
        let done = play(&mut control, &mut model, &mut rng, wanted);
        drop(stopping);
        (traffic.join().unwrap().unwrap(), done)
    });
    println!("{report}");
    control.wait_departures();
    let total: u32 = done.values().sum();
    println!(
        "{total} changes in {} steps, the slowest in {:?}: {done:?}",
        control.seq, control.slowest
    );
    let snapshot = control.dataplane.snapshot();
    println!("{:?}\n{:?}", snapshot.reasons, snapshot.events);
    control.dataplane.stop(OnStop::Remove).unwrap();
    wire.finish_neighbours().unwrap();
    // Entries that were set by hand are nobody else's to remove.
    wire.wait_neighbours(usize::from(BACKENDS)).unwrap();
    assert!(report.violations.is_empty(), "VC5_SEED={seed}: {report}");
    assert_eq!((report.received, report.dropped), (report.sent, 0));
    assert!(report.tagged > 0 && report.tagged < report.received, "{report}");
    assert!(total >= wanted, "{total}");
    if wanted == CHANGES {
        assert!(done.values().all(|count| *count >= 500) && done.len() == PLAN.len(), "{done:?}");
        for straddled in [report.straddled_syn, report.straddled_ack, report.reused] {
            assert!(straddled > 100, "{report}");
        }
    }
}
