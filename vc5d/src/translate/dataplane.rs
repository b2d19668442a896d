use vc5_xdp::{AttachMode, DataplaneConfig};

use crate::config::model::{Dataplane, DataplaneMode};

/// The key of nodes that were given none: the fleet chooses alike, but so can anyone who reads this.
pub(crate) const DEFAULT_HASH_KEY: [u8; 16] = *b"vc5 default key.";

/// `[dataplane]`; `None` when its mode is off.
pub fn dataplane(config: &Dataplane) -> Option<DataplaneConfig> {
    let mode = match config.mode {
        DataplaneMode::Off => return None,
        DataplaneMode::Auto => AttachMode::Auto,
        DataplaneMode::Native => AttachMode::Native,
        DataplaneMode::Generic => AttachMode::Generic,
    };
    Some(DataplaneConfig {
        interfaces: config.interfaces.clone(),
        vlans: config.vlans.clone(),
        mode,
        pin_path: Some(config.pin_path.clone()),
        hash_key: config.hash_key.unwrap_or(DEFAULT_HASH_KEY),
        flows: config.flows,
        max_reals: config.max_reals,
        settle_time: config.settle_time,
        drain_time: config.drain_time,
        // A power of two up to 2^31, so that the logarithm fits.
        sample: config.sample_new_flows.map(|one_in| one_in.ilog2() as u8),
    })
}
