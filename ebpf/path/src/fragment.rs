//! Fragments without a transport header: to where the first went.

use vc5_ebpf_abi::{Event, FlowEntry, NO_REAL, RealState, Reason, ServiceValue};

use crate::{
    bucket::{self, Displaced},
    choose::{self, Choice},
    flow::Flow,
    tables::Tables,
};

/// Chooses a backend for a fragment other than the first.
///
/// # Errors
///
/// The reason for which it is dropped.
#[inline(always)]
pub(crate) fn choose<T: Tables>(flow: &Flow, tables: &T) -> Result<Choice, Reason> {
    noted(flow, tables).or_else(|| by_address(flow, tables)).ok_or_else(|| {
        crate::ip::judged(
            crate::siphash::words(&flow.service.addr),
            Reason::FragmentUnknown,
            tables,
        )
    })
}

#[inline(always)]
fn noted<T: Tables>(flow: &Flow, tables: &T) -> Option<Choice> {
    let entry = bucket::record(tables.fragments(flow.fragment)?, flow.fragment);
    let real = tables.real(entry.real())?;
    let fresh = entry.idle(tables.age()) < tables.fragment_idle();
    if !fresh || !matches!(choose::state(real, entry), RealState::Live | RealState::Draining) {
        return None;
    }
    tables.trace(|t| t.flow = entry.0);
    Some(Choice { id: entry.real(), reason: Reason::Fragment })
}

/// A service of all ports whose choice is by the addresses alone needs no port.
#[inline(always)]
fn by_address<T: Tables>(flow: &Flow, tables: &T) -> Option<Choice> {
    let service = tables.service_apart(&flow.service)?;
    if service.flags & ServiceValue::BY_ADDRESS == 0 {
        return None;
    }
    tables.trace(|t| t.service = flow.service);
    let slot = choose::ring_slot(flow, service, tables);
    tables.trace(|t| t.slot = slot);
    let choice = choose::from_ring(service, slot, tables).ok()?;
    (choice.id != NO_REAL).then_some(Choice { reason: Reason::Fragment, ..choice })
}

/// Notes where the first fragment of a packet goes.
#[inline(always)]
pub(crate) fn note<T: Tables>(flow: &Flow, entry: FlowEntry, tables: &T) {
    let Some(ways) = tables.fragments(flow.fragment) else { return };
    if let Some(way) = bucket::find(ways, flow.fragment) {
        tables.put(way, entry);
        return;
    }
    let Some((way, displaced)) = bucket::victim(ways, flow.fragment, tables.age()) else { return };
    tables.put(way, entry);
    tables.happened(match displaced {
        Displaced::Nothing => Event::FragmentInserted,
        Displaced::Closing | Displaced::Oldest => Event::FragmentReplaced,
    });
}
