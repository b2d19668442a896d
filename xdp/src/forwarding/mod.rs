//! Forwarding state: from what is wanted and which neighbours are known to what stands in the
//! tables, in an order in which no packet meets a half-made state.
//!
//! Pure bookkeeping over [`Tables`]: no clock, no sockets. Times are nanoseconds of
//! `CLOCK_MONOTONIC_COARSE`, the clock that the program reads.
//!
//! The order (see the documentation of `vc5_ebpf_abi`): reals, ring, service, VIP, filter when
//! adding; the reverse when removing. A backend that stops taking flows first leaves the ring and
//! only then changes its state, so that the ring never names a backend that takes none.

mod readiness;
mod reals;
mod service;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use vc5_ebpf_abi::{ServiceKey, VipKey};

pub(crate) use reals::{Backend, Reals};
pub(crate) use service::Service;

use crate::maps::{Ids, RingPool, TableError, Tables, filter_of};
use crate::neighbour::Hop;
use crate::{Desired, L4, NotReady, ServiceSpec};

/// Why a desired state was not put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardingError {
    /// Found before anything was changed.
    #[error("{0}")]
    Invalid(String),
    #[error("{what}: {source}; the change is in force in part")]
    Table { what: String, source: TableError },
    #[error("{what}: {reason}; the change is in force in part")]
    Ring { what: String, reason: String },
}

/// Where packets for a backend go, by the backend's address.
pub(crate) trait Resolve {
    fn hop(&self, address: IpAddr) -> Hop;
    /// The way in words, or why there is none.
    fn explain(&self, address: IpAddr) -> String;
}

/// How forwarding is set up for its lifetime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) hash_key: [u8; 16],
    pub(crate) settle_ns: u64,
    pub(crate) max_services: u32,
    pub(crate) max_rings: u32,
}

/// The numbers that services share out among themselves, and what they are built with.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) reals: Reals,
    pub(crate) rings: RingPool,
    stats: Ids,
}

/// All forwarding state.
#[derive(Debug)]
pub(crate) struct Forwarding<T> {
    tables: T,
    shared: Shared,
    services: BTreeMap<ServiceKey, Service>,
    /// Those in the VIP table.
    vips: BTreeSet<Ipv4Addr>,
    /// Those that the VIP filter was made of.
    filtered: BTreeSet<Ipv4Addr>,
}

impl<T: Tables> Forwarding<T> {
    /// No VIPs yet.
    pub(crate) fn new(tables: T, setup: Setup) -> Self {
        let shared = Shared {
            setup,
            reals: Reals::new(),
            rings: RingPool::new(setup.max_rings),
            stats: Ids::new(0, setup.max_services),
        };
        let (vips, filtered) = (BTreeSet::new(), BTreeSet::new());
        Self { tables, shared, services: BTreeMap::new(), vips, filtered }
    }

    pub(crate) fn tables(&self) -> &T {
        &self.tables
    }

    pub(crate) fn tables_mut(&mut self) -> &mut T {
        &mut self.tables
    }

    pub(crate) fn services(&self) -> &BTreeMap<ServiceKey, Service> {
        &self.services
    }

    pub(crate) fn vips(&self) -> &BTreeSet<Ipv4Addr> {
        &self.vips
    }

    /// The addresses of all backends in use.
    pub(crate) fn backends(&self) -> BTreeSet<Ipv4Addr> {
        self.services.values().flat_map(|s| s.backends().map(|(address, _)| *address)).collect()
    }

    /// Puts `desired` in force.
    pub(crate) fn apply(
        &mut self,
        desired: &Desired,
        hops: &impl Resolve,
        now: u64,
    ) -> Result<(), ForwardingError> {
        let wanted = validate::services(desired, &self.shared.setup)?;
        self.check_ids(&wanted, now)?;
        let vips: BTreeSet<Ipv4Addr> = desired.vips.iter().map(|v| v.address).collect();

        // What fails does not keep the rest from being put in force.
        let mut failures = Failures::default();
        failures.note(self.remove_vips(&vips));
        self.remove_services(&wanted, now, &mut failures);
        failures.note(self.reserve_rings(&wanted, hops, now));
        for (key, spec) in &wanted {
            failures.note(self.put_service(*key, spec, hops, now));
        }
        failures.note(self.add_vips(&vips));
        failures.first()
    }

    /// Brings the services that use one of these backends in line with the neighbours.
    pub(crate) fn refresh(
        &mut self,
        addresses: &BTreeSet<Ipv4Addr>,
        hops: &impl Resolve,
        now: u64,
    ) -> Result<(), ForwardingError> {
        let mut failures = Failures::default();
        for (key, service) in self.services.iter_mut().filter(|(_, s)| s.is_in_force()) {
            if service.backends().any(|(address, _)| addresses.contains(address)) {
                let done = service.refresh(*key, &mut self.tables, &mut self.shared, hops, now);
                failures.note(done.map_err(|e| e.of(*key)));
            }
        }
        failures.first()
    }

    /// Ends the previous rings whose time is over, and keeps spare rings ready.
    pub(crate) fn on_timeout(&mut self, now: u64) -> Result<(), ForwardingError> {
        let mut failures = Failures::default();
        for (key, service) in self.services.iter_mut().filter(|(_, s)| s.is_in_force()) {
            let done = service.expire(*key, &mut self.tables, &mut self.shared, now);
            failures.note(done.map_err(|e| e.of(*key)));
        }
        failures.note(self.top_up(now));
        failures.first()
    }

    /// When [`Forwarding::on_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        let settle_ns = self.shared.setup.settle_ns;
        let in_force = self.services.values().filter(|s| s.is_in_force());
        in_force.filter_map(|s| s.next_expiry(settle_ns)).min()
    }

    /// Keeps spare rings ready; it takes milliseconds, so call it when nobody waits.
    pub(crate) fn top_up(&mut self, now: u64) -> Result<(), ForwardingError> {
        if !self.shared.rings.is_short() {
            return Ok(());
        }
        self.shared.rings.top_up(&mut self.tables, now).map_err(|e| ForwardingError::Ring {
            what: "spare rings".into(),
            reason: e.to_string(),
        })
    }

    /// The VIPs that cannot serve all their services now.
    pub(crate) fn not_ready(&self, hops: &impl Resolve) -> Vec<NotReady> {
        readiness::not_ready(&self.vips, &self.services, hops)
    }

    fn check_ids(
        &self,
        wanted: &BTreeMap<ServiceKey, &ServiceSpec>,
        now: u64,
    ) -> Result<(), ForwardingError> {
        let new: usize = wanted
            .iter()
            .map(|(key, spec)| match self.services.get(key) {
                Some(service) => spec.backends.iter().filter(|b| !service.has(b.address)).count(),
                None => spec.backends.len(),
            })
            .sum();
        let available = self.shared.reals.available(now);
        if new > available {
            return Err(ForwardingError::Invalid(format!(
                "{new} new pairs of service and backend, but only {available} of the 65535 can be \
                 had now; have fewer, or wait until those removed last have settled"
            )));
        }
        Ok(())
    }

    /// Many new rings at once are installed by one call, since each call takes milliseconds.
    fn reserve_rings(
        &mut self,
        wanted: &BTreeMap<ServiceKey, &ServiceSpec>,
        hops: &impl Resolve,
        now: u64,
    ) -> Result<(), ForwardingError> {
        let changes = wanted
            .iter()
            .filter(|(key, spec)| {
                self.services.get(key).is_none_or(|s| s.would_change_ring(spec, hops))
            })
            .count() as u32;
        self.shared.rings.reserve(&mut self.tables, changes, now).map_err(|e| {
            ForwardingError::Ring { what: "spare rings".into(), reason: e.to_string() }
        })
    }

    fn put_service(
        &mut self,
        key: ServiceKey,
        spec: &ServiceSpec,
        hops: &impl Resolve,
        now: u64,
    ) -> Result<(), ForwardingError> {
        let service = match self.services.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let taken = self.shared.stats.take(now).ok_or_else(|| {
                    ForwardingError::Invalid("no counter is left for a new service".into())
                })?;
                if taken.reused
                    && let Err(source) = self.tables.reset_service_traffic(taken.id)
                {
                    self.shared.stats.put_back(taken);
                    return Err(ForwardingError::table(name(key), source));
                }
                entry.insert(Service::new(taken.id))
            }
        };
        service.put(key, spec, &mut self.tables, &mut self.shared, hops, now).map_err(|e| e.of(key))
    }

    fn remove_vips(&mut self, stay: &BTreeSet<Ipv4Addr>) -> Result<(), ForwardingError> {
        let gone: Vec<Ipv4Addr> = self.vips.difference(stay).copied().collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.filter_vips(stay)?;
        let mut failures = Failures::default();
        for vip in gone {
            match self.tables.remove_vip(VipKey(vip.octets())) {
                Ok(()) => drop(self.vips.remove(&vip)),
                Err(e) => failures.note(Err(ForwardingError::table(vip.to_string(), e))),
            }
        }
        failures.first()
    }

    fn add_vips(&mut self, vips: &BTreeSet<Ipv4Addr>) -> Result<(), ForwardingError> {
        let mut failures = Failures::default();
        for vip in vips {
            if self.vips.contains(vip) {
                continue;
            }
            match self.tables.add_vip(VipKey(vip.octets())) {
                Ok(()) => drop(self.vips.insert(*vip)),
                Err(e) => failures.note(Err(ForwardingError::table(vip.to_string(), e))),
            }
        }
        failures.note(self.filter_vips(vips));
        failures.first()
    }

    /// Lets packets for these VIPs through the filter, as far as the table has them.
    fn filter_vips(&mut self, vips: &BTreeSet<Ipv4Addr>) -> Result<(), ForwardingError> {
        let present: BTreeSet<Ipv4Addr> = self.vips.intersection(vips).copied().collect();
        if present != self.filtered {
            let filter = filter_of(present.iter().copied());
            self.tables.set_filter(&filter).map_err(|e| ForwardingError::table("VIP filter", e))?;
            self.filtered = present;
        }
        Ok(())
    }

    fn remove_services(
        &mut self,
        stay: &BTreeMap<ServiceKey, &ServiceSpec>,
        now: u64,
        failures: &mut Failures,
    ) {
        self.services.retain(|key, service| {
            if stay.contains_key(key) {
                return true;
            }
            let removed = service.remove(*key, &mut self.tables, &mut self.shared, now);
            let is_gone = removed.is_ok();
            failures.note(removed.map_err(|e| e.of(*key)));
            if is_gone {
                self.shared.stats.retire(service.stat(), now);
            }
            !is_gone
        });
    }
}

/// The first of several errors, after the rest was done all the same.
#[derive(Debug, Default)]
struct Failures(Option<ForwardingError>);

impl Failures {
    fn note(&mut self, result: Result<(), ForwardingError>) {
        if let Err(error) = result {
            self.0.get_or_insert(error);
        }
    }

    fn first(self) -> Result<(), ForwardingError> {
        self.0.map_or(Ok(()), Err)
    }
}

impl ForwardingError {
    fn table(what: impl Into<String>, source: TableError) -> Self {
        Self::Table { what: what.into(), source }
    }
}

/// `192.0.2.1:80/tcp`.
pub(crate) fn name(key: ServiceKey) -> String {
    let protocol = if key.protocol == protocol_number(L4::Udp) { L4::Udp } else { L4::Tcp };
    format!("{}:{}/{protocol}", Ipv4Addr::from(key.addr), u16::from_be_bytes(key.port))
}

/// IP protocol number.
pub(crate) fn protocol_number(protocol: L4) -> u8 {
    match protocol {
        L4::Tcp => 6,
        L4::Udp => 17,
    }
}
