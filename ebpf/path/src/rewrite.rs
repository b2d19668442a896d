//! The rewrite of layer-2 direct server return: hardware addresses, TTL or hop limit, VLAN tag.

use vc5_ebpf_abi::{Real, Reason};

use crate::{
    checksum, ipv4, ipv6,
    link::{ETHER_TYPE, ETHERNET, Link, TAG, TAGS, VID},
    packet::Packet,
    verifier::{forget, opaque},
};

/// Addresses a frame to the real.
///
/// A TTL of 1 for the real is written whatever the packet's: a backend that lacks the VIP cannot
/// send it on, and so cannot make it go round. Any other is the greatest that is written (0 sets
/// none), and the packet's own is counted down, so that one that does go round comes to its end.
///
/// # Errors
///
/// The reason for which the frame is dropped; it has not been changed then.
#[inline(always)]
pub(crate) fn to_real<P: Packet>(packet: &mut P, link: &Link, real: &Real) -> Result<(), Reason> {
    let ttl = ttl(packet, link, real.ttl)?;
    let mut ip = link.ip;
    if real.vlan != link.vlan {
        ip = retag(packet, link, real.vlan).ok_or(Reason::NoRoom)?;
    }
    packet.renew();
    set_ttl(packet, ip, link.v6, ttl).ok_or(Reason::Short)?;
    packet.store(0, real.mac).ok_or(Reason::Short)?;
    packet.store(6, real.src_mac).ok_or(Reason::Short)
}

/// The TTL or hop limit to be written.
#[inline(always)]
fn ttl<P: Packet>(packet: &P, link: &Link, limit: u8) -> Result<u8, Reason> {
    if limit == 1 {
        return Ok(1);
    }
    let at = link.ip + if link.v6 { ipv6::HOP_LIMIT } else { ipv4::TTL };
    // Two bytes: of a single one at an offset that varies the verifier does not learn that it is there.
    let [ttl, _] = packet.load(at).ok_or(Reason::Short)?;
    match ttl {
        0 | 1 => Err(Reason::TtlExceeded),
        ttl if limit == 0 => Ok(ttl - 1),
        ttl => Ok((ttl - 1).min(limit)),
    }
}

#[inline(always)]
pub(crate) fn set_ttl<P: Packet>(packet: &mut P, ip: usize, v6: bool, ttl: u8) -> Option<()> {
    if v6 {
        return packet.store(ip + ipv6::HOP_LIMIT, [ttl]);
    }
    // The word of the header that holds the TTL holds the protocol too, and the checksum is next.
    let [old, protocol, hi, lo] = packet.load(ip + ipv4::TTL)?;
    let [hi, lo] = checksum::updated(
        u16::from_be_bytes([hi, lo]),
        u16::from_be_bytes([old, protocol]),
        u16::from_be_bytes([ttl, protocol]),
    )
    .to_be_bytes();
    packet.store(ip + ipv4::TTL, [ttl, protocol, hi, lo])
}

/// Brings a frame from its VLAN into another (0: untagged); the offset of its IP header afterwards.
///
/// A tag's priority stays, and so does an outer tag. The hardware addresses are left for others to
/// write.
#[inline(always)]
fn retag<P: Packet>(packet: &mut P, link: &Link, vlan: u16) -> Option<usize> {
    let [vid_hi, vid_lo] = (vlan & VID).to_be_bytes();
    let ip = if !link.is_tagged() {
        packet.push(TAG)?;
        packet.store(ETHER_TYPE, [0x81, 0x00, vid_hi, vid_lo])?;
        link.ip + TAG
    } else if vlan == 0 {
        if link.ip > ETHERNET + TAG {
            let outer: [u8; TAG] = packet.load(ETHER_TYPE)?;
            packet.store(ETHER_TYPE + TAG, outer)?;
        }
        packet.pull(TAG)?;
        link.ip - TAG
    } else {
        // The tag control information of the inner tag is just before the type.
        // The verifier follows no offset back from the IP header.
        let at = opaque((link.ip - TAG) as u64) as usize;
        let [hi, _] = packet.load(at)?;
        packet.store(at, [hi & 0xf0 | vid_hi, vid_lo])?;
        link.ip
    };
    Some(ETHERNET + forget::<TAGS>(ip - ETHERNET, u64::from(vlan)))
}
