//! The thread that owns the dataplane: it waits for a new desired state, for news of the network
//! and for time to pass, and does what each asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;

use super::answer::Witness;
use super::mailbox::{Directions, Mailbox, Waiting};
use super::report::{Board, Changed, Report, mode};
use super::samples::Samples;
use super::{OnStop, Snapshot, takeover};
use crate::forwarding::{Forwarding, ForwardingError};
use crate::growth::{self, Growth};
use crate::loader::{Attachments, Loaded, Pins, Status, Tracer};
use crate::maps::KernelTables;
use crate::neighbour::managed::Managed;
use crate::neighbour::{Change, Network};
use crate::netlink::{Listener, NetEvent, Requests};
use crate::offload::{Ethtool, Offloads};
use crate::stats::Stats;
use crate::{Desired, Error, Event, NeighbourState, NotReady, Way, clock};

/// How often counters are read and the attachments looked after: a program that somebody detaches
/// is no event of the kernel's.
const TICK: Duration = Duration::from_secs(1);

/// For how long the program of an earlier run forwards on while not every VIP is ready.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// All that a worker owns.
pub(super) struct Parts {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) listener: Listener,
    pub(super) requests: Requests,
    pub(super) network: Network,
    pub(super) ethtool: Ethtool,
    pub(super) offloads: Offloads,
    pub(super) pins: Option<Pins>,
    pub(super) loaded: Loaded,
    pub(super) attachments: Attachments,
    pub(super) forwarding: Forwarding<KernelTables>,
    pub(super) samples: Samples,
}

/// The dataplane itself.
pub(super) struct Worker {
    parts: Parts,
    managed: Managed,
    not_ready: Vec<NotReady>,
    statuses: Vec<Status>,
    stats: Stats,
    board: Board,
    /// VIPs of which something is not as it was published.
    stale: BTreeSet<IpAddr>,
    /// The program for tracing, once it was needed.
    tracer: Option<Tracer>,
    applied_seq: u64,
    /// The state handed over last, if it could not be put in force.
    failed: Option<Failed>,
    /// Why the program of an earlier run could not be replaced.
    swap_failure: Option<String>,
    /// What is wrong with the kernel's neighbour table.
    neighbour_failure: Option<String>,
    /// Forwarding could not follow the neighbours the last time.
    lagging: bool,
    /// What was due in forwarding could not be done; it waits for the next tick.
    overdue: bool,
    /// Events of the network were lost and could not be asked for since.
    unsynchronised: bool,
    started: Instant,
    next_tick: Instant,
    growth: Growth,
    /// When to look at the flow table, if it can grow.
    next_look: Option<Instant>,
}

/// A desired state that could not be put in force.
struct Failed {
    seq: u64,
    desired: Desired,
    error: String,
}

/// What woke the worker.
enum Wake {
    Mail(Waiting),
    Net(io::Result<Vec<NetEvent>>),
    Samples,
    Time,
    Look,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            parts,
            managed: Managed::default(),
            not_ready: Vec::new(),
            statuses: Vec::new(),
            stats: Stats::default(),
            board: Board::default(),
            stale: BTreeSet::new(),
            tracer: None,
            applied_seq: 0,
            failed: None,
            swap_failure: None,
            neighbour_failure: None,
            lagging: false,
            overdue: false,
            unsynchronised: false,
            started: now,
            next_tick: now,
            growth: Growth::default(),
            next_look: Some(now),
        }
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        self.adopt_neighbours();
        // Interfaces have not been asked for since the program was attached.
        self.tick();
        loop {
            let deadline = tokio::time::Instant::from_std(self.deadline());
            // Whoever hands over one state after another holds up neither news nor time.
            let wake = tokio::select! {
                waiting = self.parts.mailbox.take() => Wake::Mail(waiting),
                events = self.parts.listener.next() => Wake::Net(events),
                () = tokio::time::sleep_until(deadline) => Wake::Time,
                () = self.parts.samples.wait() => Wake::Samples,
                () = until(self.next_look) => Wake::Look,
            };
            match wake {
                Wake::Mail(Waiting { stop: Some(on_stop), .. }) => return self.stop(on_stop),
                Wake::Mail(waiting) => self.mail(waiting),
                Wake::Samples => self.parts.samples.forward(self.parts.forwarding.tables()),
                Wake::Net(Ok(events)) => self.network_events(events),
                Wake::Net(Err(error)) => {
                    // Nothing that is known of makes this happen; time alone would help then.
                    tracing::error!(%error, "listening to the kernel's netlink");
                    tokio::time::sleep(TICK).await;
                    self.resynchronise();
                }
                Wake::Time => self.on_time(),
                Wake::Look => self.look(),
            }
        }
    }

    fn mail(&mut self, waiting: Waiting) {
        for Directions { ways, reply } in waiting.directions {
            // Who has given them may have stopped waiting.
            drop(reply.send(self.direct(ways)));
        }
        if let Some((seq, desired)) = waiting.desired {
            self.apply(seq, desired, None);
        }
        let Parts { forwarding, network, loaded, pins, .. } = &self.parts;
        let tracer = &mut self.tracer;
        let mut witness = Witness { forwarding, network, loaded, pins: pins.as_ref(), tracer };
        for question in waiting.questions {
            witness.answer(question);
        }
    }

    /// Reaches backends by ways that their owner gives.
    fn direct(&mut self, ways: BTreeMap<IpAddr, Way>) -> Result<(), Error> {
        let names = self.parts.network.topology.names();
        ways.values().try_for_each(|way| way.check(names))?;
        let mut changed = self.parts.network.direct(ways);
        if self.lagging {
            // What was given before may not be in force, and was given again.
            changed.extend(self.parts.forwarding.backends());
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.board.forget_paths();
        let followed = self.refresh(&changed);
        self.see_off_neighbours(true);
        followed.map_err(|error| Error::Question(error.to_string()))
    }

    fn deadline(&self) -> Instant {
        let until = |ns: u64| {
            // The coarse clock may lag by a jiffy: rather wake once too late than twice.
            Instant::now() + Duration::from_nanos(ns.saturating_sub(clock::coarse_ns()) + 1_000_000)
        };
        let due = if self.overdue { None } else { self.parts.forwarding.next_timeout() };
        let timeout = due.map(until);
        timeout.map_or(self.next_tick, |timeout| timeout.min(self.next_tick))
    }

    fn on_time(&mut self) {
        let done = self.parts.forwarding.on_timeout(clock::coarse_ns());
        self.overdue = done.is_err();
        if let Err(error) = done {
            tracing::error!(%error, "ending a previous ring; it is tried again");
        }
        if Instant::now() >= self.next_tick {
            self.tick();
        } else {
            self.see_off_neighbours(false);
            self.publish();
        }
    }

    /// Sees to it that the flow table grows with the flows.
    fn look(&mut self) {
        let can_grow = self.growth.look(self.parts.forwarding.tables().flows());
        self.next_look = can_grow.then(|| Instant::now() + growth::INTERVAL);
    }

    /// Lets go of the neighbours that are backends no more, or `always` looks whether there are any.
    fn see_off_neighbours(&mut self, always: bool) {
        if self.parts.forwarding.take_departures() || always {
            let wanted = self.routes(&self.parts.forwarding.backends());
            self.managed.remove_others(&mut self.parts.requests, &wanted);
        }
    }

    fn tick(&mut self) {
        self.next_tick = Instant::now() + TICK;
        // Before anything is published: those of an earlier run go on, and do not begin at zero.
        let numbers = self.parts.network.topology.ports().into_iter().map(|port| port.number);
        match Stats::read(&self.parts.forwarding, numbers.max().unwrap_or(0)) {
            Ok(stats) => self.stats = stats,
            Err(error) => tracing::warn!(%error, "reading the counters"),
        }
        if self.unsynchronised {
            self.resynchronise();
        }
        match self.parts.requests.links() {
            Ok(links) => {
                self.network_events(links);
                self.reattach();
            }
            Err(error) => tracing::warn!(%error, "reading the links"),
        }
        self.watch_offloads();
        self.watch_attachments();
        if let Some(Failed { seq, desired, error }) = self.failed.take() {
            self.apply(seq, desired, Some(&error));
        }
        if std::mem::take(&mut self.lagging) {
            let _tried_again = self.refresh(&self.parts.forwarding.backends());
        }
        if self.started.elapsed() >= TAKE_OVER || self.swap_failure.is_some() {
            self.take_over();
        }
        self.report_readiness();
        self.see_off_neighbours(false);
        self.publish_all();
    }

    /// Attaches again what somebody or something has detached.
    fn reattach(&mut self) {
        let Parts { attachments, loaded, pins, network, .. } = &mut self.parts;
        for error in attachments.reattach(loaded, pins, &network.topology) {
            tracing::warn!(%error, "attaching again; it is tried again");
        }
    }

    /// Puts a desired state in force. `said` is the error that its owner was told of, if it is
    /// tried again.
    fn apply(&mut self, seq: u64, desired: Desired, said: Option<&str>) {
        let began = Instant::now();
        self.failed = None;
        if let Err(error) = self.try_apply(&desired) {
            self.report_readiness();
            self.publish();
            if said != Some(&error) {
                self.send(Event::ApplyFailed { seq, error: error.clone() });
            }
            self.failed = Some(Failed { seq, desired, error });
            return;
        }
        // Those of an earlier run are known only now.
        let is_first = std::mem::replace(&mut self.applied_seq, seq) == 0;
        if self.readiness().is_empty() {
            self.take_over();
        }
        self.note_readiness(self.reported());
        self.publish();
        let not_ready = self.not_ready.clone();
        self.send(Event::Applied { seq, took: began.elapsed(), not_ready });

        // What nobody waits for.
        self.see_off_neighbours(is_first);
        if let Err(error) = self.parts.forwarding.top_up(clock::coarse_ns()) {
            tracing::warn!(%error, "no spare rings");
        }
    }

    fn try_apply(&mut self, desired: &Desired) -> Result<(), String> {
        let Parts { forwarding, network, requests, .. } = &mut self.parts;
        let managed = &mut self.managed;
        let mut kept = Ok(());
        let applied = forwarding.apply(desired, network, clock::coarse_ns(), |new| {
            // First of all, so that the kernel resolves addresses while the tables are written.
            kept = managed.add(requests, &routes(network, new));
        });
        // Those without an entry are not resolved, and so not ready; the others are not held up.
        self.lagging |= kept.is_err();
        self.warn_of_neighbours(kept.err());
        applied.map_err(|e| e.to_string())
    }

    /// Says what is wrong with the neighbour table, once.
    fn warn_of_neighbours(&mut self, failure: Option<String>) {
        if let Some(error) = &failure
            && self.neighbour_failure != failure
        {
            tracing::warn!(error, "keeping the neighbours resolved; it is tried again");
        }
        self.neighbour_failure = failure;
    }

    fn network_events(&mut self, events: Vec<NetEvent>) {
        let mut hops: BTreeMap<IpAddr, NeighbourState> = BTreeMap::new();
        let mut entries = BTreeSet::new();
        let mut topology = false;
        for event in events {
            self.managed.note(&event);
            match self.parts.network.handle(event) {
                Change::Nothing => {}
                Change::Hop(address, state) => {
                    hops.insert(address, state);
                }
                Change::Entry(address) => {
                    entries.insert(address);
                }
                Change::Topology => topology = true,
                Change::Lost => return self.resynchronise(),
            }
        }
        let forwarding = &self.parts.forwarding;
        hops.retain(|address, _| forwarding.has_backend(*address));
        entries.retain(|address| forwarding.has_backend(*address));
        for (address, state) in &hops {
            self.send(Event::Neighbour { address: *address, state: *state });
        }
        if topology {
            self.topology_changed();
        } else if !hops.is_empty() || !entries.is_empty() {
            entries.extend(hops.into_keys());
            let _tried_again = self.refresh(&entries);
        }
    }

    /// Asks the kernel for everything, as some of what it told was lost.
    fn resynchronise(&mut self) {
        let dump = self.parts.requests.dump();
        self.unsynchronised = dump.is_err();
        match dump {
            Ok(events) => {
                self.parts.network.clear();
                for event in events {
                    self.parts.network.handle(event);
                }
            }
            Err(error) => {
                tracing::error!(%error, "reading links, addresses and neighbours; it is tried again")
            }
        }
        self.adopt_neighbours();
        self.topology_changed();
    }

    fn adopt_neighbours(&mut self) {
        let interfaces = self.parts.network.topology.carriers();
        if let Err(error) = self.managed.adopt(&mut self.parts.requests, &interfaces) {
            tracing::warn!(%error, "reading the neighbour table");
        }
    }

    fn topology_changed(&mut self) {
        self.board.forget_paths();
        let Parts { forwarding, network, .. } = &mut self.parts;
        let (ports, bonded) = (network.topology.ports(), network.topology.bonded());
        if let Err(error) = forwarding.tables_mut().set_interfaces(&ports, &bonded) {
            tracing::error!(%error, "telling the program its interfaces");
        }
        self.watch_offloads();
        self.watch_attachments();
        let _tried_again = self.refresh(&self.parts.forwarding.backends());
    }

    /// Brings forwarding in line with what is known of these backends' neighbours. An error is logged
    /// too, and it is tried again.
    fn refresh(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), ForwardingError> {
        let Parts { forwarding, network, .. } = &mut self.parts;
        let followed = forwarding.refresh(addresses, network, clock::coarse_ns());
        if let Err(error) = &followed {
            tracing::error!(%error, "following the neighbours; it is tried again");
        }
        self.lagging |= followed.is_err();
        if self.applied_seq > 0 && self.readiness().is_empty() {
            self.take_over();
        }
        self.report_readiness();
        self.publish();
        let wanted = self.routes(addresses);
        let kept = self.managed.add(&mut self.parts.requests, &wanted);
        self.lagging |= kept.is_err();
        self.warn_of_neighbours(kept.err());
        followed
    }

    /// Replaces the program of an earlier run, if one still runs.
    fn take_over(&mut self) {
        let Parts { attachments, loaded, pins: Some(pins), .. } = &mut self.parts else { return };
        if !attachments.is_swap_due() {
            self.swap_failure = None;
            return;
        }
        let failure = attachments.swap(loaded, pins).err().map(|e| e.to_string());
        if let Some(error) = &failure
            && self.swap_failure != failure
        {
            tracing::error!(error, "taking over from the earlier program; it is tried again");
        }
        self.swap_failure = failure;
        // Which program runs where has changed, and that is no event of the kernel's.
        if self.swap_failure.is_none()
            && let Ok(links) = self.parts.requests.links()
        {
            self.network_events(links);
        }
    }

    /// Anybody may switch an offload on, and a VLAN makes more of them matter.
    fn watch_offloads(&mut self) {
        let Parts { offloads, network, ethtool, .. } = &mut self.parts;
        offloads.enforce(&network.topology, ethtool);
    }

    /// Tells the owner of interfaces on which the program has begun or ceased to run.
    fn watch_attachments(&mut self) {
        let statuses = self
            .parts
            .attachments
            .status(&self.parts.network.topology, self.parts.loaded.program_id());
        let before = std::mem::replace(&mut self.statuses, statuses);
        for status in &self.statuses {
            let known = before.iter().find(|b| b.interface == status.interface);
            if known.is_some_and(|k| k.problem == status.problem && k.index == status.index) {
                continue;
            }
            let interface = status.interface.clone();
            self.send(match &status.problem {
                Some(reason) => Event::Detached { interface, reason: reason.clone() },
                None => Event::Attached {
                    interface,
                    mode: mode(status),
                    fallback: status.fallback.clone(),
                },
            });
        }
    }

    /// Of the tables alone, whichever program runs.
    fn readiness(&self) -> Vec<NotReady> {
        self.parts.forwarding.not_ready()
    }

    /// What the owner is told of readiness.
    fn reported(&self) -> Vec<NotReady> {
        let own = self.readiness();
        if !self.parts.attachments.is_swap_due() {
            return own;
        }
        let vips = self.parts.forwarding.vips().collect();
        takeover::not_ready(&vips, &own, self.swap_failure.as_deref())
    }

    /// Tells the owner of readiness if it has changed.
    fn report_readiness(&mut self) {
        let not_ready = self.reported();
        if not_ready != self.not_ready {
            self.note_readiness(not_ready.clone());
            self.publish();
            self.send(Event::ReadinessChanged { not_ready });
        }
    }

    fn note_readiness(&mut self, not_ready: Vec<NotReady>) {
        let before = std::mem::replace(&mut self.not_ready, not_ready);
        let differs = |other: &[NotReady], one: &NotReady| {
            other.binary_search_by_key(&one.0, |n| n.0).map(|place| other.get(place))
                != Ok(Some(one))
        };
        let gone = before.iter().filter(|one| differs(&self.not_ready, one));
        let new = self.not_ready.iter().filter(|one| differs(&before, one));
        self.stale.extend(gone.chain(new).map(|(vip, _)| *vip));
    }

    fn routes(&self, backends: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, u32> {
        routes(&self.parts.network, backends)
    }

    /// Publishes what has changed.
    fn publish(&mut self) {
        let news = self.parts.forwarding.take_news();
        self.stats.forget(&news.reals);
        let mut changed = std::mem::take(&mut self.stale);
        changed.extend(news.vips);
        self.publish_changed(Changed::These(changed));
    }

    /// Publishes everything, as all counters have changed.
    fn publish_all(&mut self) {
        self.parts.forwarding.take_news();
        self.stale.clear();
        self.publish_changed(Changed::All);
    }

    fn publish_changed(&mut self, changed: Changed) {
        let report = Report {
            forwarding: &self.parts.forwarding,
            network: &self.parts.network,
            offloads: &self.parts.offloads,
            interfaces: &self.statuses,
            not_ready: &self.not_ready,
            stats: &self.stats,
            applied_seq: self.applied_seq,
        };
        let snapshot = report.snapshot(&mut self.board, changed);
        self.parts.snapshot.store(Arc::new(snapshot));
    }

    fn send(&self, event: Event) {
        // An owner that no longer listens still has the snapshot, and may stop us.
        let _unheard = self.parts.events.send(event);
    }

    fn stop(mut self, on_stop: OnStop) -> Result<(), Error> {
        // Before the pins are given free.
        drop(std::mem::take(&mut self.growth));
        if on_stop == OnStop::Keep && self.parts.pins.is_some() {
            return Ok(());
        }
        self.managed.remove_others(&mut self.parts.requests, &BTreeMap::new());
        let Parts { pins, attachments, .. } = self.parts;
        let removed = pins.map_or(Ok(()), Pins::remove_all);
        drop(attachments);
        removed
    }
}

/// Waits until then, or for ever.
async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// For each of these backends that can be reached, the interface on which it is resolved.
fn routes(network: &Network, backends: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, u32> {
    let resolved_on = |address: &IpAddr| Some((*address, network.resolved_on(*address)?));
    backends.iter().filter_map(resolved_on).collect()
}
