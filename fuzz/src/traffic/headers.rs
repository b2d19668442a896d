//! The headers of a frame, read in the plainest way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::path::checksum::{checksum, pseudo_header};

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// An Ethernet frame that holds an IP packet.
pub(super) struct Headers<'f> {
    pub(super) destination: [u8; 6],
    pub(super) source: [u8; 6],
    pub(super) tags: Vec<[u8; 4]>,
    /// From the type on that is followed by the IP packet.
    ether_type: [u8; 2],
    pub(super) packet: &'f [u8],
}

impl<'f> Headers<'f> {
    pub(super) fn of(frame: &'f [u8]) -> Self {
        let mut tags: Vec<[u8; 4]> = Vec::new();
        let mut rest = &frame[12..];
        while let [0x81, 0, ..] | [0x88, 0xa8, ..] = rest {
            tags.push(rest[..4].try_into().unwrap());
            rest = &rest[4..];
        }
        Self {
            destination: frame[..6].try_into().unwrap(),
            source: frame[6..12].try_into().unwrap(),
            tags,
            ether_type: rest[..2].try_into().unwrap(),
            packet: &rest[2..],
        }
    }

    /// Its tags as they are to be in this VLAN (0: none).
    pub(super) fn tags_for(&self, vlan: u16) -> Vec<[u8; 4]> {
        let mut tags = self.tags.clone();
        let [hi, lo] = vlan.to_be_bytes();
        match tags.last_mut() {
            None if vlan != 0 => tags.push([0x81, 0, hi, lo]),
            Some([.., tci_hi, tci_lo]) if vlan != 0 => {
                (*tci_hi, *tci_lo) = (*tci_hi & 0xf0 | hi, lo);
            }
            // A priority tag is in no VLAN, and stays.
            Some([.., tci_hi, tci_lo]) if (*tci_hi & 0x0f, *tci_lo) != (0, 0) => {
                tags.pop();
            }
            _ => {}
        }
        tags
    }

    pub(super) fn is_v6(&self) -> bool {
        self.ether_type == [0x86, 0xdd]
    }

    fn ttl_at(&self) -> usize {
        if self.is_v6() { 7 } else { 8 }
    }

    /// TTL or hop limit.
    pub(super) fn ttl(&self) -> u8 {
        self.packet[self.ttl_at()]
    }

    /// The packet but for its TTL or hop limit, and the header checksum that covers that.
    pub(super) fn without_ttl(&self) -> Vec<u8> {
        let mut packet = self.packet.to_vec();
        packet[self.ttl_at()] = 0;
        if !self.is_v6() {
            packet[10..12].fill(0);
        }
        packet
    }

    /// Source and destination.
    pub(super) fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        addresses(self.packet)
    }

    /// Where the packet ends by its own length.
    pub(super) fn end(&self) -> usize {
        end(self.packet)
    }
}

fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| -> Option<IpAddr> {
        Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into())
    };
    let v6 = |at: usize| -> Option<IpAddr> {
        Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into())
    };
    match packet.first()? >> 4 {
        4 => Some((v4(12)?, v4(16)?)),
        6 => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}

fn end(packet: &[u8]) -> usize {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    if packet[0] >> 4 == 4 { word(2) } else { 40 + word(4) }
}

/// Whether the checksum of the IPv4 header is right (that of IPv6 always is), and that of TCP, ICMP or
/// ICMPv6 if such is right behind the IP header and whole.
pub(super) fn checksums(packet: &[u8]) -> Option<(bool, Option<bool>)> {
    let (source, destination) = addresses(packet)?;
    let v4 = source.is_ipv4();
    let header = if v4 { usize::from(packet[0] & 0xf) * 4 } else { 40 };
    let header_is_right = !v4 || checksum(packet.get(..header)?) == 0;
    let protocol = packet[if v4 { 9 } else { 6 }];
    let body = packet.get(header..end(packet));
    let body_is_right = body.and_then(|body| {
        let mut covered = match (protocol, v4) {
            (ICMP, true) => Vec::new(),
            (TCP, _) | (ICMPV6, false) => pseudo_header(source, destination, protocol, body.len()),
            _ => return None,
        };
        covered.extend(body);
        Some(checksum(&covered) == 0)
    });
    Some((header_is_right, body_is_right))
}
