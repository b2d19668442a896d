//! Histograms of what only the core can time, and the whole text of a scrape.

use std::time::{Duration, SystemTime};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use vc5_health::ProbeEvent;

use super::export;
use super::table::{AGENT_REPORTS, PROBE_SECONDS, WITHDRAW_SECONDS};
use crate::snapshot::Snapshot;

/// Withdrawals are expected well under 5 ms; a second is the most that a stuck peer may cost.
const WITHDRAW_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0];

/// From the same rack to the longest sensible timeout.
const PROBE_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Whether what a service reported was taken.
const AGENT_RESULTS: [&str; 2] = ["taken", "refused"];

/// All metrics of the daemon. Observing never waits for a scrape.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    withdraw: Histogram,
    probes: HistogramVec,
    agent: IntCounterVec,
}

impl Metrics {
    /// Metrics without observations.
    ///
    /// # Errors
    /// A name in [`super::table`] is not valid or not unique.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let withdraw = HistogramOpts::new(WITHDRAW_SECONDS.name, WITHDRAW_SECONDS.help);
        let withdraw = Histogram::with_opts(withdraw.buckets(WITHDRAW_BUCKETS.to_vec()))?;
        let probes = HistogramOpts::new(PROBE_SECONDS.name, PROBE_SECONDS.help);
        let probes =
            HistogramVec::new(probes.buckets(PROBE_BUCKETS.to_vec()), PROBE_SECONDS.labels)?;
        let agent = Opts::new(AGENT_REPORTS.name, AGENT_REPORTS.help);
        let agent = IntCounterVec::new(agent, AGENT_REPORTS.labels)?;
        // There from the beginning, so that the first refusal shows as an increase.
        AGENT_RESULTS.iter().for_each(|result| drop(agent.with_label_values(&[result])));
        registry.register(Box::new(agent.clone()))?;
        registry.register(Box::new(withdraw.clone()))?;
        registry.register(Box::new(probes.clone()))?;
        Ok(Self { registry, withdraw, probes, agent })
    }

    /// A VIP went down: the time from the verdict until its withdrawal was on the wire.
    pub fn observe_withdraw(&self, took: Duration) {
        self.withdraw.observe(took.as_secs_f64());
    }

    /// A service reported something, or asked; whether that was taken.
    pub fn observe_agent(&self, taken: bool) {
        let [yes, no] = AGENT_RESULTS;
        self.agent.with_label_values(&[if taken { yes } else { no }]).inc();
    }

    /// A probe ended.
    pub fn observe_probe(&self, event: &ProbeEvent) {
        let took = event.outcome.took.as_secs_f64();
        self.probes.with_label_values(&[&event.key.check]).observe(took);
    }

    /// All metrics in Prometheus's text format, version 0.0.4. Nearly all come from `snapshot`, so that no
    /// series outlives what it describes.
    ///
    /// # Errors
    /// The encoder refuses a family.
    pub fn render(&self, snapshot: &Snapshot) -> prometheus::Result<Vec<u8>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut families = export::families(snapshot, now.as_secs_f64());
        families.extend(self.registry.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
