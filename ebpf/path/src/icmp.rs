//! ICMP and ICMPv6 to a VIP: errors are for the backend whose packet they quote, echo requests are
//! for us to answer, and nothing else is expected.

use vc5_ebpf_abi::{Reason, VipValue};

use crate::{
    flow::{Segment, Transport, within},
    ip::{self, Addresses, Headers, ICMP, ICMPV6, Part, TCP, UDP, key},
    ipv4, ipv6,
    packet::{Packet, field},
    tables::Tables,
};

/// Length of the header of the messages looked at (RFC 792, RFC 4443).
pub(crate) const HEADER: usize = 8;

/// Reads a message. Of an error, `subject` and `protocol` become those of the packet that it quotes,
/// as its client's packets have them. An echo request to be answered is an error too:
/// [`Reason::Echo`].
#[inline(always)]
pub(crate) fn read<P: Packet, T: Tables>(
    packet: &P,
    headers: &Headers,
    subject: &mut Addresses,
    protocol: &mut u8,
    tables: &T,
) -> Result<Transport, Reason> {
    let v4 = headers.protocol == ICMP;
    let [kind, ..]: [u8; HEADER] =
        *within(packet, headers.transport, headers.end).ok_or(Reason::Truncated)?;
    match (v4, kind) {
        (true, 3 | 4 | 11 | 12) | (false, 1..=4) => quoted(packet, headers, subject, protocol),
        (true, 8) | (false, 128) => Err(echo(headers, subject, tables)),
        _ => Err(Reason::IcmpOther),
    }
}

#[inline(always)]
fn echo<T: Tables>(headers: &Headers, addresses: &Addresses, tables: &T) -> Reason {
    let up =
        tables.vip(&key(addresses.destination).0).is_some_and(|vip| vip.flags & VipValue::UP != 0);
    if up && headers.part == Part::Whole { Reason::Echo } else { Reason::EchoDown }
}

/// The flow of the packet that an error quotes.
///
/// Of the quote its IP header and the ports are needed, which even the shortest has (RFC 792: 8 bytes
/// beyond the IP header). The checksum is for the backend to verify.
#[inline(always)]
fn quoted<P: Packet>(
    packet: &P,
    headers: &Headers,
    subject: &mut Addresses,
    protocol: &mut u8,
) -> Result<Transport, Reason> {
    let at = headers.transport + HEADER;
    let v6 = headers.protocol == ICMPV6;
    let quote =
        if v6 { quote_v6(packet, at, headers.end)? } else { quote_v4(packet, at, headers.end)? };
    let inner = ip::addresses(packet, at, v6).ok_or(Reason::Truncated)?;
    if inner.source != subject.destination
        || quote.part == Part::Later
        || !matches!(quote.protocol, TCP | UDP)
    {
        return Err(Reason::IcmpForeign);
    }
    // The VIP sent it: what is source here is destination to the client.
    let ports: &[u8; 4] = within(packet, quote.transport, headers.end).ok_or(Reason::Truncated)?;
    *subject = Addresses { source: inner.destination, destination: inner.source };
    *protocol = quote.protocol;
    let ports = u32::from_le_bytes(*ports).rotate_left(16);
    Ok(Transport { ports, tcp_flags: 0, segment: Segment::Quoted })
}

/// The IPv4 header of a quote. Its total length is that of the packet, not of the quote.
#[inline(always)]
fn quote_v4<P: Packet>(packet: &P, at: usize, end: usize) -> Result<Headers, Reason> {
    let bytes: &[u8; ipv4::HEADER] = within(packet, at, end).ok_or(Reason::Truncated)?;
    let [version_ihl] = field(bytes, 0);
    let [protocol] = field(bytes, ipv4::PROTOCOL);
    let header = usize::from(version_ihl & 0xf) * 4;
    if version_ihl >> 4 != 4 || header < ipv4::HEADER {
        return Err(Reason::IcmpForeign);
    }
    Ok(Headers {
        transport: at + header,
        end,
        next_at: at + ipv4::PROTOCOL,
        identification: 0,
        protocol,
        part: ipv4::part(u16::from_be_bytes(field(bytes, 6))),
        pad: [0; 2],
    })
}

/// The IPv6 header of a quote, with its extension headers.
#[inline(always)]
fn quote_v6<P: Packet>(packet: &P, at: usize, end: usize) -> Result<Headers, Reason> {
    let bytes: &[u8; ipv6::HEADER] = within(packet, at, end).ok_or(Reason::Truncated)?;
    let [version, ..] = *bytes;
    let [protocol] = field(bytes, ipv6::NEXT_HEADER);
    if version >> 4 != 6 {
        return Err(Reason::IcmpForeign);
    }
    let mut headers = Headers {
        transport: at + ipv6::HEADER,
        end,
        next_at: at + ipv6::NEXT_HEADER,
        identification: 0,
        protocol,
        part: Part::Whole,
        pad: [0; 2],
    };
    match packet.walk(&mut headers) {
        Ok(()) => Ok(Headers { transport: ipv6::at(&headers), ..headers }),
        Err(Reason::ExtensionHeaders) => Err(Reason::IcmpForeign),
        Err(reason) => Err(reason),
    }
}
