//! One service: its backends, its ring and the rings before it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use vc5_ebpf_abi::{NO_RING, Real, RealState as AbiState, ServiceKey, ServiceValue, Traffic};

use super::members::{Leaving, Members, NoRoom};
use super::{Backend, ForwardingError, Resolve, Shared, eligible, name, readiness};
use crate::maglev::Member;
use crate::maps::{GRACE_NS, PoolError, TableError, Tables};
use crate::{BackendSpec, OnDown, Ports, RealState, ServiceSpec};

/// Longer than a change takes: a ring has come into force at some time within it.
const CHANGE_NS: u64 = 30_000_000_000;

/// A ring that was in force, and when it stopped being so.
#[derive(Clone, Copy, Debug)]
struct Replaced {
    ring: u32,
    at: u64,
}

/// A service in force.
#[derive(Debug)]
pub(crate) struct Service {
    ports: Ports,
    flags: u32,
    ttl: Option<u8>,
    serving: bool,
    /// Its VIP is not ready without it.
    needed: bool,
    /// An earlier run has left it, and since then it was not specified as serving: routers may still
    /// be sending by what that run announced.
    inherited: bool,
    /// It is as some desired state had it; one of an earlier run is not yet.
    specified: bool,
    /// What the tables have is what is wanted, as far as it depends on no neighbour.
    settled: bool,
    members: Members,
    /// Some of the members are leaving. They are many, and looked at often.
    has_leaving: bool,
    /// Who has to be in the ring.
    wanted: Arc<[Member]>,
    ring: Option<u32>,
    /// When the change began by which the program was told of its ring (ns).
    ring_since: u64,
    /// The ring stays as it is for lack of others that could be in it.
    keeps_ring: bool,
    /// The rings replaced within the settle time, the oldest first. The oldest is the one that
    /// flows unknown to this node are sent by; the others wait to become the oldest.
    replaced: VecDeque<Replaced>,
    written: Option<Box<ServiceValue>>,
    /// Pages that are to be given up when the table does not name them any more.
    dropped_pages: Vec<u16>,
    /// Traffic of backends that have left.
    departed: Traffic,
    not_ready: Option<String>,
}

/// An error that does not know yet which service it befell.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Its ring was not built, which is told on its own.
    #[error("its ring could not be built")]
    NoRing,
}

impl ServiceError {
    pub(super) fn of(self, key: ServiceKey) -> ForwardingError {
        let what = name(key);
        match self {
            Self::Table(source) | Self::NoRoom(NoRoom::Table(source)) => {
                ForwardingError::Table { what, source }
            }
            other => ForwardingError::Partial { what, reason: other.to_string() },
        }
    }
}

impl Service {
    pub(super) fn new(ports: Ports) -> Self {
        Self {
            ports,
            flags: 0,
            ttl: None,
            serving: false,
            needed: true,
            inherited: false,
            specified: false,
            settled: false,
            members: Members::default(),
            has_leaving: false,
            wanted: Arc::default(),
            ring: None,
            ring_since: 0,
            keeps_ring: false,
            replaced: VecDeque::new(),
            written: None,
            dropped_pages: Vec::new(),
            departed: Traffic::default(),
            not_ready: None,
        }
    }

    /// One that an earlier run has left, with its backends. Its rings have a user more each.
    pub(super) fn adopt(
        ports: Ports,
        value: &ServiceValue,
        backends: Vec<Backend>,
        shared: &mut Shared,
    ) -> Self {
        let known = |ring: u32| (ring != NO_RING).then_some(ring);
        let ring = known(value.ring);
        let at = value.prev_until_ns.saturating_sub(shared.setup.settle_ns);
        let replaced: VecDeque<Replaced> =
            known(value.prev_ring).map(|ring| Replaced { ring, at }).into_iter().collect();
        for ring in ring.into_iter().chain(replaced.iter().map(|r| r.ring)) {
            shared.rings.retain(ring);
        }
        Self {
            flags: value.flags,
            ttl: backends.iter().map(|b| b.real.ttl).find(|ttl| *ttl > 0),
            members: Members::adopt(backends, &value.pages),
            inherited: true,
            ring,
            replaced,
            written: Some(Box::new(*value)),
            ..Self::new(ports)
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    pub(crate) fn backends(&self) -> &[Backend] {
        &self.members.backends
    }

    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    /// The ring in force.
    pub(crate) fn ring(&self) -> Option<u32> {
        self.ring
    }

    /// The ring before it and until when flows without a record go by that (ns).
    pub(crate) fn previous(&self) -> Option<(u32, u64)> {
        let value = self.written.as_ref()?;
        (value.prev_ring != NO_RING).then_some((value.prev_ring, value.prev_until_ns))
    }

    /// Traffic of backends that have left.
    pub(crate) fn departed(&self) -> Traffic {
        self.departed
    }

    /// Whether the program knows the service: it does not yet, or no more, after a failed write.
    pub(super) fn is_in_force(&self) -> bool {
        self.written.is_some()
    }

    /// Whether the last change was put in force as a whole.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Why no backend can take a new flow now, if so and if its VIP needs one that can.
    pub(super) fn not_ready(&self) -> Option<&str> {
        self.not_ready.as_deref().filter(|_| self.needed)
    }

    /// Who has to be in the ring, after [`Service::prepare`].
    pub(crate) fn wanted(&self) -> &Arc<[Member]> {
        &self.wanted
    }

    /// Takes over what is specified; new backends get their numbers and ids. `numbers` has those of
    /// another service with the same backends.
    pub(super) fn specify(
        &mut self,
        key: ServiceKey,
        spec: &ServiceSpec,
        numbers: Option<&[(IpAddr, u16)]>,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        self.settled = false;
        self.specified = true;
        self.ports = spec.ports;
        self.ttl = spec.ttl;
        self.inherited &= !spec.serving;
        self.serving = spec.serving;
        self.needed = spec.needed;
        self.flags = match spec.on_down {
            OnDown::Reselect => 0,
            OnDown::Stick => ServiceValue::STICK,
        };
        if spec.sticky {
            self.flags |= ServiceValue::BY_ADDRESS;
        }
        let mut specs = spec.backends.clone();
        specs.sort_unstable_by_key(|b| b.address);
        self.dismiss(&specs, now.saturating_add(shared.setup.drain_ns));
        let mut new: Vec<BackendSpec> = Vec::new();
        for spec in specs {
            let known = self.members.get_mut(spec.address);
            let state = match (spec.state, &known) {
                (RealState::Undecided, Some(known)) => known.state(),
                (RealState::Undecided, None) => RealState::Down,
                (state, _) => state,
            };
            let spec = BackendSpec { state, ..spec };
            match known {
                Some(known) => (known.spec, known.leaving) = (spec, None),
                None => new.push(spec),
            }
        }
        self.has_leaving = self.members.backends.iter().any(Backend::is_leaving);
        let added = self.members.add(&new, numbers, tables, shared, now);
        for spec in new.iter().filter(|spec| self.members.has(spec.address)) {
            shared.users.entry(spec.address).or_default().push(key);
        }
        Ok(added?)
    }

    /// Those that are not specified any more begin to leave.
    fn dismiss(&mut self, stay: &[BackendSpec], drained: u64) {
        for backend in &mut self.members.backends {
            let address = backend.spec.address;
            if backend.leaving.is_none()
                && stay.binary_search_by_key(&address, |spec| spec.address).is_err()
            {
                backend.leaving = Some(match backend.spec.state {
                    RealState::Live | RealState::Draining => Leaving::Draining(drained),
                    RealState::Down | RealState::Undecided => Leaving::Down,
                });
            }
        }
    }

    /// Brings the reals in line with specification and neighbours, as far as that can be before
    /// the ring is changed, and finds out who has to be in that.
    pub(super) fn prepare(
        &mut self,
        tables: &mut impl Tables,
        shared: &Shared,
        hops: &impl Resolve,
    ) -> Result<(), ServiceError> {
        self.settled = false;
        for backend in &mut self.members.backends {
            backend.hop = hops.hop(backend.spec.address);
        }
        self.write_reals(tables, |wanted, written| match wanted {
            // It may still be in the ring: it keeps taking flows until the ring is changed.
            AbiState::Draining | AbiState::Down if written != AbiState::Free => written,
            other => other,
        })?;
        if self.specified {
            let has = |b: &Backend| self.has(b, shared);
            let wanted = eligible::members(&self.members.backends, has);
            let is_last = wanted.is_empty() && eligible::has_no_other(&self.members.backends, has);
            let told = self.written.as_ref().map(|value| value.ring);
            self.keeps_ring = is_last && self.ring.is_some() && self.ring == told;
            if wanted != *self.wanted {
                self.wanted = wanted.into();
            }
        }
        Ok(())
    }

    /// Puts the ring in force that was built since [`Service::prepare`], and the service with it.
    pub(super) fn commit_ring(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        if self.specified {
            self.renew_drains(shared, now);
            self.change_ring(shared, now)?;
            // Rings of a service that got no packets have sent no flow anywhere.
            let gets_packets = self.serving || self.inherited;
            let idle = if gets_packets { 0 } else { self.replaced.len() };
            self.drop_replaced(idle, key, tables, shared, now)?;
        }
        Ok(())
    }

    /// Backends drain from when they leave the ring on: they may be left in it for lack of others.
    fn renew_drains(&mut self, shared: &Shared, now: u64) {
        let Some(ring) = self.written.as_ref().map(|value| value.ring) else { return };
        for backend in &mut self.members.backends {
            if let Some(Leaving::Draining(until)) = &mut backend.leaving
                && shared.rings.names(ring, backend.number)
            {
                *until = now.saturating_add(shared.setup.drain_ns);
            }
        }
    }

    /// Whether [`Service::commit_reals`] will tell the program that a backend takes no packets, of
    /// which some may have found it in the ring before.
    pub(super) fn ends_flows(&self) -> bool {
        let written = |b: &Backend| AbiState::from_u8(b.real.state);
        let ends = |b: &Backend| {
            matches!(b.state(), RealState::Down | RealState::Undecided)
                && matches!(written(b), AbiState::Live | AbiState::Draining)
        };
        self.members.backends.iter().any(ends)
    }

    /// After [`Service::commit_ring`], makes the reals what they have to be with it.
    pub(super) fn commit_reals(
        &mut self,
        tables: &mut impl Tables,
        hops: &impl Resolve,
    ) -> Result<(), ServiceError> {
        self.write_reals(tables, |wanted, _| wanted)?;
        self.settled = true;
        self.not_ready = readiness::reason(&self.members.backends, hops);
        Ok(())
    }

    fn change_ring(&mut self, shared: &mut Shared, now: u64) -> Result<(), ServiceError> {
        let is_right = match self.ring {
            _ if self.keeps_ring => true,
            None => self.wanted.is_empty(),
            Some(ring) => shared.rings.holds(ring, &self.wanted),
        };
        if is_right {
            return Ok(());
        }
        let ring = if self.wanted.is_empty() {
            None
        } else {
            Some(shared.rings.acquire(&self.wanted).ok_or(ServiceError::NoRing)?)
        };
        if let Some(old) = std::mem::replace(&mut self.ring, ring) {
            self.replaced.push_back(Replaced { ring: old, at: now });
        }
        Ok(())
    }

    fn write_reals(
        &mut self,
        tables: &mut impl Tables,
        state: impl Fn(AbiState, AbiState) -> AbiState,
    ) -> Result<(), TableError> {
        let ttl = self.ttl.unwrap_or(0);
        self.members.backends.iter_mut().try_for_each(|b| b.write(ttl, tables, &state))
    }

    /// Takes the service out of force; flows that had a backend of it have none. After an error it
    /// can be called again.
    pub(super) fn remove(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        tables.remove_service(key)?;
        self.written = None;
        while let Some(backend) = self.members.backends.last() {
            free(backend, tables)?;
            shared.forget_user(backend.spec.address, key);
            self.members.backends.pop();
        }
        for page in self.members.take_pages().into_iter().chain(self.dropped_pages.drain(..)) {
            shared.pages.retire(page, now);
        }
        let current = self.ring.take();
        for ring in self.replaced.drain(..).map(|r| r.ring).chain(current) {
            shared.rings.release(ring, now);
        }
        Ok(())
    }

    /// Drops the replaced rings whose settle time is over; the next oldest takes their place.
    pub(super) fn drop_expired(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        let over = |r: &Replaced| r.at.saturating_add(shared.setup.settle_ns) <= now;
        match self.replaced.iter().take_while(|r| over(r)).count() {
            0 => Ok(()),
            count => self.drop_replaced(count, key, tables, shared, now),
        }
    }

    /// Whether [`Service::see_off`] will tell the program that a backend takes no packets which
    /// some may have found in the ring only just now.
    pub(super) fn ends_fresh_flows(&self, shared: &Shared, now: u64) -> bool {
        let is_due =
            |b: &Backend| matches!(b.leaving, Some(Leaving::Draining(until)) if until <= now);
        self.has_leaving
            && now < self.ring_since.saturating_add(CHANGE_NS)
            && self.members.backends.iter().any(|b| is_due(b) && !self.has(b, shared))
    }

    /// Backends that are leaving go on, as far as it is time.
    pub(super) fn see_off(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        if !self.has_leaving {
            return Ok(());
        }
        let ttl = self.ttl.unwrap_or(0);
        let mut gone = Vec::new();
        for place in 0..self.members.backends.len() {
            let Some(backend) = self.members.backends.get(place) else { continue };
            let (is_named, is_in_ring) = (self.names(backend, shared), self.has(backend, shared));
            let Some(backend) = self.members.backends.get_mut(place) else { continue };
            if let Some(Leaving::Draining(until)) = backend.leaving
                && until <= now
                && !is_in_ring
            {
                backend.leaving = Some(Leaving::Down);
                backend.write(ttl, tables, |wanted, _| wanted)?;
            }
            match backend.leaving {
                Some(Leaving::Down) if !is_named => {
                    backend.leaving = Some(Leaving::Resting(now.saturating_add(GRACE_NS)));
                }
                Some(Leaving::Resting(until)) if until <= now => {
                    free(backend, tables)?;
                    let traffic = tables.traffic(backend.id)?;
                    tables.reset_traffic(backend.id, 1)?;
                    add(&mut self.departed, &traffic);
                    gone.push(backend.spec.address);
                }
                _ => {}
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        for address in &gone {
            shared.forget_user(*address, key);
        }
        self.members.backends.retain(|b| gone.binary_search(&b.spec.address).is_err());
        self.has_leaving = self.members.backends.iter().any(Backend::is_leaving);
        self.dropped_pages.extend(self.members.drop_empty_pages());
        Ok(self.write_service(key, tables, shared, now)?)
    }

    /// Whether a ring that the program may look into has slots of a backend.
    fn names(&self, backend: &Backend, shared: &Shared) -> bool {
        let rings = self.replaced.iter().map(|r| r.ring).chain(self.ring);
        backend.is_leaving()
            && rings.into_iter().any(|ring| shared.rings.names(ring, backend.number))
    }

    /// Whether the ring that the program was told of last has slots of a backend.
    fn has(&self, backend: &Backend, shared: &Shared) -> bool {
        let ring = self.written.as_ref().map(|value| value.ring);
        ring.is_some_and(|ring| shared.rings.names(ring, backend.number))
    }

    /// Gives up the rings that only wait to become the previous one.
    pub(super) fn give_up_waiting(&mut self, shared: &mut Shared) {
        // After a write that failed, the program still looks into the rings it was told of last.
        let told = self.written.as_ref().map(|value| [value.ring, value.prev_ring]);
        let mut at = 0;
        self.replaced.retain(|waiting| {
            let stays = at == 0 || told.is_some_and(|told| told.contains(&waiting.ring));
            at += 1;
            if !stays {
                shared.rings.release(waiting.ring, waiting.at);
            }
            stays
        });
    }

    /// Gives up the previous ring too.
    pub(super) fn give_up_previous(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        if self.replaced.is_empty() || self.written.is_none() {
            return Ok(());
        }
        self.drop_replaced(self.replaced.len(), key, tables, shared, now)
    }

    /// Gives up the oldest of the replaced rings. They are kept if that cannot be written, since
    /// the program goes on looking into them then.
    fn drop_replaced(
        &mut self,
        count: usize,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        let younger = self.replaced.split_off(count);
        let dropped = std::mem::replace(&mut self.replaced, younger);
        if let Err(error) = self.write_service(key, tables, shared, now) {
            let younger = std::mem::replace(&mut self.replaced, dropped);
            self.replaced.extend(younger);
            return Err(error.into());
        }
        for replaced in dropped {
            shared.rings.release(replaced.ring, now);
        }
        Ok(())
    }

    /// When [`Service::on_timeout`] has something to do.
    pub(super) fn next_timeout(&self, shared: &Shared) -> Option<u64> {
        let backends: &[Backend] = if self.has_leaving { &self.members.backends } else { &[] };
        let leaving = backends.iter().filter_map(|b| match b.leaving? {
            // Until it has left the ring, there is nothing to wait for but that.
            Leaving::Draining(until) => (!self.has(b, shared)).then_some(until),
            Leaving::Resting(until) => Some(until),
            Leaving::Down => (!self.names(b, shared)).then_some(0),
        });
        leaving.chain(self.next_expiry(shared.setup.settle_ns)).min()
    }

    fn next_expiry(&self, settle_ns: u64) -> Option<u64> {
        self.replaced.front().map(|r| r.at.saturating_add(settle_ns))
    }

    fn write_service(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), TableError> {
        let value = ServiceValue {
            prev_until_ns: self.next_expiry(shared.setup.settle_ns).unwrap_or(0),
            ring: self.ring.unwrap_or(NO_RING),
            prev_ring: self.replaced.front().map_or(NO_RING, |r| r.ring),
            flags: self.flags,
            pad: 0,
            pages: self.members.pages(),
        };
        if self.written.as_deref() != Some(&value) {
            tables.set_service(key, &value)?;
            if self.written.as_ref().map(|before| before.ring) != Some(value.ring) {
                self.ring_since = now;
            }
            self.written = Some(Box::new(value));
        }
        for page in self.dropped_pages.drain(..) {
            shared.pages.retire(page, now);
        }
        Ok(())
    }
}

fn free(backend: &Backend, tables: &mut impl Tables) -> Result<(), TableError> {
    tables.set_real(backend.id, &Real { state: AbiState::Free as u8, ..backend.real })
}

fn add(sum: &mut Traffic, more: &Traffic) {
    sum.packets = sum.packets.wrapping_add(more.packets);
    sum.bytes = sum.bytes.wrapping_add(more.bytes);
    sum.flows = sum.flows.wrapping_add(more.flows);
    sum.syns = sum.syns.wrapping_add(more.syns);
    sum.fins = sum.fins.wrapping_add(more.fins);
    sum.rsts = sum.rsts.wrapping_add(more.rsts);
}
