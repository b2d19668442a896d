//! The core's task: takes one event at a time, asks [`State`], and carries out what it says.
//!
//! Nothing here waits for anyone: the speaker and the dataplane take orders without blocking, and a withdrawal that
//! is not on the wire yet is waited for by a task of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};
use vc5_bgp::speaker::Speaker;
use vc5_health::ProbeEvent;
use vc5_xdp::{Dataplane, Event as DataplaneEvent};

use super::history::History;
use super::state::{Effect, State};
use super::view::{Clock, View};
use crate::admin::Words;
use crate::config::model::Config;
use crate::gate::FLUSH_LIMIT;
use crate::signal::Signal;
use crate::telemetry::Metrics;
use crate::translate;

/// At most so often a picture is drawn when nothing but probe results is new.
const VIEW_INTERVAL: Duration = Duration::from_millis(100);

/// Results of probes that are taken together before anything else gets its turn.
const PROBES_AT_ONCE: usize = 1024;

/// What the core is asked from outside.
#[derive(Debug)]
pub enum Request {
    /// Take over a configuration; answered when its effects are under way.
    Configure(Arc<Config>, oneshot::Sender<()>),
    /// Switch a VIP off or on; answered with whether there is one of that name.
    Vip {
        /// Name of the `[vip.NAME]`.
        name: String,
        /// Off.
        disabled: bool,
        /// The answer.
        reply: oneshot::Sender<bool>,
    },
    /// The administrator's words on backends and VIPs, all that stand; answered when their effects are under way.
    Admin {
        /// The words.
        words: Arc<Words>,
        /// Why words are gone that stood.
        cause: &'static str,
        /// The answer.
        done: oneshot::Sender<()>,
    },
    /// Something new is said of backends by others than their probes.
    Signals(Vec<Signal>),
    /// Withdraw everything and end; answered when it is on the wire, or [`FLUSH_LIMIT`] later.
    Stop(oneshot::Sender<()>),
}

/// What a core needs.
#[derive(Debug)]
pub struct Parts {
    /// Where routes go.
    pub speaker: Speaker,
    /// Where forwarding state goes; none when the dataplane is off.
    pub dataplane: Option<Arc<Dataplane>>,
    /// What probes find.
    pub probes: mpsc::UnboundedReceiver<ProbeEvent>,
    /// What the dataplane says; a closed channel when it is off.
    pub dataplane_events: mpsc::UnboundedReceiver<DataplaneEvent>,
    /// Requests from the control socket and from signals.
    pub requests: mpsc::Receiver<Request>,
    /// Where the picture goes.
    pub view: watch::Sender<Arc<View>>,
    /// Where latencies are counted.
    pub metrics: Arc<Metrics>,
}

/// The core's task.
#[derive(Debug)]
pub struct Core {
    state: State,
    parts: Parts,
    flushed: (mpsc::UnboundedSender<IpAddr>, mpsc::UnboundedReceiver<IpAddr>),
    drawn: Instant,
    dirty: bool,
    /// Something that readers wait for has changed.
    urgent: bool,
    /// Before its first configuration the core would not know what a probe is about.
    configured: bool,
    history: History,
    dataplane_lives: bool,
}

impl Core {
    /// A core with nothing configured.
    pub fn new(state: State, parts: Parts) -> Self {
        Self {
            state,
            dataplane_lives: parts.dataplane.is_some(),
            parts,
            flushed: mpsc::unbounded_channel(),
            drawn: Instant::now(),
            dirty: false,
            urgent: false,
            configured: false,
            history: History::default(),
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When nobody is left to tell it what is healthy, so that nothing may be announced any more.
    pub async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let wake = self.wake();
            tokio::select! {
                event = self.parts.probes.recv(), if self.configured => match event {
                    Some(event) => self.probed(event),
                    None => anyhow::bail!("the health checks have ended"),
                },
                event = self.parts.dataplane_events.recv(), if self.dataplane_lives => {
                    // A dataplane whose thread has ended answers to nobody: what is announced must go.
                    self.dataplane_lives = event.is_some();
                    let event = event.unwrap_or_else(dataplane_died);
                    log_dataplane(&event);
                    self.step(|state, now| state.dataplane(now, event));
                }
                Some(address) = self.flushed.1.recv() => {
                    self.step(|state, now| state.flushed(now, address));
                }
                request = self.parts.requests.recv() => match request {
                    Some(Request::Configure(config, done)) => {
                        self.configured = true;
                        self.history.limit(config.control.history);
                        self.step(|state, now| state.configure(now, &config));
                        self.settle();
                        self.draw();
                        let _ = done.send(());
                    }
                    Some(Request::Vip { name, disabled, reply }) => {
                        let mut known = false;
                        self.step(|state, now| {
                            let (found, effects) = state.switch(now, &name, disabled);
                            known = found;
                            effects
                        });
                        self.settle();
                        self.draw();
                        let _ = reply.send(known);
                    }
                    Some(Request::Admin { words, cause, done }) => {
                        self.step(|state, now| state.set_words(now, words, cause));
                        self.settle();
                        self.draw();
                        let _ = done.send(());
                    }
                    Some(Request::Signals(signals)) => {
                        self.step(|state, now| state.signals(now, signals));
                    }
                    Some(Request::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                () = sleep_until(wake) => self.step(State::timeout_at),
            }
            self.settle();
        }
    }

    fn probed(&mut self, event: ProbeEvent) {
        self.parts.metrics.observe_probe(&event);
        self.step(|state, now| state.probed(now, event));
    }

    /// After an event, and after the probes that came in with it: new forwarding state and a new picture once for
    /// all, since both cost time in proportion to the whole configuration and a withdrawal may be waiting behind.
    fn settle(&mut self) {
        if self.configured {
            for _ in 0..PROBES_AT_ONCE {
                let Ok(event) = self.parts.probes.try_recv() else { break };
                self.probed(event);
            }
        }
        let now = Instant::now();
        if let Some(apply) = self.state.poll_forwarding(now) {
            self.carry_out(apply);
        }
        if self.urgent || (self.dirty && now >= self.drawn + VIEW_INTERVAL) {
            self.draw();
        }
    }

    /// When something is due: a timer of the state, or the picture.
    fn wake(&self) -> Option<Instant> {
        let picture = self.dirty.then(|| self.drawn + VIEW_INTERVAL);
        self.state.poll_timeout().into_iter().chain(picture).min()
    }

    /// One event: decide and carry out.
    fn step(&mut self, decide: impl FnOnce(&mut State, Instant) -> Vec<Effect>) {
        let now = Instant::now();
        let effects = decide(&mut self.state, now);
        for effect in effects {
            self.urgent |= !matches!(effect, Effect::Backend { .. });
            self.carry_out(effect);
        }
        self.dirty = true;
    }

    fn draw(&mut self) {
        let now = Instant::now();
        self.remember();
        let (history, changes) = (self.history.publish(), self.history.counts());
        let view = View { history, changes, ..self.state.view(now) };
        self.parts.view.send_replace(Arc::new(view));
        self.drawn = now;
        self.dirty = false;
        self.urgent = false;
    }

    /// Keeps what has changed since the last time.
    fn remember(&mut self) {
        let events = self.state.take_events();
        if events.is_empty() {
            return;
        }
        let clock = Clock::now();
        for event in events {
            self.history.push(event, &clock);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Withdraw { address, cause, reason } => {
                self.withdraw(address, cause);
                tracing::warn!(target: "gate", vip = %address, "{reason}");
            }
            Effect::Announce { address, advert, reason } => {
                self.parts.speaker.announce(translate::local_route(address, &advert));
                tracing::info!(target: "gate", vip = %address, name = advert.name, "{reason}");
            }
            Effect::Update { address, advert } => {
                self.parts.speaker.announce(translate::local_route(address, &advert));
                tracing::info!(
                    target: "gate", vip = %address, name = advert.name, draining = advert.draining,
                    med = advert.med, local_pref = advert.local_pref,
                    link_bandwidth = advert.link_bandwidth.map(|b| b.bytes_per_second),
                    "announced anew"
                );
            }
            Effect::Apply { seq, desired } => {
                if let Some(dataplane) = &self.parts.dataplane {
                    dataplane.apply(seq, desired);
                }
            }
            Effect::Backend { vip, service, backend, verdict, diagnostic } => tracing::info!(
                target: "health", vip, service, %backend, "backend is {verdict}: {diagnostic}"
            ),
        }
    }

    /// Withdraws at once; a task waits until that is on the wire and reports back.
    fn withdraw(&self, address: IpAddr, cause: Instant) {
        let flush = self.parts.speaker.withdraw(IpNet::from(address));
        let (flushed, metrics) = (self.flushed.0.clone(), Arc::clone(&self.parts.metrics));
        tokio::spawn(async move {
            match tokio::time::timeout(FLUSH_LIMIT, flush).await {
                Ok(report) => {
                    if let Some(written) = report.written_at {
                        let took = written.saturating_duration_since(cause);
                        metrics.observe_withdraw(took);
                        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                        tracing::info!(
                            target: "gate", vip = %address, peers = report.peers,
                            verdict_to_wire_us = micros, "withdrawal is on the wire"
                        );
                    }
                }
                Err(_) => tracing::warn!(
                    target: "gate", vip = %address,
                    "a neighbour did not take the withdrawal within {} s", FLUSH_LIMIT.as_secs()
                ),
            }
            let _ = flushed.send(address);
        });
    }

    /// Withdraws everything, and waits until that is on the wire or the time is over.
    async fn stop(&mut self) {
        let mut waiting = 0;
        for effect in self.state.stop(Instant::now()) {
            waiting += usize::from(matches!(effect, Effect::Withdraw { .. }));
            self.carry_out(effect);
        }
        self.draw();
        while waiting > 0 && self.flushed.1.recv().await.is_some() {
            waiting -= 1;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn dataplane_died() -> DataplaneEvent {
    DataplaneEvent::Detached {
        interface: "every interface".to_owned(),
        reason: "its thread has ended; restart vc5d".to_owned(),
    }
}

fn log_dataplane(event: &DataplaneEvent) {
    match event {
        DataplaneEvent::Applied { seq, took, not_ready } => {
            tracing::debug!(target: "dataplane", seq, ?took, "applied");
            for (vip, why) in not_ready {
                tracing::debug!(target: "dataplane", %vip, "not ready: {why}");
            }
        }
        DataplaneEvent::ApplyFailed { seq, error } => {
            tracing::error!(target: "dataplane", seq, "could not apply: {error}");
        }
        DataplaneEvent::ReadinessChanged { not_ready } => {
            tracing::info!(target: "dataplane", ?not_ready, "readiness changed");
        }
        DataplaneEvent::Neighbour { address, state } => {
            tracing::info!(target: "dataplane", backend = %address, "neighbour: {state:?}");
        }
        DataplaneEvent::Detached { interface, reason } => {
            tracing::error!(target: "dataplane", interface, "program is off: {reason}");
        }
        DataplaneEvent::Attached { interface, mode, fallback } => match fallback {
            Some(why) => tracing::warn!(
                target: "dataplane", interface, mode, "attached, but not in native mode: {why}"
            ),
            None => tracing::info!(target: "dataplane", interface, mode, "attached"),
        },
    }
}
