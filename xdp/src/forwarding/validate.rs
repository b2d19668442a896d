//! What is wrong with a desired state can be said before any of it is put in force.

use std::collections::HashSet;
use std::net::IpAddr;

use vc5_ebpf_abi::ServiceKey;

use super::{ForwardingError, Setup, name, service_key};
use crate::maglev::MAX_MEMBERS;
use crate::{Desired, Ports, ServiceSpec, VipSpec};

/// No address may appear twice, and there must be room for all of it.
pub(super) fn whole(desired: &Desired, setup: &Setup) -> Result<(), ForwardingError> {
    // In order, as they mostly come, none can be there twice.
    if !desired.vips.is_sorted_by(|one, next| one.address < next.address) {
        let mut vips = HashSet::with_capacity(desired.vips.len());
        if let Some(vip) = desired.vips.iter().find(|vip| !vips.insert(vip.address)) {
            return invalid(format!("VIP {} appears twice", vip.address));
        }
    }
    let services = desired.vips.iter().map(|vip| vip.services.len()).sum();
    for (what, count, limit) in
        [("VIPs", desired.vips.len(), setup.max_vips), ("services", services, setup.max_services)]
    {
        if count > limit as usize {
            return invalid(format!("{count} {what}; at most {limit} are possible"));
        }
    }
    Ok(())
}

/// The services of a VIP must not contradict each other.
pub(super) fn vip(vip: &VipSpec) -> Result<(), ForwardingError> {
    check_address("VIP", vip.address)?;
    let mut keys = HashSet::new();
    let mut ranges = Vec::new();
    for spec in &vip.services {
        let key = service_key(vip.address, spec.ports, spec.protocol);
        check_service(key, spec)?;
        if !keys.insert(key) {
            return invalid(match spec.ports {
                Ports::All => format!("service {} appears twice", name(key)),
                _ => format!(
                    "two services begin with {}; if one is a range, let it begin with the next port",
                    name(key)
                ),
            });
        }
        if let Ports::Range(first, last) = spec.ports {
            ranges.push((spec.protocol, first, last));
        }
    }
    ranges.sort_unstable();
    let overlap = ranges.windows(2).find(|pair| match pair {
        [(p, _, last), (q, first, _)] => p == q && first <= last,
        _ => false,
    });
    match overlap {
        Some([(protocol, a, b), (_, c, d)]) => invalid(format!(
            "VIP {}: the {protocol} ranges {a}-{b} and {c}-{d} overlap",
            vip.address
        )),
        _ => Ok(()),
    }
}

fn check_service(key: ServiceKey, spec: &ServiceSpec) -> Result<(), ForwardingError> {
    let reason = match spec.ports {
        Ports::One(0) | Ports::Range(0, _) => Some("port 0 is none".into()),
        Ports::Range(first, last) if first >= last => {
            Some(format!("the range {first}-{last} must end after it begins"))
        }
        _ if spec.ttl == Some(0) => Some("TTL 0 never arrives; use 1 to 255".into()),
        _ if spec.backends.len() > MAX_MEMBERS => {
            Some(format!("{} backends; at most {MAX_MEMBERS}", spec.backends.len()))
        }
        _ => None,
    };
    if let Some(reason) = reason {
        return invalid(format!("service {}: {reason}", name(key)));
    }
    let mut seen = HashSet::with_capacity(spec.backends.len());
    for backend in &spec.backends {
        check_address("backend", backend.address)?;
        if !seen.insert(backend.address) {
            let address = backend.address;
            return invalid(format!("service {}: backend {address} appears twice", name(key)));
        }
    }
    Ok(())
}

/// An IPv4 address written as an IPv6 one would be another and yet the same in the tables.
fn check_address(what: &str, address: IpAddr) -> Result<(), ForwardingError> {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            invalid(format!("{what} {address} is an IPv4 address; write it as one"))
        }
        _ => Ok(()),
    }
}

fn invalid<T>(reason: String) -> Result<T, ForwardingError> {
    Err(ForwardingError::Invalid(reason))
}
