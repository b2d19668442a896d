//! For tests of one kind of check: the check by itself, at its target and for this VIP.

use std::net::IpAddr;

use super::{Finished, Shared, Target};
use crate::check::{Check, Probe, ProbeKey, ProbePath};

/// A probe that is nothing but its check.
pub(crate) fn alone(check: &Check, vip: IpAddr) -> Probe {
    let key =
        ProbeKey { vip, backend: vip, port: 80, service: "80/tcp".into(), check: "alone".into() };
    Probe { key, path: ProbePath::Direct, ttl: None, check: check.clone() }
}

/// Runs it.
pub(crate) async fn run(target: Target, check: &Check, vip: IpAddr) -> Finished {
    Shared::default().run(target, &alone(check, vip)).await
}
