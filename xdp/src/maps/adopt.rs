//! What an earlier run has left in the tables.

use vc5_ebpf_abi::{RangeKey, RangeValue, Real, ServiceKey, ServiceValue, VipKey, VipValue};

use crate::maglev::Ring;

/// The contents of the tables of an earlier run.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) vips: Vec<(VipKey, VipValue)>,
    pub(crate) services: Vec<(ServiceKey, ServiceValue)>,
    pub(crate) ranges: Vec<(RangeKey, RangeValue)>,
    /// By real id, from 0 on.
    pub(crate) reals: Vec<Real>,
    /// By ring id, from 0 on.
    pub(crate) rings: Vec<Ring>,
}
