//! `show counters`: traffic by VIP, service and backend, and packets by what became of them.

use serde_json::{Value, json};

use super::super::reply::{Reply, code};
use super::{health, reasons};
use crate::snapshot::{Snapshot, Traffic};

pub(super) fn counters(snapshot: &Snapshot) -> Reply {
    let Some(dataplane) = &snapshot.dataplane else {
        return Reply::one(code::COUNTERS, "The dataplane is off").done();
    };
    let heading = ["Packets", "Bytes", "Flows", "SYN", "FIN", "RST"].map(str::to_owned);
    let mut reply = Reply::one(code::COUNTERS_HEADING, row("Service, backend", &heading));
    for vip in &snapshot.vips {
        reply.push(code::COUNTERS, traffic(&format!("{} {}", vip.name, vip.address), &vip.traffic));
        for service in &vip.services {
            let name = format!("  {}", health::endpoint(vip, service));
            reply.push(code::COUNTERS, traffic(&name, &service.traffic));
            for backend in &service.backends {
                let name = format!("    {}", backend.address);
                reply.push(code::COUNTERS, traffic(&name, &backend.traffic));
            }
        }
    }
    reply.push(code::COUNTERS_HEADING, format!("{:<20} {:>15}  Meaning", "Reason", "Packets"));
    for (reason, packets) in &dataplane.reasons {
        let meaning = reasons::meaning(reason);
        reply.push(code::COUNTERS, format!("{reason:<20} {packets:>15}  {meaning}"));
    }
    reply.done()
}

fn traffic(name: &str, traffic: &Traffic) -> String {
    let Traffic { packets, bytes, flows, syns, fins, rsts } = *traffic;
    row(name, &[packets, bytes, flows, syns, fins, rsts].map(|count| count.to_string()))
}

fn row(name: &str, columns: &[String; 6]) -> String {
    let [packets, bytes, flows, syns, fins, rsts] = columns;
    format!("{name:<44} {packets:>14} {bytes:>17} {flows:>12} {syns:>12} {fins:>12} {rsts:>12}")
}

/// The same as a document.
pub(super) fn document(snapshot: &Snapshot) -> Value {
    json!({
        "vips": snapshot.vips,
        "reasons": snapshot.dataplane.as_ref().map(|dataplane| &dataplane.reasons),
        "events": snapshot.dataplane.as_ref().map(|dataplane| &dataplane.events),
    })
}
