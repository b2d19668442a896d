//! Forwarding state: from what is wanted and which neighbours are known to what stands in the
//! tables, in an order in which no packet meets a half-made state.
//!
//! Pure bookkeeping over [`Tables`]: no clock, no sockets. Times are nanoseconds of
//! `CLOCK_MONOTONIC_COARSE`, the clock that the program reads.
//!
//! The order (see the documentation of `vc5_ebpf_abi`): reals, ring, service, ranges, VIP, filter
//! when adding; the reverse when removing. A backend that stops taking flows first leaves the ring
//! and only then changes its state, so that the ring never names a backend that takes none.

mod adopt;
mod build;
mod eligible;
mod keys;
mod members;
mod pages;
mod ranges;
mod readiness;
mod service;
#[cfg(test)]
mod tests;
mod validate;
mod vip;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use vc5_ebpf_abi::ServiceKey;

use keys::keys_of;
pub(crate) use keys::{address_of, name, octets, protocol_of, service_key, service_port};
pub(crate) use members::Backend;
use pages::Pages;
pub(crate) use service::Service;
use vip::Vip;

use crate::maglev::Member;
use crate::maps::{Rings, TableError, Tables};
use crate::neighbour::Hop;
use crate::{Desired, NotReady, ServiceSpec, VipSpec};

/// Why a desired state was not put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardingError {
    /// Found before anything was changed.
    #[error("{0}")]
    Invalid(String),
    #[error("{what}: {source}; the change is in force in part")]
    Table { what: String, source: TableError },
    #[error("{what}: {reason}; the change is in force in part")]
    Partial { what: String, reason: String },
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
    pub(crate) drain_ns: u64,
    pub(crate) max_vips: u32,
    pub(crate) max_services: u32,
    pub(crate) max_rings: u32,
    pub(crate) max_reals: u32,
}

/// What the services share among themselves.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) rings: Rings,
    pages: Pages,
    /// The services that a backend is of.
    users: HashMap<IpAddr, Vec<ServiceKey>>,
    news: News,
    /// Some backend is of no service any more, since it was asked for last.
    departures: bool,
}

/// What has happened since it was asked for last.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// VIPs of which something is not as it was.
    pub(crate) vips: BTreeSet<IpAddr>,
    /// Real ids that stand for another pair than before.
    pub(crate) reals: Vec<u32>,
}

impl Shared {
    fn forget_user(&mut self, address: IpAddr, key: ServiceKey) {
        if let Some(users) = self.users.get_mut(&address) {
            if let Some(place) = users.iter().position(|user| *user == key) {
                users.swap_remove(place);
            }
            if users.is_empty() {
                self.users.remove(&address);
                self.departures = true;
            }
        }
    }
}

/// All forwarding state.
#[derive(Debug)]
pub(crate) struct Forwarding<T> {
    tables: T,
    shared: Shared,
    services: BTreeMap<ServiceKey, Service>,
    vips: BTreeMap<IpAddr, Vip>,
    /// Those that the VIP filter was made of; not known of the filter of an earlier run.
    filtered: Option<BTreeSet<IpAddr>>,
}

/// The services of a VIP that have to be put in force, and those that have to go.
struct Change<'d> {
    vip: &'d VipSpec,
    put: Vec<(ServiceKey, &'d ServiceSpec)>,
    gone: Vec<ServiceKey>,
}

/// Services whose rings are as they have to be, and whose reals are not yet.
struct Changed {
    keys: Vec<ServiceKey>,
    /// Rings that have a user more until they are.
    held: Vec<u32>,
    /// Some backend will take no packets any more.
    ends_flows: bool,
}

impl<T: Tables> Forwarding<T> {
    /// No VIPs yet.
    pub(crate) fn new(tables: T, setup: Setup) -> Self {
        let shared = Shared {
            setup,
            rings: Rings::new(setup.max_rings),
            pages: Pages::new(setup.max_reals),
            users: HashMap::new(),
            news: News::default(),
            departures: false,
        };
        let (vips, filtered) = (BTreeMap::new(), Some(BTreeSet::new()));
        Self { tables, shared, services: BTreeMap::new(), vips, filtered }
    }

    pub(crate) fn tables(&self) -> &T {
        &self.tables
    }

    pub(crate) fn tables_mut(&mut self) -> &mut T {
        &mut self.tables
    }

    pub(crate) fn rings(&self) -> &Rings {
        &self.shared.rings
    }

    /// The services of a VIP.
    pub(crate) fn services_of(&self, vip: IpAddr) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        self.services.range(keys_of(vip))
    }

    /// All services.
    pub(crate) fn services(&self) -> &BTreeMap<ServiceKey, Service> {
        &self.services
    }

    /// The VIPs in the table.
    pub(crate) fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.vips.iter().filter(|(_, vip)| vip.is_in_force()).map(|(address, _)| *address)
    }

    /// Whether a backend of this address is in use.
    pub(crate) fn has_backend(&self, address: IpAddr) -> bool {
        self.shared.users.contains_key(&address)
    }

    /// The addresses of all backends in use.
    pub(crate) fn backends(&self) -> BTreeSet<IpAddr> {
        self.shared.users.keys().copied().collect()
    }

    /// What has happened since this was called last.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.shared.news)
    }

    /// Whether some backend has left its last service since this was called last.
    pub(crate) fn take_departures(&mut self) -> bool {
        std::mem::take(&mut self.shared.departures)
    }

    pub(crate) fn hash_key(&self) -> &[u8; 16] {
        &self.shared.setup.hash_key
    }

    /// Puts `desired` in force. `announce` is told of backends that are in no service yet, before
    /// anything is written.
    pub(crate) fn apply(
        &mut self,
        desired: &Desired,
        hops: &impl Resolve,
        now: u64,
        announce: impl FnOnce(&BTreeSet<IpAddr>),
    ) -> Result<(), ForwardingError> {
        validate::whole(desired, &self.shared.setup)?;
        let changes = self.changes(desired)?;
        self.check_room(&changes, now)?;
        let put = changes.iter().flat_map(|change| &change.put);
        let backends = put.flat_map(|(_, spec)| &spec.backends).map(|backend| backend.address);
        let new = backends.filter(|address| !self.has_backend(*address)).collect();
        announce(&new);
        let hops = Memo::new(hops);

        // What fails does not keep the rest from being put in force.
        let mut failures = Failures::default();
        self.remove_vips(desired, now, &mut failures);
        let mut put = Vec::new();
        let numbers = self.numbers_for(&changes);
        for change in &changes {
            for (key, spec) in &change.put {
                let numbers = numbers.get(key).map(|numbers| &**numbers);
                match self.specify(*key, spec, numbers, now) {
                    Ok(()) => put.push(*key),
                    Err(error) => failures.note(Err(error)),
                }
            }
        }
        let changed = self.change_rings(put, &hops, now, &mut failures);
        let mut done = Vec::new();
        for change in &changes {
            if self.put_vip(change, now, &mut failures) {
                done.push(change);
            }
        }
        failures.note(self.filter_vips());
        self.change_reals(changed, &hops, &mut failures);
        done.into_iter().for_each(|change| self.settle_vip(change));
        failures.first()
    }

    /// Brings the services that use one of these backends in line with the neighbours.
    pub(crate) fn refresh(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
        hops: &impl Resolve,
        now: u64,
    ) -> Result<(), ForwardingError> {
        let mut keys: Vec<ServiceKey> = self.keys_with(addresses).into_iter().collect();
        keys.retain(|key| self.services.get(key).is_some_and(Service::is_in_force));
        keys.sort_unstable();
        let mut failures = Failures::default();
        let hops = Memo::new(hops);
        let changed = self.change_rings(keys, &hops, now, &mut failures);
        self.change_reals(changed, &hops, &mut failures);
        failures.first()
    }

    /// Does what is due, and keeps spare rings ready.
    pub(crate) fn on_timeout(&mut self, now: u64) -> Result<(), ForwardingError> {
        let Self { tables, shared, services, .. } = self;
        let mut failures = Failures::default();
        let mut due = Vec::new();
        let mut ends_flows = false;
        for (key, service) in services.iter_mut().filter(|(_, s)| s.is_in_force()) {
            if service.next_timeout(shared).is_none_or(|due| due > now) {
                continue;
            }
            shared.news.vips.insert(address_of(key.addr));
            match service.drop_expired(*key, tables, shared, now) {
                Ok(()) => {
                    ends_flows |= service.ends_fresh_flows(shared, now);
                    due.push((*key, service));
                }
                Err(error) => failures.note(Err(error.of(*key))),
            }
        }
        if ends_flows {
            // Once for all of them: it takes many milliseconds.
            tables.wait_for_readers();
        }
        for (key, service) in due {
            let done = service.see_off(key, tables, shared, now);
            failures.note(done.map_err(|e| e.of(key)));
        }
        failures.note(self.top_up(now));
        failures.first()
    }

    /// When [`Forwarding::on_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        let in_force = self.services.values().filter(|s| s.is_in_force());
        in_force.filter_map(|s| s.next_timeout(&self.shared)).min()
    }

    /// Keeps spare rings ready; it takes milliseconds, so call it when nobody waits.
    pub(crate) fn top_up(&mut self, now: u64) -> Result<(), ForwardingError> {
        if !self.shared.rings.is_short(now) {
            return Ok(());
        }
        self.shared.rings.top_up(&mut self.tables, now).map_err(spare_rings)
    }

    /// The VIPs that cannot serve all their services now.
    pub(crate) fn not_ready(&self) -> Vec<NotReady> {
        let specified = self.vips.iter().filter(|(_, vip)| vip.is_specified());
        specified.filter_map(|(vip, _)| Some((*vip, self.not_ready_of(*vip)?))).collect()
    }

    fn not_ready_of(&self, vip: IpAddr) -> Option<String> {
        let mut services = self.services_of(vip).peekable();
        if services.peek().is_none() {
            return Some("it has no services".into());
        }
        let reasons: Vec<String> = services
            .filter_map(|(key, service)| {
                let reason = match service.is_in_force() {
                    true => service.not_ready()?,
                    false => "it could not be put in force yet",
                };
                Some(format!("{}/{}: {reason}", protocol_of(*key), service.ports()))
            })
            .collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// What is not as it is in force.
    fn changes<'d>(&self, desired: &'d Desired) -> Result<Vec<Change<'d>>, ForwardingError> {
        let mut changes = Vec::new();
        // Mostly the next that is wanted is the next that there is.
        let mut in_order = self.vips.iter().peekable();
        for vip in &desired.vips {
            let next = in_order.next_if(|(address, _)| **address == vip.address);
            let known = next.map(|(_, known)| known).or_else(|| self.vips.get(&vip.address));
            if known.is_some_and(|known| known.is_as(vip)) {
                continue;
            }
            validate::vip(vip)?;
            let mut put = Vec::new();
            let mut wanted = HashSet::new();
            for spec in &vip.services {
                let key = service_key(vip.address, spec.ports, spec.protocol);
                wanted.insert(key);
                let is_settled = self.services.get(&key).is_some_and(Service::is_settled);
                let before = known.and_then(|known| known.service(key));
                if !is_settled || before != Some(spec) {
                    put.push((key, spec));
                }
            }
            let present = self.services_of(vip.address).map(|(key, _)| *key);
            let gone = present.filter(|key| !wanted.contains(key)).collect();
            changes.push(Change { vip, put, gone });
        }
        Ok(changes)
    }

    fn check_room(&self, changes: &[Change<'_>], now: u64) -> Result<(), ForwardingError> {
        let pages = |(key, spec): &(ServiceKey, &ServiceSpec)| match self.services.get(key) {
            Some(service) => {
                let members = service.members();
                let new = spec.backends.iter().filter(|b| !members.has(b.address)).count();
                if new == 0 { 0 } else { members.pages_for(new) }
            }
            None => service::Service::new(spec.ports).members().pages_for(spec.backends.len()),
        };
        let needed: usize = changes.iter().flat_map(|change| &change.put).map(pages).sum();
        let available = self.shared.pages.available(now);
        if needed > available {
            let [needed, available] = [needed, available].map(|pages| pages * 16);
            return Err(ForwardingError::Invalid(format!(
                "{needed} new pairs of service and backend (each service's number rounded up to 16), \
                 but only {available} of the {} can be had now; have fewer, raise the limit, or wait \
                 until those removed last have settled",
                self.shared.setup.max_reals
            )));
        }
        Ok(())
    }

    /// For new services the numbers of a standing service with the same backends, where those are
    /// not what they would give themselves, so that both can have one ring.
    fn numbers_for(&self, changes: &[Change<'_>]) -> HashMap<ServiceKey, Arc<[(IpAddr, u16)]>> {
        let is_new = |(key, _): &&(ServiceKey, &ServiceSpec)| !self.services.contains_key(key);
        let new: Vec<_> = changes.iter().flat_map(|c| &c.put).filter(is_new).collect();
        if new.is_empty() {
            return HashMap::new();
        }
        let mut known: HashMap<Vec<IpAddr>, Arc<[(IpAddr, u16)]>> = HashMap::new();
        for members in self.services.values().map(Service::members) {
            if !members.are_canonical() {
                let stay = members.backends.iter().filter(|b| !b.is_leaving());
                let numbers: Arc<[_]> = stay.map(|b| (b.spec.address, b.number)).collect();
                known.insert(numbers.iter().map(|(address, _)| *address).collect(), numbers);
            }
        }
        if known.is_empty() {
            return HashMap::new();
        }
        let numbers = |(key, spec): &(ServiceKey, &ServiceSpec)| {
            let mut addresses: Vec<IpAddr> = spec.backends.iter().map(|b| b.address).collect();
            addresses.sort_unstable();
            Some((*key, Arc::clone(known.get(&addresses)?)))
        };
        new.into_iter().filter_map(numbers).collect()
    }

    fn specify(
        &mut self,
        key: ServiceKey,
        spec: &ServiceSpec,
        numbers: Option<&[(IpAddr, u16)]>,
        now: u64,
    ) -> Result<(), ForwardingError> {
        let service = self.services.entry(key).or_insert_with(|| Service::new(spec.ports));
        let done = service.specify(key, spec, numbers, &mut self.tables, &mut self.shared, now);
        done.map_err(|e| e.of(key))
    }

    /// Brings services in line with what is specified and which neighbours are known, as far as
    /// nobody has to be waited for; [`Forwarding::change_reals`] does the rest.
    fn change_rings(
        &mut self,
        mut keys: Vec<ServiceKey>,
        hops: &impl Resolve,
        now: u64,
        failures: &mut Failures,
    ) -> Changed {
        keys.retain(|key| {
            let Some(service) = self.services.get_mut(key) else { return false };
            let prepared =
                service.prepare(&mut self.tables, &self.shared, hops).map_err(|e| e.of(*key));
            let is_prepared = prepared.is_ok();
            failures.note(prepared);
            is_prepared
        });
        let held = self.build_rings(&keys, now, failures);
        let mut ends_flows = false;
        keys.retain(|key| {
            self.shared.news.vips.insert(address_of(key.addr));
            let Some(service) = self.services.get_mut(key) else { return false };
            let done = service.commit_ring(*key, &mut self.tables, &mut self.shared, now);
            ends_flows |= service.ends_flows();
            let is_done = done.is_ok();
            failures.note(done.map_err(|e| e.of(*key)));
            is_done
        });
        Changed { keys, held, ends_flows }
    }

    /// Tells the program which backends take no flows, or none at all, after their rings are changed.
    fn change_reals(&mut self, changed: Changed, hops: &impl Resolve, failures: &mut Failures) {
        let Changed { keys, held, ends_flows } = changed;
        if ends_flows {
            // Who has found a backend in the ring just before must not find it down.
            self.tables.wait_for_readers();
        }
        for key in keys {
            let Some(service) = self.services.get_mut(&key) else { continue };
            let done = service.commit_reals(&mut self.tables, hops);
            failures.note(done.map_err(|e| e.of(key)));
        }
        for ring in held {
            self.shared.rings.release(ring, 0);
        }
    }

    /// Builds the rings that these services have to have and nobody has yet. All that they have to
    /// have are given a user, so that they stay meanwhile.
    fn build_rings(&mut self, keys: &[ServiceKey], now: u64, failures: &mut Failures) -> Vec<u32> {
        let mut held = Vec::new();
        let mut missing: HashSet<&Arc<[Member]>> = HashSet::new();
        let wanted = keys.iter().filter_map(|key| self.services.get(key)).map(Service::wanted);
        for members in wanted.filter(|members| !members.is_empty()) {
            match self.shared.rings.acquire(members) {
                Some(ring) => held.push(ring),
                None => drop(missing.insert(members)),
            }
        }
        let missing: Vec<Arc<[Member]>> = missing.into_iter().cloned().collect();
        if missing.is_empty() {
            return held;
        }
        self.make_room_for_rings(missing.len() as u32, now, failures);
        let Self { tables, shared, .. } = self;
        build::rings(&shared.setup.hash_key, &missing, |members, ring| {
            let what = || "a ring".to_owned();
            let added = match ring {
                Ok(ring) => shared
                    .rings
                    .add(Arc::clone(members), &ring, tables, now)
                    .map_err(|e| ForwardingError::Partial { what: what(), reason: e.to_string() }),
                Err(e) => Err(ForwardingError::Partial { what: what(), reason: e.to_string() }),
            };
            match added {
                Ok(ring) => held.push(ring),
                Err(error) => failures.note(Err(error)),
            }
        });
        held
    }

    /// Many new rings at once are installed by one call, since each call takes milliseconds. When
    /// all are in use, those that only wait to become the previous ring are given up, and then the
    /// previous rings too. A ring given up rests first, so it may take another call to get it.
    fn make_room_for_rings(&mut self, count: u32, now: u64, failures: &mut Failures) {
        let Self { tables, shared, services, .. } = self;
        failures.note(shared.rings.reserve(tables, count, now).map_err(spare_rings));
        if shared.rings.ready(now) >= count {
            return;
        }
        services.values_mut().for_each(|service| service.give_up_waiting(shared));
        if shared.rings.ready(now) >= count || shared.rings.is_one_resting(now) {
            return;
        }
        for (key, service) in services {
            let done = service.give_up_previous(*key, tables, shared, now);
            failures.note(done.map_err(|e| e.of(*key)));
        }
    }

    fn remove_service(&mut self, key: ServiceKey, now: u64) -> Result<(), ForwardingError> {
        let Some(service) = self.services.get_mut(&key) else { return Ok(()) };
        service.remove(key, &mut self.tables, &mut self.shared, now).map_err(|e| e.of(key))?;
        self.services.remove(&key);
        Ok(())
    }

    fn keys_with(&self, addresses: &BTreeSet<IpAddr>) -> HashSet<ServiceKey> {
        let users = addresses.iter().filter_map(|address| self.shared.users.get(address));
        users.flatten().copied().collect()
    }
}

/// Asks for each hop once.
struct Memo<'r, R> {
    resolve: &'r R,
    known: RefCell<HashMap<IpAddr, Hop>>,
}

impl<'r, R: Resolve> Memo<'r, R> {
    fn new(resolve: &'r R) -> Self {
        Self { resolve, known: RefCell::default() }
    }
}

impl<R: Resolve> Resolve for Memo<'_, R> {
    fn hop(&self, address: IpAddr) -> Hop {
        *self.known.borrow_mut().entry(address).or_insert_with(|| self.resolve.hop(address))
    }

    fn explain(&self, address: IpAddr) -> String {
        self.resolve.explain(address)
    }
}

/// The first of several failures.
#[derive(Default)]
struct Failures(Option<ForwardingError>);

impl Failures {
    fn note(&mut self, outcome: Result<(), ForwardingError>) {
        if let Err(error) = outcome {
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

fn spare_rings(error: crate::maps::PoolError) -> ForwardingError {
    ForwardingError::Partial { what: "spare rings".into(), reason: error.to_string() }
}
