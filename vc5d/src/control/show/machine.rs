//! `show status` and `show interfaces`.

use std::collections::BTreeMap;

use super::super::clock::Clock;
use super::super::reply::{Reply, code};
use crate::snapshot::{DaemonState, Dataplane, Leaving, Snapshot};

/// BIRD's lines of `show status`.
pub(super) fn status(snapshot: &Snapshot, clock: &Clock) -> Reply {
    let status = &snapshot.status;
    let mut reply = Reply::one(code::VERSION, format!("vc5 {}", status.version));
    let mut line = |text: String| reply.push(code::UPTIME, text);
    line(format!("Router ID is {}", status.router_id));
    line(format!("Hostname is {}", status.hostname));
    line(format!("Current server time is {}", clock.exact(clock.now)));
    line(format!("Last reboot on {}", clock.exact(status.started)));
    line(format!("Last reconfiguration on {}", clock.exact(status.reconfigured)));
    let state = match status.state {
        DaemonState::Running => "Daemon is up and running",
        DaemonState::Reconfiguring => "Reconfiguration in progress",
        DaemonState::Stopping => "Shutdown in progress",
    };
    reply.push(code::STATUS, state);
    reply
}

/// Interfaces with the program on them and the packets that came in by each, then what they share.
pub(super) fn interfaces(snapshot: &Snapshot) -> Reply {
    let mut reply = Reply::new();
    let Some(dataplane) = &snapshot.dataplane else {
        reply.push(code::INTERFACE, "The dataplane is off");
        return reply.done();
    };
    for (name, interface) in &dataplane.interfaces {
        let state = if interface.attached { "up" } else { "down" };
        reply.push(code::INTERFACE, format!("{name} {state} (index={})", interface.index));
        let program = if interface.attached { "attached" } else { "not attached" };
        let mut line = |text: String| reply.push(code::INTERFACE_DETAIL, text);
        line(format!("\tXDP {}, {program}, MAC {}", interface.mode, interface.mac));
        if let Some(note) = &interface.note {
            line(format!("\tNote: {note}"));
        }
        packets(&interface.reasons, line);
    }
    reply.push(code::INTERFACE, "Dataplane");
    shared(dataplane, |text| reply.push(code::INTERFACE_DETAIL, text));
    reply.push(code::INTERFACE, "Backends");
    for (address, path) in &dataplane.paths {
        reply.push(code::INTERFACE_DETAIL, format!("\t{address:<24} {path}"));
    }
    for backend in &dataplane.leaving {
        let Leaving { address, vip, ports, protocol, state } = backend;
        let text = format!("\t{address:<24} {state}, has left {vip} {ports}/{protocol}");
        reply.push(code::INTERFACE_DETAIL, text);
    }
    reply.done()
}

/// What all interfaces share.
fn shared(dataplane: &Dataplane, mut line: impl FnMut(String)) {
    line(format!("\tApplied: {}", dataplane.applied));
    if let Some(error) = &dataplane.error {
        line(format!("\tError: {error}"));
    }
    line(format!(
        "\tFlow records: about {} of {}, {} bytes",
        dataplane.flows, dataplane.flow_capacity, dataplane.flow_memory
    ));
    for (event, count) in &dataplane.events {
        line(format!("\t{event:<24} {count:>12}"));
    }
    packets(&dataplane.reasons, line);
}

/// Those that there were any of.
fn packets(reasons: &BTreeMap<String, u64>, mut line: impl FnMut(String)) {
    for (reason, packets) in reasons.iter().filter(|(_, packets)| **packets > 0) {
        line(format!("\t{reason:<24} {packets:>12} packets"));
    }
}
