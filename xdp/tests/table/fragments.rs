//! Fragments: the first goes by its ports, the others follow it (RFC 791 section 3.2, RFC 8200
//! section 4.5).

use vc5_ebpf_abi::{Real, RealState, Reason, VipValue, maps::FLOWS, maps::FRAGMENTS};

use crate::{
    common::{
        extension::{destination_options, fragment, hop_by_hop, routing},
        frame::{ACK, FIN, Family, Frame, MORE, PORT, SYN, TCP, UDP},
        standard::{
            ALL_PORTS, CHOSEN, DOWN, GENERATION, PASSING, RECORDED, STICKY, STICKY_PAGE, STRANGER,
            VIP, real, real_id, record, service, service_key, web_key,
        },
        world::{SETTINGS, World, address_hash, flow_hash},
    },
    row::{Row, forwarded, named, sent, untouched},
};

const ID: u32 = 0x0000_1d2f;

/// The frame as a fragment: the part of the body from `offset` on, of at most `length` bytes.
fn part(frame: &Frame, offset: u16, length: usize, more: bool) -> Frame {
    let body: Vec<u8> = frame.body().into_iter().skip(usize::from(offset)).take(length).collect();
    let mut extensions = frame.extensions.clone();
    extensions.push(fragment(offset, more, ID));
    let word = (offset / 8) | if more { MORE } else { 0 };
    let part = if offset == 0 {
        Frame { cut: Some(length), ..frame.clone() }
    } else {
        Frame { data: body, body: crate::common::frame::Body::Raw, ..frame.clone() }
    };
    match frame.family() {
        Family::V4 => Frame { fragment: word, ..part },
        Family::V6 => Frame { extensions, ..part },
    }
}

/// A TCP segment of 20 + 80 bytes.
fn whole(family: Family) -> Frame {
    Frame { data: vec![0x5a; 80], ..Frame::tcp(family, ACK) }
}

fn datagram(family: Family) -> Frame {
    Frame { data: vec![0x5a; 80], ..Frame::udp(family) }
}

fn first(family: Family) -> Frame {
    part(&whole(family), 0, 40, true)
}

fn middle(family: Family) -> Frame {
    part(&whole(family), 40, 40, true)
}

fn last(family: Family) -> Frame {
    part(&whole(family), 80, 40, false)
}

fn noted(w: &World) -> bool {
    w.taken(FRAGMENTS) == 1
}

fn not_noted(w: &World) -> bool {
    w.taken(FRAGMENTS) == 0
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend(firsts(family));
        rows.extend(followers(family));
        rows.extend(strangers(family));
        rows.extend(state(family));
        rows.extend(by_address(family));
    }
    rows.extend(v4());
    rows.extend(v6());
    rows
}

/// A first fragment is a packet like any other, and is noted if it is sent.
fn firsts(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let first = first(family);
    let syn = part(&Frame::tcp(family, SYN), 0, 24, true);
    let fin = part(&Frame::tcp(family, FIN | ACK), 0, 24, true);
    let unknown = part(&whole(family).to(family.vip(VIP), 81), 0, 40, true);
    let passed = part(&whole(family).to(family.vip(PASSING), 81), 0, 40, true);
    vec![
        sent(n("first, TCP"), &first, Reason::Ring, CHOSEN).then("noted", noted),
        sent(n("first, UDP"), &part(&datagram(family), 0, 40, true), Reason::Ring, CHOSEN)
            .then("noted", noted),
        sent(n("first, SYN"), &syn, Reason::Ring, CHOSEN).then("noted", noted),
        sent(n("first, FIN"), &fin, Reason::Ring, CHOSEN).then("noted", noted),
        sent(n("first, known flow"), &first, Reason::Flow, RECORDED)
            .given(move |w| {
                let frame = whole(family);
                w.set_entry(FLOWS, flow_hash(&frame), record(&frame, RECORDED, 0));
            })
            .then("noted", noted),
        sent(
            n("first, eight bytes of UDP"),
            &part(&datagram(family), 0, 8, true),
            Reason::Ring,
            CHOSEN,
        )
        .then("noted", noted),
        untouched(
            // Sixteen bytes would tell ports and flags, but nobody honest sends them (RFC 1858).
            n("first, too short for a TCP header"),
            &part(&whole(family), 0, 16, true),
            Reason::Truncated,
        )
        .then("not noted", not_noted),
        untouched(
            n("first, too short for TCP's flags"),
            &part(&whole(family), 0, 8, true),
            Reason::Truncated,
        )
        .then("not noted", not_noted),
        untouched(
            n("first, too short for ports"),
            &part(&datagram(family), 0, 3, true),
            Reason::Truncated,
        )
        .then("not noted", not_noted),
        untouched(n("first, empty"), &part(&datagram(family), 0, 0, true), Reason::Truncated)
            .then("not noted", not_noted),
        untouched(n("first, unknown port"), &unknown, Reason::UnknownPort)
            .then("not noted", not_noted),
        untouched(n("first, unknown port that is passed"), &passed, Reason::UnknownPassed)
            .then("not noted", not_noted),
        untouched(n("first, ring's real is down"), &first, Reason::RealDown)
            .given(|w| w.set_real(CHOSEN, real(CHOSEN, RealState::Down)))
            .then("not noted", not_noted),
        untouched(n("first, ring's real has no neighbour"), &first, Reason::NoNeighbour)
            .given(|w| w.set_real(CHOSEN, Real { mac: [0; 6], ..real(CHOSEN, RealState::Live) }))
            .then("not noted", not_noted),
        untouched(
            n("first, no VIP"),
            &part(&whole(family).to(family.vip(STRANGER), PORT), 0, 40, true),
            Reason::NotVip,
        ),
    ]
}

/// Fragments after the first.
fn followers(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let (first, middle, last) = (first(family), middle(family), last(family));
    let udp = |offset, more| part(&datagram(family), offset, 40, more);
    vec![
        sent(n("middle"), &middle, Reason::Fragment, CHOSEN).after(&first, Reason::Ring),
        sent(n("last"), &last, Reason::Fragment, CHOSEN).after(&first, Reason::Ring),
        sent(n("last after middle"), &last, Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring)
            .after(&middle, Reason::Fragment),
        sent(n("last before middle"), &middle, Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring)
            .after(&last, Reason::Fragment),
        sent(n("middle twice"), &middle, Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring)
            .after(&middle, Reason::Fragment),
        sent(n("middle after the first came twice"), &middle, Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring)
            .after(&first, Reason::Flow)
            .then("noted once", noted),
        sent(n("UDP"), &udp(40, true), Reason::Fragment, CHOSEN).after(&udp(0, true), Reason::Ring),
        sent(
            n("the least offset there is"),
            &part(&whole(family), 8, 40, true),
            Reason::Fragment,
            CHOSEN,
        )
        .after(&first, Reason::Ring),
        sent(
            n("the least offset, and the last"),
            &part(&whole(family), 8, 92, false),
            Reason::Fragment,
            CHOSEN,
        )
        .after(&first, Reason::Ring),
        sent(n("where the flow went, not the ring"), &middle, Reason::Fragment, RECORDED)
            .given(move |w| {
                let frame = whole(family);
                w.set_entry(FLOWS, flow_hash(&frame), record(&frame, RECORDED, 0));
            })
            .after(&first, Reason::Flow),
        sent(n("of one byte"), &part(&whole(family), 96, 1, false), Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring),
        sent(n("with padding"), &Frame { padding: 7, ..last.clone() }, Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring),
        sent(n("of a service that is gone since"), &middle, Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring)
            .given(move |w| w.remove_service(web_key(family, TCP))),
        sent(n("with a TTL to spare"), &middle, Reason::Fragment, CHOSEN)
            .after(&first, Reason::Ring)
            .given(|w| w.set_real(CHOSEN, Real { ttl: 0, ..real(CHOSEN, RealState::Live) }))
            .out(&Frame { ttl: middle.ttl - 1, ..forwarded(&middle, CHOSEN) }),
    ]
}

/// Fragments whose first was not seen.
fn strangers(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let (first, middle) = (first(family), middle(family));
    let to_down = |f: &Frame| f.clone().to(family.vip(DOWN), PORT);
    let icmp = Frame { protocol: family.icmp(), ..middle.clone() };
    vec![
        untouched(n("middle alone"), &middle, Reason::FragmentUnknown),
        untouched(n("last alone"), &last(family), Reason::FragmentUnknown),
        sent(n("first after middle"), &first, Reason::Ring, CHOSEN)
            .after(&middle, Reason::FragmentUnknown)
            .then("noted", noted),
        sent(n("middle, first, middle"), &middle, Reason::Fragment, CHOSEN)
            .after(&middle, Reason::FragmentUnknown)
            .after(&first, Reason::Ring),
        untouched(
            n("of another source"),
            &middle.clone().from(family.client(8), 0),
            Reason::FragmentUnknown,
        )
        .after(&first, Reason::Ring),
        untouched(n("to another VIP"), &to_down(&middle), Reason::FragmentUnknown)
            .after(&first, Reason::Ring),
        untouched(n("after a first to an unknown port"), &middle, Reason::FragmentUnknown)
            .after(&Frame { port: 81, ..first.clone() }, Reason::UnknownPort),
        untouched(n("that is ICMP"), &icmp, Reason::FragmentUnknown),
        untouched(n("to no VIP"), &middle.clone().to(family.vip(STRANGER), PORT), Reason::NotVip),
        untouched(n("of a whole packet's flow"), &middle, Reason::FragmentUnknown)
            .after(&whole(family), Reason::Ring),
    ]
}

/// What becomes of the note.
fn state(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let (first, middle) = (first(family), middle(family));
    let idle = SETTINGS.fragment_idle;
    let becomes = |state| move |w: &mut World| w.set_real(CHOSEN, real(CHOSEN, state));
    let follows =
        |name| sent(n(name), &middle, Reason::Fragment, CHOSEN).after(&first, Reason::Ring);
    let lost =
        |name| untouched(n(name), &middle, Reason::FragmentUnknown).after(&first, Reason::Ring);
    vec![
        follows("its real drains").given(becomes(RealState::Draining)),
        lost("its real is down").given(becomes(RealState::Down)),
        lost("its real is free").given(becomes(RealState::Free)),
        lost("its real's id is another's").given(|w| {
            let other = Real { generation: GENERATION + 1, ..real(CHOSEN, RealState::Live) };
            w.set_real(CHOSEN, other);
        }),
        follows("just in time").given(move |w| w.set_idle(FRAGMENTS, idle - 1)),
        lost("too late").given(move |w| w.set_idle(FRAGMENTS, idle)),
        untouched(n("its real has lost its neighbour"), &middle, Reason::NoNeighbour)
            .after(&first, Reason::Ring)
            .given(|w| w.set_real(CHOSEN, Real { mac: [0; 6], ..real(CHOSEN, RealState::Live) })),
    ]
}

/// A `sticky` service on all ports needs no ports.
fn by_address(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let to = move |frame: Frame, vip| frame.to(family.vip(vip), 5000);
    let middle = to(middle(family), STICKY);
    let member = |frame: &Frame| 1 + (address_hash(frame) >> 48) as u16 % 4;
    let chosen = real_id(STICKY_PAGE, member(&middle));
    let away = (1..=4).map(|m| real_id(STICKY_PAGE, m)).find(|id| *id != chosen);
    let away = away.expect("there are four");
    let udp = to(part(&datagram(family), 40, 40, true), STICKY);
    let icmp = Frame { protocol: family.icmp(), ..middle.clone() };
    vec![
        sent(n("by address, middle alone"), &middle, Reason::Fragment, chosen)
            .then("not noted", not_noted)
            .then("no flow", |w| w.taken(FLOWS) == 0),
        sent(n("by address, UDP"), &udp, Reason::Fragment, chosen),
        sent(n("by address, after the first"), &middle, Reason::Fragment, chosen)
            .after(&to(first(family), STICKY), Reason::Ring),
        sent(n("by address, but the first went elsewhere"), &middle, Reason::Fragment, away)
            .given(move |w| {
                let frame = to(whole(family), STICKY);
                w.set_entry(FLOWS, flow_hash(&frame), record(&frame, away, 0));
            })
            .after(&to(first(family), STICKY), Reason::Flow),
        untouched(n("by address, its real is down"), &middle, Reason::FragmentUnknown)
            .given(move |w| w.set_real(chosen, real(chosen, RealState::Down))),
        untouched(n("by address, other protocol"), &icmp, Reason::FragmentUnknown),
        untouched(
            n("all ports, but not by address"),
            &to(middle.clone(), ALL_PORTS),
            Reason::FragmentUnknown,
        ),
        untouched(n("by address, but on one port"), &to(middle, VIP), Reason::FragmentUnknown)
            .given(move |w| {
                let sticky = vc5_ebpf_abi::ServiceValue {
                    flags: vc5_ebpf_abi::ServiceValue::BY_ADDRESS,
                    ..service(crate::common::standard::WEB_PAGE)
                };
                for protocol in [TCP, UDP] {
                    w.set_service(service_key(family.vip(VIP), PORT, protocol), sticky);
                }
                w.set_vip(family.vip(VIP), VipValue::UP);
            }),
    ]
}

fn v4() -> Vec<Row> {
    let family = Family::V4;
    let (first, middle) = (first(family), middle(family));
    let options = |f: &Frame| Frame { options: vec![1; 8], ..f.clone() };
    let other = Frame { identification: 0x1d30, ..middle.clone() };
    let reserved = Frame { fragment: 0x8000 | MORE | 5, ..middle.clone() };
    let udp = part(&datagram(family), 40, 40, true);
    vec![
        untouched("of another protocol, V4", &udp, Reason::FragmentUnknown)
            .after(&first, Reason::Ring),
        untouched("of another identification, V4", &other, Reason::FragmentUnknown)
            .after(&first, Reason::Ring),
        sent("options in each, V4", &options(&middle), Reason::Fragment, CHOSEN)
            .after(&options(&first), Reason::Ring),
        sent(
            "the last offset there is, V4",
            &Frame { fragment: 0x1fff, ..middle.clone() },
            Reason::Fragment,
            CHOSEN,
        )
        .after(&first, Reason::Ring),
        sent(
            "the upper half of the offsets, V4",
            &Frame { fragment: 0x1000, ..middle.clone() },
            Reason::Fragment,
            CHOSEN,
        )
        .after(&first, Reason::Ring),
        sent("reserved flag, V4", &reserved, Reason::Fragment, CHOSEN).after(&first, Reason::Ring),
        sent(
            "do not fragment, V4",
            &Frame { fragment: 0x4000, ..whole(family) },
            Reason::Ring,
            CHOSEN,
        )
        .then("not noted", not_noted),
        untouched(
            "middle without data, V4",
            &Frame { data: Vec::new(), ..middle },
            Reason::FragmentUnknown,
        ),
    ]
}

fn v6() -> Vec<Row> {
    let family = Family::V6;
    let numbered = |offset, more, id| {
        let frame = part(&whole(family), offset, 40, more);
        Frame { extensions: vec![fragment(offset, more, id)], ..frame }
    };
    let before = |f: &Frame| {
        let mut frame = f.clone();
        frame.extensions.splice(0..0, [hop_by_hop(0), routing(4, 0)]);
        frame
    };
    // A later fragment names the header that followed the fragment header in the first, whatever
    // came after that.
    let behind =
        Frame { extensions: vec![fragment(0, true, ID), destination_options(0)], ..whole(family) };
    let mut later = middle(family);
    later.protocol = crate::common::extension::DESTINATION_OPTIONS;
    let atomic = Frame { extensions: vec![fragment(0, false, ID)], ..whole(family) };
    let udp = part(&datagram(family), 40, 40, true);
    vec![
        // The identification alone says what belongs together.
        sent("of another protocol, V6", &udp, Reason::Fragment, CHOSEN)
            .after(&first(family), Reason::Ring),
        untouched(
            "of another identification, V6",
            &numbered(40, true, ID ^ 1),
            Reason::FragmentUnknown,
        )
        .after(&first(family), Reason::Ring),
        untouched(
            "identification differs in its upper half, V6",
            &numbered(40, true, ID ^ 0x8000_0000),
            Reason::FragmentUnknown,
        )
        .after(&first(family), Reason::Ring),
        sent(
            "headers before the fragment header, V6",
            &before(&middle(family)),
            Reason::Fragment,
            CHOSEN,
        )
        .after(&before(&first(family)), Reason::Ring),
        sent("first with a header behind it, V6", &behind, Reason::Ring, CHOSEN)
            .then("noted", noted),
        sent("middle of such, V6", &later, Reason::Fragment, CHOSEN).after(&behind, Reason::Ring),
        sent("atomic, V6", &atomic, Reason::Ring, CHOSEN).then("not noted", not_noted),
        untouched("middle after an atomic one, V6", &middle(family), Reason::FragmentUnknown)
            .after(&atomic, Reason::Ring),
        untouched(
            "ports not in the first, V6",
            &Frame { cut: Some(2), ..behind.clone() },
            Reason::Truncated,
        )
        .then("not noted", not_noted),
        sent(
            "the upper half of the offsets, V6",
            &numbered(0x8000, false, ID),
            Reason::Fragment,
            CHOSEN,
        )
        .after(&first(family), Reason::Ring),
        sent(
            "the last offset there is, V6",
            &numbered(0xfff8, false, ID),
            Reason::Fragment,
            CHOSEN,
        )
        .after(&first(family), Reason::Ring),
    ]
}
