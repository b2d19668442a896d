//! The flow that a packet belongs to.

use vc5_ebpf_abi::{Address, Reason, ServiceKey};

use crate::{
    icmp,
    ip::{self, Addresses, FRAGMENT, Fragment, Headers, ICMP, ICMPV6, TCP, UDP, judged},
    link::Link,
    lookup,
    packet::Packet,
    siphash::{address, hash_words, is_mapped},
    tables::Tables,
};

const TCP_MIN: usize = 20;
const UDP_MIN: usize = 8;
const TCP_FLAGS: usize = 13;

/// TCP flags that matter here.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// The kinds of packet between which the choice of a backend distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// TCP, SYN without ACK, FIN and RST.
    Open,
    /// TCP with FIN or RST.
    Close,
    /// Any other TCP.
    Data,
    /// UDP.
    Datagram,
    /// An ICMP error about a packet of the flow.
    Quoted,
    /// A fragment other than the first, of which only the addresses are known.
    Later,
}

/// What the path needs to know of a packet to a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Flow {
    /// The client.
    pub source: Address,
    /// The service that it is addressed to.
    pub service: ServiceKey,
    /// Its kind.
    pub segment: Segment,
    /// Flags of its TCP header, 0 if it has none.
    pub tcp_flags: u8,
    /// Source port in network byte order.
    pub source_port: [u8; 2],
    /// Hash of its 5-tuple; 0 for [`Segment::Later`].
    pub hash: u64,
    /// Hash of what all fragments of its packet have in common, 0 if it is whole.
    pub fragment: u64,
}

/// The flow of an IP packet that is addressed to us.
///
/// # Errors
///
/// The reason for which it is passed, answered, or dropped if it is to a VIP.
#[inline(always)]
pub fn of<P: Packet, T: Tables>(packet: &P, link: &Link, tables: &T) -> Result<Flow, Reason> {
    let addresses = ip::to_vip(packet, link, tables)?;
    let flow = ip::read(packet, link).and_then(|h| transport(packet, &h, &addresses, tables));
    flow.map_err(|reason| judged(addresses.destination, reason, tables))
}

#[inline(always)]
fn transport<P: Packet, T: Tables>(
    packet: &P,
    headers: &Headers,
    addresses: &Addresses,
    tables: &T,
) -> Result<Flow, Reason> {
    let fragment = fragment_hash(headers, addresses, tables);
    if matches!(headers.fragment, Fragment::Later(_)) {
        return Ok(later(headers.protocol, addresses, fragment));
    }
    match headers.protocol {
        TCP | UDP => five_tuple(packet, headers, addresses, fragment, tables),
        ICMP | ICMPV6 => icmp::read(packet, headers, addresses, fragment, tables),
        _ => Err(lookup::unknown(addresses.destination, Reason::UnknownProtocol, tables)),
    }
}

#[inline(always)]
fn five_tuple<P: Packet, T: Tables>(
    packet: &P,
    headers: &Headers,
    addresses: &Addresses,
    fragment: u64,
    tables: &T,
) -> Result<Flow, Reason> {
    let (at, protocol) = (headers.transport, headers.protocol);
    let (ports, tcp_flags, segment) = if protocol == UDP {
        let [s0, s1, d0, d1, ..]: [u8; UDP_MIN] =
            within(packet, at, headers.end).ok_or(Reason::Truncated)?;
        ([s0, s1, d0, d1], 0, Segment::Datagram)
    } else {
        let header: [u8; TCP_MIN] = within(packet, at, headers.end).ok_or(Reason::Truncated)?;
        let [s0, s1, d0, d1, ..] = header;
        let flags = header[TCP_FLAGS];
        ([s0, s1, d0, d1], flags, tcp_segment(flags))
    };
    let hash =
        hash_words(tables.hash_key(), addresses.source, addresses.destination, ports, protocol);
    let [s0, s1, d0, d1] = ports;
    Ok(Flow {
        source: address(addresses.source),
        service: ServiceKey {
            addr: address(addresses.destination),
            port: [d0, d1],
            protocol,
            pad: 0,
        },
        segment,
        tcp_flags,
        source_port: [s0, s1],
        hash,
        fragment,
    })
}

/// The `N` bytes at `at`, if the packet, which ends at `end`, has them all.
#[inline(always)]
pub(crate) fn within<P: Packet, const N: usize>(
    packet: &P,
    at: usize,
    end: usize,
) -> Option<[u8; N]> {
    if at + N > end { None } else { packet.load(at) }
}

#[inline(always)]
fn later(protocol: u8, addresses: &Addresses, fragment: u64) -> Flow {
    Flow {
        source: address(addresses.source),
        service: ServiceKey {
            addr: address(addresses.destination),
            port: [0; 2],
            protocol,
            pad: 0,
        },
        segment: Segment::Later,
        tcp_flags: 0,
        source_port: [0; 2],
        hash: 0,
        fragment,
    }
}

/// A hash over what identifies a fragmented packet: addresses, identification and, in IPv4 (RFC 791
/// section 3.2, RFC 8200 section 4.5), the protocol; in the encoding of flows, with the
/// identification in place of the ports.
#[inline(always)]
fn fragment_hash<T: Tables>(headers: &Headers, addresses: &Addresses, tables: &T) -> u64 {
    let (Fragment::First(id) | Fragment::Later(id)) = headers.fragment else { return 0 };
    let v4 = is_mapped(addresses.destination);
    let protocol = if v4 { headers.protocol } else { FRAGMENT };
    hash_words(tables.hash_key(), addresses.source, addresses.destination, id, protocol)
}

/// A hash over the addresses alone: the encoding of flows, with ports and protocol zero.
#[inline(always)]
pub(crate) fn address_hash<T: Tables>(flow: &Flow, tables: &T) -> u64 {
    crate::siphash::flow_hash(tables.hash_key(), &flow.source, &flow.service.addr, [0; 4], 0)
}

#[inline(always)]
fn tcp_segment(flags: u8) -> Segment {
    if flags & (FIN | RST) != 0 {
        Segment::Close
    } else if flags & (SYN | ACK) == SYN {
        Segment::Open
    } else {
        Segment::Data
    }
}
