//! What is said of a backend besides its checks, and what this node's own path to it makes of its verdict.

use super::super::clock::Clock;
use crate::signal::Report;
use crate::snapshot::{self, Backend};

/// `agent: up, weight 50: warming up`, one for each source, and why the verdict is held.
pub(super) fn said(backend: &Backend) -> Vec<String> {
    let reports = backend.reports.iter().map(|said| format!("{}: {}", said.source, report(said)));
    let path = backend.path_lost.as_ref().map(|why| format!("verdict held: {why}"));
    reports.chain(path).collect()
}

/// The same with their times.
pub(super) fn lines(backend: &Backend, clock: &Clock) -> Vec<String> {
    let report = |said: &snapshot::Report| {
        format!("{} says since {}: {}", said.source, clock.table(said.since), report(said))
    };
    let path = backend.path_lost.as_ref().map(|why| format!("its verdict is held: {why}"));
    backend.reports.iter().map(report).chain(path).collect()
}

fn report(said: &snapshot::Report) -> Report {
    Report { stand: said.state, weight: said.weight, reason: said.reason.clone() }
}
