//! Answers of the dataplane in lines: `trace`, `show maglev`, `show flows`, `show flow`, `show new-flows`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use vc5_xdp::{
    FlowRecord, FlowView, FlowsView, L4, MaglevView, NewFlow, Ports, TraceAnswer, Tuple,
};

use super::super::question::{Answer, ServiceName};
use super::super::reply::{Reply, code};
use super::reasons;

/// Slots of a ring in all.
const RING_SLOTS: f64 = 65536.0;

/// Bytes of a frame in a line.
const FRAME_LINE: usize = 32;

pub(super) fn answer(answer: &Answer) -> Reply {
    match answer {
        Answer::Trace(trace) => self::trace(trace),
        Answer::Maglev(services) => maglev(services),
        Answer::Flows { view, events, all } => flows(view, events, *all),
        Answer::Flow(tuple, view) => flow(tuple, view),
    }
    .done()
}

/// What became of the packet, then how it came to that.
fn trace(answer: &TraceAnswer) -> Reply {
    let mut line = match (answer.verdict, answer.backend) {
        ("pass", _) => "Passed to this host".to_owned(),
        ("drop", _) => "Dropped".to_owned(),
        (_, Some(backend)) => format!("Sent to {backend}"),
        (_, None) => "Answered".to_owned(),
    };
    line.push_str(&format!(": {} ({})", reasons::meaning(answer.reason), answer.reason));
    let mut reply = Reply::one(code::TRACE, line);
    let mut line = |name: &str, text: String| {
        reply.push(code::TRACE, format!("  {:<12}{text}", format!("{name}:")));
    };
    line("In by", answer.interface.clone());
    if let Some(hash) = answer.hash {
        line("Hash", format!("{hash:016x}"));
    }
    if let Some((vip, ports, protocol)) = answer.service {
        line("Service", service(vip, ports, protocol));
    }
    if let Some(found) = &answer.record {
        line("Record", record(found));
    }
    if let Some(found) = &answer.embryonic {
        line("SYN", record(found));
    }
    if let Some(ring) = answer.ring {
        let age = if answer.is_previous_ring { ", the one before the last change" } else { "" };
        let slot = answer.slot.map(|slot| format!(", slot {slot}")).unwrap_or_default();
        let member = answer.member.map(|number| format!(", member {number}")).unwrap_or_default();
        line("Ring", format!("{ring}{age}{slot}{member}"));
    }
    if let Some(out) = &answer.departure {
        let vlan = out.vlan.map(|id| format!(" vlan {id}")).unwrap_or_default();
        line("Out by", format!("{}{vlan} to {}", out.interface, out.destination));
    }
    line("Frame", format!("{} bytes", answer.frame.len()));
    for bytes in answer.frame.chunks(FRAME_LINE) {
        reply.push(code::TRACE, format!("    {}", hexadecimal(bytes, " ")));
    }
    reply
}

pub(super) fn hexadecimal(bytes: &[u8], between: &str) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(between)
}

/// `10.1.10.10 (real 17), idle for 4 s, closing`
fn record(record: &FlowRecord) -> String {
    let backend = match record.backend {
        Some(backend) => backend.to_string(),
        None => "nobody any more".to_owned(),
    };
    let closing = if record.closing { ", closing" } else { "" };
    format!("{backend} (real {}), idle for {} s{closing}", record.real, record.idle.as_secs())
}

fn maglev(services: &[(ServiceName, MaglevView)]) -> Reply {
    let row = |backend: &str, member: &str, weight: &str, slots: &str, share: &str, exact: &str| {
        format!("  {backend:<40} {member:>6} {weight:>6} {slots:>6} {share:>9} {exact:>9}")
    };
    let mut reply = Reply::new();
    for (name, view) in services {
        reply.push(code::MAGLEV, ring(name, view));
        reply.push(
            code::MAGLEV_HEADING,
            row("Backend", "Member", "Weight", "Slots", "Share", "By weight"),
        );
        for member in &view.members {
            reply.push(
                code::MAGLEV,
                row(
                    &member.address.to_string(),
                    &member.member.to_string(),
                    &member.weight.to_string(),
                    &member.slots.to_string(),
                    &format!("{:.3} %", f64::from(member.slots) * 100.0 / RING_SLOTS),
                    &format!("{:.3} %", member.share * 100.0),
                ),
            );
        }
    }
    reply
}

fn ring(name: &ServiceName, view: &MaglevView) -> String {
    let mut line = service(name.vip, name.ports, name.protocol);
    match view.ring {
        Some(ring) => line.push_str(&format!(": ring {ring}")),
        None => line.push_str(": no ring, as no backend takes new flows"),
    }
    if view.shared_by > 1 {
        line.push_str(&format!(", shared by {} services", view.shared_by));
    }
    if let Some(digest) = view.digest {
        line.push_str(&format!(", digest {digest:016x}"));
    }
    if let Some((previous, left)) = view.previous {
        line.push_str(&format!(", before it ring {previous} for {} s yet", left.as_secs()));
    }
    line
}

fn flows(view: &FlowsView, events: &[(&'static str, u64)], all: bool) -> Reply {
    let percent = view.used as f64 * 100.0 / view.capacity.max(1) as f64;
    let mut reply = Reply::one(
        code::FLOWS,
        format!("Flow records: {} of {} ({percent:.1} %)", view.used, view.capacity),
    );
    let mut line = |text: String| reply.push(code::FLOWS, text);
    line(format!("  {} after a FIN or RST, {} of nobody any more", view.closing, view.stale));
    for age in &view.ages {
        line(format!("  idle for less than {:>4} s: {:>12}", age.below.as_secs(), age.flows));
    }
    line(format!("Notes of SYNs: {} of {}", view.embryonic.0, view.embryonic.1));
    for (event, count) in events {
        line(format!("  {event:<20} {count:>12}"));
    }
    shares(&mut reply, view, all);
    reply
}

/// Services, or their backends, those with most flows first.
fn shares(reply: &mut Reply, view: &FlowsView, all: bool) {
    let mut flows: BTreeMap<(String, String), u64> = BTreeMap::new();
    for share in &view.shares {
        let backend = if all { share.backend.to_string() } else { String::new() };
        let key = (service(share.vip, share.ports, share.protocol), backend);
        *flows.entry(key).or_default() += share.flows;
    }
    let mut rows: Vec<_> = flows.into_iter().collect();
    rows.sort_by_key(|(_, flows)| std::cmp::Reverse(*flows));
    let row = |service: &str, backend: &str, flows: &str| match all {
        true => format!("{service:<48} {backend:<40} {flows:>12}"),
        false => format!("{service:<48} {flows:>12}"),
    };
    reply.push(code::FLOWS_HEADING, row("Service", "Backend", "Flows"));
    for ((service, backend), flows) in rows {
        reply.push(code::FLOWS, row(&service, &backend, &flows.to_string()));
    }
}

fn flow(tuple: &Tuple, view: &FlowView) -> Reply {
    let mut reply = Reply::one(code::FLOWS, name(tuple));
    let mut line = |name: &str, text: String| {
        reply.push(code::FLOWS, format!("  {:<12}{text}", format!("{name}:")));
    };
    line("Hash", format!("{:016x}, bucket {}", view.hash, view.bucket));
    line("Record", view.record.as_ref().map_or("none".to_owned(), record));
    line("SYN", view.embryonic.as_ref().map_or("none".to_owned(), record));
    reply
}

/// `198.51.100.1:40000 to 192.0.2.1:80/tcp: 10.1.10.10 (ring)`
pub(super) fn new_flow(flow: &NewFlow) -> String {
    let backend = flow.backend.map_or("a backend that has gone".to_owned(), |b| b.to_string());
    format!("{}: {backend} ({})", name(&flow.tuple), flow.reason)
}

/// `198.51.100.1:40000 to 192.0.2.1:80/tcp`
fn name(tuple: &Tuple) -> String {
    let Tuple { source, source_port, destination, port, protocol } = *tuple;
    let from = SocketAddr::new(source, source_port);
    let to = SocketAddr::new(destination, port);
    format!("{from} to {to}/{protocol}")
}

/// `192.0.2.1:80/tcp` or `[2001:db8::1]:8000-8099/tcp`.
pub(super) fn service(vip: IpAddr, ports: Ports, protocol: L4) -> String {
    match vip {
        IpAddr::V4(vip) => format!("{vip}:{ports}/{protocol}"),
        IpAddr::V6(vip) => format!("[{vip}]:{ports}/{protocol}"),
    }
}
