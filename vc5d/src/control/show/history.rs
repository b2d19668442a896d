//! `show history`: what has changed, and why.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::clock::Clock;
use super::super::grammar::HistoryQuery;
use super::super::reply::{Reply, code};
use super::find_vips;
use crate::snapshot::{Event, Snapshot, Subject};

/// One row for each change, the oldest first.
pub(super) fn history(snapshot: &Snapshot, query: &HistoryQuery, clock: &Clock) -> Reply {
    let events = match selected(snapshot, query) {
        Ok(events) => events,
        Err(reply) => return reply,
    };
    let row = |time: &str, what: &str, change: &str, cause: &str| {
        format!("{time:<23}  {what:<58} {change:<24} {cause}")
    };
    let mut reply = Reply::one(code::HISTORY_HEADING, row("Time", "What", "Change", "Cause"));
    for event in events {
        let change = format!("{} -> {}", event.from, event.to);
        let time = clock.exact(event.at);
        reply.push(code::HISTORY, row(&time, &subject(event), &change, &event.cause));
    }
    reply.done()
}

/// The changes that are asked for, the oldest first; or the reply that there is nothing of that name.
pub(super) fn selected<'a>(
    snapshot: &'a Snapshot,
    query: &HistoryQuery,
) -> Result<Vec<&'a Event>, Reply> {
    let about = query.about.as_deref();
    let mut found: Vec<&Event> = snapshot
        .history
        .iter()
        .map(Arc::as_ref)
        .filter(|event| about.is_none_or(|wanted| concerns(event, wanted)))
        .collect();
    if let Some(wanted) = about
        && found.is_empty()
        && !has_backend(snapshot, wanted)
    {
        find_vips(snapshot, wanted)?;
    }
    let excess = found.len().saturating_sub(query.last.unwrap_or(usize::MAX));
    found.drain(..excess);
    Ok(found)
}

fn concerns(event: &Event, wanted: &str) -> bool {
    match wanted.parse::<IpAddr>() {
        Ok(address) => event.vip_address == address || event.backend == Some(address),
        Err(_) => event.vip == wanted,
    }
}

fn has_backend(snapshot: &Snapshot, wanted: &str) -> bool {
    let Ok(address) = wanted.parse::<IpAddr>() else { return false };
    let mut services = snapshot.vips.iter().flat_map(|vip| &vip.services);
    services.any(|service| service.backends.iter().any(|backend| backend.address == address))
}

/// `backend 10.1.10.12 of www 192.168.101.1 80/tcp`
fn subject(event: &Event) -> String {
    let vip = format!("{} {}", event.vip, event.vip_address);
    let service = event.service.as_deref().unwrap_or_default();
    match (event.subject, event.backend) {
        (Subject::Backend, Some(backend)) => format!("backend {backend} of {vip} {service}"),
        (Subject::Report, Some(backend)) => format!("report on {backend} of {vip} {service}"),
        (Subject::Path, Some(backend)) => format!("path to {backend} of {vip} {service}"),
        (Subject::Backend | Subject::Service | Subject::Report | Subject::Path, _) => {
            format!("service {vip} {service}")
        }
        (Subject::Vip, _) => format!("vip {vip}"),
        (Subject::Route, _) => format!("route {vip}"),
    }
}
