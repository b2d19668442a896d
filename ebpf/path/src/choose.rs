//! Which backend a packet goes to: the decision table of the dataplane.

use vc5_ebpf_abi::{
    Event, FlowEntry, NO_MEMBER, NO_RING, Real, RealState, Reason, Sample, ServiceValue,
};

use crate::{
    bucket::{self, Displaced},
    flow::{Flow, Segment, address_hash},
    fragment,
    ip::Aligned,
    lookup,
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

/// What a flow record says.
enum Record<'t> {
    /// Go there.
    Follow(Choice<'t>),
    /// Go there if the service is one whose flows stay with a backend that is down.
    Stick(Choice<'t>),
    /// It stands no more.
    Gone,
}

/// Chooses a backend, and deletes or refreshes the flow's record where that is part of the choice.
///
/// # Errors
///
/// The reason for which the packet is passed, dropped or answered.
#[inline(always)]
pub fn choose<'t, T: Tables>(flow: &Flow, tables: &'t T) -> Result<Choice<'t>, Reason> {
    if flow.segment == Segment::Later {
        return fragment::choose(flow, tables);
    }
    let known = tables.flows(flow.hash).and_then(|ways| bucket::find(ways, flow.hash));
    let mut down = None;
    if let Some(way) = known {
        tables.trace(|t| t.flow = way.get());
        match look_up(flow, way, tables) {
            Record::Follow(choice) => {
                refresh(flow, way, tables);
                return Ok(as_quoted(flow, choice));
            }
            Record::Stick(choice) => down = Some((way, choice)),
            Record::Gone => delete(flow, way, tables),
        }
    }
    let service = lookup::service(flow, tables).map_err(|reason| unknown(flow, reason));
    if let Some((way, choice)) = down {
        if service.is_ok_and(|s| s.flags & ServiceValue::STICK != 0) {
            refresh(flow, way, tables);
            return Ok(as_quoted(flow, choice));
        }
        delete(flow, way, tables);
    }
    let service = service?;
    // A flow that has just lost its backend has no older choice worth asking for.
    let old =
        matches!(flow.segment, Segment::Data | Segment::Close | Segment::Quoted) && known.is_none();
    let slot = ring_slot(flow, service, tables);
    tables.trace(|t| t.slot = slot);
    if old && let Some(choice) = earlier(flow, service, slot, tables) {
        return Ok(as_quoted(flow, choice));
    }
    from_ring(service, slot, tables).map(|choice| as_quoted(flow, choice))
}

/// An error is counted as such, whatever its way.
#[inline(always)]
fn as_quoted<'t>(flow: &Flow, choice: Choice<'t>) -> Choice<'t> {
    if flow.segment == Segment::Quoted {
        return Choice { reason: Reason::IcmpError, ..choice };
    }
    choice
}

/// Why there is no service; an error about a packet of none is never answered.
#[inline(always)]
fn unknown(flow: &Flow, reason: Reason) -> Reason {
    if flow.segment == Segment::Quoted && reason != Reason::NotVip {
        return Reason::IcmpForeign;
    }
    reason
}

/// The record's own choice, and whether it stands.
#[inline(always)]
fn look_up<'t, T: Tables>(flow: &Flow, way: &Way, tables: &'t T) -> Record<'t> {
    let entry = FlowEntry(way.get());
    let id = entry.real();
    let Some(real) = tables.real(id) else { return Record::Gone };
    let choice = |reason| Choice { id, real, reason };
    let idle = entry.idle(tables.age());
    match (state(real, entry), flow.segment) {
        // The 5-tuple of a connection that is over, used anew.
        (RealState::Live, Segment::Open) if entry.closing() && idle >= tables.closing_idle() => {
            Record::Gone
        }
        (RealState::Draining, Segment::Open) => Record::Gone,
        (RealState::Draining, Segment::Datagram) if idle >= tables.udp_idle() => Record::Gone,
        (RealState::Live | RealState::Draining, _) => Record::Follow(choice(Reason::Flow)),
        (RealState::Down, Segment::Data | Segment::Close | Segment::Quoted) => {
            Record::Stick(choice(Reason::FlowStuck))
        }
        _ => Record::Gone,
    }
}

/// Brings a record that was followed up to date. An error about a packet is no packet of the flow.
#[inline(always)]
fn refresh<T: Tables>(flow: &Flow, way: &Way, tables: &T) {
    let entry = FlowEntry(way.get());
    let closing = match flow.segment {
        Segment::Close => true,
        Segment::Open => false,
        Segment::Data | Segment::Datagram => entry.closing(),
        Segment::Quoted | Segment::Later => return,
    };
    let touched = entry.touched(tables.age(), closing);
    // Most packets change nothing, and then the cache line stays clean.
    if touched != entry {
        tables.put(way, touched);
    }
}

#[inline(always)]
fn delete<T: Tables>(flow: &Flow, way: &Way, tables: &T) {
    if flow.segment != Segment::Quoted {
        tables.put(way, FlowEntry(0));
        tables.happened(Event::FlowDeleted);
    }
}

/// The state of the real as far as this record is concerned.
#[inline(always)]
pub(crate) fn state(real: &Real, entry: FlowEntry) -> RealState {
    if entry.is_of(real.generation) { RealState::from_u8(real.state) } else { RealState::Free }
}

/// The slot of the ring that is the flow's.
#[inline(always)]
pub(crate) fn ring_slot<T: Tables>(flow: &Flow, service: &ServiceValue, tables: &T) -> u16 {
    if service.flags & ServiceValue::BY_ADDRESS != 0 {
        slot(address_hash(flow, tables))
    } else {
        slot(flow.hash)
    }
}

/// For a flow without a record: the choice made for its SYN, else that of the ring before this one.
#[inline(always)]
fn earlier<'t, T: Tables>(
    flow: &Flow,
    service: &ServiceValue,
    slot: u16,
    tables: &'t T,
) -> Option<Choice<'t>> {
    embryonic(flow, tables).or_else(|| previous_ring(service, slot, tables))
}

#[inline(always)]
fn embryonic<'t, T: Tables>(flow: &Flow, tables: &'t T) -> Option<Choice<'t>> {
    let way = bucket::find(tables.embryonic(flow.hash)?, flow.hash)?;
    tables.trace(|t| t.embryonic = way.get());
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
    service: &ServiceValue,
    slot: u16,
    tables: &'t T,
) -> Option<Choice<'t>> {
    if service.prev_ring == NO_RING || tables.coarse_ns() >= service.prev_until_ns {
        return None;
    }
    let member = member(service.prev_ring, slot, tables);
    takes_flows(service, member, Reason::PreviousRing, tables)
}

#[inline(always)]
pub(crate) fn from_ring<'t, T: Tables>(
    service: &ServiceValue,
    slot: u16,
    tables: &'t T,
) -> Result<Choice<'t>, Reason> {
    let member = member(service.ring, slot, tables);
    if member == NO_MEMBER {
        return Err(Reason::NoBackend);
    }
    // Draining is right here too: its real left the ring a moment later than its state changed.
    takes_flows(service, member, Reason::Ring, tables).ok_or(Reason::RealDown)
}

/// The member in a slot of a ring.
#[inline(always)]
fn member<T: Tables>(ring: u32, slot: u16, tables: &T) -> u16 {
    let member = tables.ring_slot(ring, slot);
    tables.trace(|t| (t.ring, t.member) = (ring, member));
    member
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
    let recorded = matches!(choice.reason, Reason::Flow | Reason::FlowStuck);
    if recorded && flow.fragment == 0 {
        return false;
    }
    let entry = |hash| FlowEntry::new(hash, choice.id, choice.real.generation, tables.age());
    if flow.fragment != 0 && flow.segment != Segment::Later {
        fragment::note(flow, entry(flow.fragment), tables);
    }
    match flow.segment {
        _ if recorded => false,
        Segment::Open => {
            note(flow, entry(flow.hash), tables);
            false
        }
        Segment::Data | Segment::Datagram => record(flow, choice, entry(flow.hash), tables),
        Segment::Close | Segment::Quoted | Segment::Later => false,
    }
}

#[inline(always)]
fn note<T: Tables>(flow: &Flow, entry: FlowEntry, tables: &T) {
    let Some(ways) = tables.embryonic(flow.hash) else { return };
    if let Some(way) = bucket::find(ways, flow.hash) {
        tables.put(way, entry);
        return;
    }
    let Some((way, displaced)) = bucket::victim(ways, flow.hash, tables.age()) else { return };
    tables.put(way, entry);
    tables.happened(match displaced {
        Displaced::Nothing => Event::EmbryonicInserted,
        Displaced::Closing | Displaced::Oldest => Event::EmbryonicReplaced,
    });
}

#[inline(always)]
fn record<T: Tables>(flow: &Flow, choice: &Choice<'_>, entry: FlowEntry, tables: &T) -> bool {
    let Some(ways) = tables.flows(flow.hash) else { return false };
    let Some((way, displaced)) = bucket::victim(ways, flow.hash, tables.age()) else {
        return false;
    };
    tables.put(way, entry);
    tables.happened(match displaced {
        Displaced::Nothing => Event::FlowInserted,
        Displaced::Closing => Event::FlowReplacedClosing,
        Displaced::Oldest => Event::FlowReplaced,
    });
    // Promoted: the note has served.
    if choice.reason == Reason::Embryonic
        && let Some(way) = tables.embryonic(flow.hash).and_then(|w| bucket::find(w, flow.hash))
    {
        tables.put(way, FlowEntry(0));
    }
    sample(flow, choice, tables);
    true
}

/// Tells user space of some of the new flows, chosen by their hash.
#[inline(always)]
fn sample<T: Tables>(flow: &Flow, choice: &Choice<'_>, tables: &T) {
    let shift = tables.sample_shift();
    if shift > 31 || tables.tracing() || flow.hash & ((1 << (shift & 31)) - 1) != 0 {
        return;
    }
    let ([s0, s1], [d0, d1]) = (flow.source_port, flow.service.port);
    let sample = Aligned(Sample {
        source: flow.source,
        destination: flow.service.addr,
        ports: [s0, s1, d0, d1],
        protocol: flow.service.protocol,
        pad: [0; 3],
        real: choice.id,
        reason: choice.reason as u32,
    });
    if !tables.sample(&sample.0) {
        tables.happened(Event::SampleLost);
    }
}
