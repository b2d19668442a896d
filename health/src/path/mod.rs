//! Marks, rules and routes that lead a probe to its backend.

use crate::check::Probe;
use crate::error::Error;

/// What a clean-up removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Policy rules removed.
    pub rules: usize,
    /// Routes removed.
    pub routes: usize,
}

/// Checks, without changing anything, that paths can be set up for these probes.
///
/// # Errors
/// Whatever [`crate::Prober::set`] would fail with.
pub async fn check_paths(probes: &[Probe]) -> Result<(), Error> {
    probes.iter().try_for_each(Probe::validate)
}
