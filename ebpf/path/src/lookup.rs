//! Which service a packet is for, and what becomes of packets for none.

use vc5_ebpf_abi::{RangeKey, Reason, ServiceKey, ServiceValue, VipValue};

use crate::{
    flow::Flow,
    ip::{Aligned, key},
    siphash::{Words, words},
    tables::Tables,
};

/// The service of a flow: that of its port, else that of a range of ports which it lies in.
///
/// # Errors
///
/// The reason for which a packet of the flow is passed, dropped or answered.
#[inline(always)]
pub(crate) fn service<'t, T: Tables>(
    flow: &Flow,
    tables: &'t T,
) -> Result<&'t ServiceValue, Reason> {
    if let Some(service) = tables.service(&flow.service) {
        tables.trace(|t| t.service = flow.service);
        return Ok(service);
    }
    let vip = tables.vip(&key(words(&flow.service.addr)).0).ok_or(Reason::NotVip)?;
    if vip.flags & VipValue::RANGES != 0
        && let Some(service) = range(flow, tables)
    {
        return Ok(service);
    }
    Err(by_flags(vip, Reason::UnknownPort))
}

#[inline(always)]
fn range<'t, T: Tables>(flow: &Flow, tables: &'t T) -> Option<&'t ServiceValue> {
    let ServiceKey { addr, port, protocol, .. } = flow.service;
    // The address lies at a multiple of eight bytes.
    #[repr(C, align(8))]
    struct Key {
        pad: u32,
        key: RangeKey,
    }
    let key = RangeKey { prefix_len: RangeKey::FULL, addr, protocol, pad: 0, port };
    let range = tables.range(&Key { pad: 0, key }.key)?;
    let key = Aligned(ServiceKey { addr, port: range.port, protocol, pad: 0 });
    let service = tables.service_apart(&key.0)?;
    tables.trace(|t| t.service = key.0);
    Some(service)
}

/// What becomes of a packet to this address for which there is no service, `reason` being why.
#[inline(always)]
pub(crate) fn unknown<T: Tables>(vip: Words, reason: Reason, tables: &T) -> Reason {
    tables.vip(&key(vip).0).map_or(Reason::NotVip, |vip| by_flags(vip, reason))
}

#[inline(always)]
fn by_flags(vip: VipValue, reason: Reason) -> Reason {
    if vip.flags & VipValue::UNKNOWN_PASS != 0 {
        Reason::UnknownPassed
    } else if vip.flags & VipValue::UNKNOWN_REJECT != 0 {
        Reason::UnknownRejected
    } else {
        reason
    }
}
