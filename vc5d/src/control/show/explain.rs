//! `explain`: the chain from the route of a VIP down to what a probe found, in words.

use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::super::clock::Clock;
use super::super::reply::{Reply, code};
use super::{find_vips, gate, health, said};
use crate::snapshot::{
    Backend, BackendState, CheckResult, Event, Route, Service, Snapshot, Subject, Vip, VipState,
};

/// The chain of each address of a VIP: route, VIP, services, backends, checks.
pub(super) fn explain(snapshot: &Snapshot, name: &str, clock: &Clock) -> Reply {
    let vips = match find_vips(snapshot, name) {
        Ok(vips) => vips,
        Err(reply) => return reply,
    };
    let mut reply = Reply::new();
    let mut say = |text: String| reply.push(code::EXPLAIN, text);
    for vip in vips {
        say(route_line(snapshot, vip, clock));
        for line in neighbour_lines(snapshot, vip) {
            say(format!("  {line}"));
        }
        if let Some(said) = &vip.admin {
            say(format!("  {}", health::word(said, clock)));
        }
        for line in gate::lines(vip, clock) {
            say(format!("  {line}"));
        }
        if let Some(event) = last_change(snapshot, vip) {
            say(format!(
                "  its last change was {} -> {} at {}: {}",
                event.from,
                event.to,
                clock.exact(event.at),
                event.cause
            ));
        }
        for service in &vip.services {
            say(format!("  {}", service_line(service, clock)));
            for line in backend_lines(service, clock) {
                say(format!("    {line}"));
            }
        }
    }
    reply.done()
}

/// The same as JSON: the VIP with its route, the neighbours, and its last change.
pub(super) fn document(snapshot: &Snapshot, vip: &Vip) -> Value {
    json!({
        "vip": vip,
        "announced_to": announced_to(snapshot, vip),
        "not_announced_to": left_out(snapshot, vip),
        "last_change": last_change(snapshot, vip),
    })
}

fn route_line(snapshot: &Snapshot, vip: &Vip, clock: &Clock) -> String {
    let stands = if route(snapshot, vip).is_some() { "stands" } else { "does not stand" };
    format!(
        "VIP {}: the route {} {stands}; so since {} ({}): {}",
        vip.name,
        IpNet::from(vip.address),
        clock.table(vip.since),
        clock.ago(vip.since),
        vip.reason
    )
}

fn route<'a>(snapshot: &'a Snapshot, vip: &Vip) -> Option<&'a Route> {
    let prefix = IpNet::from(vip.address);
    snapshot.routes.iter().find(|route| route.source == "vip" && route.prefix == prefix)
}

fn announced_to<'a>(snapshot: &'a Snapshot, vip: &Vip) -> &'a [String] {
    route(snapshot, vip).map(|route| route.exported_to.as_slice()).unwrap_or_default()
}

/// Neighbours that do not get the route, each with the reason.
fn left_out(snapshot: &Snapshot, vip: &Vip) -> Vec<(String, String)> {
    let family = if vip.address.is_ipv4() { "ipv4" } else { "ipv6" };
    let told = announced_to(snapshot, vip);
    let others = snapshot.peers.values().filter(|peer| !told.contains(&peer.name));
    others
        .map(|peer| {
            let why = match peer.channels.get(family) {
                _ if peer.state != "Established" => match &peer.last_error {
                    Some(error) => format!("the session is {}: {error}", peer.state),
                    None => format!("the session is {}", peer.state),
                },
                None => format!("it has no {family} channel"),
                Some(channel) if !channel.up => format!("{family} was not agreed on"),
                Some(channel) => match &channel.next_hop_error {
                    Some(error) => error.clone(),
                    None => format!("export filter {}", channel.export),
                },
            };
            (peer.name.clone(), why)
        })
        .collect()
}

fn neighbour_lines(snapshot: &Snapshot, vip: &Vip) -> Vec<String> {
    // Where nothing stands there is nothing to tell a neighbour.
    if vip.state != VipState::Up || route(snapshot, vip).is_none() {
        return Vec::new();
    }
    let mut lines = vec![match announced_to(snapshot, vip) {
        [] => "it is announced to no neighbour".to_owned(),
        names => format!("it is announced to {}", names.join(", ")),
    }];
    let left_out = left_out(snapshot, vip);
    lines.extend(left_out.iter().map(|(name, why)| format!("{name} does not get it: {why}")));
    lines
}

/// The last change of the route that is remembered.
fn last_change<'a>(snapshot: &'a Snapshot, vip: &Vip) -> Option<&'a Event> {
    let own = |event: &&Event| event.subject == Subject::Route && event.vip_address == vip.address;
    snapshot.history.iter().map(Arc::as_ref).rfind(own)
}

fn service_line(service: &Service, clock: &Clock) -> String {
    format!(
        "service {}/{} is {} since {} ({}): {} of {} backends of pool {} healthy, needs {}{}",
        service.ports,
        service.protocol,
        service.word(),
        clock.table(service.since),
        clock.ago(service.since),
        service.own_healthy(),
        service.own_backends(),
        service.pool,
        service.need,
        service_remarks(service)
    )
}

fn service_remarks(service: &Service) -> String {
    let mut remarks = String::new();
    if let Some(pool) = &service.backup {
        remarks += &match service.on_backup {
            true => format!("; the backup pool {pool} helps out"),
            false => format!("; the backup pool {pool} is not needed"),
        };
    }
    if service.panic {
        remarks += "; too few are up to be believed, the last good ones are used on";
    }
    if !service.gating {
        remarks += "; the VIP does not depend on it";
    }
    remarks
}

/// What is healthy in one line, what is not one by one.
fn backend_lines(service: &Service, clock: &Clock) -> Vec<String> {
    let (up, rest): (Vec<&Backend>, Vec<&Backend>) =
        service.backends.iter().partition(|backend| backend.state == BackendState::Up);
    let mut lines = Vec::new();
    let backups = if service.on_backup { "helping out" } else { "standing by" };
    for (backup, what) in [(false, "up"), (true, backups)] {
        let of_pool = up.iter().filter(|backend| backend.backup == backup);
        let addresses: Vec<String> = of_pool.map(|b| b.address.to_string()).collect();
        if !addresses.is_empty() {
            lines.push(format!("{what}: {}", addresses.join(", ")));
        }
    }
    for backend in up {
        let said = said::lines(backend, clock);
        lines.extend(said.iter().map(|line| format!("  {}: {line}", backend.address)));
        for (name, check) in &backend.checks {
            let past = health::past_failure(check, clock);
            lines.extend(past.map(|past| format!("  {}: check {name}, {past}", backend.address)));
        }
    }
    for backend in rest {
        let (since, ago) = (clock.table(backend.since), clock.ago(backend.since));
        let word = backend.state.word();
        let said = backend.admin.as_ref().map(|said| format!(": {}", health::word(said, clock)));
        let said = said.unwrap_or_default();
        lines.push(format!("backend {} is {word} since {since} ({ago}){said}", backend.address));
        lines.extend(said::lines(backend, clock).iter().map(|line| format!("  {line}")));
        let checks = backend.checks.iter().filter(|(_, check)| check.up != Some(true));
        lines.extend(checks.map(|(name, check)| format!("  {}", check_line(name, check, clock))));
    }
    lines
}

fn check_line(name: &str, check: &CheckResult, clock: &Clock) -> String {
    let verdict = match check.up {
        None => "undecided",
        Some(true) => "up",
        Some(false) => "down",
    };
    match &check.last_failure {
        None => format!("check {name} is {verdict}, no probe of it has failed"),
        Some(failure) => format!(
            "check {name} is {verdict}, failed last at {} ({} ago): {}",
            clock.exact(failure.at),
            clock.ago(failure.at),
            failure.diagnostic
        ),
    }
}
