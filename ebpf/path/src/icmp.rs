//! ICMP and ICMPv6 to a VIP: errors are for the backend whose packet they quote, echo requests are
//! for us to answer, and nothing else is expected.

use vc5_ebpf_abi::{Reason, ServiceKey, VipValue};

use crate::{
    flow::{Flow, Segment, within},
    ip::{self, Addresses, Fragment, Headers, ICMP, TCP, UDP, key},
    ipv4, ipv6, lookup,
    packet::{Packet, field},
    siphash::{address, hash_words, is_mapped},
    tables::Tables,
};

/// Length of the header of the messages looked at (RFC 792, RFC 4443).
pub(crate) const HEADER: usize = 8;

/// Reads a message. An echo request to be answered is an error too: [`Reason::Echo`].
#[inline(always)]
pub(crate) fn read<P: Packet, T: Tables>(
    packet: &P,
    headers: &Headers,
    addresses: &Addresses,
    fragment: u64,
    tables: &T,
) -> Result<Flow, Reason> {
    let v4 = is_mapped(addresses.destination);
    if v4 != (headers.protocol == ICMP) {
        return Err(lookup::unknown(addresses.destination, Reason::UnknownProtocol, tables));
    }
    let [kind, ..]: [u8; HEADER] =
        within(packet, headers.transport, headers.end).ok_or(Reason::Truncated)?;
    match (v4, kind) {
        (true, 3 | 4 | 11 | 12) | (false, 1..=4) => {
            quoted(packet, headers, addresses, fragment, tables)
        }
        (true, 8) | (false, 128) => Err(echo(headers, addresses, tables)),
        _ => Err(Reason::IcmpOther),
    }
}

#[inline(always)]
fn echo<T: Tables>(headers: &Headers, addresses: &Addresses, tables: &T) -> Reason {
    let up =
        tables.vip(&key(addresses.destination).0).is_some_and(|vip| vip.flags & VipValue::UP != 0);
    if up && headers.fragment == Fragment::Whole { Reason::Echo } else { Reason::EchoDown }
}

/// The flow of the packet that an error quotes, as its client's packets have it.
///
/// Of the quote its IP header and the ports are needed, which even the shortest has (RFC 792: 8 bytes
/// beyond the IP header). The checksum is for the backend to verify.
#[inline(always)]
fn quoted<P: Packet, T: Tables>(
    packet: &P,
    headers: &Headers,
    addresses: &Addresses,
    fragment: u64,
    tables: &T,
) -> Result<Flow, Reason> {
    let at = headers.transport + HEADER;
    let v6 = !is_mapped(addresses.destination);
    let quote =
        if v6 { quote_v6(packet, at, headers.end)? } else { quote_v4(packet, at, headers.end)? };
    let inner = ip::addresses(packet, at, v6).ok_or(Reason::Truncated)?;
    let is_first = !matches!(quote.fragment, Fragment::Later(_));
    if inner.source != addresses.destination || !is_first || !matches!(quote.protocol, TCP | UDP) {
        return Err(Reason::IcmpForeign);
    }
    let [vip0, vip1, client0, client1]: [u8; 4] =
        within(packet, quote.transport, headers.end).ok_or(Reason::Truncated)?;
    let ports = [client0, client1, vip0, vip1];
    let protocol = quote.protocol;
    Ok(Flow {
        source: address(inner.destination),
        service: ServiceKey { addr: address(inner.source), port: [vip0, vip1], protocol, pad: 0 },
        segment: Segment::Quoted,
        tcp_flags: 0,
        source_port: [client0, client1],
        hash: hash_words(tables.hash_key(), inner.destination, inner.source, ports, protocol),
        fragment,
    })
}

/// The IPv4 header of a quote. Its total length is that of the packet, not of the quote.
#[inline(always)]
fn quote_v4<P: Packet>(packet: &P, at: usize, end: usize) -> Result<Headers, Reason> {
    let bytes: [u8; ipv4::HEADER] = within(packet, at, end).ok_or(Reason::Truncated)?;
    let [version_ihl] = field(&bytes, 0);
    let [protocol] = field(&bytes, ipv4::PROTOCOL);
    let header = usize::from(version_ihl & 0xf) * 4;
    if version_ihl >> 4 != 4 || header < ipv4::HEADER {
        return Err(Reason::IcmpForeign);
    }
    let fragment = ipv4::fragment(u16::from_be_bytes(field(&bytes, 6)), field(&bytes, 4));
    Ok(Headers { transport: at + header, end, next_at: at + ipv4::PROTOCOL, protocol, fragment })
}

/// The IPv6 header of a quote, with its extension headers.
#[inline(always)]
fn quote_v6<P: Packet>(packet: &P, at: usize, end: usize) -> Result<Headers, Reason> {
    let bytes: [u8; ipv6::HEADER] = within(packet, at, end).ok_or(Reason::Truncated)?;
    let [version, ..] = bytes;
    let [protocol] = field(&bytes, ipv6::NEXT_HEADER);
    if version >> 4 != 6 {
        return Err(Reason::IcmpForeign);
    }
    let next_at = at + ipv6::NEXT_HEADER;
    let transport = at + ipv6::HEADER;
    let headers = Headers { transport, end, next_at, protocol, fragment: Fragment::Whole };
    ipv6::walk(packet, headers).map_err(|reason| match reason {
        Reason::ExtensionHeaders => Reason::IcmpForeign,
        other => other,
    })
}
