//! The driver: runs a set of probes and reports each outcome with its verdict.

mod delays;
mod driver;

use std::sync::{Arc, Mutex as Lock, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Mutex, mpsc, oneshot};

pub use self::delays::Delays;
use self::driver::{Command, Driver};
use crate::check::{Probe, ProbeKey};
use crate::error::Error;
use crate::path::{self, Changes, Paths, Report, Seen};
use crate::probe::Outcome;
use crate::verdict::Verdict;

/// How long the host is left to settle after a change before paths are looked at.
const SETTLE: Duration = Duration::from_millis(100);

/// How often paths are looked at without a sign of change: what is removed in silence, as routes can
/// be, is back after this time and that of the look itself.
const REFRESH: Duration = Duration::from_secs(30);

/// What a prober may use of the host, and how hard it may work.
///
/// Two probers in one network namespace need disjoint `mark_mask`s and disjoint ranges of tables
/// and rule priorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProberConfig {
    /// The bits of the firewall mark that are the prober's own: at least 16, in one run.
    pub mark_mask: u32,
    /// First routing table. This one and the 65,535 after it are the prober's own.
    pub table_base: u32,
    /// First rule priority. [`RULE_PRIORITIES`](crate::path::RULE_PRIORITIES) from here are the
    /// prober's own; all must be before the main table's rule at 32766.
    pub rule_priority: u32,
    /// Probes in flight at once, at least 1. Each holds a file descriptor, and so does an answered
    /// HTTP probe whose server has not closed yet, until the probe's timeout.
    pub concurrency: usize,
    /// Seed of the generator that spreads the first probes over their interval.
    pub seed: u64,
}

impl Default for ProberConfig {
    fn default() -> Self {
        Self {
            mark_mask: 0xffff_0000,
            table_base: 7_650_000,
            rule_priority: 10_000,
            concurrency: 512,
            seed: 0,
        }
    }
}

/// One finished probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeEvent {
    /// Which probe.
    pub key: ProbeKey,
    /// The verdict after this outcome.
    pub verdict: Verdict,
    /// Whether this outcome changed the verdict.
    pub changed: bool,
    /// What was found.
    pub outcome: Outcome,
    /// When the probe ended.
    pub at: Instant,
    /// Successes since the key is known, this one included.
    pub passed: u64,
    /// Failures since the key is known, this one included.
    pub failed: u64,
}

/// Counters of a prober.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProberStats {
    /// Probes in the set.
    pub probes: usize,
    /// Different ones among them: those that a backend cannot tell apart are made once.
    pub units: usize,
    /// Probes under way now.
    pub in_flight: usize,
    /// Probes finished since the start.
    pub finished: u64,
    /// Starts that were missed since the start, because for a whole interval the probe before was
    /// still under way or too many others were.
    pub late: u64,
    /// How long after their time the finished probes were begun.
    pub delays: Delays,
}

/// Handle of a running prober. Clones are handles of the same one; the probes end with the last of
/// them, but only [`shutdown`](Self::shutdown) takes the routes and rules away.
#[derive(Debug, Clone)]
pub struct Prober {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `None` after the shutdown. Held during a change, so that changes come one after another.
    paths: Mutex<Option<Paths>>,
    commands: mpsc::UnboundedSender<Command>,
    stats: Arc<Lock<ProberStats>>,
}

impl Prober {
    /// Starts a prober with an empty set, and removes what an earlier run with the same
    /// configuration left behind. All work is done by tasks of the calling runtime.
    ///
    /// # Errors
    /// [`Error::Config`] if a value cannot be used, [`Error::Netlink`] if the kernel cannot be asked.
    pub async fn start(
        config: ProberConfig,
    ) -> Result<(Self, mpsc::UnboundedReceiver<ProbeEvent>), Error> {
        let ProberConfig { mark_mask, table_base, rule_priority, concurrency, seed } = config;
        if concurrency == 0 {
            return Err(Error::Config("concurrency must be at least 1".into()));
        }
        let paths = Paths::open(mark_mask, table_base, rule_priority).await?;
        let changes = path::changes()?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let (events, outbox) = mpsc::unbounded_channel();
        let stats = Arc::default();
        tokio::spawn(Driver::new(seed, concurrency, events, Arc::clone(&stats)).run(inbox));
        let shared = Arc::new(Shared { paths: Mutex::new(Some(paths)), commands, stats });
        tokio::spawn(watch(Arc::downgrade(&shared), changes));
        Ok((Self { shared }, outbox))
    }

    /// Replaces the whole set. Known keys keep their verdict; on an error the old set goes on.
    /// Events from before the change, of removed keys too, may still be in the channel.
    ///
    /// # Errors
    /// Names the first probe, backend or VIP that cannot be probed, or the route or rule that the
    /// kernel refused. [`Error::Stopped`] after the shutdown.
    pub async fn set(&self, probes: Vec<Probe>) -> Result<(), Error> {
        path::validate(&probes)?;
        let mut guard = self.shared.paths.lock().await;
        let paths = guard.as_mut().ok_or(Error::Stopped)?;
        // Additions first, then the probes, then removals: no probe ever lacks its path.
        let prepared = paths.prepare(path::pairs(&probes)).await?;
        let (done, set) = oneshot::channel();
        let states = prepared.states.clone();
        let probes = probes.into_iter().map(Arc::new).collect();
        let sent = self.shared.commands.send(Command::Set { probes, states, done });
        if sent.is_err() || set.await.is_err() {
            return Err(Error::Stopped);
        }
        paths.commit(prepared).await;
        Ok(())
    }

    /// Counters now.
    #[must_use]
    pub fn stats(&self) -> ProberStats {
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops all probes and removes the routes and rules. Further calls do nothing.
    pub async fn shutdown(&self) {
        let Some(mut paths) = self.shared.paths.lock().await.take() else { return };
        let (done, stopped) = oneshot::channel();
        if self.shared.commands.send(Command::Stop { done }).is_ok() {
            // An error means that the driver is gone, which is what is wanted.
            let _ = stopped.await;
        }
        if let Err(error) = paths.remove_all().await {
            tracing::warn!(%error, "cannot remove all probe paths");
        }
    }
}

impl Shared {
    /// Puts right what was seen, and tells the driver of it.
    async fn renew(&self, seen: Result<Option<Seen>, Error>) {
        let mut guard = self.paths.lock().await;
        let Some(paths) = guard.as_mut() else { return };
        let renewed = match seen {
            Ok(Some(seen)) => paths.renew(seen).await,
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match renewed {
            Ok(None) => {}
            Ok(Some(states)) => {
                // An error means that the driver is gone; the next upgrade will tell.
                let _ = self.commands.send(Command::Paths { states });
            }
            Err(error) => tracing::warn!(%error, "cannot renew the probe paths"),
        }
    }
}

/// Keeps the paths right while the host changes: interfaces come and go, and with them the kernel
/// drops routes; other programs may flush rules.
async fn watch(shared: Weak<Shared>, changes: Changes) {
    let mut changes = Some(changes);
    let mut news = false;
    loop {
        news = news || wait(&mut changes).await;
        tokio::time::sleep(SETTLE).await;
        while next(&mut changes).now_or_never().is_some() {
            news = true;
        }
        // Neither the paths nor the prober are held during the look.
        let look = match shared.upgrade() {
            Some(shared) => shared.paths.lock().await.as_ref().map(Paths::look),
            None => None,
        };
        let Some(look) = look else { return };
        let seen = match look {
            None => Ok(None),
            Some(look) if news => look.now().await,
            Some(look) => tokio::select! {
                seen = look.at_leisure() => seen,
                () = next(&mut changes) => {
                    news = true;
                    continue;
                }
            },
        };
        news = false;
        let Some(shared) = shared.upgrade() else { return };
        shared.renew(seen).await;
    }
}

/// Waits until it is time to look; whether that is because something has happened, or may have.
async fn wait(changes: &mut Option<Changes>) -> bool {
    tokio::select! {
        () = next(changes) => return true,
        () = tokio::time::sleep(REFRESH) => {}
    }
    let deaf = changes.is_none();
    if deaf {
        let again = path::changes();
        *changes = again.inspect_err(|error| tracing::warn!(%error, "paths may be late")).ok();
    }
    deaf
}

/// Until the next change, or the end of news of them. Without anything to listen to, for ever.
async fn next(changes: &mut Option<Changes>) {
    match changes {
        Some(stream) => {
            if stream.next().await.is_none() {
                *changes = None;
            }
        }
        None => std::future::pending().await,
    }
}

/// Removes what an earlier run with this configuration left behind.
///
/// # Errors
/// [`Error::NoPermission`] or [`Error::Netlink`].
pub async fn cleanup(config: &ProberConfig) -> Result<Report, Error> {
    path::cleanup(config.mark_mask, config.table_base, config.rule_priority).await
}
