//! Which backend a packet goes to: the decision table of the dataplane.

use vc5_ebpf_abi::{
    Event, FlowEntry, NO_MEMBER, NO_RING, Real, RealState, Reason, ServiceValue, VipKey,
};

use crate::{
    bucket::{self, Displaced},
    parse::{Flow, Segment},
    siphash::slot,
    tables::{Tables, Way},
};

/// The choice for one packet.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'t> {
    /// Real id.
    pub id: u32,
    /// The real itself.
    pub real: &'t Real,
    /// What the choice rests on.
    pub reason: Reason,
}

/// Chooses a backend, and deletes or refreshes the flow's record where that is part of the choice.
///
/// # Errors
///
/// The reason for which the packet is passed or dropped.
#[inline(always)]
pub fn choose<'t, T: Tables>(flow: &Flow, tables: &'t T) -> Result<Choice<'t>, Reason> {
    let known = tables.flows(flow.hash).and_then(|ways| bucket::find(ways, flow.hash));
    if let Some(way) = known {
        if let Some(choice) = follow(flow, way, tables) {
            return Ok(choice);
        }
        way.set(0);
        tables.event(Event::FlowDeleted);
    }
    let service = service(flow, tables)?;
    // A flow that has just lost its backend has no older choice worth asking for.
    let old = matches!(flow.segment, Segment::Data | Segment::Close) && known.is_none();
    if old && let Some(choice) = earlier(flow, service, tables) {
        return Ok(choice);
    }
    from_ring(flow, service, tables)
}

/// The record's own choice, unless it stands no more.
#[inline(always)]
fn follow<'t, T: Tables>(flow: &Flow, way: &Way, tables: &'t T) -> Option<Choice<'t>> {
    let entry = FlowEntry(way.get());
    let id = entry.real();
    let real = tables.real(id)?;
    let idle = entry.idle(tables.age());
    let reason = match (state(real, entry), flow.segment) {
        // The 5-tuple of a connection that is over, used anew.
        (RealState::Live, Segment::Open) if entry.closing() && idle >= tables.closing_idle() => {
            return None;
        }
        (RealState::Draining, Segment::Open) => return None,
        (RealState::Draining, Segment::Datagram) if idle >= tables.udp_idle() => return None,
        (RealState::Live | RealState::Draining, _) => Reason::Flow,
        (RealState::Down, Segment::Data | Segment::Close) if sticks(flow, tables) => {
            Reason::FlowStuck
        }
        _ => return None,
    };
    let closing = match flow.segment {
        Segment::Close => true,
        Segment::Open => false,
        Segment::Data | Segment::Datagram => entry.closing(),
    };
    let touched = entry.touched(tables.age(), closing);
    // Most packets change nothing, and then the cache line stays clean.
    if touched != entry {
        way.set(touched.0);
    }
    Some(Choice { id, real, reason })
}

/// The state of the real as far as this record is concerned.
#[inline(always)]
fn state(real: &Real, entry: FlowEntry) -> RealState {
    if entry.is_of(real.generation) { RealState::from_u8(real.state) } else { RealState::Free }
}

#[inline(always)]
fn sticks<T: Tables>(flow: &Flow, tables: &T) -> bool {
    tables.service(&flow.service).is_some_and(|s| s.flags & ServiceValue::STICK != 0)
}

#[inline(always)]
fn service<'t, T: Tables>(flow: &Flow, tables: &'t T) -> Result<&'t ServiceValue, Reason> {
    tables.service(&flow.service).ok_or_else(|| {
        if tables.is_vip(&VipKey(flow.service.addr)) { Reason::UnknownPort } else { Reason::NotVip }
    })
}

/// For a flow without a record: the choice made for its SYN, else that of the ring before this one.
#[inline(always)]
fn earlier<'t, T: Tables>(
    flow: &Flow,
    service: &ServiceValue,
    tables: &'t T,
) -> Option<Choice<'t>> {
    embryonic(flow, tables).or_else(|| previous_ring(flow, service, tables))
}

#[inline(always)]
fn embryonic<'t, T: Tables>(flow: &Flow, tables: &'t T) -> Option<Choice<'t>> {
    let way = bucket::find(tables.embryonic(flow.hash)?, flow.hash)?;
    let entry = FlowEntry(way.get());
    let id = entry.real();
    let real = tables.real(id)?;
    let fresh = entry.idle(tables.age()) < tables.embryonic_idle();
    if !fresh || !matches!(state(real, entry), RealState::Live | RealState::Draining) {
        return None;
    }
    Some(Choice { id, real, reason: Reason::Embryonic })
}

#[inline(always)]
fn previous_ring<'t, T: Tables>(
    flow: &Flow,
    service: &ServiceValue,
    tables: &'t T,
) -> Option<Choice<'t>> {
    if service.prev_ring == NO_RING || tables.coarse_ns() >= service.prev_until_ns {
        return None;
    }
    let member = tables.ring_slot(service.prev_ring, slot(flow.hash));
    takes_flows(service, member, Reason::PreviousRing, tables)
}

#[inline(always)]
fn from_ring<'t, T: Tables>(
    flow: &Flow,
    service: &ServiceValue,
    tables: &'t T,
) -> Result<Choice<'t>, Reason> {
    let member = tables.ring_slot(service.ring, slot(flow.hash));
    if member == NO_MEMBER {
        return Err(Reason::NoBackend);
    }
    // Draining is right here too: its real left the ring a moment later than its state changed.
    takes_flows(service, member, Reason::Ring, tables).ok_or(Reason::RealDown)
}

#[inline(always)]
fn takes_flows<'t, T: Tables>(
    service: &ServiceValue,
    member: u16,
    reason: Reason,
    tables: &'t T,
) -> Option<Choice<'t>> {
    let id = service.real(member);
    let real = tables.real(id)?;
    let takes = matches!(RealState::from_u8(real.state), RealState::Live | RealState::Draining);
    (member != NO_MEMBER && takes).then_some(Choice { id, real, reason })
}

/// Records a choice for the packets that follow; whether that made a flow record.
///
/// A SYN is noted in the embryonic table alone, so that a flood of them displaces no flow. A FIN or
/// RST without a record makes none.
#[inline(always)]
pub fn remember<T: Tables>(flow: &Flow, choice: &Choice<'_>, tables: &T) -> bool {
    if matches!(choice.reason, Reason::Flow | Reason::FlowStuck) {
        return false;
    }
    let entry = FlowEntry::new(flow.hash, choice.id, choice.real.generation, tables.age());
    match flow.segment {
        Segment::Open => {
            note(flow, entry, tables);
            false
        }
        Segment::Data | Segment::Datagram => record(flow, choice.reason, entry, tables),
        Segment::Close => false,
    }
}

#[inline(always)]
fn note<T: Tables>(flow: &Flow, entry: FlowEntry, tables: &T) {
    let Some(ways) = tables.embryonic(flow.hash) else { return };
    if let Some(way) = bucket::find(ways, flow.hash) {
        way.set(entry.0);
        return;
    }
    tables.event(match bucket::insert(ways, flow.hash, entry, tables.age()) {
        Displaced::Nothing => Event::EmbryonicInserted,
        Displaced::Closing | Displaced::Oldest => Event::EmbryonicReplaced,
    });
}

#[inline(always)]
fn record<T: Tables>(flow: &Flow, reason: Reason, entry: FlowEntry, tables: &T) -> bool {
    let Some(ways) = tables.flows(flow.hash) else { return false };
    tables.event(match bucket::insert(ways, flow.hash, entry, tables.age()) {
        Displaced::Nothing => Event::FlowInserted,
        Displaced::Closing => Event::FlowReplacedClosing,
        Displaced::Oldest => Event::FlowReplaced,
    });
    // Promoted: the note has served.
    if reason == Reason::Embryonic
        && let Some(way) = tables.embryonic(flow.hash).and_then(|w| bucket::find(w, flow.hash))
    {
        way.set(0);
    }
    true
}
