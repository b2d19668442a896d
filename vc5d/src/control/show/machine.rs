//! `show status` and `show interfaces`.

use super::super::clock::Clock;
use super::super::reply::{Reply, code};
use crate::snapshot::{DaemonState, Snapshot};

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

/// Interfaces with the program on them, then the counters that all of them share.
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
        reply.push(
            code::INTERFACE_DETAIL,
            format!("\tXDP {}, {program}, MAC {}", interface.mode, interface.mac),
        );
    }
    reply.push(code::INTERFACE, "Dataplane");
    let mut line = |text: String| reply.push(code::INTERFACE_DETAIL, text);
    line(format!("\tApplied: {}", dataplane.applied));
    if let Some(error) = &dataplane.error {
        line(format!("\tError: {error}"));
    }
    line(format!("\tFlow memory: {} bytes", dataplane.flow_memory));
    for (reason, packets) in &dataplane.reasons {
        line(format!("\t{reason:<24} {packets:>12} packets"));
    }
    reply.done()
}
