//! The IPv4 header (RFC 791 section 3.1).

use vc5_ebpf_abi::Reason;

use crate::{
    ip::{Fragment, Headers},
    packet::{Packet, field},
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
    let fragment = fragment(u16::from_be_bytes(field(bytes, 6)), field(bytes, 4));
    Ok(Headers { transport: ip + header, end, next_at: ip + PROTOCOL, protocol, fragment })
}

/// Which fragment a header's flags and offset tell of; the identification is padded in front.
#[inline(always)]
pub(crate) fn fragment(flags_offset: u16, [hi, lo]: [u8; 2]) -> Fragment {
    if flags_offset & (MORE_FRAGMENTS | OFFSET) == 0 {
        Fragment::Whole
    } else if flags_offset & OFFSET == 0 {
        Fragment::First([0, 0, hi, lo])
    } else {
        Fragment::Later([0, 0, hi, lo])
    }
}
