//! The flow that a packet belongs to.

use core::mem::MaybeUninit;

use vc5_ebpf_abi::{Address, Reason, ServiceKey};

use crate::{
    icmp,
    ip::{self, Addresses, FRAGMENT, Headers, ICMP, ICMPV6, Part, TCP, UDP, judged},
    link::Link,
    lookup,
    packet::{Packet, field},
    siphash::{Words, address, hash_words, words},
    tables::Tables,
    verifier::{forget_word, opaque},
};

const TCP_MIN: usize = 20;
const UDP_MIN: usize = 8;
const TCP_FLAGS: usize = 13;

/// TCP flags that matter here.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// The kinds of packet between which the choice of a backend distinguishes, a bit each, so that
/// several are asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Segment {
    /// TCP, SYN without ACK, FIN and RST.
    Open = 1,
    /// TCP with FIN or RST.
    Close = 2,
    /// Any other TCP.
    Data = 4,
    /// UDP.
    Datagram = 8,
    /// An ICMP error about a packet of the flow.
    Quoted = 16,
    /// A fragment other than the first, of which only the addresses are known.
    Later = 32,
}

impl Segment {
    /// Whether it is one of these.
    #[inline(always)]
    pub(crate) fn is<const N: usize>(self, kinds: [Self; N]) -> bool {
        let bits = kinds.iter().fold(0, |bits, kind| bits | *kind as u8);
        self as u8 & bits != 0
    }
}

/// What the path needs to know of a packet to a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Flow {
    /// The client.
    pub source: Address,
    /// The service that it is addressed to; of [`Segment::Later`] with port 0.
    pub service: ServiceKey,
    /// Its kind.
    pub segment: Segment,
    /// Flags of its TCP header, 0 if it has none.
    pub tcp_flags: u8,
    /// Source port in network byte order.
    pub source_port: [u8; 2],
    /// Hash of its 5-tuple; of [`Segment::Later`] with ports 0.
    pub hash: u64,
    /// Hash of what all fragments of its packet have in common, 0 if it is whole.
    pub fragment: u64,
}

impl Flow {
    /// Of nothing, to be filled in.
    pub(crate) const NONE: Self = Self {
        source: [0; 16],
        service: ServiceKey { addr: [0; 16], port: [0; 2], protocol: 0, pad: 0 },
        segment: Segment::Data,
        tcp_flags: 0,
        source_port: [0; 2],
        hash: 0,
        fragment: 0,
    };

    /// Client and VIP.
    #[inline(always)]
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses { source: words(&self.source), destination: words(&self.service.addr) }
    }

    /// The ports as the little-endian word that they are in the client's packets.
    #[inline(always)]
    pub(crate) fn ports(&self) -> u32 {
        let ([source0, source1], [port0, port1]) = (self.source_port, self.service.port);
        u32::from_le_bytes([source0, source1, port0, port1])
    }

    /// One that is whole.
    #[inline(always)]
    fn new(addresses: &Addresses, headers: &Headers, rest: Rest, hash: u64) -> Self {
        let unknown = unknown(headers);
        // What is known of IPv4 addresses would be written in pieces, and be followed apart.
        let whole = |words: Words| address(words.map(|word| forget_word(word, unknown)));
        let [port0, port1, protocol, pad, segment, tcp_flags, source0, source1] =
            rest.0.to_le_bytes();
        Self {
            source: whole(addresses.source),
            service: ServiceKey {
                addr: whole(addresses.destination),
                port: [port0, port1],
                protocol,
                pad,
            },
            // SAFETY: the byte that the segment was before.
            segment: unsafe { core::mem::transmute::<u8, Segment>(segment) },
            tcp_flags,
            source_port: [source0, source1],
            hash,
            fragment: forget_word(0, unknown),
        }
    }
}

/// Any odd number does to make all bits of it unknown.
#[inline(always)]
fn unknown(headers: &Headers) -> u64 {
    opaque(headers.end as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a flow is besides its addresses, in one word, so that from here on the verifier walks all
/// protocols and segments as one.
#[derive(Clone, Copy)]
struct Rest(u64);

impl Rest {
    #[inline(always)]
    fn new(headers: &Headers, protocol: u8, transport: &Transport) -> Self {
        let rest = u64::from(transport.ports >> 16)
            | u64::from(protocol) << 16
            | (transport.segment as u64) << 32
            | u64::from(transport.tcp_flags) << 40
            | u64::from(transport.ports) << 48;
        Self(forget_word(rest, unknown(headers)))
    }

    #[inline(always)]
    fn ports(self) -> u32 {
        (self.0 << 16) as u32 | (self.0 >> 48) as u32
    }

    #[inline(always)]
    fn protocol(self) -> u8 {
        (self.0 >> 16) as u8
    }
}

/// What the transport header adds to a flow.
#[derive(Clone, Copy)]
pub(crate) struct Transport {
    /// Client's and VIP's, as the little-endian word that they are in the client's packets.
    pub(crate) ports: u32,
    pub(crate) tcp_flags: u8,
    pub(crate) segment: Segment,
}

/// Finds the flow of an IP packet that is addressed to us, and puts it into a place that is not
/// cleared before, as this is done for every packet.
///
/// # Errors
///
/// The reason for which the packet is passed, answered, or dropped if it is to a VIP.
#[inline(always)]
pub fn of<'f, P: Packet, T: Tables>(
    packet: &mut P,
    link: &Link,
    tables: &T,
    place: &'f mut MaybeUninit<Flow>,
) -> Result<&'f mut Flow, Reason> {
    let addresses = ip::to_vip(packet, link, tables)?;
    let plain = ip::plain(packet, link).and_then(|h| ports(packet, &h).map(|t| (h, t)));
    let Some((headers, transport)) = plain else {
        let flow = place.write(Flow::NONE);
        packet.uncommon(link, tables, flow)?;
        return Ok(flow);
    };
    // Here, where the addresses are in registers still, and it is known of which version they are.
    let Addresses { source, destination } = addresses;
    let rest = Rest::new(&headers, headers.protocol, &transport);
    let (ports, protocol) = (rest.ports(), rest.protocol());
    let hash = hash_words(tables.hash_key(), source, destination, ports, protocol);
    Ok(place.write(Flow::new(&addresses, &headers, rest, hash)))
}

/// The same for packets that are not a plain TCP or UDP packet.
///
/// # Errors
///
/// As for [`of`].
#[inline(always)]
pub fn uncommon<P: Packet, T: Tables>(
    packet: &P,
    link: &Link,
    tables: &T,
    flow: &mut Flow,
) -> Result<(), Reason> {
    let addresses = ip::addresses(packet, link.ip, link.v6).ok_or(Reason::Short)?;
    read(packet, link, &addresses, tables, flow)
        .map_err(|reason| judged(addresses.destination, reason, tables))
}

#[inline(always)]
fn read<P: Packet, T: Tables>(
    packet: &P,
    link: &Link,
    addresses: &Addresses,
    tables: &T,
    flow: &mut Flow,
) -> Result<(), Reason> {
    let headers = ip::read(packet, link)?;
    let (mut subject, mut protocol) = (*addresses, headers.protocol);
    let transport = match protocol {
        _ if headers.part == Part::Later => {
            Transport { ports: 0, tcp_flags: 0, segment: Segment::Later }
        }
        TCP | UDP => ports(packet, &headers).ok_or(Reason::Truncated)?,
        ICMP if !link.v6 => icmp::read(packet, &headers, &mut subject, &mut protocol, tables)?,
        ICMPV6 if link.v6 => icmp::read(packet, &headers, &mut subject, &mut protocol, tables)?,
        _ => return Err(lookup::unknown(addresses.destination, Reason::UnknownProtocol, tables)),
    };
    let rest = Rest::new(&headers, protocol, &transport);
    let hash = tables.hash(&subject, rest.ports(), rest.protocol());
    *flow = Flow::new(&subject, &headers, rest, hash);
    if headers.part != Part::Whole {
        // In the encoding of flows, with the identification in place of the ports. In IPv4 the
        // protocol belongs to it (RFC 791 section 3.2), in IPv6 not (RFC 8200 section 4.5).
        let protocol = if link.v6 { FRAGMENT } else { headers.protocol };
        flow.fragment = tables.hash(addresses, headers.identification, protocol);
    }
    Ok(())
}

/// The ports in a TCP or UDP header, if the packet has all of it.
#[inline(always)]
fn ports<P: Packet>(packet: &P, headers: &Headers) -> Option<Transport> {
    let (at, end) = (headers.transport, headers.end);
    if headers.protocol == UDP {
        let header: &[u8; UDP_MIN] = within(packet, at, end)?;
        let ports = u32::from_le_bytes(field(header, 0));
        return Some(Transport { ports, tcp_flags: 0, segment: Segment::Datagram });
    }
    let header: &[u8; TCP_MIN] = within(packet, at, end)?;
    let [flags] = field(header, TCP_FLAGS);
    let ports = u32::from_le_bytes(field(header, 0));
    Some(Transport { ports, tcp_flags: flags, segment: tcp_segment(flags) })
}

/// The `N` bytes at `at`, if the packet, which ends at `end`, has them all.
#[inline(always)]
pub(crate) fn within<P: Packet, const N: usize>(
    packet: &P,
    at: usize,
    end: usize,
) -> Option<&[u8; N]> {
    if at + N > end { None } else { packet.bytes(at) }
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
