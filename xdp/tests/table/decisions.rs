//! The decision table of the dataplane: which backend a packet goes to, and what is remembered.
//!
//! A real's number says who chose it: 1 the flow record, 2 the ring, 3 the previous ring, 4 the
//! embryonic note.

use vc5_ebpf_abi::{
    Bucket, Event, FlowEntry, Real, RealState, Reason, ServiceValue, bucket_index,
    maps::{EMBRYONIC, FLOWS},
};

use crate::{
    common::{
        frame::{ACK, FIN, Family, Frame, PSH, RST, SYN, TCP, UDP},
        standard::{
            BEFORE, CHOSEN, EMPTY, GENERATION, NOTED, PREVIOUS, RECORDED, RING, WEB_PAGE, real,
            record, service, web_key,
        },
        world::{SETTINGS, World, flow_hash},
    },
    row::{Row, named, sent, untouched},
};
use RealState::{Down, Draining, Free, Live};

/// A packet, what is known when it comes, and what must become of it.
#[derive(Clone)]
struct Case {
    name: &'static str,
    frame: Frame,
    /// State of the recorded real, and the record's idle time in units of age.
    flow: Option<(RealState, u8)>,
    closing: bool,
    /// The record's real id was given to another since.
    reused: bool,
    stick: bool,
    /// State of the embryonic note's real, and the note's idle time.
    note: Option<(RealState, u8)>,
    /// State of the previous ring's real.
    previous: Option<RealState>,
    /// T is over.
    previous_over: bool,
    reason: Reason,
    /// Record afterwards: real id, closing. A record that stays is refreshed.
    flow_after: Option<(u32, bool)>,
    note_after: Option<u32>,
}

fn case(name: &'static str, frame: Frame, reason: Reason) -> Case {
    Case {
        name,
        frame,
        flow: None,
        closing: false,
        reused: false,
        stick: false,
        note: None,
        previous: None,
        previous_over: false,
        reason,
        flow_after: None,
        note_after: None,
    }
}

impl Case {
    fn flow(self, state: RealState, idle: u8) -> Self {
        Self { flow: Some((state, idle)), ..self }
    }

    fn closing(self) -> Self {
        Self { closing: true, ..self }
    }

    fn reused(self) -> Self {
        Self { reused: true, ..self }
    }

    fn stick(self) -> Self {
        Self { stick: true, ..self }
    }

    fn note(self, state: RealState, idle: u8) -> Self {
        Self { note: Some((state, idle)), ..self }
    }

    fn previous(self, state: RealState) -> Self {
        Self { previous: Some(state), ..self }
    }

    fn previous_over(self) -> Self {
        Self { previous_over: true, ..self }
    }

    /// A record for this real is there afterwards.
    fn recorded(self, id: u32) -> Self {
        Self { flow_after: Some((id, false)), ..self }
    }

    /// So is this one, of a flow that is closing.
    fn recorded_closing(self, id: u32) -> Self {
        Self { flow_after: Some((id, true)), ..self }
    }

    /// An embryonic note for this real is there afterwards.
    fn noted(self, id: u32) -> Self {
        Self { note_after: Some(id), ..self }
    }

    /// The real that the reason stands for in these tests.
    fn real(&self) -> u32 {
        match self.reason {
            Reason::Flow | Reason::FlowStuck => RECORDED,
            Reason::Ring => CHOSEN,
            Reason::PreviousRing => BEFORE,
            Reason::Embryonic => NOTED,
            other => panic!("{}: {other:?} sends nothing", self.name),
        }
    }

    fn row(self) -> Row {
        let hash = flow_hash(&self.frame);
        let name = named(self.name, self.frame.family());
        let row = sent(name, &self.frame, self.reason, self.real());
        let (flow, note) = (self.flow_after, self.note_after);
        row.given(move |w| self.prepare(w))
            .then("the record", move |w| {
                w.entry(FLOWS, hash).map(|e| (e.real(), e.closing())) == flow
            })
            .then("a record is refreshed", move |w| {
                w.entry(FLOWS, hash).is_none_or(|e| e.age() == 0)
            })
            .then("the note", move |w| w.entry(EMBRYONIC, hash).map(FlowEntry::real) == note)
    }

    fn prepare(&self, world: &mut World) {
        let hash = flow_hash(&self.frame);
        if let Some((state, idle)) = self.flow {
            let mut recorded = real(RECORDED, state);
            recorded.generation += u8::from(self.reused);
            world.set_real(RECORDED, recorded);
            let entry = record(&self.frame, RECORDED, idle);
            world.set_entry(FLOWS, hash, entry.touched(entry.age(), self.closing));
        }
        if let Some((state, idle)) = self.note {
            world.set_real(NOTED, real(NOTED, state));
            world.set_entry(EMBRYONIC, hash, record(&self.frame, NOTED, idle));
        }
        let mut value = service(WEB_PAGE);
        if let Some(state) = self.previous {
            world.set_real(BEFORE, real(BEFORE, state));
            value.prev_ring = PREVIOUS;
            value.prev_until_ns = if self.previous_over { 1 } else { u64::MAX };
        }
        value.flags = if self.stick { ServiceValue::STICK } else { 0 };
        for protocol in [TCP, UDP] {
            world.set_service(web_key(self.frame.family(), protocol), value);
        }
    }
}

/// Every cell of the table, and its edges.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        let cases = [syn(family), data(family), close(family), datagram(family)];
        rows.extend(cases.into_iter().flatten().map(Case::row));
        rows.extend(stories(family));
        rows.extend(records(family));
        rows.extend(displaced(family));
    }
    rows
}

fn syn(family: Family) -> Vec<Case> {
    let syn = |name, reason| case(name, Frame::tcp(family, SYN), reason);
    let closed = SETTINGS.closing_idle;
    vec![
        syn("SYN, live", Reason::Flow).flow(Live, 0).recorded(RECORDED),
        syn("SYN, live and long idle", Reason::Flow).flow(Live, 120).recorded(RECORDED),
        syn("SYN, live, just closed", Reason::Flow)
            .flow(Live, closed - 1)
            .closing()
            .recorded(RECORDED),
        syn("SYN, live, closed long ago", Reason::Ring).flow(Live, closed).closing().noted(CHOSEN),
        syn("SYN, draining", Reason::Ring).flow(Draining, 0).noted(CHOSEN),
        syn("SYN, down", Reason::Ring).flow(Down, 0).noted(CHOSEN),
        syn("SYN, down, stick", Reason::Ring).flow(Down, 0).stick().noted(CHOSEN),
        syn("SYN, free", Reason::Ring).flow(Free, 0).noted(CHOSEN),
        syn("SYN, id reused", Reason::Ring).flow(Live, 0).reused().noted(CHOSEN),
        syn("SYN, no record", Reason::Ring).noted(CHOSEN),
        syn("SYN again, ring changed between", Reason::Ring).note(Live, 0).noted(CHOSEN),
        syn("SYN, no record, ring just changed", Reason::Ring).previous(Live).noted(CHOSEN),
        case("SYN with ECN and PSH", Frame::tcp(family, SYN | PSH | 0xc0), Reason::Ring)
            .noted(CHOSEN),
    ]
}

fn data(family: Family) -> Vec<Case> {
    let data = |name, reason| case(name, Frame::tcp(family, ACK), reason);
    let stale = SETTINGS.embryonic_idle;
    vec![
        data("data, live", Reason::Flow).flow(Live, 0).recorded(RECORDED),
        data("data, live and long idle", Reason::Flow).flow(Live, 127).recorded(RECORDED),
        data("data, live, closing", Reason::Flow)
            .flow(Live, 9)
            .closing()
            .recorded_closing(RECORDED),
        data("data, draining", Reason::Flow).flow(Draining, 100).recorded(RECORDED),
        data("data, down", Reason::Ring).flow(Down, 0).recorded(CHOSEN),
        data("data, down, ring just changed", Reason::Ring)
            .flow(Down, 0)
            .previous(Live)
            .recorded(CHOSEN),
        data("data, down, stick", Reason::FlowStuck).flow(Down, 7).stick().recorded(RECORDED),
        data("data, free", Reason::Ring).flow(Free, 0).recorded(CHOSEN),
        data("data, free, stick", Reason::Ring).flow(Free, 0).stick().recorded(CHOSEN),
        data("data, id reused", Reason::Ring).flow(Live, 0).reused().recorded(CHOSEN),
        data("data, id reused, stick", Reason::Ring)
            .flow(Down, 0)
            .reused()
            .stick()
            .recorded(CHOSEN),
        data("data, no record", Reason::Ring).recorded(CHOSEN),
        case("no flags at all", Frame::tcp(family, 0), Reason::Ring).recorded(CHOSEN),
        case("SYN and ACK", Frame::tcp(family, SYN | ACK), Reason::Ring).recorded(CHOSEN),
        data("data, noted, live", Reason::Embryonic).note(Live, 0).recorded(NOTED),
        data("data, noted, draining", Reason::Embryonic).note(Draining, 0).recorded(NOTED),
        data("data, noted, down", Reason::Ring).note(Down, 0).recorded(CHOSEN).noted(NOTED),
        data("data, noted, free", Reason::Ring).note(Free, 0).recorded(CHOSEN).noted(NOTED),
        data("data, noted just in time", Reason::Embryonic).note(Live, stale - 1).recorded(NOTED),
        data("data, noted long ago", Reason::Ring).note(Live, stale).recorded(CHOSEN).noted(NOTED),
        data("data, noted, ring just changed", Reason::Embryonic)
            .note(Live, 0)
            .previous(Live)
            .recorded(NOTED),
        data("data, previous ring, live", Reason::PreviousRing).previous(Live).recorded(BEFORE),
        data("data, previous ring, draining", Reason::PreviousRing)
            .previous(Draining)
            .recorded(BEFORE),
        data("data, previous ring, down", Reason::Ring).previous(Down).recorded(CHOSEN),
        data("data, previous ring, free", Reason::Ring).previous(Free).recorded(CHOSEN),
        data("data, previous ring, T over", Reason::Ring)
            .previous(Live)
            .previous_over()
            .recorded(CHOSEN),
    ]
}

fn close(family: Family) -> Vec<Case> {
    let fin = |name, reason| case(name, Frame::tcp(family, FIN | ACK), reason);
    let rst = |name, reason| case(name, Frame::tcp(family, RST), reason);
    vec![
        fin("FIN, live", Reason::Flow).flow(Live, 9).recorded_closing(RECORDED),
        rst("RST, live", Reason::Flow).flow(Live, 9).recorded_closing(RECORDED),
        fin("FIN, draining", Reason::Flow).flow(Draining, 9).recorded_closing(RECORDED),
        rst("RST, draining", Reason::Flow).flow(Draining, 9).recorded_closing(RECORDED),
        fin("FIN, down", Reason::Ring).flow(Down, 0),
        rst("RST, down", Reason::Ring).flow(Down, 0),
        fin("FIN, down, stick", Reason::FlowStuck).flow(Down, 0).stick().recorded_closing(RECORDED),
        rst("RST, down, stick", Reason::FlowStuck).flow(Down, 0).stick().recorded_closing(RECORDED),
        fin("FIN, free", Reason::Ring).flow(Free, 0),
        fin("FIN, id reused", Reason::Ring).flow(Live, 0).reused(),
        fin("FIN, no record", Reason::Ring),
        rst("RST, no record", Reason::Ring),
        case("SYN and FIN, no record", Frame::tcp(family, SYN | FIN), Reason::Ring),
        case("SYN and RST, no record", Frame::tcp(family, SYN | RST), Reason::Ring),
        fin("FIN, noted", Reason::Embryonic).note(Live, 0).noted(NOTED),
        rst("RST, noted", Reason::Embryonic).note(Live, 0).noted(NOTED),
        fin("FIN, previous ring", Reason::PreviousRing).previous(Live),
    ]
}

fn datagram(family: Family) -> Vec<Case> {
    let udp = |name, reason| case(name, Frame::udp(family), reason);
    let idle = SETTINGS.udp_idle;
    vec![
        udp("UDP, live", Reason::Flow).flow(Live, 0).recorded(RECORDED),
        udp("UDP, live and long idle", Reason::Flow).flow(Live, 100).recorded(RECORDED),
        udp("UDP, draining", Reason::Flow).flow(Draining, idle - 1).recorded(RECORDED),
        udp("UDP, draining and idle", Reason::Ring).flow(Draining, idle).recorded(CHOSEN),
        udp("UDP, down", Reason::Ring).flow(Down, 0).recorded(CHOSEN),
        udp("UDP, down, stick", Reason::Ring).flow(Down, 0).stick().recorded(CHOSEN),
        udp("UDP, free", Reason::Ring).flow(Free, 0).recorded(CHOSEN),
        udp("UDP, id reused", Reason::Ring).flow(Live, 0).reused().recorded(CHOSEN),
        udp("UDP, no record", Reason::Ring).recorded(CHOSEN),
        udp("UDP, no record, ring just changed", Reason::Ring).previous(Live).recorded(CHOSEN),
        udp("UDP, a note of that hash", Reason::Ring).note(Live, 0).recorded(CHOSEN).noted(NOTED),
    ]
}

/// What happens over several packets.
fn stories(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let tcp = move |flags| Frame::tcp(family, flags);
    let ack = tcp(ACK);
    let hash = flow_hash(&ack);
    let entry = record(&ack, RECORDED, 0);
    let ring = move |ring, prev_ring| {
        let until = u64::MAX;
        let value = ServiceValue { ring, prev_ring, prev_until_ns: until, ..service(WEB_PAGE) };
        move |w: &mut World| w.set_service(web_key(family, TCP), value)
    };
    let change = move |w: &mut World| {
        // The ring that the SYN went by becomes neither the ring nor the previous one.
        w.set_ring(5, |_| 1);
        ring(5, PREVIOUS)(w);
    };
    let away = Real { mac: [0; 6], ..real(CHOSEN, Live) };
    let no_record = move |w: &World| w.entry(FLOWS, hash).is_none();
    vec![
        sent(n("the ring changes during the handshake"), &ack, Reason::Embryonic, CHOSEN)
            .after(&tcp(SYN), Reason::Ring)
            .given(change),
        sent(n("and then data come"), &tcp(ACK | PSH), Reason::Flow, CHOSEN)
            .after(&tcp(SYN), Reason::Ring)
            .given(change)
            .after(&ack, Reason::Embryonic),
        sent(n("the ring changes after the handshake"), &tcp(ACK | PSH), Reason::Flow, CHOSEN)
            .after(&tcp(SYN), Reason::Ring)
            .after(&ack, Reason::Embryonic)
            .given(ring(PREVIOUS, RING)),
        sent(n("the ring changes between flows"), &tcp(SYN), Reason::Ring, BEFORE)
            .after(&ack, Reason::Ring)
            .after(&tcp(FIN | ACK), Reason::Flow)
            .given(ring(PREVIOUS, RING))
            .given(|w| w.set_idle(FLOWS, SETTINGS.closing_idle)),
        untouched(n("a service that is gone is gone for its flows"), &ack, Reason::UnknownPort)
            .given(move |w| {
                w.set_entry(FLOWS, hash, entry);
                w.set_real(RECORDED, real(RECORDED, Free));
                w.remove_service(web_key(family, TCP));
            })
            .then("the record is deleted", no_record),
        untouched(n("nothing is remembered without a neighbour"), &ack, Reason::NoNeighbour)
            .given(move |w| w.set_real(CHOSEN, away))
            .then("no record is made", no_record),
        untouched(n("nothing is remembered without a backend"), &ack, Reason::NoBackend)
            .given(ring(EMPTY, EMPTY))
            .then("no record is made", no_record),
        untouched(n("no note without a neighbour"), &tcp(SYN), Reason::NoNeighbour)
            .given(move |w| w.set_real(CHOSEN, away))
            .then("no note is made", move |w| w.entry(EMBRYONIC, hash).is_none()),
    ]
}

/// A bucket with several records of one flow, by way and real.
fn twins<const N: usize>(frame: &Frame, records: [(usize, u32); N]) -> Bucket {
    let mut bucket = Bucket::default();
    records.into_iter().for_each(|(way, id)| bucket.0[way] = record(frame, id, 0).0);
    bucket
}

/// Records as such: which of several counts, and for how long.
fn records(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let tcp = move |flags| Frame::tcp(family, flags);
    let ack = tcp(ACK);
    let hash = flow_hash(&ack);
    let bucket = bucket_index(hash, SETTINGS.flow_mask);
    let entry = record(&ack, RECORDED, 0);
    vec![
        sent(
            n("of two records that CPUs made at once the first counts"),
            &ack,
            Reason::Flow,
            RECORDED,
        )
        .given(move |w| {
            w.set_bucket(FLOWS, bucket, twins(&tcp(ACK), [(1, RECORDED), (6, NOTED)]));
        })
        .then("both are left", |w| w.taken(FLOWS) == 2),
        sent(n("and so of all there can be"), &ack, Reason::Flow, BEFORE).given(move |w| {
            let all = [BEFORE, NOTED, CHOSEN, NOTED, CHOSEN, NOTED, CHOSEN, CHOSEN];
            let all: [_; 8] = std::array::from_fn(|way| (way, all[way]));
            w.set_bucket(FLOWS, bucket, twins(&tcp(ACK), all));
        }),
        sent(n("the first is deleted, and the other stays"), &tcp(SYN), Reason::Ring, CHOSEN)
            .given(move |w| {
                w.set_bucket(FLOWS, bucket, twins(&tcp(ACK), [(0, RECORDED), (7, NOTED)]));
                w.set_real(RECORDED, real(RECORDED, Draining));
            })
            .then("one is left", |w| w.taken(FLOWS) == 1),
        sent(n("generations are told apart by their low bits"), &ack, Reason::Flow, RECORDED)
            .given(move |w| {
                w.set_entry(FLOWS, hash, entry);
                w.set_real(RECORDED, Real { generation: GENERATION + 32, ..real(RECORDED, Live) });
            }),
    ]
}

/// A full bucket but for what is said of some ways: records of other flows, idle for ten units.
fn crowded(hash: u64, ways: &[(usize, FlowEntry)]) -> Bucket {
    let other = |way: usize| {
        let hash = hash ^ (way as u64 + 1) << FlowEntry::TAG_SHIFT;
        FlowEntry::new(hash, NOTED, GENERATION, 0u8.wrapping_sub(10)).0
    };
    let mut bucket = Bucket(std::array::from_fn(other));
    ways.iter().for_each(|(way, entry)| bucket.0[*way] = entry.0);
    bucket
}

/// Which record makes room for a new one: an empty way, else one that is closing, else the one that
/// is idle for longest.
fn displaced(family: Family) -> Vec<Row> {
    let frame = Frame::tcp(family, ACK);
    let hash = flow_hash(&frame);
    let bucket = bucket_index(hash, SETTINGS.flow_mask);
    let other = |idle: u8, closing| {
        let entry = FlowEntry::new(!hash, NOTED, GENERATION, 0);
        entry.touched(0u8.wrapping_sub(idle), closing)
    };
    let row = |name, ways: &[(usize, FlowEntry)], way: usize, event| {
        let before = crowded(hash, ways);
        let mut after = before;
        after.0[way] = record(&frame, CHOSEN, 0).0;
        sent(named(name, family), &frame, Reason::Ring, CHOSEN)
            .given(move |w| w.set_bucket(FLOWS, bucket, before))
            .then("the bucket", move |w| w.bucket(FLOWS, bucket) == after)
            .then("the event", move |w| w.model.events(event) == 1)
    };
    let empty = FlowEntry(0);
    let inserted = Event::FlowInserted;
    let closed = Event::FlowReplacedClosing;
    let replaced = Event::FlowReplaced;
    vec![
        row("the empty way is taken", &[(5, empty), (2, other(127, false))], 5, inserted),
        row("and before one that is closing", &[(0, empty), (7, other(127, true))], 0, inserted),
        row("one that is closing", &[(3, other(0, true)), (4, other(127, false))], 3, closed),
        row(
            "the older of two that are closing",
            &[(1, other(9, true)), (6, other(8, true))],
            1,
            closed,
        ),
        row("the one idle for longest", &[(6, other(11, false))], 6, replaced),
        row("the one idle for longest, in the first way", &[(0, other(127, false))], 0, replaced),
    ]
}
