//! The tables of the program: the operations on them, and the bookkeeping of their ids.

mod adopt;
mod batch;
mod filter;
mod flows;
mod grace;
mod ids;
mod inner;
mod kernel;
mod mmap;
mod rings;
mod services;

use std::io;

use vc5_ebpf_abi::{
    RangeKey, RangeValue, Real, ServiceKey, ServiceValue, Traffic, VipFilter, VipKey, VipValue,
};

pub(crate) use adopt::Found;
pub(crate) use filter::filter_of;
pub(crate) use flows::FlowTable;
pub(crate) use grace::wait_for_readers;
pub(crate) use ids::Ids;
pub(crate) use kernel::KernelTables;
pub(crate) use mmap::Mapped;
pub(crate) use rings::{GRACE_NS, PoolError, Rings};

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
    fn set_real(&mut self, id: u32, real: &Real) -> Result<(), TableError>;
    fn set_service(&mut self, key: ServiceKey, value: &ServiceValue) -> Result<(), TableError>;
    fn remove_service(&mut self, key: ServiceKey) -> Result<(), TableError>;
    fn set_range(&mut self, key: RangeKey, value: RangeValue) -> Result<(), TableError>;
    fn remove_range(&mut self, key: RangeKey) -> Result<(), TableError>;
    fn set_vip(&mut self, key: VipKey, value: VipValue) -> Result<(), TableError>;
    fn remove_vip(&mut self, key: VipKey) -> Result<(), TableError>;
    fn set_filter(&mut self, filter: &VipFilter) -> Result<(), TableError>;
    fn fill_ring(&mut self, ring: u32, slots: &[u16; SLOTS]) -> Result<(), TableError>;
    /// Makes the rings from the present number up to `count` usable. It takes milliseconds.
    fn install_rings(&mut self, count: u32) -> Result<(), TableError>;
    /// Waits until no packet is under way that may have read what was written over before. It takes
    /// milliseconds.
    fn wait_for_readers(&mut self);
    /// What was counted for a real id.
    fn traffic(&self, id: u32) -> Result<Traffic, TableError>;
    /// Forgets what was counted for `count` real ids from `first` on.
    fn reset_traffic(&mut self, first: u32, count: u32) -> Result<(), TableError>;
}
