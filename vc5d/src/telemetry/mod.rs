//! Metrics over HTTP, filled from the newest snapshot at each scrape.
//!
//! [`table`] names every metric, [`export`] turns a snapshot into samples, [`metrics`] joins them with the
//! histograms that the core feeds, [`http`] serves them. `docs/metrics.md` lists them for users.

pub mod export;
pub mod http;
pub mod metrics;
pub mod table;

pub use http::serve;
pub use metrics::Metrics;
