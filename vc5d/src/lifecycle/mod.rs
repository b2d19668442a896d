//! From start to end: what is begun in which order, what a reload does, and what is left behind.

mod admin;
mod manager;
mod publish;
mod signals;
mod start;

use std::path::Path;

use anyhow::Context;

use crate::config::model::Config;
use crate::translate;

pub use start::run;

/// `vc5d --detach`: removes the dataplane, and the rules and routes of probes, that a killed or stopped daemon left.
///
/// # Errors
/// What could not be removed.
pub async fn detach(config: &Config) -> anyhow::Result<()> {
    let pins = config.dataplane.pin_path.clone();
    detach_dataplane(&pins).await?;
    let prober = translate::prober(&config.probe, 0);
    let report = vc5_health::cleanup(&prober).await.context("cannot remove probe routes")?;
    println!("removed: dataplane at {}; probe paths: {report:?}", pins.display());
    Ok(())
}

async fn detach_dataplane(pins: &Path) -> anyhow::Result<()> {
    let path = pins.to_owned();
    tokio::task::spawn_blocking(move || vc5_xdp::detach(&path))
        .await?
        .with_context(|| format!("cannot remove the dataplane pinned at {}", pins.display()))
}
