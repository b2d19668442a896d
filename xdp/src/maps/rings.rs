//! The rings: what each holds, who uses it, and which are free.
//!
//! Services whose members have equal numbers, addresses and weights use one ring. A ring that
//! nobody uses any more keeps what it holds until it is filled anew, so that a pool that goes back
//! and forth builds nothing.
//!
//! Installing an inner ring in the outer map costs a grace period of the kernel, 8 to 12 ms. So a
//! change takes a ring that is installed already, and spares are made when nobody waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{TableError, Tables};
use crate::maglev::{Member, Ring};

/// For how long a ring that no service names any more is left alone: a packet that read its id
/// just before may still be looking into it.
pub(crate) const GRACE_NS: u64 = 250_000_000;

/// How many spare rings are kept ready.
const SPARES: u32 = 16;

/// Members and how many slots each of them has, by member number.
pub(crate) type Shares = Arc<[(u16, u32)]>;

/// Why there is no ring to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error(
        "all {0} rings are in use; it is tried again when one is free; have fewer different pools, \
         or changes further apart"
    )]
    Exhausted(u32),
    #[error(transparent)]
    Table(#[from] TableError),
}

#[derive(Debug, Default)]
struct Entry {
    users: u32,
    /// No packet looks into it after this (ns), unless it has users.
    rests_until: u64,
    /// What it was built of, in the order of addresses; unknown of a ring of an earlier run.
    members: Option<Arc<[Member]>>,
    shares: Shares,
}

/// Rings by id, from 0 up to the number installed.
#[derive(Debug)]
pub(crate) struct Rings {
    limit: u32,
    entries: Vec<Entry>,
    by_members: HashMap<Arc<[Member]>, u32>,
    /// Rings of an earlier run of which it is not known what they were built of, by their digest.
    by_digest: HashMap<u64, u32>,
    /// Those that hold nothing.
    blank: Vec<u32>,
    /// Those that hold something and have no users, the one released first in front.
    idle: VecDeque<u32>,
}

impl Rings {
    /// At most `limit` rings, none of them installed.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            entries: Vec::new(),
            by_members: HashMap::new(),
            by_digest: HashMap::new(),
            blank: Vec::new(),
            idle: VecDeque::new(),
        }
    }

    /// Rings of an earlier run, with what stands in them. None has users yet.
    pub(crate) fn adopt(limit: u32, rings: impl IntoIterator<Item = Ring>, now: u64) -> Self {
        let mut adopted = Self::new(limit);
        for (id, ring) in (0..).zip(rings) {
            adopted.by_digest.insert(ring.digest(), id);
            adopted.entries.push(Entry {
                users: 0,
                rests_until: now.saturating_add(GRACE_NS),
                members: None,
                shares: shares(&ring),
            });
            adopted.idle.push_back(id);
        }
        adopted
    }

    /// Whether a ring holds these members.
    pub(crate) fn holds(&self, ring: u32, members: &[Member]) -> bool {
        self.entry(ring).is_some_and(|e| e.members.as_deref() == Some(members))
    }

    /// The slots of each member that has any.
    pub(crate) fn shares(&self, ring: u32) -> Shares {
        self.entry(ring).map(|e| Arc::clone(&e.shares)).unwrap_or_default()
    }

    /// Whether a ring has slots of a member.
    pub(crate) fn names(&self, ring: u32, member: u16) -> bool {
        self.entry(ring)
            .is_some_and(|e| e.shares.binary_search_by_key(&member, |(number, _)| *number).is_ok())
    }

    /// The ring that holds these members, if there is one; it has one user more.
    pub(crate) fn acquire(&mut self, members: &[Member]) -> Option<u32> {
        let ring = *self.by_members.get(members)?;
        self.retain(ring);
        Some(ring)
    }

    /// A ring has one user more.
    pub(crate) fn retain(&mut self, ring: u32) {
        let Some(entry) = self.entries.get_mut(ring as usize) else { return };
        entry.users += 1;
        if entry.users == 1 {
            self.idle.retain(|idle| *idle != ring);
        }
    }

    /// A ring has one user less, who has not named it since `since` (ns).
    pub(crate) fn release(&mut self, ring: u32, since: u64) {
        let Some(entry) = self.entries.get_mut(ring as usize) else { return };
        entry.rests_until = entry.rests_until.max(since.saturating_add(GRACE_NS));
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0 {
            self.idle.push_back(ring);
        }
    }

    /// Puts a ring just built into a table; it has one user, the caller. A ring of an earlier run
    /// that is just the same is taken for it.
    pub(crate) fn add(
        &mut self,
        members: Arc<[Member]>,
        built: &Ring,
        tables: &mut impl Tables,
        now: u64,
    ) -> Result<u32, PoolError> {
        if let Some(ring) = self.recognised(built) {
            self.label(ring, members);
            self.retain(ring);
            return Ok(ring);
        }
        let ring = self.take(tables, now)?;
        if let Err(error) = tables.fill_ring(ring, built.slots()) {
            self.blank.push(ring);
            return Err(error.into());
        }
        if let Some(entry) = self.entries.get_mut(ring as usize) {
            (entry.users, entry.shares) = (1, built_shares(&members));
        }
        self.label(ring, members);
        Ok(ring)
    }

    /// Whether some ring is out of use but still left alone.
    pub(crate) fn is_one_resting(&self, now: u64) -> bool {
        self.idle.iter().any(|ring| self.entry(*ring).is_some_and(|e| e.rests_until > now))
    }

    /// Whether [`Rings::top_up`] has something to do.
    pub(crate) fn is_short(&self, now: u64) -> bool {
        self.ready(now) < SPARES / 2 && self.installed() < self.limit
    }

    /// Installs spare rings until there are enough.
    pub(crate) fn top_up(&mut self, tables: &mut impl Tables, now: u64) -> Result<(), PoolError> {
        self.reserve(tables, SPARES, now)
    }

    /// Makes sure that `count` rings in a row can be added, as far as the limit allows.
    pub(crate) fn reserve(
        &mut self,
        tables: &mut impl Tables,
        count: u32,
        now: u64,
    ) -> Result<(), PoolError> {
        self.install(tables, count.saturating_sub(self.ready(now)))
    }

    fn installed(&self) -> u32 {
        self.entries.len() as u32
    }

    /// How many rings could be added at `now` without installing any.
    pub(crate) fn ready(&self, now: u64) -> u32 {
        let rested = |ring: &&u32| self.entry(**ring).is_some_and(|e| e.rests_until <= now);
        (self.blank.len() + self.idle.iter().filter(rested).count()) as u32
    }

    fn entry(&self, ring: u32) -> Option<&Entry> {
        self.entries.get(ring as usize)
    }

    /// A ring that is out of use and holds nothing any more.
    fn take(&mut self, tables: &mut impl Tables, now: u64) -> Result<u32, PoolError> {
        if self.ready(now) == 0 {
            self.install(tables, SPARES)?;
        }
        if let Some(ring) = self.blank.pop() {
            return Ok(ring);
        }
        let rested = |ring: &u32| self.entry(*ring).is_some_and(|e| e.rests_until <= now);
        let place = self.idle.iter().position(rested).ok_or(PoolError::Exhausted(self.limit))?;
        let ring = self.idle.remove(place).ok_or(PoolError::Exhausted(self.limit))?;
        self.by_digest.retain(|_, known| *known != ring);
        if let Some(entry) = self.entries.get_mut(ring as usize)
            && let Some(members) = std::mem::take(entry).members
        {
            self.by_members.remove(&members);
        }
        Ok(ring)
    }

    fn install(&mut self, tables: &mut impl Tables, more: u32) -> Result<(), PoolError> {
        let installed = self.installed();
        let count = installed.saturating_add(more).min(self.limit);
        if count > installed {
            tables.install_rings(count)?;
            self.blank.extend((installed..count).rev());
            self.entries.resize_with(count as usize, Entry::default);
        }
        Ok(())
    }

    fn recognised(&mut self, built: &Ring) -> Option<u32> {
        // The digest costs, and few runs begin with the rings of an earlier one.
        if self.by_digest.is_empty() {
            return None;
        }
        self.by_digest.remove(&built.digest())
    }

    fn label(&mut self, ring: u32, members: Arc<[Member]>) {
        if let Some(entry) = self.entries.get_mut(ring as usize) {
            entry.members = Some(Arc::clone(&members));
        }
        self.by_members.insert(members, ring);
    }
}

/// The shares of a ring that was built of these members, without looking at its slots.
fn built_shares(members: &[Member]) -> Shares {
    let mut shares = crate::maglev::shares(members);
    shares.retain(|(_, slots)| *slots > 0);
    shares.sort_unstable();
    shares.into()
}

fn shares(ring: &Ring) -> Shares {
    ring.shares().into_iter().filter(|(member, _)| *member != crate::maglev::NOBODY).collect()
}
