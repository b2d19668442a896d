//! The registry: samples of the newest snapshot, and histograms of what only the core can time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Histogram, HistogramOpts, HistogramVec, Registry, TextEncoder};

use super::export;
use super::table::{ALL, Kind, PROBE_SECONDS, WITHDRAW_SECONDS};
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
    /// Metrics of what `snapshot` holds at each scrape.
    ///
    /// # Errors
    /// A name in [`super::table`] is not valid or not unique.
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let withdraw = HistogramOpts::new(WITHDRAW_SECONDS.name, WITHDRAW_SECONDS.help);
        let withdraw = Histogram::with_opts(withdraw.buckets(WITHDRAW_BUCKETS.to_vec()))?;
        let probes = HistogramOpts::new(PROBE_SECONDS.name, PROBE_SECONDS.help);
        let probes =
            HistogramVec::new(probes.buckets(PROBE_BUCKETS.to_vec()), PROBE_SECONDS.labels)?;
        registry.register(Box::new(withdraw.clone()))?;
        registry.register(Box::new(probes.clone()))?;
        registry.register(Box::new(FromSnapshot::new(snapshot)?))?;
        Ok(Self { registry, withdraw, probes })
    }

    /// A VIP went down: the time from the verdict until its withdrawal was on the wire.
    pub fn observe_withdraw(&self, took: Duration) {
        self.withdraw.observe(took.as_secs_f64());
    }

    /// A probe of the check of this name ended.
    pub fn observe_probe(&self, check: &str, took: Duration) {
        self.probes.with_label_values(&[check]).observe(took.as_secs_f64());
    }

    /// All metrics in Prometheus's text format, version 0.0.4.
    ///
    /// # Errors
    /// The encoder refuses a family.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Collects from the newest snapshot, so that no series outlives what it describes.
struct FromSnapshot {
    snapshot: Arc<ArcSwap<Snapshot>>,
    descriptions: Vec<Desc>,
}

impl FromSnapshot {
    fn new(snapshot: Arc<ArcSwap<Snapshot>>) -> prometheus::Result<Self> {
        let describe = |def: &super::table::Def| {
            let labels = def.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(def.name.to_owned(), def.help.to_owned(), labels, Default::default())
        };
        let own = ALL.iter().filter(|def| def.kind != Kind::Histogram);
        let descriptions = own.map(describe).collect::<prometheus::Result<_>>()?;
        Ok(Self { snapshot, descriptions })
    }
}

impl Collector for FromSnapshot {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        export::families(&self.snapshot.load(), now.as_secs_f64())
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
