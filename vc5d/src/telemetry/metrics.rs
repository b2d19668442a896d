//! Histograms of what only the core can time, and the whole text of a scrape.

use std::time::{Duration, SystemTime};

use prometheus::{Encoder, Histogram, HistogramOpts, HistogramVec, Registry, TextEncoder};
use vc5_health::ProbeEvent;

use super::export;
use super::table::{PROBE_SECONDS, WITHDRAW_SECONDS};
use crate::snapshot::Snapshot;

/// Withdrawals are expected well under 5 ms; a second is the most that a stuck peer may cost.
const WITHDRAW_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0];

/// From the same rack to the longest sensible timeout.
const PROBE_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// All metrics of the daemon. Observing never waits for a scrape.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    withdraw: Histogram,
    probes: HistogramVec,
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
        registry.register(Box::new(withdraw.clone()))?;
        registry.register(Box::new(probes.clone()))?;
        Ok(Self { registry, withdraw, probes })
    }

    /// A VIP went down: the time from the verdict until its withdrawal was on the wire.
    pub fn observe_withdraw(&self, took: Duration) {
        self.withdraw.observe(took.as_secs_f64());
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
