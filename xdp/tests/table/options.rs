//! IPv4 options and header lengths (RFC 791 section 3.1).

use vc5_ebpf_abi::Reason;

use crate::{
    common::{
        frame::{ACK, Family, Frame, SYN},
        standard::{CHOSEN, RECORDED, record},
        world::flow_hash,
    },
    row::{Row, sent, untouched},
};
use vc5_ebpf_abi::maps::FLOWS;

fn tcp(options: &[u8]) -> Frame {
    Frame { options: options.to_vec(), ..Frame::tcp(Family::V4, ACK) }
}

fn udp(options: &[u8]) -> Frame {
    Frame { options: options.to_vec(), ..Frame::udp(Family::V4) }
}

/// A packet without options whose first byte and total length say otherwise.
fn lying(frame: &Frame, version_ihl: u8, length: Option<u16>) -> Vec<u8> {
    let mut bytes = Frame { length, ..frame.clone() }.bytes();
    bytes[14] = version_ihl;
    bytes
}

pub fn rows() -> Vec<Row> {
    [sound(), odd(), contradictory()].into_iter().flatten().collect()
}

/// Options are no business of the path: it looks behind them.
fn sound() -> Vec<Row> {
    let router_alert = [0x94, 4, 0, 0];
    let mut timestamp = vec![0x44, 12, 5, 0];
    timestamp.resize(12, 0);
    let mut record_route = vec![7, 39, 4];
    record_route.resize(40, 0);
    let source_route = [0x83, 7, 4, 203, 0, 113, 9, 0];
    vec![
        sent("no options", &tcp(&[]), Reason::Ring, CHOSEN),
        sent("one word of no-operations", &tcp(&[1; 4]), Reason::Ring, CHOSEN),
        sent("router alert", &tcp(&router_alert), Reason::Ring, CHOSEN),
        sent("timestamp", &udp(&timestamp), Reason::Ring, CHOSEN),
        sent("record route, all forty bytes", &tcp(&record_route), Reason::Ring, CHOSEN),
        sent("loose source route", &tcp(&source_route), Reason::Ring, CHOSEN),
        sent("forty bytes, UDP", &udp(&[1; 40]), Reason::Ring, CHOSEN),
        sent("end of options, then rubbish", &tcp(&[0, 9, 9, 9]), Reason::Ring, CHOSEN),
        sent("an option of length zero", &tcp(&[0x44, 0, 0, 0]), Reason::Ring, CHOSEN),
        sent("options that look like ports", &tcp(&[0x9c, 0x40, 0, 81]), Reason::Ring, CHOSEN),
        sent("options, known flow", &tcp(&[1; 8]), Reason::Flow, RECORDED).given(|w| {
            let frame = tcp(&[1; 8]);
            w.set_entry(FLOWS, flow_hash(&frame), record(&frame, RECORDED, 0));
        }),
        sent(
            "options, SYN",
            &Frame { options: vec![1; 12], ..Frame::tcp(Family::V4, SYN) },
            Reason::Ring,
            CHOSEN,
        ),
    ]
}

fn odd() -> Vec<Row> {
    let padded = |frame: Frame| Frame { padding: 9, ..frame };
    let bare = Frame { data: Vec::new(), ..Frame::tcp(Family::V4, SYN) };
    vec![
        sent("padding stays", &padded(tcp(&[1; 4])), Reason::Ring, CHOSEN),
        sent("TCP without data, padded", &padded(bare.clone()), Reason::Ring, CHOSEN),
        sent("TCP without data", &bare, Reason::Ring, CHOSEN),
        // TCP's data offset is the backend's business.
        sent(
            "TCP header too short",
            &Frame { data_offset: 0x40, ..tcp(&[]) },
            Reason::Ring,
            CHOSEN,
        ),
        sent("TCP header too long", &Frame { data_offset: 0xf0, ..tcp(&[]) }, Reason::Ring, CHOSEN),
        sent("UDP without data", &Frame { data: Vec::new(), ..udp(&[1; 4]) }, Reason::Ring, CHOSEN),
        sent("1,514 bytes", &Frame { data: vec![0x5a; 1460], ..tcp(&[]) }, Reason::Ring, CHOSEN),
        sent("may be fragmented", &Frame { fragment: 0, ..tcp(&[]) }, Reason::Ring, CHOSEN),
        sent("reserved flag", &Frame { fragment: 0x8000, ..tcp(&[]) }, Reason::Ring, CHOSEN),
        sent(
            "a wrong header checksum stays as wrong",
            &Frame { ip_checksum_error: 0x0123, ..tcp(&[]) },
            Reason::Ring,
            CHOSEN,
        ),
        sent(
            "a wrong header checksum, with options",
            &Frame { ip_checksum_error: 0xfedc, ..tcp(&[1; 4]) },
            Reason::Ring,
            CHOSEN,
        ),
        sent(
            "a wrong TCP checksum",
            &Frame { checksum_error: 1, ..tcp(&[]) },
            Reason::Ring,
            CHOSEN,
        ),
    ]
}

fn contradictory() -> Vec<Row> {
    let plain = tcp(&[]);
    let with = |length| Some(length);
    vec![
        untouched("header of no length", lying(&plain, 0x40, None), Reason::Malformed),
        untouched("header of sixteen bytes", lying(&plain, 0x44, None), Reason::Malformed),
        untouched("header longer than packet", lying(&plain, 0x4f, None), Reason::Malformed),
        untouched("version 6 in IPv4", lying(&plain, 0x65, None), Reason::Malformed),
        untouched("version 0 in IPv4", lying(&plain, 0x05, None), Reason::Malformed),
        untouched("total length zero", lying(&plain, 0x45, with(0)), Reason::Malformed),
        untouched("total length below header", lying(&plain, 0x45, with(19)), Reason::Malformed),
        untouched("total length beyond frame", lying(&plain, 0x45, with(46)), Reason::Malformed),
        untouched("nothing but a header", lying(&plain, 0x45, with(20)), Reason::Truncated),
        untouched("TCP header less a byte", lying(&plain, 0x45, with(39)), Reason::Truncated),
        untouched("UDP header less a byte", lying(&udp(&[]), 0x45, with(27)), Reason::Truncated),
        untouched(
            "options leave no room for TCP's last byte",
            Frame { cut: Some(19), ..tcp(&[1; 40]) }.bytes(),
            Reason::Truncated,
        ),
        untouched(
            "TCP only in the padding",
            Frame { length: Some(24), padding: 20, ..tcp(&[1; 4]) }.bytes(),
            Reason::Truncated,
        ),
        untouched(
            "options up to the end, all data taken for them",
            lying(&Frame { data: vec![0; 20], ..tcp(&[]) }, 0x4f, None),
            Reason::Truncated,
        ),
    ]
}
