//! After a change of the size of the flow table: what it does not know, the table before may.

use vc5_ebpf_abi::{
    Bucket, Event, FlowEntry, RealState, Reason, bucket_index,
    maps::{BEFORE, EMBRYONIC, FLOWS},
};

use crate::{
    common::{
        frame::{ACK, Family, Frame, SYN},
        standard::{CHOSEN, GENERATION, NOTED, RECORDED, real, record},
        world::{SETTINGS, World, flow_hash},
    },
    decisions::{self, Place},
    row::{Row, named, sent},
};

/// Every cell of the decision table, as without a table before, and with its record there or with a
/// second one.
pub fn rows() -> Vec<Row> {
    let mut rows = decisions::rows();
    for family in Family::BOTH {
        for place in [Place::Before, Place::Both] {
            let cases = decisions::cases(family).into_iter().filter_map(|case| case.at(place));
            rows.extend(cases.map(decisions::Case::row));
        }
        rows.extend(stories(family));
        rows.extend(errors(family));
        rows.extend(room(family));
    }
    rows
}

/// What happens over several packets.
fn stories(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let ack = Frame::tcp(family, ACK);
    let hash = flow_hash(&ack);
    let entry = record(&ack, RECORDED, 9);
    let known = move |w: &mut World| w.set_entry(BEFORE, hash, entry);
    let none_before = move |w: &World| w.entry(BEFORE, hash).is_none();
    vec![
        sent(n("once found, the flow is in the new table"), &ack, Reason::Flow, RECORDED)
            .given(known)
            .after(&ack, Reason::Flow)
            .given(move |w| w.set_bucket(BEFORE, bucket_index(hash, 7), Bucket::default()))
            .then("it is no new flow", |w| w.model.events(Event::FlowInserted) == 0),
        sent(n("one displaced there is found again"), &ack, Reason::Flow, RECORDED)
            .given(known)
            .after(&ack, Reason::Flow)
            .given(move |w| w.set_bucket(FLOWS, bucket_index(hash, 15), Bucket::default())),
        sent(n("one that moved does not come back"), &ack, Reason::Embryonic, CHOSEN)
            .given(known)
            .after(&ack, Reason::Flow)
            .given(|w| w.set_real(RECORDED, real(RECORDED, RealState::Draining)))
            .after(&Frame::tcp(family, SYN), Reason::Ring)
            .given(|w| w.set_real(RECORDED, real(RECORDED, RealState::Live)))
            .then("it is gone in the table before", none_before)
            .then("it is deleted once", |w| w.model.events(Event::FlowDeleted) == 1),
        sent(n("the table before counts more than a note"), &ack, Reason::Flow, RECORDED)
            .given(known)
            .given(move |w| {
                w.set_entry(EMBRYONIC, hash, record(&Frame::tcp(family, ACK), NOTED, 0))
            }),
    ]
}

/// An ICMP error about a packet of a flow follows it, and leaves its record as it is.
fn errors(family: Family) -> Vec<Row> {
    let ack = Frame::tcp(family, ACK);
    let hash = flow_hash(&ack);
    let entry = record(&ack, RECORDED, 9);
    let quoted = ack.clone().from(ack.destination, ack.port).to(ack.source, ack.source_port);
    let (kind, code) = match family {
        Family::V4 => (3, 4),
        Family::V6 => (2, 0),
    };
    let error = Frame::icmp(family, kind, code, [0, 0, 5, 0], &quoted.packet());
    let row = |name, state, to| {
        sent(named(name, family), &error, Reason::IcmpError, to)
            .given(move |w| {
                w.set_entry(BEFORE, hash, entry);
                w.set_real(RECORDED, real(RECORDED, state));
            })
            .then("it is the same in both", move |w| {
                [FLOWS, BEFORE].iter().all(|table| w.entry(table, hash) == Some(entry))
            })
    };
    vec![
        row("an error about a flow of the table before", RealState::Live, RECORDED),
        row("an error about one whose backend is down", RealState::Down, CHOSEN),
    ]
}

/// In a full bucket a flow of the table before displaces another.
fn room(family: Family) -> Vec<Row> {
    let ack = Frame::tcp(family, ACK);
    let hash = flow_hash(&ack);
    let entry = record(&ack, RECORDED, 9);
    let row = |name, closing, event| {
        sent(named(name, family), &ack, Reason::Flow, RECORDED)
            .given(move |w| {
                let other = |way: usize| {
                    let hash = hash ^ (way as u64 + 1) << FlowEntry::TAG_SHIFT;
                    FlowEntry::new(hash, NOTED, GENERATION, 0).touched(0, closing).0
                };
                let bucket = Bucket(std::array::from_fn(other));
                w.set_bucket(FLOWS, bucket_index(hash, SETTINGS.flow_mask), bucket);
                w.set_entry(BEFORE, hash, entry);
            })
            .then("it is in the new table", move |w| w.entry(FLOWS, hash).is_some())
            .then("the event", move |w| w.model.events(event) == 1)
    };
    vec![
        row("a flow of the table before displaces the oldest", false, Event::FlowReplaced),
        row("and one that is closing", true, Event::FlowReplacedClosing),
    ]
}
