//! Sessions come up; the VIP is announced when its backends pass their checks, and not before.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::cast::{Cast, NAME, ROUTE};
use super::narrator::{Narrator, seconds};
use crate::lab::{fabric, wait};
use crate::tool::unix_now;

const LIMIT: Duration = Duration::from_secs(20);

/// Starts the nodes while no backend's service runs.
pub(super) fn sessions(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("Two vc5d nodes start; no backend serves yet");
    let start = Instant::now();
    for node in &mut cast.nodes {
        node.start()?;
    }
    for node in &cast.nodes {
        let up = wait::until_true("session", LIMIT, || cast.router.established(node.name()));
        narrator.expect_time(
            &format!("router: session with {} Established", node.name()),
            up.map(|_| start.elapsed()),
        );
        let mode = xdp_mode(cast, node.name())?;
        narrator.expect(
            mode == Some(NATIVE),
            format!("{}: XDP program attached to eth0 in native mode", node.name()),
        );
    }
    let down = cast.await_verdict(&cast.addresses(), "down", LIMIT);
    let next_hops = cast.router.next_hops(ROUTE)?;
    narrator.expect(
        down.is_ok() && next_hops.is_empty(),
        format!("checks fail on all backends; {ROUTE} is not in the router's table"),
    );
    narrator.say(reason(cast)?);
    Ok(())
}

/// Starts the services.
pub(super) fn announcement(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("The three backends' services start");
    let start = Instant::now();
    for backend in &mut cast.backends {
        backend.start()?;
    }
    let announced = cast.await_next_hops(2, LIMIT).map(|_| start.elapsed());
    let seen = unix_now();
    narrator.expect_time(&format!("router: {ROUTE} with two next hops"), announced);
    for (node, view) in cast.nodes.iter().zip(cast.views()?) {
        let passed: Vec<f64> = view
            .services
            .iter()
            .flat_map(|service| &service.backends)
            .filter(|backend| backend.state == "up")
            .map(|backend| backend.since)
            .collect();
        let first = passed.iter().copied().fold(f64::INFINITY, f64::min);
        narrator.expect(
            view.state == "up" && first < view.since && view.since < seen,
            format!(
                "{}: announced only after the checks had passed ({} before)",
                node.name(),
                seconds(Duration::from_secs_f64((view.since - first).clamp(0.0, 1e6)))
            ),
        );
    }
    let up = cast.await_verdict(&cast.addresses(), "up", LIMIT);
    narrator.expect(up.is_ok(), "both nodes find all three backends healthy");
    let kernel = wait::until_true("ECMP route", LIMIT, || {
        let route = cast.fabric.router.ip(&format!("route show {ROUTE}"))?;
        Ok(route.matches("nexthop via").count() == 2)
    });
    narrator.expect(kernel.is_ok(), "router's kernel: one multipath route over both nodes");
    narrator.say(reason(cast)?);
    Ok(())
}

/// `XDP_ATTACHED_DRV` of the kernel's interface.
const NATIVE: u64 = 1;

/// How a program is attached to a node's interface, as the kernel says.
fn xdp_mode(cast: &Cast, name: &str) -> Result<Option<u64>> {
    let Some(node) = cast.nodes.iter().find(|node| node.name() == name) else { return Ok(None) };
    let text = node.namespace().ip(&format!("-j -d link show dev {}", fabric::INTERFACE))?;
    let links: Value = serde_json::from_str(&text)?;
    Ok(links.pointer("/0/xdp/mode").and_then(Value::as_u64))
}

fn reason(cast: &Cast) -> Result<String> {
    let views = cast.views()?;
    let lines = cast.nodes.iter().zip(&views);
    let text: Vec<String> =
        lines.map(|(node, vip)| format!("{}: {NAME}: {}", node.name(), vip.reason)).collect();
    Ok(text.join("\n          "))
}
