//! The start: everything that can fail is tried before anything is announced, and what a failed start has made it
//! removes again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};
use vc5_bgp::speaker::Speaker;
use vc5_health::{ProbeEvent, Prober};
use vc5_xdp::{Dataplane, Event as DataplaneEvent, OnStop};

use super::manager::{Manager, Parts as ManagerParts};
use super::publish::{self, Publisher};
use super::signals::Signals;
use crate::config::model::{self, Config};
use crate::control::{self, Shared};
use crate::core::{Core, CoreRequest, Parts, State, View};
use crate::telemetry::{self, Metrics};
use crate::{agent, config, preflight, signal, translate};

/// Commands from control sockets that may wait for the manager.
const COMMAND_QUEUE: usize = 64;

/// How often is looked whether the last question to the dataplane is answered.
const QUESTION_LOOK: Duration = Duration::from_millis(5);

/// How long it may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// Sockets of the daemon itself, bound before anything else is touched.
struct Sockets {
    control: UnixListener,
    control_file: SocketFile,
    metrics: Option<TcpListener>,
    agent: agent::Doors,
}

/// The libraries, started.
struct Engines {
    speaker: Speaker,
    dataplane: Option<Arc<Dataplane>>,
    dataplane_events: mpsc::UnboundedReceiver<DataplaneEvent>,
    prober: Prober,
    probes: mpsc::UnboundedReceiver<ProbeEvent>,
}

/// Runs the daemon until a signal or `down` ends it.
///
/// # Errors
/// Whatever keeps it from starting, in words that say what to do; nothing is left attached or routed then.
pub async fn run(file: &Path) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let metrics = Arc::new(Metrics::new()?);
    let config = Arc::new(config::load(file)?);
    for warning in preflight::check(&config, preflight::When::Start).await? {
        tracing::warn!(target: "config", "{warning}");
    }
    warn_default_key(&config);
    raise_descriptor_limit();
    let sockets = bind(&config).await?;
    let engines = start_engines(&config).await?;
    tracing::info!(
        target: "vc5d", version = env!("CARGO_PKG_VERSION"), router_id = %config.router.id,
        file = %file.display(), "started"
    );
    serve(config, sockets, engines, metrics, signals).await
}

/// Removes the control socket's file when the start fails; afterwards the server does it.
struct SocketFile(Option<PathBuf>);

impl SocketFile {
    fn leave_to_server(mut self) {
        self.0 = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn warn_default_key(config: &Config) {
    if config.dataplane.mode != model::DataplaneMode::Off && config.dataplane.hash_key.is_none() {
        tracing::warn!(
            target: "config",
            "[dataplane] hash-key-file is not set: the default key is public, so anyone can choose the backend of a flow"
        );
    }
}

/// Each probe in flight holds a descriptor; a probe that gets none would count as failed.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(target: "vc5d", "cannot raise the limit of open files: {error}");
    }
}

async fn bind(config: &Config) -> anyhow::Result<Sockets> {
    let control = control::bind(&config.control.socket)?;
    let control_file = SocketFile(Some(config.control.socket.clone()));
    let metrics = match config.metrics.listen {
        Some(address) => Some(TcpListener::bind(address).await.with_context(|| {
            format!(
                "[metrics] listen: cannot listen on {address}; choose another address or \"off\""
            )
        })?),
        None => None,
    };
    let agent = agent::Doors::bind(&config.agent).await?;
    Ok(Sockets { control, control_file, metrics, agent })
}

/// Starts the libraries one after another; takes back what stands when a later one fails.
async fn start_engines(config: &Config) -> anyhow::Result<Engines> {
    let speaker = Speaker::start(translate::speaker(&config.router)).await?;
    let (dataplane, dataplane_events) = start_dataplane(config).await?;
    let seed = u64::from(config.router.id.to_bits()) << 32 | u64::from(std::process::id());
    let started = Prober::start(translate::prober(&config.probe, seed)).await;
    let (prober, probes) = match started {
        Ok(parts) => parts,
        Err(error) => {
            stop_dataplane(dataplane, OnStop::Remove).await;
            return Err(error).context("cannot start the health checks");
        }
    };
    if let Err(error) = prober.set(translate::probes(config)).await {
        prober.shutdown().await;
        stop_dataplane(dataplane, OnStop::Remove).await;
        return Err(error).context("cannot lead probes to the backends");
    }
    Ok(Engines { speaker, dataplane, dataplane_events, prober, probes })
}

async fn start_dataplane(
    config: &Config,
) -> anyhow::Result<(Option<Arc<Dataplane>>, mpsc::UnboundedReceiver<DataplaneEvent>)> {
    let Some(wanted) = translate::dataplane(&config.dataplane) else {
        return Ok((None, mpsc::unbounded_channel().1));
    };
    let started = tokio::task::spawn_blocking(move || Dataplane::start(wanted)).await?;
    let (dataplane, events) = started.context("cannot start the dataplane")?;
    Ok((Some(Arc::new(dataplane)), events))
}

/// Ends the dataplane once nobody else holds it: a question that is being answered may, for a moment.
async fn stop_dataplane(dataplane: Option<Arc<Dataplane>>, on_stop: OnStop) {
    let Some(dataplane) = dataplane else { return };
    let alone = async {
        while Arc::strong_count(&dataplane) > 1 {
            tokio::time::sleep(QUESTION_LOOK).await;
        }
    };
    let _ = tokio::time::timeout(QUESTION_LIMIT, alone).await;
    let Some(dataplane) = Arc::into_inner(dataplane) else {
        tracing::error!(target: "dataplane", "could not stop cleanly: a question is not answered");
        return;
    };
    match tokio::task::spawn_blocking(move || dataplane.stop(on_stop)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(target: "dataplane", "could not stop cleanly: {error}"),
        Err(error) => tracing::error!(target: "dataplane", "could not stop cleanly: {error}"),
    }
}

/// Everything runs; then, at the end, everything is taken down in order.
async fn serve(
    config: Arc<Config>,
    sockets: Sockets,
    engines: Engines,
    metrics: Arc<Metrics>,
    signals: Signals,
) -> anyhow::Result<()> {
    let snapshot = Arc::new(ArcSwap::from_pointee(crate::snapshot::Snapshot::default()));
    let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
    let (core_requests, core_queue) = mpsc::channel(COMMAND_QUEUE);
    let (view, views) = watch::channel(Arc::new(View::default()));
    let (status, statuses) = watch::channel(publish::first_status(&config));
    let (running, configs) = watch::channel(Arc::clone(&config));
    let (stop, stopped) = watch::channel(false);
    let (hang_up, hung_up) = watch::channel(false);

    let core = Core::new(
        State::new(config.dataplane.mode),
        Parts {
            speaker: engines.speaker.clone(),
            dataplane: engines.dataplane.clone(),
            probes: engines.probes,
            dataplane_events: engines.dataplane_events,
            requests: core_queue,
            view,
            metrics: Arc::clone(&metrics),
        },
    );
    let mut core = tokio::spawn(core.run());
    let publisher = Publisher {
        snapshot: Arc::clone(&snapshot),
        views,
        status: statuses,
        config: configs,
        speaker: engines.speaker.clone(),
        dataplane: engines.dataplane.clone(),
    };
    let publisher = tokio::spawn(publisher.run(stopped.clone()));
    let shared = Shared {
        snapshot: Arc::clone(&snapshot),
        commands,
        // Weak, so that no client holds up the end of the dataplane.
        dataplane: Arc::new(engines.dataplane.as_ref().map(Arc::downgrade).unwrap_or_default()),
    };
    let control = tokio::spawn(control::serve(sockets.control, shared, hung_up));
    sockets.control_file.leave_to_server();
    if let Some(listener) = sockets.metrics {
        tokio::spawn(telemetry::serve(listener, Arc::clone(&metrics), snapshot, stopped.clone()));
    }

    tokio::spawn(signal::path::watch(running.subscribe(), core_requests.clone()));
    tokio::spawn(signal::file::watch(running.subscribe(), core_requests.clone()));
    if let Some(dataplane) = engines.dataplane.as_ref().map(Arc::downgrade) {
        let core = core_requests.clone();
        tokio::spawn(signal::passive::watch(dataplane, running.subscribe(), core));
    }
    let agent =
        agent::serve(sockets.agent, running.subscribe(), core_requests.clone(), metrics, stopped);
    let agent = tokio::spawn(agent);
    let manager = Manager::new(ManagerParts {
        running,
        config: Arc::clone(&config),
        speaker: engines.speaker.clone(),
        prober: engines.prober.clone(),
        core: core_requests.clone(),
        commands: command_queue,
        status,
    })
    .await;
    let ended = tokio::select! {
        ended = manager.run(signals) => {
            let (done, withdrawn) = oneshot::channel();
            if core_requests.send(CoreRequest::Stop(done)).await.is_ok() {
                let _ = withdrawn.await;
            }
            let _ = core.await;
            ended
        }
        died = &mut core => Err(match died {
            Ok(Err(error)) => error,
            Ok(Ok(())) => anyhow::anyhow!("the core has ended"),
            Err(panic) => panic.into(),
        }),
    };
    // Withdraws whatever may still stand, also after the death of the core.
    engines.speaker.shutdown(None).await;
    let _ = stop.send(true);
    let _ = publisher.await;
    engines.prober.shutdown().await;
    stop_dataplane(engines.dataplane, *ended.as_ref().unwrap_or(&OnStop::Remove)).await;
    // The control socket keeps another daemon from starting until nothing of this one is left.
    let _ = hang_up.send(true);
    let _ = control.await;
    let _ = agent.await;
    tracing::info!(target: "vc5d", "stopped");
    ended.map(drop)
}
