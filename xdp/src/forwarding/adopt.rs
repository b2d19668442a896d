//! Taking over what an earlier run has left in the tables.
//!
//! The bookkeeping is made anew from the tables themselves. What they do not tell are the weights,
//! so the rings stand as they are until there is a desired state; a ring that comes out the same
//! then is recognised and left alone. One whose backends are all replaced by such as were never
//! reached stands as it is until one of these is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use vc5_ebpf_abi::{
    NO_RING, PAGE_REALS, RangeKey, RangeValue, Real, RealState as AbiState, ServiceKey,
    ServiceValue,
};

use super::{
    Backend, Forwarding, News, Pages, Service, Setup, Shared, Vip, address_of, name, service_port,
};
use crate::maps::{Found, Rings, TableError, Tables};
use crate::{BackendSpec, Ports, RealState};

/// Why what was found cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    #[error("the tables contradict themselves: {0}")]
    Inconsistent(String),
    #[error(transparent)]
    Table(#[from] TableError),
}

impl<T: Tables> Forwarding<T> {
    /// Forwarding as an earlier run has left it. Its VIPs and services stand until the first desired
    /// state, which they are compared with then.
    ///
    /// # Errors
    /// When the tables are not as forwarding leaves them, whenever it is interrupted.
    pub(crate) fn adopt(
        mut tables: T,
        setup: Setup,
        found: Found,
        now: u64,
    ) -> Result<Self, AdoptError> {
        let pages = pages_in_use(&found)?;
        let installed = found.rings.len() as u32;
        let mut shared = Shared {
            setup,
            rings: Rings::adopt(setup.max_rings, found.rings, now),
            pages: Pages::adopt(&pages, &found.reals, now),
            users: HashMap::new(),
            news: News::default(),
            departures: false,
        };
        let mut ranges: BTreeMap<IpAddr, BTreeMap<RangeKey, RangeValue>> = BTreeMap::new();
        for (key, value) in found.ranges {
            ranges.entry(address_of(key.addr)).or_default().insert(key, value);
        }
        let mut known = BTreeSet::new();
        let mut services = BTreeMap::new();
        for (key, value) in &found.services {
            for ring in [value.ring, value.prev_ring] {
                if ring != NO_RING && ring >= installed {
                    let service = name(*key);
                    return Err(inconsistent(format!(
                        "{service} has ring {ring}, which is not there"
                    )));
                }
            }
            let backends = backends(value, &found.reals);
            for backend in &backends {
                known.insert(backend.id);
                shared.users.entry(backend.spec.address).or_default().push(*key);
            }
            let ports = ports(*key, ranges.get(&address_of(key.addr)));
            services.insert(*key, Service::adopt(ports, value, backends, &mut shared));
        }
        free_others(&mut tables, &found.reals, &known)?;
        let mut vips: BTreeMap<IpAddr, Vip> = BTreeMap::new();
        let written: BTreeMap<_, _> =
            found.vips.iter().map(|(k, v)| (address_of(k.0), *v)).collect();
        let served = services.keys().map(|key| address_of(key.addr));
        for address in served.chain(written.keys().copied()).chain(ranges.keys().copied()) {
            vips.entry(address).or_insert_with(|| {
                let ranges = ranges.get(&address).cloned().unwrap_or_default();
                Vip::adopt(written.get(&address).copied(), ranges)
            });
        }
        Ok(Self { tables, shared, services, vips, filtered: None })
    }
}

fn inconsistent(what: String) -> AdoptError {
    AdoptError::Inconsistent(what)
}

/// The pages that services have; each has its own.
fn pages_in_use(found: &Found) -> Result<BTreeSet<u32>, AdoptError> {
    let end = found.reals.len() as u32 / PAGE_REALS;
    let mut pages = BTreeSet::new();
    for (key, value) in &found.services {
        for page in value.pages.iter().map(|page| u32::from(*page)).filter(|page| *page != 0) {
            if page >= end || !pages.insert(page) {
                return Err(inconsistent(format!(
                    "{} has page {page}, which is another's or not there",
                    name(*key)
                )));
            }
        }
    }
    Ok(pages)
}

fn backends(value: &ServiceValue, reals: &[Real]) -> Vec<Backend> {
    let mut backends = Vec::new();
    for (place, page) in value.pages.iter().enumerate().filter(|(_, page)| **page != 0) {
        for offset in 0..PAGE_REALS {
            let id = u32::from(*page) * PAGE_REALS + offset;
            let number = place as u32 * PAGE_REALS + offset;
            let Some(real) = reals.get(id as usize) else { continue };
            let state = match AbiState::from_u8(real.state) {
                AbiState::Free => continue,
                AbiState::Live => RealState::Live,
                AbiState::Draining => RealState::Draining,
                AbiState::Down => RealState::Down,
            };
            if number == u32::from(real.member) && number != 0 {
                let address = address_of(real.addr);
                let spec = BackendSpec { address, weight: 0, state };
                backends.push(Backend::new(spec, real.member, id, *real));
            }
        }
    }
    backends
}

/// Reals of no service, left by a run that was interrupted.
fn free_others(
    tables: &mut impl Tables,
    reals: &[Real],
    known: &BTreeSet<u32>,
) -> Result<(), TableError> {
    for (id, real) in (0..).zip(reals) {
        if real.state != AbiState::Free as u8 && !known.contains(&id) {
            tables.set_real(id, &Real { state: AbiState::Free as u8, ..*real })?;
        }
    }
    Ok(())
}

/// The ports of a service, by the ranges of its VIP.
fn ports(key: ServiceKey, ranges: Option<&BTreeMap<RangeKey, RangeValue>>) -> Ports {
    let first = u16::from_be_bytes(key.port);
    let blocks = ranges
        .into_iter()
        .flatten()
        .filter(|(range, value)| range.protocol == key.protocol && value.port == key.port);
    let last_of = |range: &RangeKey| {
        let bits = RangeKey::FULL.saturating_sub(range.prefix_len).min(16);
        u32::from(u16::from_be_bytes(range.port)) + (1 << bits) - 1
    };
    let last = blocks.map(|(range, _)| last_of(range)).max();
    match last.and_then(|last| u16::try_from(last).ok()) {
        _ if first == service_port(Ports::All) => Ports::All,
        Some(last) if last > first => Ports::Range(first, last),
        _ => Ports::One(first),
    }
}
