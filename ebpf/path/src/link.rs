//! The link layer: is the frame for us, in which VLAN did it come, where does the IP packet begin.

use vc5_ebpf_abi::{IFACE_PROBES, Iface, Reason, iface_slot};

use crate::{
    packet::{Packet, field},
    tables::Tables,
    verifier::{forget, forget_bool},
};

/// Length of an Ethernet header, and of a VLAN tag that lies in it.
pub(crate) const ETHERNET: usize = 14;
pub(crate) const TAG: usize = 4;
/// Offset of the type in an Ethernet header, and so of the first tag.
pub(crate) const ETHER_TYPE: usize = 12;

/// The length of all tags is no more than this.
pub(crate) const TAGS: usize = 0xf;

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// VLAN id in a tag; the rest is priority and drop eligibility.
pub(crate) const VID: u16 = 0x0fff;

/// What is known of a frame that is addressed to us and holds an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Offset of the IP header: 14, and 4 for each VLAN tag.
    pub ip: usize,
    /// VLAN id of the inner tag, 0 without one and for a priority tag (IEEE 802.1Q 9.6).
    pub vlan: u16,
    /// Whether the packet is IPv6.
    pub v6: bool,
}

impl Link {
    /// With its parts as numbers, of which only those that can be are taken.
    #[inline(always)]
    #[must_use]
    pub const fn new(ip: u64, vlan: u16, v6: bool) -> Self {
        Self { ip: ETHERNET + ((ip as usize).wrapping_sub(ETHERNET) & TAGS), vlan, v6 }
    }

    /// Whether the frame has a tag.
    #[inline(always)]
    pub(crate) const fn is_tagged(&self) -> bool {
        self.ip != ETHERNET
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

/// Reads the Ethernet header and up to two VLAN tags.
///
/// # Errors
///
/// The reason for which the frame is left alone.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, iface: Option<&Iface>) -> Result<Link, Reason> {
    let header: &[u8; ETHERNET] = packet.bytes(0).ok_or(Reason::Short)?;
    let [.., type_hi, type_lo] = *header;
    let iface = iface.ok_or(Reason::UnknownInterface)?;
    // By words: the compiler would put an address together from bytes.
    let upper: [u8; 4] = field(header, 0);
    let lower: [u8; 2] = field(header, 4);
    if u32::from_ne_bytes(upper) != u32::from_ne_bytes(field(&iface.mac, 0))
        || u16::from_ne_bytes(lower) != u16::from_ne_bytes(field(&iface.mac, 4))
    {
        return Err(Reason::NotOurMac);
    }
    let unknown = u64::from(type_lo);
    match u16::from_be_bytes([type_hi, type_lo]) {
        IPV4 => Ok(link(0, 0, false, unknown)),
        IPV6 => Ok(link(0, 0, true, unknown)),
        VLAN | SERVICE_VLAN if iface.flags & Iface::TRUNK == 0 => Err(Reason::Vlan),
        VLAN | SERVICE_VLAN => tagged(packet),
        _ => Err(Reason::NotIp),
    }
}

#[inline(always)]
fn tagged<P: Packet>(packet: &P) -> Result<Link, Reason> {
    let outer = packet.load(ETHERNET).ok_or(Reason::Short)?;
    let (tags, [tci_hi, tci_lo, type_hi, type_lo]) = match outer {
        [_, _, 0x81, 0x00] | [_, _, 0x88, 0xa8] => {
            (2 * TAG, packet.load(ETHERNET + TAG).ok_or(Reason::Short)?)
        }
        one => (TAG, one),
    };
    let v6 = match u16::from_be_bytes([type_hi, type_lo]) {
        IPV4 => false,
        IPV6 => true,
        VLAN | SERVICE_VLAN => return Err(Reason::Vlan),
        _ => return Err(Reason::NotIp),
    };
    let tci = u16::from_be_bytes([tci_hi, tci_lo]);
    Ok(link(tags, tci & VID, v6, u64::from(type_lo)))
}

/// A frame with this length of tags, after which all are walked on as one.
#[inline(always)]
fn link(tags: usize, vlan: u16, v6: bool, unknown: u64) -> Link {
    Link { ip: ETHERNET + forget::<TAGS>(tags, unknown), vlan, v6: forget_bool(v6, unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Buffer;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn link(flags: u8, after_addresses: &[u8]) -> Result<Link, Reason> {
        let mut frame = [0; 40];
        frame[..6].copy_from_slice(&MAC);
        frame[12..12 + after_addresses.len()].copy_from_slice(after_addresses);
        let iface = Iface { ifindex: 7, mac: MAC, index: 1, flags, pad: [0; 4] };
        read(&Buffer::new(&mut frame, 0), Some(&iface))
    }

    #[test]
    fn tags_are_ours_on_a_trunk_only() {
        let plain = Ok(Link { ip: 14, vlan: 0, v6: false });
        for flags in [0, Iface::TRUNK] {
            assert_eq!(link(flags, &[8, 0]), plain);
            assert_eq!(link(flags, &[0x86, 0xdd]), Ok(Link { ip: 14, vlan: 0, v6: true }));
            assert_eq!(link(flags, &[8, 6]), Err(Reason::NotIp));
        }
        assert_eq!(link(0, &[0x81, 0, 0, 10, 8, 0]), Err(Reason::Vlan));
        assert_eq!(link(0, &[0x88, 0xa8, 0, 10, 8, 0]), Err(Reason::Vlan));
    }

    #[test]
    fn the_inner_tag_is_the_vlan() {
        let link = |bytes: &[u8]| link(Iface::TRUNK, bytes);
        let v4 = |ip, vlan| Ok(Link { ip, vlan, v6: false });
        assert_eq!(link(&[0x81, 0, 0xe0, 10, 8, 0]), v4(18, 10));
        assert_eq!(link(&[0x81, 0, 0xe0, 0, 8, 0]), v4(18, 0), "priority tag");
        assert_eq!(link(&[0x88, 0xa8, 0, 9, 0x81, 0, 0x1f, 0xff, 8, 0]), v4(22, 0xfff));
        let v6 = Ok(Link { ip: 18, vlan: 10, v6: true });
        assert_eq!(link(&[0x81, 0, 0, 10, 0x86, 0xdd]), v6);
        assert_eq!(link(&[0x81, 0, 0, 10, 8, 6]), Err(Reason::NotIp));
        let three = [0x88, 0xa8, 0, 9, 0x81, 0, 0, 10, 0x81, 0, 0, 11, 8, 0];
        assert_eq!(link(&three), Err(Reason::Vlan));
    }
}
