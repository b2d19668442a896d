//! The dataplane's picture in the words of [`crate::snapshot`].

use std::collections::{BTreeMap, HashMap};

use vc5_xdp::{Counters, InterfaceStatus, ReasonCount};

use crate::snapshot::{Dataplane, Interface, Leaving, Traffic, Vips};

/// Adds traffic, MAC addresses, paths and ring shares to the core's VIPs.
pub fn add_forwarding(vips: &mut Vips, forwarding: &vc5_xdp::Snapshot) {
    let known: HashMap<_, _> = forwarding.vips.iter().map(|vip| (vip.address, vip)).collect();
    for vip in vips.iter_mut() {
        let Some(status) = known.get(&vip.address) else { continue };
        for service in &mut vip.services {
            let same = |s: &&vc5_xdp::ServiceStatus| {
                s.ports == service.ports && s.protocol.to_string() == service.protocol
            };
            let Some(counted) = status.services.iter().find(same) else { continue };
            service.traffic = traffic(&counted.counters);
            add(&mut vip.traffic, &service.traffic);
            for backend in &mut service.backends {
                let same = |b: &&vc5_xdp::BackendStatus| b.address == backend.address;
                let Some(counted) = counted.backends.iter().find(same) else { continue };
                backend.mac = counted.mac.map(|mac| mac.to_string());
                backend.path = Some(counted.path.to_string());
                backend.ring_slots = counted.ring_slots;
                backend.traffic = traffic(&counted.counters);
            }
        }
    }
}

fn traffic(counters: &Counters) -> Traffic {
    let Counters { packets, bytes, flows, syns, fins, rsts } = *counters;
    Traffic { packets, bytes, flows, syns, fins, rsts }
}

fn add(sum: &mut Traffic, more: &Traffic) {
    sum.packets += more.packets;
    sum.bytes += more.bytes;
    sum.flows += more.flows;
    sum.syns += more.syns;
    sum.fins += more.fins;
    sum.rsts += more.rsts;
}

/// The dataplane as such; `applied` and `error` are what the core was told last.
pub fn dataplane_view(
    forwarding: &vc5_xdp::Snapshot,
    applied: u64,
    error: Option<String>,
) -> Dataplane {
    let interfaces = forwarding.interfaces.iter().map(|i| (i.name.clone(), interface(i)));
    let events = forwarding.events.iter().map(|(name, count)| ((*name).to_owned(), *count));
    let backends = forwarding.vips.iter().flat_map(|vip| &vip.services).flat_map(|s| &s.backends);
    Dataplane {
        interfaces: interfaces.collect(),
        reasons: reasons(&forwarding.reasons),
        events: events.collect(),
        flows: flows(forwarding),
        flow_memory: forwarding.flow_memory,
        flow_capacity: forwarding.flow_capacity,
        paths: backends.map(|backend| (backend.address, backend.path.to_string())).collect(),
        leaving: leaving(forwarding),
        applied,
        error,
    }
}

/// A record that takes another's place changes nothing, so the two other events tell how many there are.
fn flows(forwarding: &vc5_xdp::Snapshot) -> u64 {
    let count = |wanted: &str| {
        forwarding.events.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, count)| *count)
    };
    count("flow-inserted").saturating_sub(count("flow-deleted")).min(forwarding.flow_capacity)
}

fn interface(status: &InterfaceStatus) -> Interface {
    Interface {
        index: status.index,
        mode: status.mode.to_owned(),
        mac: status.mac.to_string(),
        attached: status.attached,
        note: status.note.clone(),
        reasons: reasons(&status.reasons),
    }
}

fn reasons(counts: &[ReasonCount]) -> BTreeMap<String, u64> {
    counts.iter().map(|count| (count.name.to_owned(), count.packets)).collect()
}

fn leaving(forwarding: &vc5_xdp::Snapshot) -> Vec<Leaving> {
    let services = forwarding
        .vips
        .iter()
        .flat_map(|vip| vip.services.iter().map(move |service| (vip.address, service)));
    let backends = services.flat_map(|(vip, service)| {
        let gone = service.backends.iter().filter(|backend| backend.leaving);
        gone.map(move |backend| Leaving {
            address: backend.address,
            vip,
            ports: service.ports,
            protocol: service.protocol.to_string(),
            state: backend.state.to_string(),
        })
    });
    backends.collect()
}
