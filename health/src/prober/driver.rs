//! The task that starts probes when they are due and turns outcomes into events.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

use super::{Delays, ProbeEvent, ProberStats};
use crate::check::{Probe, ProbeKey, ProbePath};
use crate::path::{Pair, PathStates};
use crate::probe::{Outcome, Shared, Target};
use crate::schedule::{Id, Pace, Run, Scheduler, Start};
use crate::share::Units;
use crate::verdict::Machine;

/// What the handle asks of the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Replace the set.
    Set { probes: Vec<Arc<Probe>>, states: PathStates, done: oneshot::Sender<()> },
    /// The paths changed under the same set.
    Paths { states: PathStates },
    /// End all probes and the driver.
    Stop { done: oneshot::Sender<()> },
}

/// A run that has its outcome.
struct Done {
    id: Id,
    run: Run,
    /// How long after its time it was begun.
    delay: Duration,
    outcome: Outcome,
}

/// A run that has a task.
struct Owner {
    id: Id,
    run: Run,
    due: Instant,
    begun: Instant,
}

pub(super) struct Driver {
    scheduler: Scheduler,
    units: Units,
    machines: HashMap<ProbeKey, Known>,
    states: PathStates,
    shared: Arc<Shared>,
    /// Runs under way, and connections that are still to be seen closed.
    tasks: JoinSet<()>,
    /// Whose run each task is, for the one that ends without a report.
    owners: HashMap<task::Id, Owner>,
    runs: HashMap<Run, AbortHandle>,
    done: mpsc::UnboundedSender<Done>,
    reports: mpsc::UnboundedReceiver<Done>,
    events: mpsc::UnboundedSender<ProbeEvent>,
    finished: u64,
    delays: Delays,
    stats: Arc<Mutex<ProberStats>>,
}

/// What is kept about a key.
struct Known {
    probe: Arc<Probe>,
    machine: Machine,
}

impl Driver {
    pub(super) fn new(
        seed: u64,
        concurrency: usize,
        events: mpsc::UnboundedSender<ProbeEvent>,
        stats: Arc<Mutex<ProberStats>>,
    ) -> Self {
        let (done, reports) = mpsc::unbounded_channel();
        Self {
            scheduler: Scheduler::new(seed, concurrency),
            units: Units::default(),
            machines: HashMap::new(),
            states: PathStates::default(),
            shared: Arc::default(),
            tasks: JoinSet::new(),
            owners: HashMap::new(),
            runs: HashMap::new(),
            done,
            reports,
            events,
            finished: 0,
            delays: Delays::default(),
            stats,
        }
    }

    /// Runs until it is told to stop or the last handle is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let stopped = loop {
            self.catch_up();
            self.start_due();
            self.publish();
            let timeout = self.scheduler.poll_timeout();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Set { probes, states, done }) => {
                        self.set(probes, states);
                        // The caller may have given up; the set counts all the same.
                        let _ = done.send(());
                    }
                    Some(Command::Paths { states }) => self.states = states,
                    Some(Command::Stop { done }) => break Some(done),
                    None => break None,
                },
                Some(done) = self.reports.recv() => self.finish(done),
                Some(ended) = self.tasks.join_next_with_id() => self.join(ended),
                () = sleep_until(timeout) => {}
            }
        };
        self.tasks.shutdown().await;
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    fn set(&mut self, probes: Vec<Arc<Probe>>, states: PathStates) {
        self.states = states;
        let mut old = std::mem::take(&mut self.machines);
        for probe in &probes {
            let check = &probe.check;
            let machine = match old.remove(&probe.key) {
                Some(Known { probe: before, machine }) if before == *probe => machine,
                Some(Known { mut machine, .. }) => {
                    machine.swap_check(check.rule);
                    machine
                }
                None => Machine::new(check.rule),
            };
            self.machines.insert(probe.key.clone(), Known { probe: probe.clone(), machine });
        }
        self.units.set(&probes);
        let paces: BTreeMap<Id, Pace> =
            self.units.iter().map(|(id, unit)| (id, Pace::from(&unit.probe.check))).collect();
        for run in self.scheduler.handle_set(Instant::now(), paces) {
            if let Some(task) = self.runs.remove(&run) {
                task.abort();
            }
        }
    }

    /// All that has ended meanwhile. New probes come after it, or a host that is too slow for the
    /// set would pile up what is done with.
    fn catch_up(&mut self) {
        while let Ok(done) = self.reports.try_recv() {
            self.finish(done);
        }
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.join(ended);
        }
    }

    fn start_due(&mut self) {
        while let Some(start) = self.scheduler.poll_start(Instant::now()) {
            let Start { id, run, due } = start;
            let Some(probe) = self.units.get(id).map(|unit| unit.probe.clone()) else { continue };
            match self.target(&probe) {
                Ok(target) => self.start(start, probe, target),
                Err(diagnostic) => {
                    let outcome = Outcome { ok: false, diagnostic, took: Duration::ZERO };
                    self.finish(Done { id, run, delay: due.elapsed(), outcome });
                }
            }
        }
    }

    fn start(&mut self, start: Start, probe: Arc<Probe>, target: Target) {
        let Start { id, run, due } = start;
        let (done, shared) = (self.done.clone(), self.shared.clone());
        let owner = Owner { id, run, due, begun: Instant::now() };
        let task = self.tasks.spawn(async move {
            let delay = due.elapsed();
            let finished = shared.run(target, &probe).await;
            let outcome = finished.outcome.clone();
            // An error means that the driver is gone.
            let _ = done.send(Done { id, run, delay, outcome });
            finished.close().await;
        });
        self.owners.insert(task.id(), owner);
        self.runs.insert(run, task);
    }

    /// A task that ended by a panic may not have reported: its probe has failed then, or it would
    /// never be started again.
    fn join(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let error = match ended {
            Ok((id, ())) => {
                self.owners.remove(&id);
                return;
            }
            Err(error) => error,
        };
        let Some(Owner { id, run, due, begun }) = self.owners.remove(&error.id()) else { return };
        // What it did report counts, and is in the channel by now.
        while let Ok(done) = self.reports.try_recv() {
            self.finish(done);
        }
        let diagnostic = format!("the probe itself failed: {}", why(error));
        let outcome = Outcome { ok: false, diagnostic, took: begun.elapsed() };
        self.finish(Done { id, run, delay: begun.saturating_duration_since(due), outcome });
    }

    /// Where to connect to; an error is the diagnostic.
    fn target(&self, probe: &Probe) -> Result<Target, String> {
        let ProbeKey { vip, backend, port, .. } = probe.key;
        let to =
            |ip, mark| Target { address: SocketAddr::new(ip, port), source: None, mark, ttl: None };
        match probe.path {
            ProbePath::Direct => Ok(to(backend, None)),
            // Bound to the VIP, so that a VIP which is not here cannot be answered by another node.
            ProbePath::Local => Ok(Target { source: Some(vip), ..to(vip, None) }),
            ProbePath::Dsr => match self.states.get(&Pair { vip, backend }) {
                Some(Ok(mark)) => Ok(Target { ttl: probe.ttl, ..to(vip, Some(*mark)) }),
                Some(Err(why)) => Err(why.clone()),
                None => Err("no path to the backend".into()),
            },
        }
    }

    fn finish(&mut self, done: Done) {
        let Done { id, run, delay, outcome } = done;
        self.runs.remove(&run);
        if !self.scheduler.wants(id, run) {
            return;
        }
        self.finished += 1;
        self.delays.add(delay);
        let changing = self.report(id, &outcome);
        self.scheduler.handle_finished(id, run, changing);
    }

    /// Tells all keys that the outcome is for; returns whether the verdict of any may change next.
    fn report(&mut self, id: Id, outcome: &Outcome) -> bool {
        let at = Instant::now();
        let mut changing = false;
        for key in self.units.get(id).map(|unit| unit.keys.as_slice()).unwrap_or_default() {
            let Some(Known { machine, .. }) = self.machines.get_mut(key) else { continue };
            let changed = machine.handle(outcome.ok, &outcome.diagnostic);
            changing |= machine.is_changing();
            let event = ProbeEvent {
                key: key.clone(),
                verdict: machine.verdict(),
                changed,
                outcome: outcome.clone(),
                at,
                passed: machine.passed(),
                failed: machine.failed(),
            };
            // The receiver may not care for events any more.
            let _ = self.events.send(event);
        }
        changing
    }

    fn publish(&self) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = ProberStats {
            probes: self.machines.len(),
            units: self.scheduler.len(),
            in_flight: self.scheduler.in_flight(),
            finished: self.finished,
            late: self.scheduler.late(),
            delays: self.delays,
        };
    }
}

/// The first line of the message that a task panicked with.
fn why(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".into() };
    let message = match panic.downcast_ref::<String>() {
        Some(message) => message.as_str(),
        None => panic.downcast_ref::<&str>().copied().unwrap_or_default(),
    };
    message.lines().next().unwrap_or("panic without a message").to_owned()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckKind};
    use crate::verdict::{Rule, Verdict};

    fn probe(port: u16, timeout: Duration) -> Arc<Probe> {
        let here = "127.0.0.1".parse().unwrap();
        Arc::new(Probe {
            key: ProbeKey {
                vip: here,
                backend: here,
                port,
                service: String::new(),
                check: String::new(),
            },
            path: ProbePath::Direct,
            ttl: None,
            check: Check {
                interval: Duration::from_millis(1),
                timeout,
                rule: Rule::runs(1, 2),
                ..Check::new(CheckKind::Tcp)
            },
        })
    }

    /// A timeout past the end of the clock, which a prober refuses to take, makes the task panic.
    #[tokio::test]
    async fn a_probe_that_panics_has_failed_and_is_started_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = probe(listener.local_addr().unwrap().port(), Duration::from_secs(5));
        let bad = probe(1, Duration::MAX);
        assert!(bad.validate().is_err());

        let (commands, inbox) = mpsc::unbounded_channel();
        let (events, mut outbox) = mpsc::unbounded_channel();
        // One at a time: a run that never ended would leave no room for the other probe.
        let driver = tokio::spawn(Driver::new(0, 1, events, Arc::default()).run(inbox));
        let (done, _) = oneshot::channel();
        let probes = vec![bad.clone(), good.clone()];
        commands.send(Command::Set { probes, states: PathStates::default(), done }).unwrap();

        let (mut failures, mut successes) = (0, 0);
        while failures < 3 || successes < 3 {
            let next = tokio::time::timeout(Duration::from_secs(30), outbox.recv()).await;
            let event = next.expect("both go on").unwrap();
            if event.key == good.key {
                successes += 1;
                assert!(event.outcome.ok, "{event:?}");
                continue;
            }
            failures += 1;
            assert!(!event.outcome.ok && event.failed == failures, "{event:?}");
            assert_eq!(event.verdict == Verdict::Down, failures >= 2, "{event:?}");
            let diagnostic = &event.outcome.diagnostic;
            assert!(diagnostic.starts_with("the probe itself failed: overflow"), "{diagnostic}");
        }
        drop(commands);
        driver.await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_panics_after_its_report_keeps_its_outcome() {
        let (events, mut outbox) = mpsc::unbounded_channel();
        let mut driver = Driver::new(0, 1, events, Arc::default());
        let one = probe(1, Duration::from_secs(5));
        driver.set(vec![one.clone()], PathStates::default());
        let due = driver.scheduler.poll_timeout().unwrap();
        let Start { id, run, .. } = driver.scheduler.poll_start(due).unwrap();
        let report = driver.done.clone();
        let task = driver.tasks.spawn(async move {
            let outcome =
                Outcome { ok: true, diagnostic: "connected".into(), took: Duration::ZERO };
            assert!(report.send(Done { id, run, delay: Duration::ZERO, outcome }).is_ok());
            panic!("while closing");
        });
        let owner = Owner { id, run, due, begun: Instant::now() };
        driver.owners.insert(task.id(), owner);
        let ended = driver.tasks.join_next_with_id().await.unwrap();
        assert!(ended.is_err());
        driver.join(ended);
        assert_eq!(outbox.try_recv().unwrap().outcome.diagnostic, "connected");
        assert!(outbox.try_recv().is_err(), "one run, one event");
        assert!(driver.owners.is_empty());
    }

    /// However late the driver gets its turn, it starts nothing before what has ended is cleared.
    #[tokio::test]
    async fn what_has_ended_is_cleared_before_new_probes_start() {
        let (events, mut outbox) = mpsc::unbounded_channel();
        let mut driver = Driver::new(0, 100, events, Arc::default());
        // Nothing listens there: each probe ends as soon as it runs.
        let probes: Vec<_> = (1..=100).map(|port| probe(port, Duration::from_secs(5))).collect();
        driver.set(probes, PathStates::default());
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            driver.catch_up();
            assert!(driver.tasks.len() <= driver.scheduler.in_flight());
            driver.start_due();
            assert_eq!(driver.tasks.len(), driver.owners.len());
            assert!(driver.tasks.len() <= 100);
        }
        assert!(outbox.try_recv().is_ok());
    }

    /// One connection to the backend for each outcome, whatever the number of keys that it is for.
    #[tokio::test]
    async fn equal_probes_are_made_once_for_all_of_their_keys() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let probes: Vec<_> = (0..3)
            .map(|n| {
                let mut one = (*probe(port, Duration::from_secs(5))).clone();
                one.key.service = n.to_string();
                one.check.interval = Duration::from_secs(3600);
                one.check.fast_interval = Some(Duration::from_millis(1));
                Arc::new(one)
            })
            .collect();
        let (events, mut outbox) = mpsc::unbounded_channel();
        let mut driver = Driver::new(0, 1, events, Arc::default());
        driver.set(probes.clone(), PathStates::default());
        driver.publish();
        let stats = *driver.stats.lock().unwrap();
        assert_eq!((stats.probes, stats.units), (3, 1));

        let due = driver.scheduler.poll_timeout().unwrap();
        let Start { id, run, .. } = driver.scheduler.poll_start(due).unwrap();
        let outcome =
            Outcome { ok: false, diagnostic: "connection refused".into(), took: Duration::ZERO };
        let delay = Duration::from_micros(3);
        driver.finish(Done { id, run, delay, outcome: outcome.clone() });
        driver.publish();
        let delays = driver.stats.lock().unwrap().delays;
        assert_eq!((delays.cumulative().last().unwrap().1, delays.longest()), (1, delay));
        for probe in &probes {
            let event = outbox.try_recv().unwrap();
            assert_eq!((&event.key, event.failed), (&probe.key, 1));
            assert_eq!((event.verdict, event.outcome), (Verdict::Unknown, outcome.clone()));
        }
        assert!(outbox.try_recv().is_err());
        // Two failures decide: until then the next probe comes by the fast interval.
        assert!(driver.scheduler.poll_timeout().unwrap() < due + Duration::from_secs(1));

        // One that comes later has a history of its own, and the probe is quick as long as it needs.
        let mut late = (*probes[0]).clone();
        late.key.service = "late".into();
        driver.set([&probes[1..], &[Arc::new(late)]].concat(), PathStates::default());
        for (verdicts, waits) in
            [([Verdict::Down, Verdict::Down, Verdict::Unknown], false), ([Verdict::Down; 3], true)]
        {
            let due = driver.scheduler.poll_timeout().unwrap();
            let start = driver.scheduler.poll_start(due).unwrap();
            assert_eq!(start.id, id, "it is still the same probe");
            driver.finish(Done { id, run: start.run, delay, outcome: outcome.clone() });
            let seen = [(); 3].map(|()| outbox.try_recv().unwrap().verdict);
            assert_eq!(seen, verdicts);
            let next = driver.scheduler.poll_timeout().unwrap();
            assert_eq!(next > due + Duration::from_secs(3599), waits);
        }
    }
}
