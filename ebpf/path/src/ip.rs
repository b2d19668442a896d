//! The IP header of either version: what the rest of the path needs to know of it.

use vc5_ebpf_abi::{Reason, VipKey, vip_filter_bit, vip_filter_bit_v6};

use crate::{
    ipv4, ipv6,
    link::Link,
    packet::{Packet, field},
    siphash::{Words, address, is_mapped, mapped_words},
    tables::Tables,
};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const ICMPV6: u8 = 58;

/// Which part of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment of several.
    First,
    /// A fragment without the transport header.
    Later,
}

/// An IP header with what follows it up to the transport header.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Headers {
    /// Offset of the transport header in the frame.
    pub transport: usize,
    /// Offset of the first byte after the packet.
    pub end: usize,
    /// Offset of the byte that names the protocol.
    pub next_at: usize,
    /// Identification of a fragmented packet: the little-endian word that its four bytes are in the
    /// frame, in IPv4 after two of zero.
    pub identification: u32,
    /// IP protocol number of the transport header.
    pub protocol: u8,
    /// Whole or which fragment.
    pub part: Part,
    /// Zero.
    pub pad: [u8; 2],
}

/// Source and destination, IPv4 as mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Addresses {
    /// Source.
    pub source: Words,
    /// Destination.
    pub destination: Words,
}

/// The addresses in the IP header at `ip`.
#[inline(always)]
pub(crate) fn addresses<P: Packet>(packet: &P, ip: usize, v6: bool) -> Option<Addresses> {
    if v6 {
        let header: &[u8; ipv6::HEADER] = packet.bytes(ip)?;
        let word = |at| u64::from_le_bytes(field(header, at));
        Some(Addresses { source: [word(8), word(16)], destination: [word(24), word(32)] })
    } else {
        let header: &[u8; ipv4::HEADER] = packet.bytes(ip)?;
        let words = |at| mapped_words(field(header, at));
        Some(Addresses { source: words(12), destination: words(16) })
    }
}

/// The addresses of a packet that the VIP filter lets through.
///
/// # Errors
///
/// The reason for which it is passed.
#[inline(always)]
pub(crate) fn to_vip<P: Packet, T: Tables>(
    packet: &P,
    link: &Link,
    tables: &T,
) -> Result<Addresses, Reason> {
    let addresses = addresses(packet, link.ip, link.v6).ok_or(Reason::Short)?;
    let [upper, lower] = addresses.destination;
    let bit = if link.v6 {
        // Such an address is an IPv4 one in our tables, and no IPv6 packet may be addressed to it.
        if is_mapped(addresses.destination) {
            return Err(Reason::NotVip);
        }
        vip_filter_bit_v6([upper.to_le_bytes(), lower.to_le_bytes()])
    } else {
        vip_filter_bit(((lower >> 32) as u32).to_le_bytes())
    };
    if tables.may_be_vip(bit) { Ok(addresses) } else { Err(Reason::NotVip) }
}

/// Reads the IP header at `ip` and what follows it up to the transport header.
///
/// # Errors
///
/// The reason for which a packet to a VIP is dropped.
#[inline(always)]
pub(crate) fn read<P: Packet>(packet: &P, link: &Link) -> Result<Headers, Reason> {
    if link.v6 { ipv6::read(packet, link.ip) } else { ipv4::read(packet, link.ip) }
}

/// The IP header at `ip`, if it is whole and in order, and TCP or UDP comes right after it: most are
/// so, and are soon told.
#[inline(always)]
pub(crate) fn plain<P: Packet>(packet: &P, link: &Link) -> Option<Headers> {
    if link.v6 { ipv6::plain(packet, link.ip) } else { ipv4::plain(packet, link.ip) }
}

/// The filter errs on one side: only the table of VIPs makes an odd packet ours to judge.
#[inline(always)]
pub(crate) fn judged<T: Tables>(destination: Words, reason: Reason, tables: &T) -> Reason {
    if tables.vip(&key(destination).0).is_some() { reason } else { Reason::NotVip }
}

/// A key on the stack as the kernel wants it: what is written by words lies at multiples of them.
#[repr(C, align(8))]
pub(crate) struct Aligned<K>(pub(crate) K);

#[inline(always)]
pub(crate) fn key(vip: Words) -> Aligned<VipKey> {
    Aligned(VipKey(address(vip)))
}
