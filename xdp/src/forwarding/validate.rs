//! What is wrong with a desired state can be said before any of it is put in force.

use std::collections::{BTreeMap, BTreeSet};

use vc5_ebpf_abi::ServiceKey;

use super::{ForwardingError, Setup, name, protocol_number};
use crate::maglev::MAX_MEMBERS;
use crate::{Desired, ServiceSpec};

/// The ring in force, the one before it and the one being made.
const RINGS_PER_SERVICE: u32 = 3;

/// The services wanted, by key.
pub(super) fn services<'d>(
    desired: &'d Desired,
    setup: &Setup,
) -> Result<BTreeMap<ServiceKey, &'d ServiceSpec>, ForwardingError> {
    let mut vips = BTreeSet::new();
    let mut services = BTreeMap::new();
    for vip in &desired.vips {
        if !vips.insert(vip.address) {
            return invalid(format!("VIP {} appears twice", vip.address));
        }
        for spec in &vip.services {
            let protocol = protocol_number(spec.protocol);
            let key = ServiceKey::new(vip.address.octets(), spec.port, protocol);
            check_service(key, spec)?;
            if services.insert(key, spec).is_some() {
                return invalid(format!("service {} appears twice", name(key)));
            }
        }
    }
    let limit = setup.max_services.min(setup.max_rings / RINGS_PER_SERVICE);
    if services.len() > limit as usize {
        return invalid(format!(
            "{} services; at most {limit} are possible, as each may hold {RINGS_PER_SERVICE} of the \
             {} rings while its backends change",
            services.len(),
            setup.max_rings
        ));
    }
    Ok(services)
}

fn check_service(key: ServiceKey, spec: &ServiceSpec) -> Result<(), ForwardingError> {
    if spec.port == 0 {
        return invalid(format!("service {}: port 0 is none", name(key)));
    }
    if spec.ttl == Some(0) {
        return invalid(format!("service {}: TTL 0 never arrives; use 1 to 255", name(key)));
    }
    if spec.backends.len() > MAX_MEMBERS {
        let n = spec.backends.len();
        return invalid(format!("service {}: {n} backends; at most {MAX_MEMBERS}", name(key)));
    }
    let mut seen = BTreeSet::new();
    match spec.backends.iter().find(|b| !seen.insert(b.address)) {
        Some(b) => invalid(format!("service {}: backend {} appears twice", name(key), b.address)),
        None => Ok(()),
    }
}

fn invalid<T>(reason: String) -> Result<T, ForwardingError> {
    Err(ForwardingError::Invalid(reason))
}
