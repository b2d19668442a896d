//! The owner of a dataplane is killed under live traffic, and another takes over.

use std::path::Path;
use std::time::{Duration, Instant};

use aya::programs::links::{FdLink, PinnedLink};
use vc5_conformance::lab::live::owner::{self, BACKENDS, Owner};
use vc5_conformance::lab::live::{Ledger, Machine, Pace, Rng, Standing, Wire};

use super::{Stopping, TOOL, seed, turn, wire};

/// Flows to remember at first, and in a larger and a yet larger table.
const FLOWS: [u32; 3] = [1 << 18, 1 << 19, 1 << 20];
/// Connections to each service at a time: so many that each lasts for several restarts.
const CONNECTIONS: u16 = 2500;
/// Frames to be seen between two events.
const FRAMES: u64 = 8_000;
const PATIENCE: Duration = Duration::from_secs(30);

struct Story<'a> {
    wire: &'a Wire,
    ledger: &'a Ledger,
    rng: Rng,
    state: u32,
    kills: u32,
    /// Owners killed when their program was in force on one interface, and not yet on the other.
    between: u32,
}

impl Story<'_> {
    /// Waits until so many frames more have arrived, whoever runs or not.
    fn watch(&self, frames: u64) {
        let (from, deadline) = (self.ledger.received(), Instant::now() + PATIENCE);
        while self.ledger.received() < from + frames && !self.ledger.is_stopped() {
            assert!(Instant::now() < deadline, "frames do not arrive");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn start(&self, flows: u32) -> Owner {
        self.ledger.mark_change();
        let mut owner = Owner::spawn(self.wire, TOOL, flows).unwrap();
        owner.wait_started().unwrap();
        self.ledger.mark_change();
        owner
    }

    /// Changes rings a few times, and kills the owner in the midst of a change.
    fn change_and_kill(&mut self, mut owner: Owner) {
        for _ in 0..3 {
            self.state += 1;
            owner.apply(self.state).unwrap();
            self.watch(FRAMES / 8);
        }
        self.state += 1;
        owner.begin(self.state).unwrap();
        std::thread::sleep(Duration::from_micros(self.rng.below(6_000) as u64));
        owner.kill().unwrap();
        self.kills += 1;
        self.watch(FRAMES);
    }

    /// Starts owners that get as far as they get in a little while: until any time, or until their
    /// program is about to come into force, or has just begun to.
    fn kill_while_starting(&mut self, flows: u32) {
        for _ in 0..4 {
            self.ledger.mark_change();
            let (before, kind) = (self.pinned(), self.rng.below(4));
            let owner = Owner::spawn(self.wire, TOOL, flows).unwrap();
            match kind {
                0 => self.wait_pinned(|now| now.tables != before.tables),
                1 | 2 => self.wait_pinned(|now| now.programs != before.programs),
                _ => {}
            }
            // In a row of changes of programs the time between two is what is aimed at.
            let most = [100_000, 1, 1_000, 400_000][kind];
            std::thread::sleep(Duration::from_micros(self.rng.below(most) as u64));
            owner.kill().unwrap();
            self.kills += 1;
            let [one, other] = self.pinned().programs[..] else { panic!("two interfaces") };
            self.between += u32::from(one != other);
            self.watch(FRAMES / 4);
        }
    }

    fn pinned(&self) -> Pinned {
        self.wire.at_balancer(|| Pinned::read(&self.wire.pin_path())).unwrap()
    }

    /// Waits until what is pinned is so; or for a second, as it may never be.
    fn wait_pinned(&self, is_so: impl Fn(&Pinned) -> bool + Sync) {
        let (path, deadline) = (self.wire.pin_path(), Instant::now() + Duration::from_secs(1));
        let wait = || while !is_so(&Pinned::read(&path)) && Instant::now() < deadline {};
        self.wire.at_balancer(wait).unwrap();
    }

    fn tell(&mut self, mut owner: Owner) {
        self.change_and_kill(owner);
        for flows in FLOWS {
            self.kill_while_starting(flows);
            owner = self.start(flows);
            self.watch(FRAMES);
            owner.apply(self.state).unwrap();
            self.change_and_kill(owner);
        }
        owner = self.start(FLOWS[2]);
        owner.apply(self.state).unwrap();
        self.watch(FRAMES);
        owner.end().unwrap();
        self.watch(FRAMES);
    }
}

/// What of a start can be seen from outside.
struct Pinned {
    /// How many sets of tables are complete.
    tables: usize,
    /// The program on each interface.
    programs: Vec<u32>,
}

impl Pinned {
    fn read(path: &Path) -> Self {
        let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
        let program = |path: &Path| {
            Some(FdLink::from(PinnedLink::from_pin(path).ok()?).info().ok()?.program_id())
        };
        Self {
            tables: entries(path).filter(|entry| entry.path().join("SETTINGS").exists()).count(),
            programs: entries(&path.join("links"))
                .filter_map(|entry| program(&entry.path()))
                .collect(),
        }
    }
}

#[test]
fn owners_that_are_killed_lose_no_packet_and_move_no_connection() {
    let _turn = turn();
    let seed = seed();
    let wire = wire(BACKENDS);
    let targets = owner::targets(CONNECTIONS);
    let ledger = Ledger::new(targets.len(), usize::from(BACKENDS));
    let services = 0..targets.len();
    for backend in services.clone().flat_map(|s| (0..BACKENDS).map(move |b| (s, b))) {
        let backend = ledger.backend(backend.0, backend.1).unwrap();
        backend.before(Standing::Live);
        backend.after(Standing::Live);
    }
    let pace = Pace { rate: 120_000, packets: (6, 40), vlan: 0 };
    let mut rng = Rng::new(seed);
    let machine = Machine::new(&ledger, targets, pace, wire.macs().unwrap(), rng.next());
    let ends = wire.ends_entry().unwrap();
    let mut story = Story { wire: &wire, ledger: &ledger, rng, state: 0, kills: 0, between: 0 };
    let mut owner = story.start(FLOWS[0]);
    owner.apply(0).unwrap();
    services.for_each(|service| ledger.open(service));
    let report = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| ends.run(|| machine.run()).unwrap());
        let stopping = Stopping(&ledger);
        story.tell(owner);
        drop(stopping);
        traffic.join().unwrap().unwrap()
    });
    let Story { kills, between, .. } = story;
    println!("{kills} owners were killed, {between} of them between two interfaces\n{report}");
    wire.at_balancer(|| vc5_xdp::detach(&wire.pin_path())).unwrap().unwrap();
    assert!(report.violations.is_empty(), "VC5_SEED={seed}: {report}");
    assert_eq!((report.received, report.dropped, report.moves), (report.sent, 0, 0));
    assert!(report.reused > 0 && report.straddled_syn > 0, "{report}");
}
