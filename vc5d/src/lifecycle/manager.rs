//! What changes the daemon while it runs: commands from the control socket, and signals.
//!
//! A new configuration is read, checked and tried here, away from the core. Nothing is taken over unless everything
//! can be; a failure leaves the running state as it was.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use vc5_bgp::speaker::Speaker;
use vc5_health::Prober;
use vc5_xdp::OnStop;

use super::admin::AdminDesk;
use super::publish::unix_now;
use super::signals::{Signals, Wanted};
use crate::admin::Target;
use crate::config::model::{self, Config};
use crate::config::{self, diff};
use crate::control::command::{
    Action, AdminAction, Command, Failure, NamePattern, Outcome, Request,
};
use crate::control::reply::code;
use crate::core::CoreRequest;
use crate::snapshot::{DaemonState, Status};
use crate::{preflight, translate};

/// What the manager works with.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) speaker: Speaker,
    pub(super) prober: Prober,
    pub(super) core: mpsc::Sender<CoreRequest>,
    pub(super) commands: mpsc::Receiver<Request>,
    pub(super) status: watch::Sender<Status>,
    /// Tells readers which configuration is in force.
    pub(super) running: watch::Sender<Arc<Config>>,
}

/// Takes commands and signals one by one.
pub(super) struct Manager {
    parts: Parts,
    admin: AdminDesk,
}

impl Manager {
    /// Reads what an earlier run has left, too.
    pub(super) async fn new(parts: Parts) -> Self {
        let admin = AdminDesk::open(&parts.config, parts.core.clone()).await;
        Self { parts, admin }
    }

    /// Applies the first configuration, then works until the daemon shall end; says what the dataplane shall do then.
    pub(super) async fn run(mut self, mut signals: Signals) -> anyhow::Result<OnStop> {
        self.set_peers(None)?;
        self.set_core().await;
        self.admin.reconfigured(&Arc::clone(&self.parts.config)).await;
        loop {
            tokio::select! {
                Some(request) = self.parts.commands.recv() => {
                    let ending = request.command == Command::Down;
                    // A file that cannot be read to its end must not keep the daemon from stopping.
                    tokio::select! {
                        answer = self.command(request.command) => {
                            let _ = request.reply.send(answer);
                        }
                        () = signals.end() => break,
                    }
                    if ending {
                        break;
                    }
                }
                () = self.admin.next_end() => self.admin.expire().await,
                wanted = signals.next() => match wanted {
                    Wanted::End => break,
                    Wanted::Reload => tokio::select! {
                        () = self.hangup() => {}
                        () = signals.end() => break,
                    },
                },
            }
        }
        self.parts.status.send_modify(|status| status.state = DaemonState::Stopping);
        tracing::info!(target: "vc5d", "stopping");
        Ok(match self.parts.config.dataplane.on_stop {
            model::OnStop::Keep => OnStop::Keep,
            model::OnStop::Remove => OnStop::Remove,
        })
    }

    async fn hangup(&mut self) {
        match self.configure(None).await {
            Ok(()) => {}
            Err(failure) => tracing::error!(target: "config", "not reconfigured: {failure}"),
        }
    }

    async fn command(&mut self, command: Command) -> Result<Outcome, Failure> {
        match command {
            Command::Configure { file, soft: _ } => {
                let reading = reading(file.as_ref().unwrap_or(&self.parts.config.file));
                self.configure(file).await?;
                Ok(reading.then(code::RECONFIGURED, "Reconfigured"))
            }
            Command::ConfigureCheck { file } => {
                let path = file.unwrap_or_else(|| self.parts.config.file.clone());
                self.load(&path).await?;
                Ok(reading(&path).then(code::CONFIG_OK, "Configuration OK"))
            }
            Command::Protocol { action, names, message } => {
                self.protocols(action, &names, message.as_deref()).await
            }
            Command::Admin { action, target, lasts, reason } => {
                let config = Arc::clone(&self.parts.config);
                let outcome = self.admin.command(&config, action, &target, lasts, reason).await?;
                if let (AdminAction::Enable, Target::Vip(name)) = (action, &target) {
                    self.switch_vip(name, false).await;
                }
                Ok(outcome)
            }
            Command::Down => Ok(Outcome::new(code::SHUTDOWN, "Shutdown requested")),
        }
    }

    /// Reads and checks a file against the running configuration and the machine; changes nothing.
    async fn load(&self, path: &std::path::Path) -> Result<Arc<Config>, Failure> {
        let failed = |text: String| Failure::new(code::CONFIG_ERROR, text);
        let owned = path.to_owned();
        let loaded = tokio::task::spawn_blocking(move || config::load(&owned)).await;
        let new = loaded
            .map_err(|error| failed(error.to_string()))?
            .map_err(|errors| failed(errors.to_string()))?;
        diff::diff(&self.parts.config, &new)
            .applicable()
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        let warnings = preflight::check(&new, preflight::When::Reload)
            .await
            .map_err(|errors| failed(errors.to_string()))?;
        for warning in warnings {
            tracing::warn!(target: "config", "{warning}");
        }
        Ok(Arc::new(new))
    }

    /// Takes over a configuration as one transaction.
    async fn configure(&mut self, file: Option<PathBuf>) -> Result<(), Failure> {
        let path = file.unwrap_or_else(|| self.parts.config.file.clone());
        self.parts.status.send_modify(|status| status.state = DaemonState::Reconfiguring);
        let result = self.try_configure(&path).await;
        self.parts.status.send_modify(|status| {
            status.state = DaemonState::Running;
            match &result {
                Ok(()) => {
                    status.reloads_ok += 1;
                    status.reconfigured = unix_now();
                    status.config_file = path.display().to_string();
                }
                Err(_) => status.reloads_failed += 1,
            }
        });
        if result.is_ok() {
            tracing::info!(target: "config", file = %path.display(), "reconfigured");
        }
        result
    }

    async fn try_configure(&mut self, path: &std::path::Path) -> Result<(), Failure> {
        let new = self.load(path).await?;
        let old = Arc::clone(&self.parts.config);
        let failed = |text: String| Failure::new(code::CONFIG_ERROR, text);
        // The only step that can still fail comes first, and keeps the old probes when it does.
        self.parts
            .prober
            .set(translate::probes(&new))
            .await
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        self.parts.config = new;
        if let Err(error) = self.set_peers(Some(&old)) {
            let refused = std::mem::replace(&mut self.parts.config, old);
            let peers = self.set_peers(Some(&refused));
            let probes = translate::probes(&self.parts.config);
            let undone = self.parts.prober.set(probes).await;
            let problems =
                [peers.err().map(|e| e.to_string()), undone.err().map(|e| e.to_string())];
            let problems: String = problems
                .into_iter()
                .flatten()
                .map(|also| format!("; and undoing it: {also}"))
                .collect();
            return Err(failed(format!("{}: {error}{problems}", path.display())));
        }
        self.set_core().await;
        self.admin.reconfigured(&Arc::clone(&self.parts.config)).await;
        self.parts.running.send_replace(Arc::clone(&self.parts.config));
        Ok(())
    }

    /// Peers that are gone go, and those with another address, which may be another one's of before; then all are
    /// set, which touches only what changed.
    fn set_peers(&self, old: Option<&Config>) -> anyhow::Result<()> {
        let config = &self.parts.config;
        for (name, before) in old.into_iter().flat_map(|old| &old.bgp) {
            if config.bgp.get(name).is_none_or(|now| now.neighbor != before.neighbor) {
                self.parts.speaker.remove_peer(name);
            }
        }
        for peer in translate::peers(config) {
            self.parts.speaker.set_peer(peer)?;
        }
        Ok(())
    }

    async fn set_core(&self) {
        let (done, applied) = oneshot::channel();
        let request = CoreRequest::Configure(Arc::clone(&self.parts.config), done);
        if self.parts.core.send(request).await.is_ok() {
            let _ = applied.await;
        }
    }

    /// `enable`, `disable`, `restart` of neighbours and VIPs.
    async fn protocols(
        &mut self,
        action: Action,
        names: &NamePattern,
        message: Option<&str>,
    ) -> Result<Outcome, Failure> {
        let config = Arc::clone(&self.parts.config);
        let mut outcome = Outcome::default();
        let mut any = false;
        for name in config.bgp.keys().filter(|name| names.matches(name)) {
            any = true;
            let (code, text) = self.neighbour(action, name, message)?;
            outcome = outcome.then(code, text);
        }
        for name in config.vips.keys().filter(|name| names.matches(name)) {
            any = true;
            let (code, text) = self.vip(action, name).await;
            outcome = outcome.then(code, text);
        }
        if any {
            Ok(outcome.done())
        } else {
            Err(Failure::new(code::NO_PROTOCOL, "No protocols match"))
        }
    }

    fn neighbour(
        &self,
        action: Action,
        name: &str,
        message: Option<&str>,
    ) -> Result<(u16, String), Failure> {
        let speaker = &self.parts.speaker;
        let enabled = speaker.snapshot().peers.get(name).is_some_and(|peer| peer.enabled);
        let (result, answer) = match action {
            Action::Enable if enabled => return Ok(unchanged(code::ALREADY_ENABLED, name)),
            Action::Disable if !enabled => return Ok(unchanged(code::ALREADY_DISABLED, name)),
            Action::Restart if !enabled => return Ok(unchanged(code::ALREADY_DISABLED, name)),
            Action::Enable => (speaker.enable(name), (code::ENABLED, "enabled")),
            Action::Disable => (speaker.disable(name, message), (code::DISABLED, "disabled")),
            Action::Restart => (speaker.restart(name, message), (code::RESTARTED, "restarted")),
        };
        result.map_err(|error| Failure::new(code::FAILED, format!("{name}: {error}")))?;
        Ok((answer.0, format!("{name}: {}", answer.1)))
    }

    async fn switch_vip(&self, name: &str, disabled: bool) {
        let (reply, answer) = oneshot::channel();
        let request = CoreRequest::Vip { name: name.to_owned(), disabled, reply };
        if self.parts.core.send(request).await.is_ok() {
            let _ = answer.await;
        }
    }

    async fn vip(&mut self, action: Action, name: &str) -> (u16, String) {
        let steps: &[bool] = match action {
            Action::Enable => &[false],
            Action::Disable => &[true],
            Action::Restart => &[true, false],
        };
        for disabled in steps {
            self.switch_vip(name, *disabled).await;
        }
        if action == Action::Enable {
            self.admin.enable(&Target::Vip(name.to_owned())).await;
        }
        match action {
            Action::Enable => (code::ENABLED, format!("{name}: enabled")),
            Action::Disable => (code::DISABLED, format!("{name}: disabled")),
            Action::Restart => (code::RESTARTED, format!("{name}: restarted")),
        }
    }
}

fn unchanged(answer: u16, name: &str) -> (u16, String) {
    let word = if answer == code::ALREADY_ENABLED { "enabled" } else { "disabled" };
    (answer, format!("{name}: already {word}"))
}

fn reading(path: &std::path::Path) -> Outcome {
    Outcome::new(code::READING, format!("Reading configuration from {}", path.display()))
}
