//! The decision table of the dataplane: which backend a packet goes to, and what is remembered.
//!
//! Real 1 is the record's, 2 the ring's, 3 the previous ring's, 4 the embryonic note's.

use vc5_ebpf_abi::{FlowEntry, RealState, Reason, ServiceValue, Verdict};

use super::{
    frame::{ACK, FIN, Frame, PSH, RST, SYN, TCP, UDP},
    world::{EMPTY, PREVIOUS, SETTINGS, World, real, record, sent_to, service, service_key},
};
use RealState::{Down, Draining, Free, Live};

/// A packet, what is known when it comes, and what must become of it.
pub struct Case {
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
    flow_after: Option<(u16, bool)>,
    note_after: Option<u16>,
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
    fn recorded(self, id: u16) -> Self {
        Self { flow_after: Some((id, false)), ..self }
    }

    /// So is this one, of a flow that is closing.
    fn recorded_closing(self, id: u16) -> Self {
        Self { flow_after: Some((id, true)), ..self }
    }

    /// An embryonic note for this real is there afterwards.
    fn noted(self, id: u16) -> Self {
        Self { note_after: Some(id), ..self }
    }

    /// The real that the reason stands for in these tests.
    fn real(&self) -> u16 {
        match self.reason {
            Reason::Flow | Reason::FlowStuck => 1,
            Reason::Ring => 2,
            Reason::PreviousRing => 3,
            Reason::Embryonic => 4,
            other => panic!("{}: {other:?} sends nothing", self.name),
        }
    }

    /// Tries the case in a fresh world.
    pub fn check(&self, mut world: World) {
        let hash = self.frame.hash(SETTINGS.hash_key);
        self.prepare(&mut world);
        let outcome = world.process(&self.frame.bytes());
        assert_eq!(outcome.reason, self.reason, "{}", self.name);
        assert_eq!(sent_to(&outcome), Some(self.real()), "{}", self.name);
        let flow = world.flow(hash).map(|e| (e.real(), e.closing()));
        assert_eq!(flow, self.flow_after, "{}: record", self.name);
        let age = world.flow(hash).map_or(0, FlowEntry::age);
        assert_eq!(age, 0, "{}: the record is refreshed", self.name);
        let note = world.embryonic(hash).map(FlowEntry::real);
        assert_eq!(note, self.note_after, "{}: note", self.name);
        assert_eq!(outcome.reason.verdict(), Verdict::Tx);
        world.check(1);
    }

    fn prepare(&self, world: &mut World) {
        let hash = self.frame.hash(SETTINGS.hash_key);
        if let Some((state, idle)) = self.flow {
            let mut recorded = real(1, state);
            recorded.generation += u8::from(self.reused);
            world.set_real(1, recorded);
            let entry = record(&self.frame, 1, idle);
            world.set_flow(hash, entry.touched(entry.age(), self.closing));
        }
        if let Some((state, idle)) = self.note {
            world.set_real(4, real(4, state));
            world.set_embryonic(hash, record(&self.frame, 4, idle));
        }
        let mut value = service();
        if let Some(state) = self.previous {
            world.set_real(3, real(3, state));
            value.prev_ring = PREVIOUS;
            value.prev_until_ns = if self.previous_over { 1 } else { u64::MAX };
        }
        value.flags = if self.stick { ServiceValue::STICK } else { 0 };
        for protocol in [TCP, UDP] {
            world.set_service(service_key(protocol), value);
        }
    }
}

/// Every cell of the table, and its edges.
pub fn table() -> Vec<Case> {
    [syn(), data(), close(), datagram()].into_iter().flatten().collect()
}

fn syn() -> Vec<Case> {
    let syn = |name, reason| case(name, Frame::tcp(SYN), reason);
    let closed = SETTINGS.closing_idle;
    vec![
        syn("SYN, live", Reason::Flow).flow(Live, 0).recorded(1),
        syn("SYN, live and long idle", Reason::Flow).flow(Live, 200).recorded(1),
        syn("SYN, live, just closed", Reason::Flow).flow(Live, closed - 1).closing().recorded(1),
        syn("SYN, live, closed long ago", Reason::Ring).flow(Live, closed).closing().noted(2),
        syn("SYN, draining", Reason::Ring).flow(Draining, 0).noted(2),
        syn("SYN, down", Reason::Ring).flow(Down, 0).noted(2),
        syn("SYN, down, stick", Reason::Ring).flow(Down, 0).stick().noted(2),
        syn("SYN, free", Reason::Ring).flow(Free, 0).noted(2),
        syn("SYN, id reused", Reason::Ring).flow(Live, 0).reused().noted(2),
        syn("SYN, no record", Reason::Ring).noted(2),
        syn("SYN again, ring changed between", Reason::Ring).note(Live, 0).noted(2),
        syn("SYN, no record, ring just changed", Reason::Ring).previous(Live).noted(2),
        case("SYN with ECN and PSH", Frame::tcp(SYN | PSH | 0xc0), Reason::Ring).noted(2),
    ]
}

fn data() -> Vec<Case> {
    let data = |name, reason| case(name, Frame::tcp(ACK), reason);
    let stale = SETTINGS.embryonic_idle;
    vec![
        data("data, live", Reason::Flow).flow(Live, 0).recorded(1),
        data("data, live and long idle", Reason::Flow).flow(Live, 250).recorded(1),
        data("data, live, closing", Reason::Flow).flow(Live, 9).closing().recorded_closing(1),
        data("data, draining", Reason::Flow).flow(Draining, 200).recorded(1),
        data("data, down", Reason::Ring).flow(Down, 0).recorded(2),
        data("data, down, ring just changed", Reason::Ring)
            .flow(Down, 0)
            .previous(Live)
            .recorded(2),
        data("data, down, stick", Reason::FlowStuck).flow(Down, 7).stick().recorded(1),
        data("data, free", Reason::Ring).flow(Free, 0).recorded(2),
        data("data, free, stick", Reason::Ring).flow(Free, 0).stick().recorded(2),
        data("data, id reused", Reason::Ring).flow(Live, 0).reused().recorded(2),
        data("data, id reused, stick", Reason::Ring).flow(Down, 0).reused().stick().recorded(2),
        data("data, no record", Reason::Ring).recorded(2),
        case("no flags at all", Frame::tcp(0), Reason::Ring).recorded(2),
        case("SYN and ACK", Frame::tcp(SYN | ACK), Reason::Ring).recorded(2),
        data("data, noted, live", Reason::Embryonic).note(Live, 0).recorded(4),
        data("data, noted, draining", Reason::Embryonic).note(Draining, 0).recorded(4),
        data("data, noted, down", Reason::Ring).note(Down, 0).recorded(2).noted(4),
        data("data, noted, free", Reason::Ring).note(Free, 0).recorded(2).noted(4),
        data("data, noted just in time", Reason::Embryonic).note(Live, stale - 1).recorded(4),
        data("data, noted long ago", Reason::Ring).note(Live, stale).recorded(2).noted(4),
        data("data, noted, ring just changed", Reason::Embryonic)
            .note(Live, 0)
            .previous(Live)
            .recorded(4),
        data("data, previous ring, live", Reason::PreviousRing).previous(Live).recorded(3),
        data("data, previous ring, draining", Reason::PreviousRing).previous(Draining).recorded(3),
        data("data, previous ring, down", Reason::Ring).previous(Down).recorded(2),
        data("data, previous ring, free", Reason::Ring).previous(Free).recorded(2),
        data("data, previous ring, T over", Reason::Ring)
            .previous(Live)
            .previous_over()
            .recorded(2),
    ]
}

fn close() -> Vec<Case> {
    let fin = |name, reason| case(name, Frame::tcp(FIN | ACK), reason);
    vec![
        fin("FIN, live", Reason::Flow).flow(Live, 9).recorded_closing(1),
        case("RST, live", Frame::tcp(RST), Reason::Flow).flow(Live, 9).recorded_closing(1),
        fin("FIN, draining", Reason::Flow).flow(Draining, 9).recorded_closing(1),
        case("RST, draining", Frame::tcp(RST), Reason::Flow).flow(Draining, 9).recorded_closing(1),
        fin("FIN, down", Reason::Ring).flow(Down, 0),
        fin("FIN, down, stick", Reason::FlowStuck).flow(Down, 0).stick().recorded_closing(1),
        fin("FIN, id reused", Reason::Ring).flow(Live, 0).reused(),
        fin("FIN, no record", Reason::Ring),
        case("RST, no record", Frame::tcp(RST), Reason::Ring),
        case("SYN and FIN, no record", Frame::tcp(SYN | FIN), Reason::Ring),
        case("SYN and RST, no record", Frame::tcp(SYN | RST), Reason::Ring),
        fin("FIN, noted", Reason::Embryonic).note(Live, 0).noted(4),
        fin("FIN, previous ring", Reason::PreviousRing).previous(Live),
    ]
}

fn datagram() -> Vec<Case> {
    let udp = |name, reason| case(name, Frame::udp(), reason);
    let idle = SETTINGS.udp_idle;
    vec![
        udp("UDP, live", Reason::Flow).flow(Live, 0).recorded(1),
        udp("UDP, live and long idle", Reason::Flow).flow(Live, 200).recorded(1),
        udp("UDP, draining", Reason::Flow).flow(Draining, idle - 1).recorded(1),
        udp("UDP, draining and idle", Reason::Ring).flow(Draining, idle).recorded(2),
        udp("UDP, down", Reason::Ring).flow(Down, 0).recorded(2),
        udp("UDP, down, stick", Reason::Ring).flow(Down, 0).stick().recorded(2),
        udp("UDP, free", Reason::Ring).flow(Free, 0).recorded(2),
        udp("UDP, id reused", Reason::Ring).flow(Live, 0).reused().recorded(2),
        udp("UDP, no record", Reason::Ring).recorded(2),
        udp("UDP, no record, ring just changed", Reason::Ring).previous(Live).recorded(2),
        udp("UDP, no record, a note of that hash", Reason::Ring).note(Live, 0).recorded(2).noted(4),
    ]
}

/// A flow whose service is gone is gone with it, and its record is deleted.
pub fn service_gone(mut world: World) {
    let frame = Frame::tcp(ACK);
    let hash = frame.hash(SETTINGS.hash_key);
    world.set_flow(hash, record(&frame, 1, 0));
    world.set_real(1, real(1, Free));
    world.remove_service(service_key(TCP));
    assert_eq!(world.process(&frame.bytes()).reason, Reason::UnknownPort);
    assert_eq!(world.flow(hash), None);
    world.check(1);
}

/// Nothing is remembered of a packet that cannot be sent.
pub fn not_sent_not_remembered(mut world: World) {
    let frame = Frame::tcp(ACK);
    let hash = frame.hash(SETTINGS.hash_key);
    let mut away = real(2, Live);
    away.mac = [0; 6];
    world.set_real(2, away);
    assert_eq!(world.process(&frame.bytes()).reason, Reason::NoNeighbour);
    assert_eq!(world.flow(hash), None);
    let value = ServiceValue { ring: EMPTY, ..service() };
    world.set_service(service_key(TCP), value);
    assert_eq!(world.process(&frame.bytes()).reason, Reason::NoBackend);
    assert_eq!(world.flow(hash), None);
    world.check(2);
}

/// The story for which the embryonic table exists: SYN, ring change, ACK.
pub fn ring_changes_during_the_handshake(mut world: World) {
    let syn = Frame::tcp(SYN);
    let first = world.process(&syn.bytes());
    assert_eq!((first.reason, sent_to(&first)), (Reason::Ring, Some(2)));

    // The ring that the SYN went by becomes neither the ring nor the previous one.
    let changed =
        ServiceValue { ring: 3, prev_ring: PREVIOUS, prev_until_ns: u64::MAX, ..service() };
    world.set_ring(3, |_| 1);
    world.set_service(service_key(TCP), changed);
    let ack = world.process(&Frame::tcp(ACK).bytes());
    assert_eq!((ack.reason, sent_to(&ack)), (Reason::Embryonic, Some(2)));
    let data = world.process(&Frame::tcp(ACK | PSH).bytes());
    assert_eq!((data.reason, sent_to(&data)), (Reason::Flow, Some(2)));
    world.check(3);
}
