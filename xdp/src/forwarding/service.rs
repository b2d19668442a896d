//! One service: its backends, its ring and the rings before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use vc5_ebpf_abi::{NO_RING, Real, RealState as AbiState, ServiceKey, ServiceValue};

use super::{Backend, ForwardingError, Resolve, Shared, name};
use crate::maglev::{Member, Ring, RingError};
use crate::maps::{PoolError, TableError, Tables};
use crate::neighbour::Hop;
use crate::{BackendSpec, OnDown, RealState, ServiceSpec};

/// A ring that was in force, and when it stopped being so.
#[derive(Clone, Copy, Debug)]
struct Replaced {
    ring: u32,
    at: u64,
}

/// A service in force.
#[derive(Debug)]
pub(crate) struct Service {
    stat: u32,
    flags: u32,
    ttl: Option<u8>,
    serving: bool,
    backends: BTreeMap<Ipv4Addr, Backend>,
    /// The ring in force and the members it was built of.
    ring: Option<(u32, Vec<Member>)>,
    /// The rings replaced within the settle time, the oldest first. The oldest is the one that
    /// flows unknown to this node are sent by; the others wait to become the oldest.
    replaced: VecDeque<Replaced>,
    written: Option<ServiceValue>,
}

/// An error that does not know yet which service it befell.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("all real ids are in use")]
    NoRealId,
}

impl ServiceError {
    pub(super) fn of(self, key: ServiceKey) -> ForwardingError {
        let what = name(key);
        match self {
            Self::Table(source) => ForwardingError::Table { what, source },
            other => ForwardingError::Ring { what, reason: other.to_string() },
        }
    }
}

impl Service {
    pub(super) fn new(stat: u32) -> Self {
        Self {
            stat,
            flags: 0,
            ttl: None,
            serving: false,
            backends: BTreeMap::new(),
            ring: None,
            replaced: VecDeque::new(),
            written: None,
        }
    }

    pub(crate) fn stat(&self) -> u32 {
        self.stat
    }

    pub(crate) fn backends(&self) -> impl Iterator<Item = (&Ipv4Addr, &Backend)> {
        self.backends.iter()
    }

    /// Whether the program knows the service: it does not yet, or no more, after a failed write.
    pub(super) fn is_in_force(&self) -> bool {
        self.written.is_some()
    }

    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.backends.contains_key(&address)
    }

    /// Whether [`Service::put`] with this would build a ring.
    pub(super) fn would_change_ring(&self, spec: &ServiceSpec, hops: &impl Resolve) -> bool {
        let known = |b: &BackendSpec| self.backends.get(&b.address).map(|k| (k.id, k.real.mac));
        if spec.backends.iter().any(|b| known(b).is_none()) {
            return true;
        }
        let candidates = spec.backends.iter().filter_map(|b| {
            let (id, mac) = known(b)?;
            Some((*b, id, mac))
        });
        Some(members(candidates, hops)) != self.ring.as_ref().map(|(_, m)| m.clone())
    }

    /// Puts the service in force as specified.
    pub(super) fn put(
        &mut self,
        key: ServiceKey,
        spec: &ServiceSpec,
        tables: &mut impl Tables,
        shared: &mut Shared,
        hops: &impl Resolve,
        now: u64,
    ) -> Result<(), ServiceError> {
        self.ttl = spec.ttl;
        self.serving = spec.serving;
        self.flags = match spec.on_down {
            OnDown::Reselect => 0,
            OnDown::Stick => ServiceValue::STICK,
        };
        for backend in &spec.backends {
            match self.backends.get_mut(&backend.address) {
                Some(known) => known.spec = *backend,
                None => self.add_backend(key, backend, tables, shared, now)?,
            }
        }
        let stay: BTreeSet<Ipv4Addr> = spec.backends.iter().map(|b| b.address).collect();
        let gone: Vec<Ipv4Addr> =
            self.backends.keys().filter(|address| !stay.contains(address)).copied().collect();
        for address in &gone {
            if let Some(backend) = self.backends.get_mut(address) {
                backend.spec.state = RealState::Down;
            }
        }
        self.refresh(key, tables, shared, hops, now)?;
        for address in gone {
            if let Some(backend) = self.backends.remove(&address) {
                let settled = now.saturating_add(shared.setup.settle_ns);
                shared.reals.retire(backend.id, (key, address), settled);
            }
        }
        Ok(())
    }

    fn add_backend(
        &mut self,
        key: ServiceKey,
        spec: &BackendSpec,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        let (id, generation) =
            shared.reals.take(tables, (key, spec.address), now)?.ok_or(ServiceError::NoRealId)?;
        let real = Real { generation, ..Real::default() };
        self.backends.insert(spec.address, Backend { spec: *spec, id, real, slots: 0 });
        Ok(())
    }

    /// Brings reals, ring and service in line with the specification and the neighbours.
    pub(super) fn refresh(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        hops: &impl Resolve,
        now: u64,
    ) -> Result<(), ServiceError> {
        self.write_reals(tables, hops, |wanted, written| match wanted {
            // It may still be in the ring: it keeps taking flows until the ring is changed.
            AbiState::Draining | AbiState::Down if written != AbiState::Free => written,
            other => other,
        })?;
        let backends = self.backends.values().map(|b| (b.spec, b.id, b.real.mac));
        let members = members(backends, hops);
        if self.ring.as_ref().map_or(&[][..], |(_, m)| m) != members {
            self.change_ring(key, members, tables, shared, now)?;
        }
        // Rings of a service that got no packets have sent no flow anywhere.
        let idle = if self.serving { 0 } else { self.replaced.len() };
        self.drop_replaced(idle, key, tables, shared, now)?;
        self.write_reals(tables, hops, |wanted, _| wanted)?;
        Ok(())
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
        while let Some((address, backend)) = self.backends.pop_first() {
            let free = Real { state: AbiState::Free as u8, ..backend.real };
            if let Err(error) = tables.set_real(backend.id, &free) {
                self.backends.insert(address, backend);
                return Err(error.into());
            }
            shared.reals.retire_for_good(backend.id, now);
        }
        shared.reals.forget(key);
        let current = self.ring.take().map(|(ring, _)| ring);
        for ring in self.replaced.drain(..).map(|r| r.ring).chain(current) {
            shared.rings.release(ring, now);
        }
        Ok(())
    }

    /// Writes those reals that differ from what stands in the table. `state` chooses between the
    /// state wanted and the one that stands.
    fn write_reals(
        &mut self,
        tables: &mut impl Tables,
        hops: &impl Resolve,
        state: impl Fn(AbiState, AbiState) -> AbiState,
    ) -> Result<(), TableError> {
        for (address, backend) in &mut self.backends {
            let wanted = match backend.spec.state {
                RealState::Live => AbiState::Live,
                RealState::Draining => AbiState::Draining,
                RealState::Down => AbiState::Down,
            };
            let mut real = Real {
                addr: address.octets(),
                ttl: self.ttl.unwrap_or(0),
                state: state(wanted, AbiState::from_u8(backend.real.state)) as u8,
                service_stat: self.stat,
                ..backend.real
            };
            // A neighbour that is lost keeps the address it had: its flows may still get through.
            match hops.hop(*address) {
                Hop::Resolved { ifindex, mac, src_mac } => {
                    (real.ifindex, real.mac, real.src_mac) = (ifindex, mac.0, src_mac.0);
                }
                Hop::Pending { ifindex, src_mac } | Hop::Failed { ifindex, src_mac } => {
                    (real.ifindex, real.src_mac) = (ifindex, src_mac.0);
                }
                Hop::NoSubnet => {}
            }
            if real != backend.real {
                tables.set_real(backend.id, &real)?;
                backend.real = real;
            }
        }
        Ok(())
    }

    /// Fills a spare ring with these members and puts it in place of the one in force.
    fn change_ring(
        &mut self,
        key: ServiceKey,
        members: Vec<Member>,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        let ring = if members.is_empty() {
            None
        } else {
            let built = Ring::build(&shared.setup.hash_key, &members)?;
            let id = self.spare_ring(key, tables, shared, now)?;
            if let Err(error) = tables.fill_ring(id, built.slots()) {
                shared.rings.put_back(id);
                return Err(error.into());
            }
            let shares = built.shares();
            for backend in self.backends.values_mut() {
                backend.slots = shares.get(&backend.id).copied().unwrap_or(0);
            }
            Some((id, members))
        };
        if ring.is_none() {
            self.backends.values_mut().for_each(|b| b.slots = 0);
        }
        if let Some((old, _)) = std::mem::replace(&mut self.ring, ring) {
            self.replaced.push_back(Replaced { ring: old, at: now });
        }
        Ok(())
    }

    /// A ring out of use. When all are in use, those that only wait to become the previous ring are
    /// given up for it, and then the previous ring too. A ring given up rests first, so it may take
    /// another call to get it.
    fn spare_ring(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<u32, ServiceError> {
        let exhausted = match shared.rings.take(tables, now) {
            Err(error @ PoolError::Exhausted(_)) => error,
            other => return Ok(other?),
        };
        // After a write that failed, the program still looks into the ring it was told of last.
        let in_force = self.written.map_or(NO_RING, |value| value.ring);
        let (given_up, kept) = std::mem::take(&mut self.replaced)
            .into_iter()
            .enumerate()
            .partition::<Vec<_>, _>(|(at, waiting)| *at > 0 && waiting.ring != in_force);
        self.replaced = kept.into_iter().map(|(_, replaced)| replaced).collect();
        if !given_up.is_empty() {
            for (_, waiting) in given_up {
                shared.rings.release(waiting.ring, waiting.at);
            }
            return Ok(shared.rings.take(tables, now)?);
        }
        if !shared.rings.is_one_resting() {
            self.drop_replaced(self.replaced.len(), key, tables, shared, now)?;
        }
        Err(exhausted.into())
    }

    /// Drops the replaced rings whose settle time is over; the next oldest takes their place.
    pub(super) fn expire(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), ServiceError> {
        let over = |r: &Replaced| r.at.saturating_add(shared.setup.settle_ns) <= now;
        let count = self.replaced.iter().take_while(|r| over(r)).count();
        if count == 0 {
            return Ok(());
        }
        self.drop_replaced(count, key, tables, shared, now)
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
        if let Err(error) = self.write_service(key, tables, shared) {
            let younger = std::mem::replace(&mut self.replaced, dropped);
            self.replaced.extend(younger);
            return Err(error.into());
        }
        for replaced in dropped {
            shared.rings.release(replaced.ring, now);
        }
        Ok(())
    }

    pub(super) fn next_expiry(&self, settle_ns: u64) -> Option<u64> {
        self.replaced.front().map(|r| r.at.saturating_add(settle_ns))
    }

    fn write_service(
        &mut self,
        key: ServiceKey,
        tables: &mut impl Tables,
        shared: &Shared,
    ) -> Result<(), TableError> {
        let previous = self.replaced.front();
        let value = ServiceValue {
            prev_until_ns: self.next_expiry(shared.setup.settle_ns).unwrap_or(0),
            ring: self.ring.as_ref().map_or(NO_RING, |(ring, _)| *ring),
            prev_ring: previous.map_or(NO_RING, |r| r.ring),
            stat: self.stat,
            flags: self.flags,
        };
        if self.written != Some(value) {
            tables.set_service(key, value)?;
            self.written = Some(value);
        }
        Ok(())
    }
}

/// Who is in the ring: live backends that answer on the link layer. If none of them does, those
/// that did once: better to send their packets where they were than nowhere, while the owner is
/// told that the VIP is not ready and withdraws it.
fn members(
    backends: impl Iterator<Item = (BackendSpec, u16, [u8; 6])>,
    hops: &impl Resolve,
) -> Vec<Member> {
    let mut answering = Vec::new();
    let mut silent = Vec::new();
    for (spec, id, mac) in backends {
        if spec.state != RealState::Live || spec.weight == 0 {
            continue;
        }
        let member = Member { address: spec.address, weight: spec.weight, id };
        match hops.hop(spec.address) {
            Hop::Resolved { .. } => answering.push(member),
            Hop::Failed { .. } | Hop::Pending { .. } if mac != [0; 6] => silent.push(member),
            _ => {}
        }
    }
    let mut members = if answering.is_empty() { silent } else { answering };
    members.sort_unstable_by_key(|m| m.address);
    members
}
