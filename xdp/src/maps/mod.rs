//! The tables of the program: the operations on them, and the bookkeeping of their ids.

mod batch;
mod filter;
mod ids;
mod kernel;
mod pool;

use std::io;

use vc5_ebpf_abi::{Real, ServiceKey, ServiceValue, Traffic, VipFilter, VipKey};

pub(crate) use filter::filter_of;
pub(crate) use ids::Ids;
pub(crate) use kernel::KernelTables;
pub(crate) use pool::{GRACE_NS, PoolError, RingPool};

use crate::maglev::SLOTS;

/// A table could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{action} failed: {source}")]
pub(crate) struct TableError {
    /// What was being done to which table.
    pub(crate) action: &'static str,
    /// What the kernel answered.
    pub(crate) source: io::Error,
}

/// What forwarding writes. Each operation is atomic as the program sees it, except for the fill
/// of a ring, which must be out of use then.
pub(crate) trait Tables {
    fn set_real(&mut self, id: u16, real: &Real) -> Result<(), TableError>;
    fn set_service(&mut self, key: ServiceKey, value: ServiceValue) -> Result<(), TableError>;
    fn remove_service(&mut self, key: ServiceKey) -> Result<(), TableError>;
    fn add_vip(&mut self, key: VipKey) -> Result<(), TableError>;
    fn remove_vip(&mut self, key: VipKey) -> Result<(), TableError>;
    fn set_filter(&mut self, filter: &VipFilter) -> Result<(), TableError>;
    fn fill_ring(&mut self, ring: u32, slots: &[u16; SLOTS]) -> Result<(), TableError>;
    /// Makes the rings from the present number up to `count` usable. It takes milliseconds.
    fn install_rings(&mut self, count: u32) -> Result<(), TableError>;
    /// Forgets what was counted for an earlier user of a real id.
    fn reset_real_traffic(&mut self, id: u16) -> Result<(), TableError>;
    /// Forgets what was counted for an earlier user of a service's index.
    fn reset_service_traffic(&mut self, stat: u32) -> Result<(), TableError>;
    fn real_traffic(&self, id: u16) -> Result<Traffic, TableError>;
    fn service_traffic(&self, stat: u32) -> Result<Traffic, TableError>;
}
