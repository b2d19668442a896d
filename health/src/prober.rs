//! The driver: runs a set of probes and reports each outcome with its verdict.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::check::{Probe, ProbeKey};
use crate::error::Error;
use crate::path::Report;
use crate::probe::Outcome;
use crate::verdict::Verdict;

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
    /// First rule priority. This one and those up to
    /// `RULE_PRIORITIES` after it are the prober's own; all must be
    /// before the main table's rule at 32766.
    pub rule_priority: u32,
    /// Probes in flight at once, at least 1.
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
            concurrency: 1024,
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
    /// Probes under way now.
    pub in_flight: usize,
    /// Probes finished since the start.
    pub finished: u64,
    /// Starts that were missed since the start, because the probe before was still under way or
    /// too many others were.
    pub late: u64,
}

/// Handle of a running prober. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Prober {}

impl Prober {
    /// Starts a prober with an empty set, and removes what an earlier run with the same
    /// configuration left behind. All work is done on the calling runtime.
    ///
    /// # Errors
    /// [`Error::Config`] if a value cannot be used, [`Error::Netlink`] if the kernel cannot be asked.
    pub async fn start(
        _config: ProberConfig,
    ) -> Result<(Self, mpsc::UnboundedReceiver<ProbeEvent>), Error> {
        Ok((Self {}, mpsc::unbounded_channel().1))
    }

    /// Replaces the whole set. Known keys keep their verdict; on an error the old set goes on.
    ///
    /// # Errors
    /// Names the first probe, backend or VIP that cannot be probed.
    pub async fn set(&self, probes: Vec<Probe>) -> Result<(), Error> {
        probes.iter().try_for_each(Probe::validate)
    }

    /// Counters now.
    #[must_use]
    pub fn stats(&self) -> ProberStats {
        ProberStats::default()
    }

    /// Stops all probes and removes the routes and rules.
    pub async fn shutdown(&self) {}
}

/// Removes what an earlier run with this configuration left behind.
///
/// # Errors
/// [`Error::NoPermission`] or [`Error::Netlink`].
pub async fn cleanup(_config: &ProberConfig) -> Result<Report, Error> {
    Ok(Report::default())
}
