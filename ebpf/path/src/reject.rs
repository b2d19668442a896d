//! The answer to a packet that no service is for: a TCP reset, or an ICMP error.

use vc5_ebpf_abi::{Address, Reason};

use crate::{
    checksum::Sum,
    echo::swap_macs,
    flow::{ACK, FIN, RST, SYN, within},
    icmp,
    ip::{self, Addresses, Headers, ICMP, ICMPV6, TCP, UDP},
    ipv4, ipv6,
    link::{ETHERNET, Link, TAG},
    packet::{Packet, field},
    siphash::{Words, address, is_mapped},
    verifier::{forget, opaque},
};

const TTL: u8 = 64;
const TCP_HEADER: usize = 20;

/// Bytes of a packet that an ICMP error quotes at most, so that the error is of 576 bytes (RFC 1812
/// section 4.3.2.3) or 1,280 bytes (RFC 4443 section 2.4).
const QUOTE_V4: usize = 576 - ipv4::HEADER - icmp::HEADER;
const QUOTE_V6: usize = 1280 - ipv6::HEADER - icmp::HEADER;

/// Headers of an answer are no longer than this.
const OFFSETS: usize = 0x7f;

/// Makes a packet into the answer to it; the reason under which it is counted.
#[inline(always)]
pub fn answer<P: Packet>(packet: &mut P, link: &Link) -> Reason {
    let addresses = ip::addresses(packet, link.ip, link.v6);
    let (Some(addresses), Ok(headers)) = (addresses, ip::read(packet, link)) else {
        return Reason::UnknownPort;
    };
    let unanswered = if matches!(headers.protocol, TCP | UDP) {
        Reason::UnknownPort
    } else {
        Reason::UnknownProtocol
    };
    if !is_host(addresses.source) {
        return unanswered;
    }
    if headers.protocol == TCP {
        let Some(segment) = Segment::read(packet, &headers) else { return unanswered };
        return reset(packet, link, &addresses, &segment)
            .map_or(Reason::NoRoom, |()| Reason::UnknownRejected);
    }
    error(packet, link, &addresses, &headers).map_or(Reason::NoRoom, |()| Reason::UnknownRejected)
}

/// Whether an answer to this address reaches one host (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
#[inline(always)]
fn is_host(source: Words) -> bool {
    if is_mapped(source) {
        let [.., network, _, _, _] = address(source);
        // "This" network, loopback, multicast, reserved and broadcast.
        return !matches!(network, 0 | 127 | 224..);
    }
    let [first, ..] = address(source);
    let [upper, lower] = source;
    // Multicast, unspecified and loopback.
    first != 0xff && (upper != 0 || lower & !(1 << 56) != 0)
}

/// What the reset says of the segment that it answers.
struct Segment {
    ports: [u8; 4],
    sequence: u32,
    acknowledgment: u32,
    flags: u8,
}

impl Segment {
    /// The reset for a segment (RFC 9293 section 3.5.2, group 1); none for a reset.
    #[inline(always)]
    fn read<P: Packet>(packet: &P, headers: &Headers) -> Option<Self> {
        let bytes: &[u8; TCP_HEADER] = within(packet, headers.transport, headers.end)?;
        let [s0, s1, d0, d1, ..] = *bytes;
        let ports = [d0, d1, s0, s1];
        let sequence = u32::from_be_bytes(field(bytes, 4));
        let acknowledgment = u32::from_be_bytes(field(bytes, 8));
        let [offset, flags] = field(bytes, 12);
        let header = usize::from(offset >> 4) * 4;
        let data = (headers.end - headers.transport).checked_sub(header)?;
        if flags & RST != 0 || header < TCP_HEADER {
            return None;
        }
        if flags & ACK != 0 {
            return Some(Self { ports, sequence: acknowledgment, acknowledgment: 0, flags: RST });
        }
        let controls = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let acknowledgment = sequence.wrapping_add(data as u32).wrapping_add(controls);
        Some(Self { ports, sequence: 0, acknowledgment, flags: RST | ACK })
    }

    #[inline(always)]
    fn header(&self, pseudo: Sum) -> [u8; TCP_HEADER] {
        let [s0, s1, d0, d1] = self.ports;
        let [a, b, c, d] = self.sequence.to_be_bytes();
        let [e, f, g, h] = self.acknowledgment.to_be_bytes();
        let header = |[hi, lo]: [u8; 2]| {
            [s0, s1, d0, d1, a, b, c, d, e, f, g, h, 0x50, self.flags, 0, 0, hi, lo, 0, 0]
        };
        header(pseudo.bytes(&header([0; 2])).finish().to_be_bytes())
    }
}

#[inline(always)]
fn reset<P: Packet>(
    packet: &mut P,
    link: &Link,
    addresses: &Addresses,
    segment: &Segment,
) -> Option<()> {
    let at = link.ip + if link.v6 { ipv6::HEADER } else { ipv4::HEADER };
    let tcp = segment.header(pseudo(addresses, TCP_HEADER, TCP));
    // Options and extension headers, if there were any, are written over.
    write_ip(packet, link, addresses, TCP_HEADER, TCP)?;
    packet.store(at, tcp)?;
    swap_macs(packet)?;
    packet.truncate(at + TCP_HEADER)
}

/// Port unreachable, or for another protocol than UDP that it is unknown.
#[inline(always)]
fn error<P: Packet>(
    packet: &mut P,
    link: &Link,
    addresses: &Addresses,
    headers: &Headers,
) -> Option<()> {
    let [kind, code, pointer] = match (link.v6, headers.protocol == UDP) {
        (false, true) => [3, 3, 0],
        (false, false) => [3, 2, 0],
        (true, true) => [1, 4, 0],
        (true, false) => [4, 1, (headers.next_at - link.ip) as u16],
    };
    let quote = headers.end - link.ip;
    // Cut to words of four bytes, by which they are summed up.
    let quote = quote.min(if link.v6 { QUOTE_V6 } else { QUOTE_V4 }) & !3;
    let ip_header = if link.v6 { ipv6::HEADER } else { ipv4::HEADER };
    packet.push(ip_header + icmp::HEADER)?;
    move_link(packet, link, ip_header + icmp::HEADER)?;
    let protocol = if link.v6 { ICMPV6 } else { ICMP };
    write_ip(packet, link, addresses, icmp::HEADER + quote, protocol)?;
    let pseudo =
        if link.v6 { pseudo(addresses, icmp::HEADER + quote, ICMPV6) } else { Sum::default() };
    // Both versions are walked on as one.
    let quote_at =
        ETHERNET + forget::<OFFSETS>(link.ip - ETHERNET + ip_header + icmp::HEADER, quote as u64);
    packet.renew();
    let sum = pseudo.add(u16::from_be_bytes([kind as u8, code as u8])).add(pointer);
    let sum = sum.range(packet, quote_at, quote_at + quote)?;
    let [hi, lo] = sum.finish().to_be_bytes();
    let [pointer_hi, pointer_lo] = pointer.to_be_bytes();
    let icmp_at = opaque((quote_at - icmp::HEADER) as u64) as usize;
    packet.store(icmp_at, [kind as u8, code as u8, hi, lo, 0, 0, pointer_hi, pointer_lo])?;
    packet.truncate(quote_at + quote)
}

/// Moves the link header to the front, from `from` on, and turns it round.
#[inline(always)]
fn move_link<P: Packet>(packet: &mut P, link: &Link, from: usize) -> Option<()> {
    // A word further than the addresses, and then tag by tag, so that each ends with a type.
    for at in [0, 4, 8, ETHERNET - TAG] {
        let word = packet.word(from + at)?;
        packet.set_word(at, word)?;
    }
    let tags = link.ip - ETHERNET;
    for (at, some) in [(ETHERNET, 3 * TAG), (ETHERNET + TAG, 2 * TAG)] {
        // By its bits: the verifier would keep in mind how a comparison came out.
        if tags & some != 0 {
            let word = packet.word(from + at)?;
            packet.set_word(at, word)?;
        }
    }
    swap_macs(packet)
}

/// Writes the IP header of an answer with so many bytes after it.
#[inline(always)]
fn write_ip<P: Packet>(
    packet: &mut P,
    link: &Link,
    addresses: &Addresses,
    length: usize,
    protocol: u8,
) -> Option<()> {
    let (from, to) = (address(addresses.destination), address(addresses.source));
    if link.v6 {
        let [hi, lo] = (length as u16).to_be_bytes();
        packet.store(link.ip, [0x60, 0, 0, 0, hi, lo, protocol, TTL])?;
        packet.store(link.ip + ipv6::SOURCE, from)?;
        return packet.store(link.ip + ipv6::SOURCE + size_of::<Address>(), to);
    }
    let header = ipv4_header((from, to), ipv4::HEADER + length, protocol);
    packet.store(link.ip, header)
}

#[inline(always)]
fn ipv4_header((from, to): (Address, Address), total: usize, protocol: u8) -> [u8; ipv4::HEADER] {
    let ([.., a, b, c, d], [.., e, f, g, h]) = (from, to);
    let [length_hi, length_lo] = (total as u16).to_be_bytes();
    // Not to be fragmented, so the identification means nothing (RFC 6864).
    let header = |[hi, lo]: [u8; 2]| {
        [
            0x45, 0, length_hi, length_lo, 0, 0, 0x40, 0, TTL, protocol, hi, lo, a, b, c, d, e, f,
            g, h,
        ]
    };
    header(Sum::default().bytes(&header([0; 2])).finish().to_be_bytes())
}

/// The sum over the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1): the addresses as they
/// are mapped would count the mark of mapping too, so of those only the last four bytes are taken.
#[inline(always)]
fn pseudo(addresses: &Addresses, length: usize, protocol: u8) -> Sum {
    let sum = Sum::default().add(length as u16).add(u16::from(protocol));
    let (from, to) = (address(addresses.source), address(addresses.destination));
    if is_mapped(addresses.destination) {
        sum.bytes::<4>(&field(&from, 12)).bytes::<4>(&field(&to, 12))
    } else {
        sum.bytes(&from).bytes(&to)
    }
}
