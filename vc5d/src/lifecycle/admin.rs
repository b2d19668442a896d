//! `drain`, `disable` and `enable` of backends and VIPs: the words that stand, in memory, in their file, and in the core.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::publish::unix_now;
use crate::admin::{Off, Target, Word, Words, store};
use crate::config::Config;
use crate::control::command::{AdminAction, Failure, Outcome};
use crate::control::reply::code;
use crate::core::CoreRequest;

/// Longest sleep until a word's end is looked at again, so that a step of the wall clock is noticed.
const LOOK: Duration = Duration::from_secs(60);

/// Keeps the words.
pub(super) struct AdminDesk {
    words: Words,
    directory: PathBuf,
    core: mpsc::Sender<CoreRequest>,
}

impl AdminDesk {
    /// Reads what an earlier run has left.
    pub(super) async fn open(config: &Config, core: mpsc::Sender<CoreRequest>) -> Self {
        let directory = config.control.state_directory.clone();
        let from = directory.clone();
        let loaded = tokio::task::spawn_blocking(move || store::load(&from)).await;
        let loaded = loaded.unwrap_or_default();
        if let Some(problem) = loaded.problem {
            tracing::error!(target: "admin", "{problem}");
        }
        let mut desk = Self { words: loaded.words, directory, core };
        for (target, word) in desk.words.iter() {
            tracing::warn!(target: "admin", "{target} is {} since an earlier run", word.cause());
        }
        desk.expire().await;
        desk.tell("the administrator").await;
        desk
    }

    /// Returns when the next word ends, or when it is time to look again.
    pub(super) async fn next_end(&self) {
        let Some(end) = self.words.next_end() else { return std::future::pending().await };
        let left = Duration::try_from_secs_f64(end - unix_now()).unwrap_or_default();
        tokio::time::sleep(left.min(LOOK)).await;
    }

    /// Takes back what is over.
    pub(super) async fn expire(&mut self) {
        let over = self.words.expire(unix_now());
        if over.is_empty() {
            return;
        }
        for target in &over {
            tracing::info!(target: "admin", "{target}: the time of the administrator's word is over");
        }
        self.keep_or_say().await;
        self.tell("the time of the administrator's word is over").await;
    }

    /// A new configuration is in force: words on what is gone go too.
    pub(super) async fn reconfigured(&mut self, config: &Config) {
        let gone = self.words.forget_unknown(config);
        for target in &gone {
            tracing::warn!(target: "admin", "{target} is gone from the configuration, and the word on it");
        }
        if !gone.is_empty() {
            self.keep_or_say().await;
            self.tell("the configuration was changed").await;
        }
    }

    /// Carries a command out. What cannot be kept over a restart is not done, except for taking a word back.
    pub(super) async fn command(
        &mut self,
        config: &Config,
        action: AdminAction,
        target: &Target,
        lasts: Option<Duration>,
        reason: Option<String>,
    ) -> Result<Outcome, Failure> {
        if !target.exists(config) {
            return Err(Failure::new(code::NOT_FOUND, format!("There is no {target}")));
        }
        let state = match action {
            AdminAction::Enable => return Ok(self.enable(target).await),
            AdminAction::Drain => Off::Drain,
            AdminAction::Disable => Off::Disabled,
        };
        let since = unix_now();
        let until = lasts.map(|lasts| since + lasts.as_secs_f64());
        let word = Word { state, reason, since, until };
        let text = format!("{target}: {}", word.cause());
        let before = self.words.clone();
        self.words.set(target, word);
        if let Err(error) = self.keep().await {
            self.words = before;
            let text = format!("Not done, as it would not survive a restart: {error}");
            return Err(Failure::new(code::FAILED, text));
        }
        tracing::warn!(target: "admin", "{text}");
        self.tell("the administrator").await;
        Ok(Outcome::new(code::DISABLED, text))
    }

    /// Takes a word back.
    pub(super) async fn enable(&mut self, target: &Target) -> Outcome {
        if !self.words.clear(target) {
            return Outcome::new(code::ALREADY_ENABLED, format!("{target}: already enabled"));
        }
        self.keep_or_say().await;
        tracing::info!(target: "admin", "{target}: enabled by the administrator");
        self.tell("enabled by the administrator").await;
        Outcome::new(code::ENABLED, format!("{target}: enabled"))
    }

    async fn keep(&self) -> Result<(), String> {
        let (directory, words) = (self.directory.clone(), self.words.clone());
        let saved = tokio::task::spawn_blocking(move || store::save(&directory, &words)).await;
        saved.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn keep_or_say(&self) {
        if let Err(error) = self.keep().await {
            tracing::error!(target: "admin", "cannot be kept: {error}");
        }
    }

    /// Tells the core; `cause` is why words are gone that are.
    async fn tell(&self, cause: &'static str) {
        let (done, applied) = oneshot::channel();
        let request = CoreRequest::Admin { words: Arc::new(self.words.clone()), cause, done };
        if self.core.send(request).await.is_ok() {
            let _ = applied.await;
        }
    }
}
