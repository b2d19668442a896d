//! Which VIPs cannot serve, and why, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use vc5_ebpf_abi::ServiceKey;

use super::{Resolve, Service, protocol_number};
use crate::neighbour::Hop;
use crate::{L4, NotReady, RealState};

/// Every VIP with a service that no backend can serve now.
pub(super) fn not_ready(
    vips: &BTreeSet<Ipv4Addr>,
    services: &BTreeMap<ServiceKey, Service>,
    hops: &impl Resolve,
) -> Vec<NotReady> {
    let mut reasons: BTreeMap<Ipv4Addr, Vec<String>> = BTreeMap::new();
    for (key, service) in services {
        if let Some(reason) = reason(service, hops) {
            let udp = key.protocol == protocol_number(L4::Udp);
            let protocol = if udp { L4::Udp } else { L4::Tcp };
            let port = u16::from_be_bytes(key.port);
            let reasons = reasons.entry(Ipv4Addr::from(key.addr)).or_default();
            reasons.push(format!("{protocol}/{port}: {reason}"));
        }
    }
    let served: BTreeSet<Ipv4Addr> = services.keys().map(|k| Ipv4Addr::from(k.addr)).collect();
    for vip in vips.difference(&served) {
        reasons.insert(*vip, vec!["it has no services".into()]);
    }
    reasons.into_iter().map(|(vip, reasons)| (vip, reasons.join("; "))).collect()
}

/// Why no backend of a service can take a new flow; none if one can.
fn reason(service: &Service, hops: &impl Resolve) -> Option<String> {
    if !service.is_in_force() {
        return Some("it could not be put in force yet".into());
    }
    let mut best: Option<(u8, String)> = None;
    for (address, backend) in service.backends() {
        let (rank, reason) = match (backend.spec.state, backend.spec.weight) {
            (RealState::Live, 1..) => match hops.hop(*address) {
                Hop::Resolved { .. } => return None,
                Hop::Pending { .. } => {
                    (4, format!("the MAC address of {address} is not known yet"))
                }
                Hop::Failed { .. } => (3, format!("{address} does not answer ARP requests")),
                Hop::NoSubnet => (
                    2,
                    format!("{address} is on no connected subnet of the dataplane's interfaces"),
                ),
            },
            (RealState::Live, 0) => (1, "no live backend has a weight above 0".into()),
            (RealState::Draining | RealState::Down, _) => (0, "no backend is live".into()),
        };
        if best.as_ref().is_none_or(|(seen, _)| rank > *seen) {
            best = Some((rank, reason));
        }
    }
    Some(best.map_or_else(|| "it has no backends".into(), |(_, reason)| reason))
}
