//! The pool of rings: which are installed, which are free.
//!
//! Installing an inner ring in the outer map costs a grace period of the kernel, 8 to 12 ms. So a
//! change takes a ring that is installed already, and the pool is topped up when nobody waits.

use super::{TableError, Tables};

/// For how long a ring that no service names any more is left alone: a packet that read its id
/// just before may still be looking into it.
pub(crate) const GRACE_NS: u64 = 250_000_000;

/// How many spare rings are kept ready.
const SPARES: u32 = 16;

/// Why there is no ring to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error(
        "all {0} rings are in use; it is tried again when one is free; have fewer services, or \
             changes further apart"
    )]
    Exhausted(u32),
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Rings by id, from 0 up to the number installed.
#[derive(Debug)]
pub(crate) struct RingPool {
    installed: u32,
    limit: u32,
    ready: Vec<u32>,
    resting: Vec<(u32, u64)>,
}

impl RingPool {
    /// A pool of at most `limit` rings, none of them installed.
    pub(crate) fn new(limit: u32) -> Self {
        Self { installed: 0, limit, ready: Vec::new(), resting: Vec::new() }
    }

    /// A ring that is out of use, installed now if there is no other way.
    pub(crate) fn take(&mut self, tables: &mut impl Tables, now: u64) -> Result<u32, PoolError> {
        self.wake(now);
        if self.ready.is_empty() {
            self.install(tables, SPARES)?;
        }
        self.ready.pop().ok_or(PoolError::Exhausted(self.limit))
    }

    /// Takes back a ring that no service has named since `since` (ns).
    pub(crate) fn release(&mut self, ring: u32, since: u64) {
        self.resting.push((ring, since.saturating_add(GRACE_NS)));
    }

    /// Takes back a ring that no service has named.
    pub(crate) fn put_back(&mut self, ring: u32) {
        self.ready.push(ring);
    }

    /// Whether some ring is out of use but still left alone.
    pub(crate) fn is_one_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Whether [`RingPool::top_up`] has something to do.
    pub(crate) fn is_short(&self) -> bool {
        (self.ready.len() as u32) < SPARES / 2 && self.installed < self.limit
    }

    /// Installs spare rings until there are enough.
    pub(crate) fn top_up(&mut self, tables: &mut impl Tables, now: u64) -> Result<(), PoolError> {
        self.wake(now);
        self.install(tables, SPARES.saturating_sub(self.ready.len() as u32))
    }

    /// Makes sure that `count` changes in a row find a ring ready, as far as the limit allows.
    pub(crate) fn reserve(
        &mut self,
        tables: &mut impl Tables,
        count: u32,
        now: u64,
    ) -> Result<(), PoolError> {
        self.wake(now);
        self.install(tables, count.saturating_sub(self.ready.len() as u32))
    }

    fn install(&mut self, tables: &mut impl Tables, more: u32) -> Result<(), PoolError> {
        let count = self.installed.saturating_add(more).min(self.limit);
        if count > self.installed {
            tables.install_rings(count)?;
            self.ready.extend(self.installed..count);
            self.installed = count;
        }
        Ok(())
    }

    fn wake(&mut self, now: u64) {
        self.resting.retain(|(ring, until)| {
            let rested = *until <= now;
            if rested {
                self.ready.push(*ring);
            }
            !rested
        });
    }
}
