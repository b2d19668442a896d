//! Frames: built field by field, as packets to VIPs mostly are, and then perhaps damaged.

use std::net::IpAddr;

use arbitrary::{Result, Unstructured};

use crate::path::{
    extension::{
        Extension, FRAGMENT, authentication, destination_options, fragment, hop_by_hop, routing,
        routing_on,
    },
    frame::{ACK, Body, FIN, Family, Frame, MORE, OUR_MAC, PORT, RST, SYN, TCP, UDP},
    standard::{ALL_PORTS, DOWN, NO_RANGES, PASSING, REJECTING, STICKY, STRANGER, VIP},
};

/// Addresses to which packets go, by the last byte.
const DESTINATIONS: [u8; 12] = [
    VIP, VIP, VIP, VIP, ALL_PORTS, ALL_PORTS, STICKY, REJECTING, REJECTING, PASSING, DOWN,
    NO_RANGES,
];
const PORTS: [u16; 12] = [PORT, PORT, PORT, PORT, PORT, 81, 443, 8000, 8050, 8099, 8100, 0];
const FLAGS: [u8; 10] = [SYN, SYN, ACK, ACK, ACK, FIN | ACK, RST, SYN | ACK, SYN | FIN, 0];
/// Bytes of a frame of which most decide something.
const HEADERS: usize = 120;

/// Who speaks to whom.
struct Ends {
    client: (IpAddr, u16),
    vip: (IpAddr, u16),
}

impl Ends {
    fn new(u: &mut Unstructured<'_>, family: Family) -> Result<Self> {
        let vip = if u.ratio(1, 24u8)? { STRANGER } else { *u.choose(&DESTINATIONS)? };
        let port = if u.ratio(1, 12u8)? { u.arbitrary()? } else { *u.choose(&PORTS)? };
        let client = (family.client(u.int_in_range(1..=3)?), u.int_in_range(1..=4)?);
        Ok(Self { client, vip: (family.vip(vip), port) })
    }
}

/// A frame whose fields are known, most of them right.
pub fn structured(u: &mut Unstructured<'_>) -> Result<Frame> {
    let family = *u.choose(&Family::BOTH)?;
    let ends = Ends::new(u, family)?;
    let mut frame = carrying(u, family, &ends)?;
    frame = match family {
        Family::V4 => Frame { options: options(u)?, fragment: fragment_word(u)?, ..frame },
        Family::V6 => Frame { extensions: extensions(u)?, ..frame },
    };
    frame.tags = tags(u)?;
    frame.ttl = *u.choose(&[57, 57, 57, 64, 255, 2, 1, 0])?;
    frame.identification = u.int_in_range(1..=2)?;
    if u.ratio(1, 4u8)? {
        unusual(u, &mut frame)?;
    }
    Ok(frame)
}

/// Fields that are nearly always as they should be.
fn unusual(u: &mut Unstructured<'_>, frame: &mut Frame) -> Result<()> {
    match u.int_in_range(0..=9)? {
        0 if u.ratio(1, 4u8)? => frame.destination_mac = [2, 0, 0, 0, 0, u.arbitrary()?],
        1 => frame.padding = u.int_in_range(0..=30)?,
        2 => frame.cut = Some(u.int_in_range(0..=40)?),
        3 => frame.length = Some(u.int_in_range(0..=200)?),
        4 => frame.ip_checksum_error = u.arbitrary()?,
        5 => frame.checksum_error = u.arbitrary()?,
        6 => frame.data_offset = u.arbitrary()?,
        7 => frame.traffic_class = u.arbitrary()?,
        8 if u.ratio(1, 4u8)? => {
            frame.ether_type = Some(*u.choose(&[0x0800, 0x86dd, 0x0806, 0x8100])?)
        }
        _ => frame.source = unroutable(u, frame.family())?,
    }
    Ok(())
}

/// Sources that are no single host, or written as the other family's.
fn unroutable(u: &mut Unstructured<'_>, family: Family) -> Result<IpAddr> {
    let v4 = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1"];
    let v6 = ["::", "::1", "ff02::1", "::ffff:198.51.100.1", "2001:db8::1"];
    let text = u.choose(if family == Family::V4 { &v4 } else { &v6 })?;
    Ok(text.parse().unwrap())
}

fn carrying(u: &mut Unstructured<'_>, family: Family, ends: &Ends) -> Result<Frame> {
    let between =
        |frame: Frame| frame.from(ends.client.0, ends.client.1).to(ends.vip.0, ends.vip.1);
    Ok(match u.int_in_range(0..=15u8)? {
        0..=6 => {
            let flags = if u.ratio(1, 8u8)? { u.arbitrary()? } else { *u.choose(&FLAGS)? };
            let body = Body::Tcp { flags, seq: u.arbitrary()?, ack: u.arbitrary()?, window: 8192 };
            between(Frame { body, data: data(u)?, ..Frame::tcp(family, flags) })
        }
        7..=9 => between(Frame { data: data(u)?, ..Frame::udp(family) }),
        10 | 11 => {
            let (identifier, sequence) = if u.arbitrary()? { u.arbitrary()? } else { (0, 0) };
            between(Frame::echo(family, identifier, sequence, &data(u)?))
        }
        12 | 13 => error(u, family, ends)?,
        14 => {
            let word = u.arbitrary()?;
            between(Frame::icmp(family, u.arbitrary()?, u.arbitrary()?, word, &data(u)?))
        }
        _ => {
            let known = *u.choose(&[TCP, UDP, 50, 132])?;
            let protocol = if u.arbitrary()? { known } else { u.arbitrary()? };
            between(Frame::raw(family, protocol, &data(u)?))
        }
    })
}

/// An ICMP error about a packet from the VIP to the client.
fn error(u: &mut Unstructured<'_>, family: Family, ends: &Ends) -> Result<Frame> {
    let quoted = if u.arbitrary()? { Frame::tcp(family, ACK) } else { Frame::udp(family) };
    let quoted = match family {
        Family::V4 => Frame { options: options(u)?, fragment: fragment_word(u)?, ..quoted },
        Family::V6 => Frame { extensions: extensions(u)?, ..quoted },
    };
    let quoted = quoted.from(ends.vip.0, ends.vip.1).to(ends.client.0, ends.client.1);
    let to = if u.ratio(1, 8u8)? { Ends::new(u, family)?.vip.0 } else { ends.vip.0 };
    Ok(Frame { destination: to, ..about(u, &quoted)? })
}

/// An ICMP error about a packet, to its sender.
fn about(u: &mut Unstructured<'_>, quoted: &Frame) -> Result<Frame> {
    let family = quoted.family();
    let kind = match family {
        Family::V4 => *u.choose(&[3, 3, 4, 11, 12, 5])?,
        Family::V6 => *u.choose(&[1, 2, 3, 4, 100])?,
    };
    let code = u.int_in_range(0..=4)?;
    let mut quote = quoted.packet();
    let least = if family == Family::V4 { 28 } else { 48 };
    quote.truncate(if u.ratio(1, 4u8)? { u.int_in_range(0..=120)? } else { least });
    Ok(Frame::icmp(family, kind, code, [0, 0, 5, 0xdc], &quote).to(quoted.source, 0))
}

fn data(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = u.int_in_range(0..=40)?;
    Ok(u.bytes(u.len().min(length))?.to_vec())
}

fn options(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let words = if u.ratio(1, 5u8)? { u.int_in_range(1..=10)? } else { 0 };
    Ok(vec![1; 4 * words])
}

/// Flags and fragment offset of IPv4.
fn fragment_word(u: &mut Unstructured<'_>) -> Result<u16> {
    let words = [0x4000, 0x4000, 0x4000, 0, 0, 0x8000, MORE, MORE, MORE | 5, 9, 0x1fff];
    if u.ratio(1, 20u8)? { u.arbitrary() } else { Ok(*u.choose(&words)?) }
}

fn extensions(u: &mut Unstructured<'_>) -> Result<Vec<Extension>> {
    let count = match u.int_in_range(0..=5u8)? {
        0..=2 => 0,
        3 | 4 => u.int_in_range(1..=2)?,
        _ => u.int_in_range(3..=8)?,
    };
    (0..count).map(|_| extension(u)).collect()
}

fn extension(u: &mut Unstructured<'_>) -> Result<Extension> {
    let more = u.int_in_range(0..=2)?;
    Ok(match u.int_in_range(0..=9u8)? {
        0 => hop_by_hop(more),
        1 | 2 => destination_options(more),
        3 => routing(u.int_in_range(0..=4)?, more),
        4 => routing_on(u.int_in_range(0..=4)?, more),
        5 | 6 => fragment(0, true, u.int_in_range(1..=2)?),
        7 => fragment(8 * u.int_in_range(0..=20)?, u.arbitrary()?, u.int_in_range(1..=2)?),
        8 => authentication(),
        _ => destination_options(0).claiming(u.arbitrary()?),
    })
}

fn tags(u: &mut Unstructured<'_>) -> Result<Vec<(u16, u16)>> {
    let count = [0, 0, 0, 0, 1, 1, 2, 3];
    (0..*u.choose(&count)?)
        .map(|_| {
            let tpid = *u.choose(&[0x8100, 0x8100, 0x88a8, 0x9100])?;
            Ok((tpid, *u.choose(&[0, 10, 10, 20, 0xb00a, 0x500a, 0xf000, 0xffff])?))
        })
        .collect()
}

/// A later frame of the same flow, or of the same packet if that is in fragments, or an error about
/// a frame that answers it.
pub fn next(u: &mut Unstructured<'_>, frame: &Frame) -> Result<Frame> {
    let mut frame = frame.clone();
    if matches!(frame.protocol, TCP | UDP) && u.ratio(1, 6u8)? {
        let answer = frame.clone().from(frame.destination, frame.port);
        return about(u, &answer.to(frame.source, frame.source_port));
    }
    if let Body::Tcp { flags, .. } = &mut frame.body {
        *flags = *u.choose(&[ACK, ACK, ACK, SYN, FIN | ACK, RST])?;
    }
    frame.ttl = frame.ttl.max(2);
    let offset = *u.choose(&[0, 1, 5, 20])?;
    if frame.fragment & !0x4000 != 0 {
        frame.fragment = offset | if u.arbitrary()? { MORE } else { 0 };
    }
    for extension in frame.extensions.iter_mut().filter(|e| e.kind == FRAGMENT) {
        *extension = fragment(8 * offset, u.arbitrary()?, u.int_in_range(1..=2)?);
    }
    Ok(frame)
}

/// The frame's bytes, a few of which are other ones than they should be in one of four frames.
pub fn damaged(u: &mut Unstructured<'_>, frame: &Frame) -> Result<Vec<u8>> {
    let mut bytes = frame.bytes();
    if u.ratio(1, 4u8)? {
        for _ in 0..u.int_in_range(0..=3)? {
            let at = u.int_in_range(0..=HEADERS)?.min(bytes.len() - 1);
            bytes[at] = u.arbitrary()?;
        }
        if u.ratio(1, 3u8)? {
            bytes.truncate(u.int_in_range(14..=HEADERS)?);
        }
    }
    Ok(bytes)
}

/// Any bytes, mostly behind an Ethernet header that leads on. The kernel refuses to try frames
/// shorter than such a header.
pub fn raw(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = u.int_in_range(14..=200)?;
    let mut bytes = u.bytes(u.len().min(length))?.to_vec();
    bytes.resize(bytes.len().max(14), 0);
    if u.ratio(7, 8u8)? {
        bytes[..6].copy_from_slice(&OUR_MAC);
        let kind = u.choose(&[[8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]])?;
        bytes[12..14].copy_from_slice(kind);
    }
    Ok(bytes)
}
