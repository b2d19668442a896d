//! Answers of the dataplane as JSON documents; `docs/control.md` names the fields.

use serde_json::{Value, json};
use vc5_xdp::{FlowRecord, FlowsView, L4, MaglevView, NewFlow, Ports, TraceAnswer, Tuple};

use super::super::question::{Answer, ServiceName};
use super::answers::hexadecimal;

pub(super) fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Trace(trace) => self::trace(trace),
        Answer::Maglev(services) => services.iter().map(maglev).collect(),
        Answer::Flows { view, events, .. } => flows(view, events),
        Answer::Flow(tuple, view) => json!({
            "flow": self::tuple(tuple),
            "hash": hash(view.hash),
            "bucket": view.bucket,
            "record": view.record.as_ref().map(record),
            "embryonic": view.embryonic.as_ref().map(record),
        }),
    }
}

fn trace(answer: &TraceAnswer) -> Value {
    let service =
        answer.service.map(|(vip, ports, protocol)| service(&ServiceName { vip, ports, protocol }));
    let departure = answer.departure.as_ref().map(|out| {
        json!({
            "interface": out.interface,
            "vlan": out.vlan,
            "destination": out.destination.to_string(),
        })
    });
    json!({
        "verdict": answer.verdict,
        "reason": answer.reason,
        "interface": answer.interface,
        "hash": answer.hash.map(hash),
        "service": service,
        "ring": answer.ring,
        "is_previous_ring": answer.is_previous_ring,
        "slot": answer.slot,
        "member": answer.member,
        "backend": answer.backend,
        "record": answer.record.as_ref().map(record),
        "embryonic": answer.embryonic.as_ref().map(record),
        "departure": departure,
        "frame": hexadecimal(&answer.frame, ""),
    })
}

fn maglev((name, view): &(ServiceName, MaglevView)) -> Value {
    let members = view.members.iter().map(|member| {
        json!({
            "address": member.address,
            "member": member.member,
            "weight": member.weight,
            "slots": member.slots,
            "share": member.share,
        })
    });
    let previous =
        view.previous.map(|(ring, left)| json!({ "ring": ring, "left": left.as_secs_f64() }));
    json!({
        "service": service(name),
        "ring": view.ring,
        "shared_by": view.shared_by,
        "digest": view.digest.map(hash),
        "previous": previous,
        "members": members.collect::<Value>(),
    })
}

fn flows(view: &FlowsView, events: &[(&'static str, u64)]) -> Value {
    let ages =
        view.ages.iter().map(|age| json!({ "below": age.below.as_secs_f64(), "flows": age.flows }));
    let shares = view.shares.iter().map(|share| {
        let name = ServiceName { vip: share.vip, ports: share.ports, protocol: share.protocol };
        json!({ "service": service(&name), "backend": share.backend, "flows": share.flows })
    });
    let events = events.iter().map(|(name, count)| ((*name).to_owned(), json!(count)));
    json!({
        "capacity": view.capacity,
        "used": view.used,
        "closing": view.closing,
        "stale": view.stale,
        "embryonic_used": view.embryonic.0,
        "embryonic_capacity": view.embryonic.1,
        "ages": ages.collect::<Value>(),
        "events": events.collect::<Value>(),
        "shares": shares.collect::<Value>(),
    })
}

pub(super) fn new_flow(flow: &NewFlow) -> Value {
    json!({ "flow": tuple(&flow.tuple), "backend": flow.backend, "reason": flow.reason })
}

fn tuple(tuple: &Tuple) -> Value {
    json!({
        "source": tuple.source,
        "source_port": tuple.source_port,
        "destination": tuple.destination,
        "destination_port": tuple.port,
        "protocol": protocol(tuple.protocol),
    })
}

fn service(name: &ServiceName) -> Value {
    let port = match name.ports {
        Ports::One(port) => json!(port),
        Ports::Range(..) | Ports::All => json!(name.ports.to_string()),
    };
    json!({ "vip": name.vip, "port": port, "protocol": protocol(name.protocol) })
}

fn record(record: &FlowRecord) -> Value {
    json!({
        "real": record.real,
        "backend": record.backend,
        "idle": record.idle.as_secs_f64(),
        "closing": record.closing,
    })
}

fn protocol(protocol: L4) -> String {
    protocol.to_string()
}

/// As digits: few readers of JSON keep 64 bits of a number.
fn hash(hash: u64) -> String {
    format!("{hash:016x}")
}
