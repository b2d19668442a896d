//! Which frames are ours to forward, and which flow they belong to.

use vc5_ebpf_abi::{
    IFACE_PROBES, Iface, Reason, ServiceKey, VipKey, iface_slot, mapped, vip_filter_bit,
};

use crate::{packet::Packet, siphash::flow_hash_v4, tables::Tables};

/// Offset of the IPv4 header in a frame.
pub const IP: usize = 14;
/// Offset of the TTL in the IPv4 header.
pub const IP_TTL: usize = 8;
/// Offset of the checksum in the IPv4 header.
pub const IP_CHECKSUM: usize = 10;

const IP_SOURCE: usize = 12;
const IP_DESTINATION: usize = 16;
const IP_FLAGS: usize = 6;
const IP_MIN: usize = 20;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_MIN: usize = 20;
const UDP_MIN: usize = 8;
const TCP_FLAGS: usize = 13;

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
}

/// What the path needs to know of a packet to a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The service that it is addressed to.
    pub service: ServiceKey,
    /// Hash of its 5-tuple.
    pub hash: u64,
    /// Its kind.
    pub segment: Segment,
}

/// Whether a frame is IPv4, untagged, and addressed to us.
///
/// # Errors
///
/// The reason for which it is left alone.
#[inline(always)]
pub fn ours<P: Packet>(packet: &P, iface: Option<&Iface>) -> Result<(), Reason> {
    let destination: [u8; 6] = packet.load(0).ok_or(Reason::Short)?;
    let ether_type: [u8; 2] = packet.load(12).ok_or(Reason::Short)?;
    let iface = iface.ok_or(Reason::UnknownInterface)?;
    if destination != iface.mac {
        return Err(Reason::NotOurMac);
    }
    match u16::from_be_bytes(ether_type) {
        0x0800 => Ok(()),
        0x8100 | 0x88a8 => Err(Reason::Vlan),
        _ => Err(Reason::NotIp),
    }
}

/// What is known of the interface that a frame came in by.
#[inline(always)]
pub fn iface<T: Tables>(ifindex: u32, tables: &T) -> Option<&Iface> {
    for probe in 0..IFACE_PROBES {
        let iface = tables.iface(iface_slot(ifindex, probe))?;
        if iface.ifindex == ifindex {
            return Some(iface);
        }
    }
    None
}

/// The flow of an IPv4 frame that is addressed to us.
///
/// # Errors
///
/// The reason for which it is passed, or dropped if it is to a VIP.
#[inline(always)]
pub fn flow<P: Packet, T: Tables>(packet: &P, tables: &T) -> Result<Flow, Reason> {
    let vip = destination(packet)?;
    if !tables.may_be_vip(vip_filter_bit(vip)) {
        return Err(Reason::NotVip);
    }
    // The filter errs on one side: only the table of VIPs makes an odd packet ours to judge.
    transport(packet, vip, tables)
        .map_err(|reason| if tables.is_vip(&VipKey(mapped(vip))) { reason } else { Reason::NotVip })
}

#[inline(always)]
fn destination<P: Packet>(packet: &P) -> Result<[u8; 4], Reason> {
    packet.load(IP + IP_DESTINATION).ok_or(Reason::Short)
}

#[inline(always)]
fn transport<P: Packet, T: Tables>(packet: &P, vip: [u8; 4], tables: &T) -> Result<Flow, Reason> {
    let [version_ihl, _, len_hi, len_lo] = packet.load(IP).ok_or(Reason::Short)?;
    let [flags_hi, flags_lo, _, protocol] = packet.load(IP + IP_FLAGS).ok_or(Reason::Short)?;
    let header = usize::from(version_ihl & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([len_hi, len_lo]));
    if version_ihl >> 4 != 4 || header < IP_MIN || total < header || packet.len() < IP + total {
        return Err(Reason::Malformed);
    }
    // More fragments, or an offset: either way not the whole packet.
    if u16::from_be_bytes([flags_hi, flags_lo]) & 0x3fff != 0 {
        return Err(Reason::FragmentUnknown);
    }
    let min = match protocol {
        TCP => TCP_MIN,
        UDP => UDP_MIN,
        ICMP => return Err(Reason::IcmpOther),
        _ => return Err(Reason::UnknownProtocol),
    };
    if total < header + min {
        return Err(Reason::Truncated);
    }
    let ports: [u8; 4] = packet.load(IP + header).ok_or(Reason::Truncated)?;
    let segment = if protocol == UDP {
        Segment::Datagram
    } else {
        let [flags] = packet.load(IP + header + TCP_FLAGS).ok_or(Reason::Truncated)?;
        tcp_segment(flags)
    };
    let [_, _, port_hi, port_lo] = ports;
    let addresses = packet.load(IP + IP_SOURCE).ok_or(Reason::Short)?;
    Ok(Flow {
        service: ServiceKey { addr: mapped(vip), port: [port_hi, port_lo], protocol, pad: 0 },
        hash: flow_hash_v4(tables.hash_key(), addresses, ports, protocol),
        segment,
    })
}

#[inline(always)]
fn tcp_segment(flags: u8) -> Segment {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    if flags & (FIN | RST) != 0 {
        Segment::Close
    } else if flags & (SYN | ACK) == SYN {
        Segment::Open
    } else {
        Segment::Data
    }
}
