//! Real ids: one for each pair of service and backend.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use vc5_ebpf_abi::{MAX_REALS, NO_REAL, Real, ServiceKey};

use crate::maps::{GRACE_NS, Ids, TableError, Tables};
use crate::{BackendSpec, Mac};

/// One backend of a service in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) spec: BackendSpec,
    pub(crate) id: u16,
    /// What stands in the table.
    pub(crate) real: Real,
    /// Slots of the ring.
    pub(crate) slots: u32,
}

impl Backend {
    /// The MAC address packets are sent to, if one was ever known.
    pub(crate) fn mac(&self) -> Option<Mac> {
        (self.real.mac != [0; 6]).then_some(Mac(self.real.mac))
    }
}

/// Gives out real ids. An id that comes back to another pair has the next generation, so that
/// flow records of its last user do not count; an id that comes back to the same pair before that
/// keeps its generation, and so its flows.
#[derive(Debug)]
pub(crate) struct Reals {
    ids: Ids,
    generations: BTreeMap<u16, u8>,
    last_users: BTreeMap<(ServiceKey, Ipv4Addr), u16>,
    users: BTreeMap<u16, (ServiceKey, Ipv4Addr)>,
}

impl Reals {
    pub(super) fn new() -> Self {
        Self {
            ids: Ids::new(u32::from(NO_REAL) + 1, MAX_REALS),
            generations: BTreeMap::new(),
            last_users: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    pub(super) fn available(&self, now: u64) -> usize {
        self.ids.available(now)
    }

    /// An id and generation for this pair, or none if all are in use.
    pub(super) fn take(
        &mut self,
        tables: &mut impl Tables,
        pair: (ServiceKey, Ipv4Addr),
        now: u64,
    ) -> Result<Option<(u16, u8)>, TableError> {
        if let Some(id) = self.last_users.remove(&pair)
            && self.ids.reclaim(u32::from(id))
        {
            self.users.remove(&id);
            return Ok(Some((id, self.generation(id))));
        }
        let Some(taken) = self.ids.take(now) else { return Ok(None) };
        let id = taken.id as u16;
        if taken.reused {
            if let Err(error) = tables.reset_real_traffic(id) {
                self.ids.put_back(taken);
                return Err(error);
            }
            let generation = self.generations.entry(id).or_insert(0);
            *generation = generation.wrapping_add(1);
            if let Some(last_user) = self.users.remove(&id)
                && self.last_users.get(&last_user) == Some(&id)
            {
                self.last_users.remove(&last_user);
            }
        }
        Ok(Some((id, self.generation(id))))
    }

    /// Takes back the id of a backend that left its service. Until it is given out again, which
    /// is not before every ring that names it is out of use, it can return with its flows.
    pub(super) fn retire(&mut self, id: u16, pair: (ServiceKey, Ipv4Addr), settled: u64) {
        self.ids.retire(u32::from(id), settled.saturating_add(GRACE_NS));
        self.users.insert(id, pair);
        self.last_users.insert(pair, id);
    }

    /// Takes back the id of a backend whose service is gone, and the flows with it.
    pub(super) fn retire_for_good(&mut self, id: u16, settled: u64) {
        self.ids.retire(u32::from(id), settled.saturating_add(GRACE_NS));
    }

    /// A service is gone: its backends that left before it do not return with their flows either.
    pub(super) fn forget(&mut self, service: ServiceKey) {
        let pairs = (service, Ipv4Addr::UNSPECIFIED)..=(service, Ipv4Addr::BROADCAST);
        let gone: Vec<_> = self.last_users.range(pairs).map(|(pair, id)| (*pair, *id)).collect();
        for (pair, id) in gone {
            self.last_users.remove(&pair);
            self.users.remove(&id);
        }
    }

    fn generation(&self, id: u16) -> u8 {
        self.generations.get(&id).copied().unwrap_or(0)
    }
}
