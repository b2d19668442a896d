//! The IPv4 header (RFC 791 section 3.1).

use vc5_ebpf_abi::Reason;

use crate::{
    ip::{Headers, Part, TCP, UDP},
    packet::{Packet, field},
    verifier::forget_which,
};

/// Length of the header without options.
pub(crate) const HEADER: usize = 20;
/// Offset of the TTL.
pub(crate) const TTL: usize = 8;
/// Offset of the protocol.
pub(crate) const PROTOCOL: usize = 9;
/// Offset of the source address; the destination's is 4 more.
pub(crate) const SOURCE: usize = 12;

const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Reads the header at `ip`. Options are skipped.
#[inline(always)]
pub(crate) fn read<P: Packet>(packet: &P, ip: usize) -> Result<Headers, Reason> {
    let bytes: &[u8; HEADER] = packet.bytes(ip).ok_or(Reason::Short)?;
    let [version_ihl] = field(bytes, 0);
    let [protocol] = field(bytes, PROTOCOL);
    let header = usize::from(version_ihl & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes(field(bytes, 2)));
    let end = ip + total;
    if version_ihl >> 4 != 4 || header < HEADER || total < header || packet.len() < end {
        return Err(Reason::Malformed);
    }
    Ok(Headers {
        transport: ip + header,
        end,
        next_at: ip + PROTOCOL,
        identification: u32::from(u16::from_le_bytes(field(bytes, 4))) << 16,
        protocol,
        part: part(u16::from_be_bytes(field(bytes, 6))),
        pad: [0; 2],
    })
}

/// The header at `ip`, if it has no options and TCP or UDP comes whole after it.
#[inline(always)]
pub(crate) fn plain<P: Packet>(packet: &P, ip: usize) -> Option<Headers> {
    const PLAIN: u8 = 0x45;
    let bytes: &[u8; HEADER] = packet.bytes(ip)?;
    let [version_ihl] = field(bytes, 0);
    let [protocol] = field(bytes, PROTOCOL);
    let total = usize::from(u16::from_be_bytes(field(bytes, 2)));
    let end = ip + total;
    let whole = u16::from_be_bytes(field(bytes, 6)) & (MORE_FRAGMENTS | OFFSET) == 0;
    if version_ihl != PLAIN
        || !whole
        || !matches!(protocol, TCP | UDP)
        || total < HEADER
        || packet.len() < end
    {
        return None;
    }
    let (transport, next_at) = (ip + HEADER, ip + PROTOCOL);
    Some(Headers {
        transport,
        end,
        next_at,
        identification: 0,
        protocol,
        part: Part::Whole,
        pad: [0; 2],
    })
}

/// What a header's flags and offset tell of.
#[inline(always)]
pub(crate) fn part(flags_offset: u16) -> Part {
    let part = match (flags_offset & MORE_FRAGMENTS, flags_offset & OFFSET) {
        (0, 0) => Part::Whole,
        (_, 0) => Part::First,
        _ => Part::Later,
    };
    forget_which(part, u64::from(flags_offset))
}
