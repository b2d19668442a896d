//! `sticky` services choose by the addresses alone; others by ports and protocol too. The slots are
//! worked out by the tests' own hash.

use vc5_ebpf_abi::{Reason, ServiceValue};

use crate::{
    common::{
        frame::{ACK, Family, Frame, SYN, TCP},
        standard::{SPREAD, STICKY, STICKY_PAGE, WEB_PAGE, real_id, service, web_key},
        world::{World, address_hash, flow_hash},
    },
    row::{Row, sent},
};

/// The member in a slot of the spread ring.
fn member(hash: u64) -> u16 {
    1 + (hash >> 48) as u16 % 4
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend((1..=12).flat_map(|client| by_address(family, client)));
        rows.extend((1..=12).map(|client| by_tuple(family, client)));
        rows.push(one_port(family));
        rows.push(previous_ring(family));
    }
    rows
}

/// All that one client does at a `sticky` service goes to one backend.
fn by_address(family: Family, client: u8) -> Vec<Row> {
    let to = |frame: Frame, source_port, port| {
        frame.from(family.client(client), source_port).to(family.vip(STICKY), port)
    };
    let frames = [
        ("SYN", to(Frame::tcp(family, SYN), 1025, 80)),
        ("other port", to(Frame::tcp(family, ACK), 65535, 1)),
        ("UDP", to(Frame::udp(family), 53, 443)),
    ];
    let id = real_id(STICKY_PAGE, member(address_hash(&frames[0].1)));
    frames
        .into_iter()
        .map(|(name, frame)| {
            let name = format!("sticky, client {client}: {name}, {family:?}");
            sent(name, &frame, Reason::Ring, id)
        })
        .collect()
}

fn spread(w: &mut World, family: Family, flags: u32) {
    let value = ServiceValue { ring: SPREAD, flags, ..service(WEB_PAGE) };
    w.set_service(web_key(family, TCP), value);
}

/// Without `sticky` the ports count.
fn by_tuple(family: Family, client: u8) -> Row {
    let frame = Frame::tcp(family, ACK).from(family.client(client), 2000 + 7 * u16::from(client));
    let id = real_id(WEB_PAGE, member(flow_hash(&frame)));
    let name = format!("by ports, client {client}, {family:?}");
    sent(name, &frame, Reason::Ring, id).given(move |w| spread(w, family, 0))
}

/// The flow record is by ports all the same, and is asked first.
fn one_port(family: Family) -> Row {
    let frame = Frame::tcp(family, ACK);
    let first = frame.clone().from(family.client(7), 1);
    let id = real_id(WEB_PAGE, member(address_hash(&frame)));
    let name = format!("sticky on one port, {family:?}");
    sent(name, &frame, Reason::Ring, id)
        .given(move |w| spread(w, family, ServiceValue::BY_ADDRESS))
        .after(&first, Reason::Ring)
        .then("two records", |w| w.taken(vc5_ebpf_abi::maps::FLOWS) == 2)
}

/// The previous ring is asked for the same slot as the ring.
fn previous_ring(family: Family) -> Row {
    let frame = Frame::tcp(family, ACK);
    let id = real_id(WEB_PAGE, member(address_hash(&frame)));
    let name = format!("sticky, previous ring, {family:?}");
    sent(name, &frame, Reason::PreviousRing, id).given(move |w| {
        let value = ServiceValue {
            prev_ring: SPREAD,
            prev_until_ns: u64::MAX,
            flags: ServiceValue::BY_ADDRESS,
            ..service(WEB_PAGE)
        };
        w.set_service(web_key(family, TCP), value);
    })
}
