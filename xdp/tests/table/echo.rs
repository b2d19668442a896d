//! Echo requests to a VIP are answered for it, with a checksum exact to the bit (RFC 792, RFC 1624,
//! RFC 4443 section 4).
//!
//! The expected answers are built from scratch, checksums and all.

use vc5_ebpf_abi::{Iface, Reason, VipValue};

use crate::{
    common::{
        checksum::checksum,
        extension::{destination_options, fragment, hop_by_hop},
        frame::{Body, Family, Frame, MORE, OUR_MAC, TCP, UDP},
        kernel::IFINDEX,
        standard::{DOWN, IN, PASSING, REJECTING, STRANGER, VIP, web_key},
        world::World,
    },
    row::{Row, answered, named, untouched},
};

/// The answer to a request.
fn reply(request: &Frame) -> Frame {
    let Body::Icmp { kind, code, word } = request.body else { panic!("no request") };
    let kind = if kind == 8 { 0 } else { kind + 1 };
    Frame {
        destination_mac: request.source_mac,
        source_mac: request.destination_mac,
        source: request.destination,
        destination: request.source,
        ttl: 64,
        body: Body::Icmp { kind, code, word },
        ..request.clone()
    }
}

fn echoed(name: impl Into<String>, request: &Frame) -> Row {
    answered(name, request, Reason::Echo, &reply(request))
}

/// A request of the client whose checksum is this one: `free` is a word of its data.
fn with_checksum(family: Family, wanted: u16) -> Frame {
    let request =
        |free: u16| Frame::echo(family, 0x1234, 7, &[free.to_be_bytes(), [1, 2]].concat());
    let found = (0..=u16::MAX).map(request).find(|f| f.body()[2..4] == wanted.to_be_bytes());
    found.unwrap_or_else(|| panic!("no request with checksum {wanted:#06x}"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend(lengths(family));
        rows.extend(checksums(family));
        rows.extend(circumstances(family));
        rows.extend(down(family));
    }
    rows.extend(v4());
    rows.extend(v6());
    rows
}

fn lengths(family: Family) -> Vec<Row> {
    let of = |length: u8| Frame::echo(family, 0x2f31, 2, &(0..length).collect::<Vec<_>>());
    let most = Frame::echo(family, 1, 65535, &vec![0xa5; 1472 - 20]);
    let n = |name| named(name, family);
    vec![
        echoed(n("no data"), &of(0)),
        echoed(n("one byte"), &of(1)),
        echoed(n("two bytes"), &of(2)),
        echoed(n("odd length"), &of(55)),
        echoed(n("as ping sends it"), &of(56)),
        echoed(n("a full frame"), &most),
        echoed(n("padded"), &Frame { padding: 14, ..of(4) }),
        echoed(n("odd length, padded with one byte"), &Frame { padding: 1, ..of(3) }),
        untouched(n("header less a byte"), &Frame { cut: Some(7), ..of(0) }, Reason::Truncated),
        untouched(n("type alone"), &Frame { cut: Some(1), ..of(0) }, Reason::Truncated),
    ]
}

/// The type changes by 0x0800 in IPv4 and by 0x0100 in IPv6, and the checksum around these carries.
fn checksums(family: Family) -> Vec<Row> {
    let edges: &[u16] = match family {
        Family::V4 => &[0x0000, 0x0001, 0x07ff, 0x0800, 0xf7fe, 0xf7ff, 0xf800, 0xfffe],
        Family::V6 => &[0x0000, 0x0001, 0x00ff, 0x0100, 0xfefe, 0xfeff, 0xff00, 0xfffe],
    };
    let mut rows: Vec<Row> = edges
        .iter()
        .map(|&wanted| {
            let name = format!("request with checksum {wanted:#06x}, {family:?}");
            echoed(name, &with_checksum(family, wanted))
        })
        .collect();
    let zero = Frame::echo(family, 0, 0, &[]);
    rows.push(echoed(named("all zero", family), &zero));
    rows.push(echoed(named("all zero, with data", family), &Frame::echo(family, 0, 0, &[0; 32])));
    rows.push(echoed(named("all ones", family), &Frame::echo(family, 0xffff, 0xffff, &[0xff; 6])));
    rows.push(echoed(
        named("a wrong checksum stays as wrong", family),
        &Frame { checksum_error: 0x1357, ..Frame::echo(family, 1, 1, b"abc") },
    ));
    rows
}

fn trunk(w: &mut World) {
    w.set_iface(Iface {
        ifindex: IFINDEX,
        mac: OUR_MAC,
        index: IN,
        flags: Iface::TRUNK,
        ..Iface::default()
    });
}

fn circumstances(family: Family) -> Vec<Row> {
    let request = Frame::echo(family, 0x2f31, 2, b"01234567");
    let to = |vip| request.clone().to(family.vip(vip), 0);
    let n = |name| named(name, family);
    vec![
        echoed(n("TTL 1"), &Frame { ttl: 1, ..request.clone() }),
        echoed(n("TTL 255"), &Frame { ttl: 255, ..request.clone() }),
        echoed(n("traffic class stays"), &Frame { traffic_class: 0xb8, ..request.clone() }),
        echoed(n("no service is left"), &request).given(move |w| {
            w.remove_service(web_key(family, TCP));
            w.remove_service(web_key(family, UDP));
        }),
        echoed(n("VIP that passes unknown ports"), &to(PASSING)),
        echoed(n("VIP that rejects unknown ports"), &to(REJECTING)),
        echoed(n("in a VLAN"), &request.clone().tagged(0x8100, 0xa00a)).given(trunk),
        echoed(n("priority tag"), &request.clone().tagged(0x8100, 0xe000)).given(trunk),
        echoed(n("QinQ"), &request.clone().tagged(0x88a8, 100).tagged(0x8100, 10)).given(trunk),
        untouched(n("in a VLAN, no trunk"), &request.clone().tagged(0x8100, 10), Reason::Vlan),
        untouched(n("to no VIP"), &to(STRANGER), Reason::NotVip),
        untouched(
            n("not to our MAC"),
            &Frame { destination_mac: [2, 0, 0, 0, 0, 2], ..request.clone() },
            Reason::NotOurMac,
        ),
    ]
}

fn down(family: Family) -> Vec<Row> {
    let request = Frame::echo(family, 0x2f31, 2, b"01234567");
    let to_down = request.clone().to(family.vip(DOWN), 0);
    let n = |name| named(name, family);
    vec![
        untouched(n("VIP is down"), &to_down, Reason::EchoDown),
        echoed(n("VIP has come up"), &to_down)
            .given(move |w| w.set_vip(family.vip(DOWN), VipValue::UP)),
        untouched(n("VIP has gone down"), &request, Reason::EchoDown)
            .given(move |w| w.set_vip(family.vip(VIP), VipValue::RANGES)),
    ]
}

fn v4() -> Vec<Row> {
    let request = Frame::echo(Family::V4, 0x2f31, 2, b"01234567");
    // Of the two words that differ, one makes the header's checksum wrap.
    let wrapping = (0..=u16::MAX).map(|id| Frame { identification: id, ..request.clone() });
    let sum = |f: &Frame| checksum(&[&f.packet()[..10], &f.packet()[12..20]].concat());
    let header = |wanted: u16| wrapping.clone().find(|f| sum(&reply(f)) == wanted);
    let header = |wanted| header(wanted).expect("one identification for each sum");
    let options = |options: &[u8]| Frame { options: options.to_vec(), ..request.clone() };
    vec![
        untouched(
            "first fragment, V4",
            &Frame { fragment: MORE, ..request.clone() },
            Reason::EchoDown,
        ),
        echoed("may be fragmented, V4", &Frame { fragment: 0, ..request.clone() }),
        echoed("options, V4", &options(&[1; 8])),
        echoed("header checksum 0x0000, V4", &header(0x0000)),
        echoed("header checksum 0x0001, V4", &header(0x0001)),
        echoed("header checksum 0xfffe, V4", &header(0xfffe)),
        echoed(
            "a wrong header checksum stays as wrong, V4",
            &Frame { ip_checksum_error: 0x2222, ..request.clone() },
        ),
        untouched(
            "ICMPv6 type in IPv4",
            &Frame { body: Body::Icmp { kind: 128, code: 0, word: [0; 4] }, ..request },
            Reason::IcmpOther,
        ),
    ]
}

fn v6() -> Vec<Row> {
    let request = Frame::echo(Family::V6, 0x2f31, 2, b"01234567");
    let with = |extension| request.clone().with_extensions([extension]);
    vec![
        untouched("first fragment, V6", &with(fragment(0, true, 5)), Reason::EchoDown),
        echoed("hop-by-hop options, V6", &with(hop_by_hop(0))),
        echoed("destination options, V6", &with(destination_options(1))),
        untouched(
            "ICMP type in IPv6",
            &Frame { body: Body::Icmp { kind: 8, code: 0, word: [0; 4] }, ..request.clone() },
            Reason::IcmpOther,
        ),
        echoed(
            "from a link-local address, V6",
            &request.from("fe80::1".parse().expect("an address"), 0),
        ),
    ]
}
