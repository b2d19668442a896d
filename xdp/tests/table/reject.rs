//! Packets to a VIP that no service is for, where they are answered: TCP by a reset (RFC 9293
//! section 3.10.7.1), others by an ICMP error (RFC 1122 section 3.2.2.1, RFC 4443 section 3).
//!
//! The expected answers are built from scratch, field by field.

use std::net::IpAddr;

use vc5_ebpf_abi::{Iface, Reason};

use crate::{
    common::{
        extension::{destination_options, fragment, hop_by_hop},
        frame::{ACK, Body, FIN, Family, Frame, MORE, OUR_MAC, PORT, PSH, RST, SYN},
        kernel::IFINDEX,
        standard::{CHOSEN, IN, REJECTING},
        world::World,
    },
    row::{Row, answered, named, sent, untouched},
};

/// To a port without a service.
fn refused(frame: Frame) -> Frame {
    let vip = frame.family().vip(REJECTING);
    frame.to(vip, 81)
}

/// What all answers have in common: turned round, and with headers of our own.
fn answer(to: &Frame, protocol: u8, body: Body, data: &[u8]) -> Frame {
    Frame {
        destination_mac: to.source_mac,
        source_mac: to.destination_mac,
        source: to.destination,
        destination: to.source,
        source_port: to.port,
        port: to.source_port,
        ttl: 64,
        traffic_class: 0,
        flow_label: 0,
        identification: 0,
        fragment: 0x4000,
        options: Vec::new(),
        extensions: Vec::new(),
        protocol,
        body,
        data: data.to_vec(),
        data_offset: 0x50,
        cut: None,
        length: None,
        ip_checksum_error: 0,
        checksum_error: 0,
        padding: 0,
        ..to.clone()
    }
}

/// A reset is expected: with this sequence number, or one that acknowledges.
fn reset(name: impl Into<String>, frame: &Frame, seq: u32, ack: Option<u32>) -> Row {
    let flags = if ack.is_some() { RST | ACK } else { RST };
    let body = Body::Tcp { flags, seq, ack: ack.unwrap_or(0), window: 0 };
    let out = answer(frame, frame.protocol, body, &[]);
    answered(name, frame, Reason::UnknownRejected, &out)
}

/// An ICMP error is expected, which quotes this much of the packet.
fn error(
    name: impl Into<String>,
    frame: &Frame,
    [kind, code, pointer]: [u8; 3],
    quote: usize,
) -> Row {
    let body = Body::Icmp { kind, code, word: [0, 0, 0, pointer] };
    let out = answer(frame, frame.family().icmp(), body, &frame.packet()[..quote]);
    answered(name, frame, Reason::UnknownRejected, &out)
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend(resets(family));
        rows.extend(unreachable(family));
        rows.extend(not_answered(family));
        rows.extend(tags(family));
    }
    rows.extend(v4());
    rows.extend(v6());
    rows
}

fn tcp(family: Family, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Frame {
    let body = Body::Tcp { flags, seq, ack, window: 512 };
    refused(Frame { body, data: data.to_vec(), ..Frame::tcp(family, flags) })
}

fn resets(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let tcp = |flags, seq, ack, data: &[u8]| tcp(family, flags, seq, ack, data);
    let options = {
        let mut frame = tcp(SYN, 5, 0, &[2, 4, 5, 0xb4]);
        frame.checksum_error = 0;
        frame
    };
    let offset = |data_offset| Frame { data_offset, ..tcp(SYN, 1000, 0, b"") };
    vec![
        // Without ACK: sequence zero, and all that the segment takes up is acknowledged.
        reset(n("SYN"), &tcp(SYN, 1000, 0, b""), 0, Some(1001)),
        reset(n("SYN at the end of the sequence"), &tcp(SYN, u32::MAX, 0, b""), 0, Some(0)),
        reset(n("SYN with data"), &tcp(SYN, 1000, 0, b"abc"), 0, Some(1004)),
        reset(n("SYN with more data"), &options, 0, Some(10)),
        reset(n("SYN and FIN"), &tcp(SYN | FIN, 1000, 0, b""), 0, Some(1002)),
        reset(n("FIN without ACK"), &tcp(FIN, 1000, 7, b"ab"), 0, Some(1003)),
        reset(n("no flags"), &tcp(0, 1000, 7, b"abcde"), 0, Some(1005)),
        // With ACK: as the other side expects to be answered.
        reset(n("ACK"), &tcp(ACK, 1000, 77, b""), 77, None),
        reset(
            n("ACK with data"),
            &tcp(ACK | PSH, 1000, 0xffff_fffe, b"abcdefg"),
            0xffff_fffe,
            None,
        ),
        reset(n("SYN and ACK"), &tcp(SYN | ACK, 1000, 77, b""), 77, None),
        reset(n("FIN and ACK"), &tcp(FIN | ACK, 1000, 77, b""), 77, None),
        reset(n("ACK, padded"), &Frame { padding: 6, ..tcp(ACK, 1, 2, b"") }, 2, None),
        reset(n("a long segment"), &tcp(ACK, 1, 2, &[7; 1400]), 2, None),
        reset(n("TTL 1"), &Frame { ttl: 1, ..tcp(ACK, 1, 2, b"") }, 2, None),
        reset(
            n("a wrong TCP checksum"),
            &Frame { checksum_error: 9, ..tcp(ACK, 1, 2, b"") },
            2,
            None,
        ),
        untouched(
            n("a header that is too short by its own words"),
            &offset(0x40),
            Reason::UnknownPort,
        ),
        untouched(n("a header longer than the packet"), &offset(0xf0), Reason::UnknownPort),
        untouched(n("RST is not answered"), &tcp(RST, 1000, 0, b""), Reason::UnknownPort),
        untouched(
            n("RST and ACK is not answered"),
            &tcp(RST | ACK, 1, 1, b""),
            Reason::UnknownPort,
        ),
        untouched(
            n("SYN and RST is not answered"),
            &tcp(SYN | RST, 1, 1, b""),
            Reason::UnknownPort,
        ),
        sent(
            n("known port"),
            &Frame::tcp(family, ACK).to(family.vip(REJECTING), PORT),
            Reason::Ring,
            CHOSEN,
        ),
    ]
}

/// The ICMP message for an unknown port, and how long it may be.
fn port_unreachable(family: Family) -> ([u8; 3], usize) {
    match family {
        Family::V4 => ([3, 3, 0], 576 - 20 - 8),
        Family::V6 => ([1, 4, 0], 1280 - 40 - 8),
    }
}

fn unreachable(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let (message, most) = port_unreachable(family);
    let udp = |length: usize| refused(Frame { data: vec![0xa5; length], ..Frame::udp(family) });
    let whole = |name, frame: &Frame| error(n(name), frame, message, frame.packet().len());
    let header = if family == Family::V4 { 28 } else { 48 };
    let first = match family {
        Family::V4 => Frame { fragment: MORE, ..udp(24) },
        Family::V6 => udp(24).with_extensions([fragment(0, true, 9)]),
    };
    let protocol = refused(Frame::raw(family, 132, &[0x5a; 32]));
    let unknown = if family == Family::V4 { [3, 2, 0] } else { [4, 1, 6] };
    vec![
        whole("UDP", &udp(12)),
        whole("UDP without data", &udp(0)),
        whole("UDP, padded", &Frame { padding: 18, ..udp(0) }),
        whole("UDP, as long as is quoted", &udp(most - header)),
        error(n("UDP, longer than is quoted"), &udp(most - header + 4), message, most),
        error(n("UDP, much longer than is quoted"), &udp(1400), message, most),
        // Words of four bytes are quoted.
        error(n("UDP, odd length"), &udp(13), message, header + 12),
        whole("UDP, TTL 1", &Frame { ttl: 1, ..udp(4) }),
        whole("UDP, wrong checksum", &Frame { checksum_error: 3, ..udp(4) }),
        whole("UDP, all ones", &Frame { data: vec![0xff; 64], ..udp(0) }),
        error(n("SCTP"), &protocol, unknown, protocol.packet().len()),
        whole("UDP, first fragment", &first),
        sent(
            n("UDP, known port"),
            &Frame::udp(family).to(family.vip(REJECTING), PORT),
            Reason::Ring,
            CHOSEN,
        ),
    ]
}

/// An error must not be answered, nor what comes from nobody in particular.
fn not_answered(family: Family) -> Vec<Row> {
    let n = |name: &str| named(name, family);
    let nobody: &[&str] = match family {
        Family::V4 => {
            &["0.0.0.0", "127.0.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"]
        }
        Family::V6 => &["::", "::1", "ff02::1", "ff0e::1"],
    };
    let mut rows: Vec<Row> = nobody
        .iter()
        .flat_map(|source| {
            let source: IpAddr = source.parse().expect("an address");
            let tcp = Frame { source, ..refused(Frame::tcp(family, SYN)) };
            let udp = Frame { source, ..refused(Frame::udp(family)) };
            [
                untouched(format!("TCP from {source}"), &tcp, Reason::UnknownPort),
                untouched(format!("UDP from {source}"), &udp, Reason::UnknownPort),
            ]
        })
        .collect();
    let kind = if family == Family::V4 { 3 } else { 1 };
    let quoted = Frame {
        source: family.vip(REJECTING),
        destination: family.client(7),
        source_port: 81,
        ..Frame::tcp(family, ACK)
    };
    let icmp_error = refused(Frame::icmp(family, kind, 1, [0; 4], &quoted.packet()));
    rows.extend([
        untouched(n("an error that quotes an unknown port"), &icmp_error, Reason::IcmpForeign),
        untouched(
            n("other ICMP"),
            &refused(Frame::icmp(family, 200, 0, [0; 4], b"x")),
            Reason::IcmpOther,
        ),
        untouched(
            n("too short for TCP"),
            &Frame { cut: Some(19), ..refused(Frame::tcp(family, SYN)) },
            Reason::Truncated,
        ),
    ]);
    rows
}

/// The answer has the tags of the packet.
fn tags(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let trunk = |w: &mut World| {
        w.set_iface(Iface {
            ifindex: IFINDEX,
            mac: OUR_MAC,
            index: IN,
            flags: Iface::TRUNK,
            ..Iface::default()
        });
    };
    let (message, _) = port_unreachable(family);
    let one = |frame: Frame| refused(frame).tagged(0x8100, 0xb00a);
    let two = |frame: Frame| refused(frame).tagged(0x88a8, 100).tagged(0x8100, 0x6000);
    let udp = |frame: Frame| Frame { data: vec![1; 12], ..frame };
    let syn = || tcp(family, SYN, 5, 0, b"");
    let length = udp(Frame::udp(family)).packet().len();
    vec![
        reset(n("SYN in a VLAN"), &syn().tagged(0x8100, 0xb00a), 0, Some(6)).given(trunk),
        reset(n("SYN in QinQ"), &syn().tagged(0x88a8, 9).tagged(0x8100, 7), 0, Some(6))
            .given(trunk),
        error(n("UDP in a VLAN"), &udp(one(Frame::udp(family))), message, length).given(trunk),
        error(n("UDP in QinQ"), &udp(two(Frame::udp(family))), message, length).given(trunk),
    ]
}

fn v4() -> Vec<Row> {
    let family = Family::V4;
    let options = |frame: Frame| Frame { options: vec![1; 12], ..refused(frame) };
    let udp = options(Frame { data: vec![1; 12], ..Frame::udp(family) });
    vec![
        reset("SYN with options, V4", &options(tcp(family, SYN, 5, 0, b"")), 0, Some(6)),
        error("UDP with options, V4", &udp, [3, 3, 0], udp.packet().len()),
        error(
            "ICMPv6 in IPv4, answered",
            &refused(Frame::raw(family, 58, &[128, 0, 0, 0, 0, 0, 0, 0])),
            [3, 2, 0],
            28,
        ),
    ]
}

fn v6() -> Vec<Row> {
    let family = Family::V6;
    let both = || [hop_by_hop(0), destination_options(1)];
    let syn = refused(tcp(family, SYN, 5, 0, b"ab")).with_extensions(both());
    let udp = refused(Frame { data: vec![1; 12], ..Frame::udp(family) }).with_extensions(both());
    let esp = refused(Frame::raw(family, 50, &[3; 40]));
    let behind = esp.clone().with_extensions(both());
    vec![
        reset("SYN behind headers, V6", &syn, 0, Some(8)),
        error("UDP behind headers, V6", &udp, [1, 4, 0], udp.packet().len()),
        error("ESP, V6", &esp, [4, 1, 6], esp.packet().len()),
        // The field that names the protocol is the first byte of the last header.
        error("ESP behind headers, V6", &behind, [4, 1, 40 + 8], behind.packet().len()),
    ]
}
