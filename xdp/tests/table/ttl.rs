//! TTL and hop limit: a packet must not go round between us and a backend that sends it on.

use vc5_ebpf_abi::{Real, RealState, Reason, maps::EMBRYONIC, maps::FLOWS};

use crate::{
    common::{
        frame::{ACK, Family, Frame, SYN},
        standard::{CHOSEN, RECORDED, real, record},
        world::flow_hash,
    },
    row::{Row, forwarded, sent, untouched},
};

/// TTL of the packet, limit of the real, TTL that the real gets to see.
const SENT: &[(u8, u8, u8)] = &[
    // Written as 1, whatever it was.
    (57, 1, 1),
    (255, 1, 1),
    (2, 1, 1),
    (1, 1, 1),
    (0, 1, 1),
    // Kept, but counted down.
    (255, 0, 254),
    (57, 0, 56),
    (3, 0, 2),
    (2, 0, 1),
    // At most the limit, and counted down.
    (57, 10, 10),
    (57, 64, 56),
    (57, 57, 56),
    (57, 56, 56),
    (57, 55, 55),
    (12, 10, 10),
    (11, 10, 10),
    (10, 10, 9),
    (5, 10, 4),
    (2, 10, 1),
    (255, 255, 254),
    (128, 2, 2),
    (3, 2, 2),
    (2, 2, 1),
];

/// TTL of the packet and limit of the real, by which it goes nowhere.
const DROPPED: &[(u8, u8)] =
    &[(1, 0), (0, 0), (1, 2), (0, 2), (1, 64), (0, 64), (1, 255), (0, 255)];

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend(SENT.iter().map(|&(ttl, limit, after)| {
            let frame = Frame { ttl, ..Frame::tcp(family, ACK) };
            let name = format!("TTL {ttl}, limit {limit}, {family:?}");
            sent(name, &frame, Reason::Ring, CHOSEN)
                .given(move |w| w.set_real(CHOSEN, limited(CHOSEN, limit)))
                .out(&Frame { ttl: after, ..forwarded(&frame, CHOSEN) })
        }));
        rows.extend(DROPPED.iter().map(|&(ttl, limit)| {
            let frame = Frame { ttl, ..Frame::tcp(family, ACK) };
            let hash = flow_hash(&frame);
            let name = format!("TTL {ttl}, limit {limit}, {family:?}");
            untouched(name, &frame, Reason::TtlExceeded)
                .given(move |w| w.set_real(CHOSEN, limited(CHOSEN, limit)))
                .then("no record is made", move |w| w.entry(FLOWS, hash).is_none())
        }));
        rows.extend(others(family));
    }
    rows
}

fn limited(id: u32, ttl: u8) -> Real {
    Real { ttl, ..real(id, RealState::Live) }
}

fn others(family: Family) -> Vec<Row> {
    let known = Frame { ttl: 1, ..Frame::tcp(family, ACK) };
    let syn = Frame { ttl: 1, ..Frame::tcp(family, SYN) };
    let (hash, entry) = (flow_hash(&known), record(&known, RECORDED, 0));
    let udp = Frame { ttl: 9, ..Frame::udp(family) };
    vec![
        untouched(format!("known flow, used up, {family:?}"), &known, Reason::TtlExceeded).given(
            move |w| {
                w.set_entry(FLOWS, hash, entry);
                w.set_real(RECORDED, limited(RECORDED, 0));
            },
        ),
        untouched(format!("SYN, used up, {family:?}"), &syn, Reason::TtlExceeded)
            .given(|w| w.set_real(CHOSEN, limited(CHOSEN, 0)))
            .then("no note is made", move |w| w.entry(EMBRYONIC, hash).is_none()),
        sent(format!("UDP, kept, {family:?}"), &udp, Reason::Ring, CHOSEN)
            .given(|w| w.set_real(CHOSEN, limited(CHOSEN, 0)))
            .out(&Frame { ttl: 8, ..forwarded(&udp, CHOSEN) }),
    ]
}
