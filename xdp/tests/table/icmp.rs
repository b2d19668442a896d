//! ICMP and ICMPv6 errors go to the backend of the flow that they quote (RFC 792, RFC 1812 section
//! 4.3.2.3, RFC 4443 sections 2.4 and 3).

use vc5_ebpf_abi::{
    NO_RING, Real, RealState, Reason, ServiceValue,
    maps::{EMBRYONIC, FLOWS},
};

use crate::{
    common::{
        extension::{self, destination_options, fragment, hop_by_hop, routing_on},
        frame::{ACK, Body, Family, Frame, MORE, PORT, TCP},
        standard::{
            ALL_PAGE, ALL_PORTS, BEFORE, CHOSEN, DOWN, EMPTY, GENERATION, NO_RANGES, NOTED,
            PREVIOUS, RANGE_PAGE, RECORDED, STICKY, STICKY_PAGE, STRANGER, VIP, WEB_PAGE, real,
            real_id, record, service, web_key,
        },
        world::{World, address_hash, flow_hash},
    },
    row::{Row, forwarded, named, sent, untouched},
};

/// A packet of the client's flow.
fn client(family: Family) -> Frame {
    Frame::tcp(family, ACK)
}

/// The packet that the backend sent to the client, and a router has met with an error.
fn answer(to: &Frame) -> Frame {
    Frame {
        source: to.destination,
        destination: to.source,
        source_port: to.port,
        port: to.source_port,
        ttl: 3,
        data: vec![0x5a; 500],
        ..to.clone()
    }
}

/// An error that quotes the first bytes of a packet.
fn quoting(kind: u8, code: u8, quoted: &Frame, bytes: usize) -> Frame {
    let mut quote = quoted.packet();
    quote.truncate(bytes);
    let word = if kind == 2 || (kind, code) == (3, 4) { [0, 0, 5, 0xdc] } else { [0; 4] };
    let error = Frame::icmp(quoted.family(), kind, code, word, &quote);
    Frame { destination: quoted.source, ..error }
}

/// Fragmentation needed, or packet too big: what a connection needs most.
fn too_big(quoted: &Frame, bytes: usize) -> Frame {
    let (kind, code) = if quoted.family() == Family::V4 { (3, 4) } else { (2, 0) };
    quoting(kind, code, quoted, bytes)
}

fn header(family: Family) -> usize {
    if family == Family::V4 { 20 } else { 40 }
}

/// The flow of this frame is recorded as the first member's.
fn known(frame: &Frame) -> impl Fn(&mut World) + 'static {
    let (hash, entry) = (flow_hash(frame), record(frame, RECORDED, 7));
    move |w| w.set_entry(FLOWS, hash, entry)
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend(lengths(family));
        rows.extend(foreign(family));
        rows.extend(choices(family));
        rows.extend(outer(family));
    }
    rows.extend(v4_types());
    rows.extend(v6_types());
    rows.extend(v4_quotes());
    rows.extend(v6_quotes());
    rows
}

fn types(family: Family, kinds: &[(&str, u8, u8)], other: &[(&str, u8, u8)]) -> Vec<Row> {
    let quoted = answer(&client(family));
    let short = header(family) + 8;
    let errors = kinds.iter().map(|&(name, kind, code)| {
        let error = quoting(kind, code, &quoted, short);
        sent(named(name, family), &error, Reason::IcmpError, RECORDED).given(known(&client(family)))
    });
    let others = other.iter().map(|&(name, kind, code)| {
        let error = quoting(kind, code, &quoted, short);
        untouched(named(name, family), &error, Reason::IcmpOther).given(known(&client(family)))
    });
    errors.chain(others).collect()
}

fn v4_types() -> Vec<Row> {
    let errors = [
        ("network unreachable", 3, 0),
        ("host unreachable", 3, 1),
        ("protocol unreachable", 3, 2),
        ("port unreachable", 3, 3),
        ("fragmentation needed", 3, 4),
        ("prohibited", 3, 13),
        ("source quench", 4, 0),
        ("TTL exceeded", 11, 0),
        ("reassembly time exceeded", 11, 1),
        ("parameter problem", 12, 0),
    ];
    let other = [
        ("echo reply", 0, 0),
        ("redirect", 5, 1),
        ("router advertisement", 9, 0),
        ("router solicitation", 10, 0),
        ("timestamp request", 13, 0),
        ("timestamp reply", 14, 0),
        ("address mask request", 17, 0),
        ("unassigned type", 255, 0),
    ];
    types(Family::V4, &errors, &other)
}

fn v6_types() -> Vec<Row> {
    let errors = [
        ("no route", 1, 0),
        ("prohibited", 1, 1),
        ("address unreachable", 1, 3),
        ("port unreachable", 1, 4),
        ("packet too big", 2, 0),
        ("hop limit exceeded", 3, 0),
        ("reassembly time exceeded", 3, 1),
        ("erroneous header", 4, 0),
        ("unrecognized next header", 4, 1),
    ];
    let other = [
        ("reserved type 0", 0, 0),
        ("unknown error", 5, 0),
        ("private error", 100, 0),
        ("echo reply", 129, 0),
        ("router advertisement", 134, 0),
        ("neighbour solicitation", 135, 0),
        ("neighbour advertisement", 136, 0),
        ("redirect", 137, 0),
        ("reserved type 255", 255, 0),
    ];
    types(Family::V6, &errors, &other)
}

/// From quotes of eight bytes behind the header, and a little less, to the whole packet.
fn lengths(family: Family) -> Vec<Row> {
    let quoted = answer(&client(family));
    let udp = answer(&Frame::udp(family));
    let ip = header(family);
    let of = |more| too_big(&quoted, ip + more);
    let n = |name: &str| named(name, family);
    let good = |name: &str, error: &Frame| {
        sent(n(name), error, Reason::IcmpError, RECORDED).given(known(&client(family)))
    };
    let short = |name: &str, error: &Frame| {
        untouched(n(name), error, Reason::Truncated).given(known(&client(family)))
    };
    vec![
        good("quote of four bytes of TCP", &of(4)),
        good("quote of eight bytes of TCP", &of(8)),
        good("quote of nine bytes of TCP", &of(9)),
        good("quote of a whole TCP header", &of(20)),
        good("quote of 548 bytes", &of(520)),
        good("quote of eight bytes, padded", &Frame { padding: 10, ..of(8) }),
        sent(n("quote of eight bytes of UDP"), &too_big(&udp, ip + 8), Reason::IcmpError, RECORDED)
            .given(known(&Frame::udp(family))),
        short("quote without the last byte of ports", &of(3)),
        short("quote of a header alone", &of(0)),
        short("quote of a header less a byte", &too_big(&quoted, ip - 1)),
        short("quote of one byte", &too_big(&quoted, 1)),
        short("quote of nothing", &too_big(&quoted, 0)),
        short("ICMP header less a byte", &Frame { cut: Some(7), ..of(8) }),
        short("one byte of ICMP", &Frame { cut: Some(1), ..of(8) }),
        short("no byte of ICMP", &Frame { cut: Some(0), ..of(8) }),
        short("ports only in the padding", &Frame { cut: Some(8 + ip), padding: 8, ..of(8) }),
    ]
}

/// Quotes of packets that no backend of the VIP can have sent.
fn foreign(family: Family) -> Vec<Row> {
    let frame = client(family);
    let quoted = answer(&frame);
    let ip = header(family);
    let n = |name: &str| named(name, family);
    let row = |name: &str, quoted: &Frame| {
        let error = Frame { destination: family.vip(VIP), ..too_big(quoted, ip + 8) };
        untouched(n(name), &error, Reason::IcmpForeign).given(known(&frame))
    };
    let mut version = too_big(&quoted, ip + 8);
    version.data[0] ^= 0x10;
    let mut echo = answer(&Frame::echo(family, 1, 1, &[0; 20]));
    echo.ttl = 1;
    let gre = Frame { protocol: 47, body: Body::Raw, ..quoted.clone() };
    vec![
        row("quotes another VIP", &Frame { source: family.vip(ALL_PORTS), ..quoted.clone() }),
        row("quotes a stranger", &Frame { source: family.vip(STRANGER), ..quoted.clone() }),
        row("quotes the client's packet", &frame),
        row("quotes an unknown port", &Frame { source_port: 81, ..quoted.clone() }),
        row(
            "quotes a port in host order",
            &Frame { source_port: PORT.swap_bytes(), ..quoted.clone() },
        ),
        row("quotes the port before a range", &Frame { source_port: 7999, ..quoted.clone() }),
        row("quotes an echo reply", &echo),
        row("quotes GRE", &gre),
        untouched(n("quotes another IP version"), &version, Reason::IcmpForeign)
            .given(known(&frame)),
        untouched(
            n("quotes a service that is gone"),
            &too_big(&quoted, ip + 8),
            Reason::IcmpForeign,
        )
        .given(move |w| w.remove_service(web_key(family, TCP))),
        untouched(
            n("quotes a range that is not asked for"),
            &too_big(&answer(&frame.clone().to(family.vip(NO_RANGES), 8050)), ip + 8),
            Reason::IcmpForeign,
        ),
        untouched(
            n("to no VIP"),
            &too_big(&answer(&frame.to(family.vip(STRANGER), PORT)), ip + 8),
            Reason::NotVip,
        ),
    ]
}

/// Which backend: as for a packet of the flow that is no SYN, but nothing is written.
fn choices(family: Family) -> Vec<Row> {
    let frame = client(family);
    let error = too_big(&answer(&frame), header(family) + 8);
    let hash = flow_hash(&frame);
    let n = |name: &str| named(name, family);
    let to = |name: &str, real| sent(n(name), &error, Reason::IcmpError, real);
    let recorded = |state| {
        let entry = record(&frame, RECORDED, 7);
        move |w: &mut World| {
            w.set_entry(FLOWS, hash, entry);
            w.set_real(RECORDED, real(RECORDED, state));
        }
    };
    let with_service = |change: fn(&mut ServiceValue)| {
        move |w: &mut World| {
            let mut value = service(WEB_PAGE);
            change(&mut value);
            w.set_service(web_key(family, TCP), value);
        }
    };
    let entry = record(&frame, RECORDED, 7);
    let noted = |state| {
        let entry = record(&frame, NOTED, 0);
        move |w: &mut World| {
            w.set_entry(EMBRYONIC, hash, entry);
            w.set_real(NOTED, real(NOTED, state));
        }
    };
    let previous: fn(&mut ServiceValue) = |s| {
        s.prev_ring = PREVIOUS;
        s.prev_until_ns = u64::MAX;
    };
    let unchanged = move |w: &World| w.entry(FLOWS, hash) == Some(entry);
    vec![
        to("recorded, live", RECORDED)
            .given(recorded(RealState::Live))
            .then("the record is as it was", unchanged),
        to("recorded, draining", RECORDED)
            .given(recorded(RealState::Draining))
            .then("the record is as it was", unchanged),
        to("recorded, down", CHOSEN)
            .given(recorded(RealState::Down))
            .then("the record is as it was", unchanged),
        to("recorded, down, stick", RECORDED)
            .given(recorded(RealState::Down))
            .given(with_service(|s| s.flags = ServiceValue::STICK)),
        to("recorded, free", CHOSEN)
            .given(recorded(RealState::Free))
            .then("the record is as it was", unchanged),
        to("recorded, id reused", CHOSEN).given(recorded(RealState::Live)).given(|w| {
            let other = Real { generation: GENERATION + 1, ..real(RECORDED, RealState::Live) };
            w.set_real(RECORDED, other);
        }),
        to("noted, live", NOTED)
            .given(noted(RealState::Live))
            .then("the note stays", move |w| w.entry(EMBRYONIC, hash).is_some())
            .then("no record is made", move |w| w.entry(FLOWS, hash).is_none()),
        to("noted, down", CHOSEN).given(noted(RealState::Down)),
        to("previous ring", BEFORE)
            .given(with_service(previous))
            .then("no record is made", move |w| w.entry(FLOWS, hash).is_none()),
        to("ring", CHOSEN).then("no record is made", move |w| w.entry(FLOWS, hash).is_none()),
        untouched(n("empty ring"), &error, Reason::NoBackend)
            .given(with_service(|s| s.ring = EMPTY)),
        untouched(n("no ring"), &error, Reason::NoBackend)
            .given(with_service(|s| s.ring = NO_RING)),
        untouched(n("ring's real is down"), &error, Reason::RealDown)
            .given(|w| w.set_real(CHOSEN, real(CHOSEN, RealState::Down))),
        untouched(n("ring's real has no neighbour"), &error, Reason::NoNeighbour)
            .given(|w| w.set_real(CHOSEN, Real { mac: [0; 6], ..real(CHOSEN, RealState::Live) })),
    ]
}

/// The packet that carries the error, and services of other kinds.
fn outer(family: Family) -> Vec<Row> {
    let frame = client(family);
    let short = header(family) + 8;
    let n = |name: &str| named(name, family);
    let error = too_big(&answer(&frame), short);
    let at = |vip, port| too_big(&answer(&frame.clone().to(family.vip(vip), port)), short);
    let sticky = frame.clone().to(family.vip(STICKY), 5000);
    let member = 1 + (address_hash(&sticky) >> 48) as u16 % 4;
    let keep = Real { ttl: 0, ..real(CHOSEN, RealState::Live) };
    vec![
        sent(
            n("wrong ICMP checksum"),
            &Frame { checksum_error: 0x1111, ..error.clone() },
            Reason::IcmpError,
            CHOSEN,
        ),
        sent(n("VIP is not up"), &at(DOWN, PORT), Reason::IcmpError, CHOSEN),
        sent(n("port of a range"), &at(VIP, 8050), Reason::IcmpError, real_id(RANGE_PAGE, 2)),
        sent(n("all ports"), &at(ALL_PORTS, 5000), Reason::IcmpError, real_id(ALL_PAGE, 2)),
        sent(
            n("sticky"),
            &too_big(&answer(&sticky), short),
            Reason::IcmpError,
            real_id(STICKY_PAGE, member),
        ),
        sent(
            n("from the client itself"),
            &Frame { source: family.client(7), ..error.clone() },
            Reason::IcmpError,
            CHOSEN,
        ),
        sent(n("TTL kept"), &error, Reason::IcmpError, CHOSEN)
            .given(move |w| w.set_real(CHOSEN, keep))
            .out(&Frame { ttl: error.ttl - 1, ..forwarded(&error, CHOSEN) }),
        untouched(n("TTL kept, used up"), &Frame { ttl: 1, ..error.clone() }, Reason::TtlExceeded)
            .given(move |w| w.set_real(CHOSEN, keep)),
    ]
}

fn v4_quotes() -> Vec<Row> {
    let family = Family::V4;
    let frame = client(family);
    let quoted = answer(&frame);
    let good = |name: &str, quoted: &Frame, bytes| {
        sent(named(name, family), &too_big(quoted, bytes), Reason::IcmpError, RECORDED)
            .given(known(&frame))
    };
    let bad = |name: &str, quoted: &Frame, bytes, reason| {
        untouched(named(name, family), &too_big(quoted, bytes), reason).given(known(&frame))
    };
    let options = Frame { options: vec![0, 80, 0x9c, 0x40], ..quoted.clone() };
    let most = Frame { options: vec![1; 40], ..quoted.clone() };
    let fragment = |fragment| Frame { fragment, ..quoted.clone() };
    let mut short_ihl = too_big(&quoted, 28);
    short_ihl.data[0] = 0x44;
    let with_options = Frame { options: vec![1; 8], ..too_big(&quoted, 28) };
    let first = Frame { fragment: MORE, ..too_big(&quoted, 28) };
    let later = Frame { fragment: 5, protocol: 1, ..Frame::raw(family, 1, &[0x5a; 40]) };
    let later = Frame { source: first.source, ..later };
    let error = |protocol| Frame {
        protocol,
        body: Body::Raw,
        data: too_big(&quoted, 28).body(),
        ..too_big(&quoted, 28)
    };
    vec![
        good("quote with options that look like ports", &options, 32),
        good("quote with all options", &most, 68),
        good("quote whose total length was cut", &Frame { length: Some(28), ..quoted.clone() }, 28),
        good("quote whose TTL is used up", &Frame { ttl: 0, ..quoted.clone() }, 28),
        good("quote with a wrong checksum", &Frame { ip_checksum_error: 5, ..quoted.clone() }, 28),
        good("quote of a first fragment", &fragment(MORE), 28),
        sent("error with options, V4", &with_options, Reason::IcmpError, RECORDED)
            .given(known(&frame)),
        bad("quote of a middle fragment", &fragment(MORE | 9), 28, Reason::IcmpForeign),
        bad("quote of a last fragment", &fragment(9), 28, Reason::IcmpForeign),
        bad("quote cut in its options", &most, 59, Reason::Truncated),
        bad("quote cut behind its options", &most, 63, Reason::Truncated),
        untouched("quote with a header of sixteen bytes, V4", &short_ihl, Reason::IcmpForeign)
            .given(known(&frame)),
        sent("error in fragments, V4", &first, Reason::IcmpError, RECORDED).given(known(&frame)),
        sent("error in fragments, the rest, V4", &later, Reason::Fragment, RECORDED)
            .given(known(&frame))
            .after(&first, Reason::IcmpError),
        untouched("ICMPv6 in IPv4", &error(58), Reason::UnknownProtocol),
    ]
}

fn v6_quotes() -> Vec<Row> {
    let family = Family::V6;
    let frame = client(family);
    let quoted = answer(&frame);
    let good = |name: &str, quoted: &Frame, bytes| {
        sent(named(name, family), &too_big(quoted, bytes), Reason::IcmpError, RECORDED)
            .given(known(&frame))
    };
    let bad = |name: &str, quoted: &Frame, bytes, reason| {
        untouched(named(name, family), &too_big(quoted, bytes), reason).given(known(&frame))
    };
    let with = |extensions: Vec<_>| quoted.clone().with_extensions(extensions);
    let many = |count| with(vec![destination_options(0); count]);
    let two = with(vec![hop_by_hop(0), destination_options(1)]);
    let cut = |offset, more| with(vec![fragment(offset, more, 9)]);
    let outer = too_big(&quoted, 48).with_extensions([destination_options(0)]);
    let error = |protocol| Frame {
        protocol,
        body: Body::Raw,
        data: too_big(&quoted, 48).body(),
        ..too_big(&quoted, 48)
    };
    vec![
        good("quote with hop-by-hop options", &with(vec![hop_by_hop(0)]), 56),
        good("quote with two headers", &two, 40 + 8 + 16 + 8),
        good("quote of an atomic fragment", &cut(0, false), 56),
        good("quote of a first fragment", &cut(0, true), 56),
        sent("error with a header, V6", &outer, Reason::IcmpError, RECORDED).given(known(&frame)),
        bad("quote with segments left", &with(vec![routing_on(4, 2)]), 72, Reason::IcmpForeign),
        bad("quote with too many headers", &many(7), 40 + 56 + 8, Reason::IcmpForeign),
        good("quote with all headers there may be", &many(6), 40 + 48 + 8),
        bad("quote of a middle fragment", &cut(40, true), 56, Reason::IcmpForeign),
        bad("quote of a last fragment", &cut(40, false), 56, Reason::IcmpForeign),
        bad("quote cut in a header", &two, 40 + 8 + 15, Reason::Truncated),
        bad("quote cut at a header", &two, 40 + 8, Reason::Truncated),
        bad("quote cut behind its headers", &two, 40 + 8 + 16 + 3, Reason::Truncated),
        bad(
            "quote of ESP",
            &Frame { protocol: extension::ESP, body: Body::Raw, ..quoted.clone() },
            48,
            Reason::IcmpForeign,
        ),
        untouched("ICMP in IPv6", &error(1), Reason::UnknownProtocol),
    ]
}
