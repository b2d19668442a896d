//! Which backend a packet goes to: the decision table of the dataplane.

use vc5_ebpf_abi::{
    BUCKET_WAYS, Event, FlowEntry, NO_MEMBER, NO_REAL, NO_RING, Real, RealState, Reason, Sample,
    ServiceValue,
};

use crate::{
    bucket::{self, Displaced},
    flow::{Flow, Segment},
    fragment,
    ip::{Addresses, Aligned},
    lookup,
    siphash::slot,
    tables::{Tables, Way},
};

/// The choice for one packet.
///
/// Without the real itself: the verifier wants to know of each register whether it is a pointer, and
/// the compiler would keep that one and the reason for dropping a packet in the same.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Choice {
    /// Real id.
    pub id: u32,
    /// What the choice rests on.
    pub reason: Reason,
}

/// What a flow record says.
enum Record {
    /// Go there.
    Follow(Choice),
    /// Go there if the service is one whose flows stay with a backend that is down.
    Stick(Choice),
    /// It stands no more.
    Gone,
}

/// Chooses a backend, and deletes or refreshes the flow's record where that is part of the choice.
///
/// # Errors
///
/// The reason for which the packet is passed, dropped or answered.
#[inline(always)]
pub fn choose<T: Tables>(flow: &Flow, tables: &T) -> Result<Choice, Reason> {
    let mut known = false;
    if !flow.segment.is([Segment::Later]) {
        if let Some(way) = here(flow.hash, tables) {
            tables.trace(|t| t.flow = way.get());
            if let Record::Follow(choice) = look_up(flow, way, tables) {
                refresh(flow, way, tables);
                return Ok(as_quoted(flow, choice));
            }
            known = true;
        } else {
            known = tables.fetch(flow.hash);
        }
    }
    let mut choice = Choice { id: NO_REAL, reason: Reason::NoBackend };
    tables.choose_anew(flow, known, &mut choice)?;
    Ok(as_quoted(flow, choice))
}

/// Chooses for a flow that has no record, or, if it is `known`, one that does not stand or was fetched
/// from another place just now.
///
/// # Errors
///
/// As for [`choose`].
#[inline(always)]
pub fn choose_anew<T: Tables>(
    flow: &Flow,
    known: bool,
    tables: &T,
    choice: &mut Choice,
) -> Result<(), Reason> {
    if flow.segment.is([Segment::Later]) {
        *choice = fragment::choose(flow, tables)?;
        return Ok(());
    }
    let service = lookup::service(flow, tables).map_err(|reason| unknown(flow, reason));
    if known && let Some(way) = way(flow.hash, tables) {
        tables.trace(|t| t.flow = way.get());
        if let Some(stands) = stands(flow, way, service.ok(), tables) {
            refresh(flow, way, tables);
            *choice = stands;
            return Ok(());
        }
        delete(flow, tables);
    }
    let service = service?;
    let slot = ring_slot(flow, service, tables);
    tables.trace(|t| t.slot = slot);
    // A flow that has just lost its backend has no older choice worth asking for.
    let old = !known && flow.segment.is([Segment::Data, Segment::Close, Segment::Quoted]);
    let earlier = if old { earlier(flow, service, slot, tables) } else { None };
    *choice = match earlier {
        Some(earlier) => earlier,
        None => from_ring(service, slot, tables)?,
    };
    Ok(())
}

/// The choice of a record that stands after all: it was fetched, or it is of a backend that is down
/// and the service sticks to such.
#[inline(always)]
fn stands<T: Tables>(
    flow: &Flow,
    way: &Way,
    service: Option<&ServiceValue>,
    tables: &T,
) -> Option<Choice> {
    match look_up(flow, way, tables) {
        Record::Follow(choice) => Some(choice),
        Record::Stick(choice) => {
            service.is_some_and(|s| s.flags & ServiceValue::STICK != 0).then_some(choice)
        }
        Record::Gone => None,
    }
}

/// The flow's record, where it belongs.
#[inline(always)]
fn here<T: Tables>(hash: u64, tables: &T) -> Option<&Way> {
    bucket::find(tables.flows(hash)?, hash)
}

/// The same where the flow lay before: as long as user space has not copied all of a part of the
/// table that is in use anew, or the table is another than that of the program before.
#[inline(always)]
fn before<T: Tables>(hash: u64, tables: &T) -> Option<&Way> {
    let earlier = |ways| bucket::find(ways, hash);
    tables.former(hash).and_then(earlier).or_else(|| tables.before(hash).and_then(earlier))
}

/// The flow's record. A tracing program, for which none is fetched, takes it from where it lies.
#[inline(always)]
fn way<T: Tables>(hash: u64, tables: &T) -> Option<&Way> {
    let here = here(hash, tables);
    if tables.tracing() { here.or_else(|| before(hash, tables)) } else { here }
}

/// Copies a flow's record, as it is, from where it lay before; whether there is one then.
///
/// It stays there too: the program of that table may still run on another interface.
#[inline(always)]
pub fn fetch<T: Tables>(hash: u64, tables: &T) -> bool {
    // Words rather than ways, so that the verifier walks what follows once for both tables.
    let record = |bucket: Option<_>| bucket.map_or(FlowEntry(0), |ways| bucket::record(ways, hash));
    let former = record(tables.former(hash));
    let before = if former.0 == 0 { record(tables.before(hash)) } else { former };
    if before.0 == 0 || tables.tracing() {
        return before.0 != 0;
    }
    let Some(ways) = tables.flows(hash) else { return false };
    let Some((way, displaced)) = bucket::victim(ways, hash, tables.age()) else { return false };
    tables.put(way, before);
    match displaced {
        // It was made once.
        Displaced::Nothing => {}
        Displaced::Closing => tables.happened(Event::FlowReplacedClosing),
        Displaced::Oldest => tables.happened(Event::FlowReplaced),
    }
    true
}

/// Deletes a flow's records: two CPUs may have made one each.
#[inline(always)]
fn delete<T: Tables>(flow: &Flow, tables: &T) {
    if !flow.segment.is([Segment::Quoted]) && !tables.tracing() {
        tables.forget(flow.hash);
        tables.happened(Event::FlowDeleted);
    }
}

/// Deletes all records of a flow, those first that lie where it was before: user space may be copying
/// them from there, and looks again afterwards.
#[inline(always)]
pub fn forget<T: Tables>(hash: u64, tables: &T) {
    empty(tables.before(hash), hash, tables);
    empty(tables.former(hash), hash, tables);
    empty(tables.flows(hash), hash, tables);
}

#[inline(always)]
fn empty<T: Tables>(bucket: Option<&[Way; BUCKET_WAYS]>, hash: u64, tables: &T) {
    let Some(ways) = bucket else { return };
    for way in ways {
        // An empty way is none the emptier for it.
        if FlowEntry(way.get()).has_tag_of(hash) {
            tables.put(way, FlowEntry(0));
        }
    }
}

/// An error is counted as such, whatever its way.
#[inline(always)]
fn as_quoted(flow: &Flow, choice: Choice) -> Choice {
    if flow.segment.is([Segment::Quoted]) {
        return Choice { reason: Reason::IcmpError, ..choice };
    }
    choice
}

/// Why there is no service; an error about a packet of none is never answered.
#[inline(always)]
fn unknown(flow: &Flow, reason: Reason) -> Reason {
    if flow.segment.is([Segment::Quoted]) && reason != Reason::NotVip {
        return Reason::IcmpForeign;
    }
    reason
}

/// The record's own choice, and whether it stands.
#[inline(always)]
fn look_up<T: Tables>(flow: &Flow, way: &Way, tables: &T) -> Record {
    let entry = FlowEntry(way.get());
    let id = entry.real();
    let Some(real) = tables.real(id) else { return Record::Gone };
    let idle = entry.idle(tables.age());
    let opens = flow.segment.is([Segment::Open]);
    let gone = match state(real, entry) {
        // The 5-tuple of a connection that is over, used anew.
        RealState::Live => opens && entry.closing() && idle >= tables.closing_idle(),
        RealState::Draining => {
            opens || flow.segment.is([Segment::Datagram]) && idle >= tables.udp_idle()
        }
        RealState::Down if flow.segment.is([Segment::Data, Segment::Close, Segment::Quoted]) => {
            return Record::Stick(Choice { id, reason: Reason::FlowStuck });
        }
        RealState::Down | RealState::Free => true,
    };
    if gone { Record::Gone } else { Record::Follow(Choice { id, reason: Reason::Flow }) }
}

/// Brings a record that was followed up to date. An error about a packet is no packet of the flow.
#[inline(always)]
fn refresh<T: Tables>(flow: &Flow, way: &Way, tables: &T) {
    let entry = FlowEntry(way.get());
    if flow.segment.is([Segment::Quoted]) {
        return;
    }
    let closing =
        flow.segment.is([Segment::Close]) || entry.closing() && !flow.segment.is([Segment::Open]);
    let touched = entry.touched(tables.age(), closing);
    // Most packets change nothing, and then the cache line stays clean.
    if touched != entry {
        tables.put(way, touched);
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
        // In the encoding of flows, with ports and protocol zero.
        slot(tables.hash(&flow.addresses(), 0, 0))
    } else {
        slot(flow.hash)
    }
}

/// For a flow without a record: the choice made for its SYN, else that of the ring before this one.
#[inline(always)]
fn earlier<T: Tables>(
    flow: &Flow,
    service: &ServiceValue,
    slot: u16,
    tables: &T,
) -> Option<Choice> {
    embryonic(flow, tables).or_else(|| previous_ring(service, slot, tables))
}

#[inline(always)]
fn embryonic<T: Tables>(flow: &Flow, tables: &T) -> Option<Choice> {
    let way = bucket::find(tables.embryonic(flow.hash)?, flow.hash)?;
    tables.trace(|t| t.embryonic = way.get());
    let entry = FlowEntry(way.get());
    let id = entry.real();
    let real = tables.real(id)?;
    let fresh = entry.idle(tables.age()) < tables.embryonic_idle();
    if !fresh || !matches!(state(real, entry), RealState::Live | RealState::Draining) {
        return None;
    }
    Some(Choice { id, reason: Reason::Embryonic })
}

#[inline(always)]
fn previous_ring<T: Tables>(service: &ServiceValue, slot: u16, tables: &T) -> Option<Choice> {
    if service.prev_ring == NO_RING || tables.coarse_ns() >= service.prev_until_ns {
        return None;
    }
    let member = member(service.prev_ring, slot, tables);
    takes_flows(service, member, Reason::PreviousRing, tables)
}

#[inline(always)]
pub(crate) fn from_ring<T: Tables>(
    service: &ServiceValue,
    slot: u16,
    tables: &T,
) -> Result<Choice, Reason> {
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
fn takes_flows<T: Tables>(
    service: &ServiceValue,
    member: u16,
    reason: Reason,
    tables: &T,
) -> Option<Choice> {
    let id = service.real(member);
    let real = tables.real(id)?;
    let takes = matches!(RealState::from_u8(real.state), RealState::Live | RealState::Draining);
    (member != NO_MEMBER && takes).then_some(Choice { id, reason })
}

/// Records a choice for the packets that follow; whether that made a flow record.
///
/// A SYN is noted in the embryonic table alone, so that a flood of them displaces no flow. A FIN or
/// RST without a record makes none.
#[inline(always)]
pub fn remember<T: Tables>(flow: &Flow, choice: &Choice, real: &Real, tables: &T) -> bool {
    let recorded = matches!(choice.reason, Reason::Flow | Reason::FlowStuck);
    let kept = recorded && flow.fragment == 0;
    !kept && tables.remember_new(flow, choice, real.generation)
}

/// The same if it is not a known flow's that goes on as it was.
#[inline(always)]
pub fn remember_new<T: Tables>(flow: &Flow, choice: &Choice, generation: u8, tables: &T) -> bool {
    let entry = |hash| FlowEntry::new(hash, choice.id, generation, tables.age());
    if flow.segment.is([Segment::Later]) {
        return false;
    }
    if flow.fragment != 0 {
        fragment::note(flow, entry(flow.fragment), tables);
    }
    if matches!(choice.reason, Reason::Flow | Reason::FlowStuck) {
        return false;
    }
    if flow.segment.is([Segment::Open]) {
        note(flow, entry(flow.hash), tables);
    }
    flow.segment.is([Segment::Data, Segment::Datagram])
        && record(flow, choice, entry(flow.hash), tables)
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
fn record<T: Tables>(flow: &Flow, choice: &Choice, entry: FlowEntry, tables: &T) -> bool {
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
fn sample<T: Tables>(flow: &Flow, choice: &Choice, tables: &T) {
    let shift = tables.sample_shift();
    if shift > 31 || tables.tracing() || flow.hash & ((1 << (shift & 31)) - 1) != 0 {
        return;
    }
    // By whole words: the verifier wants all that is on the stack to be aligned.
    let Addresses { source: [source0, source1], destination: [vip0, vip1] } = flow.addresses();
    let tuple = u64::from(flow.ports()) | u64::from(flow.service.protocol) << 32;
    let chosen = u64::from(choice.id) | u64::from(choice.reason as u32) << 32;
    let words = [source0, source1, vip0, vip1, tuple, chosen].map(u64::to_le);
    // SAFETY: plain data of this size, the fields in this order.
    let sample = Aligned(unsafe { core::mem::transmute::<[u64; 6], Sample>(words) });
    if !tables.sample(&sample.0) {
        tables.happened(Event::SampleLost);
    }
}
