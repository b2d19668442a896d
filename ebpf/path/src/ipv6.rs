//! The IPv6 header and its extension headers (RFC 8200 sections 3 and 4).

use vc5_ebpf_abi::Reason;

use crate::{
    ip::{FRAGMENT, Fragment, Headers, TCP, UDP},
    packet::{Packet, field},
    verifier::forget,
};

/// Length of the header without extension headers.
pub(crate) const HEADER: usize = 40;
/// Offset of the next header field.
pub(crate) const NEXT_HEADER: usize = 6;
/// Offset of the hop limit.
pub(crate) const HOP_LIMIT: usize = 7;
/// Offset of the source address; the destination's is 16 more.
pub(crate) const SOURCE: usize = 8;

/// Most extension headers that are walked.
const EXTENSIONS: usize = 6;
/// An offset is below this: the longest chain of extension headers is 6 x 2,048 bytes.
const OFFSETS: usize = 0x3fff;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// Reads the header at `ip` and walks the extension headers.
#[inline(always)]
pub(crate) fn read<P: Packet>(packet: &P, ip: usize) -> Result<Headers, Reason> {
    let bytes: &[u8; HEADER] = packet.bytes(ip).ok_or(Reason::Short)?;
    let [version, ..] = *bytes;
    let [protocol] = field(bytes, NEXT_HEADER);
    let end = ip + HEADER + usize::from(u16::from_be_bytes(field(bytes, 4)));
    if version >> 4 != 6 || packet.len() < end {
        return Err(Reason::Malformed);
    }
    let transport = ip + HEADER;
    let next_at = ip + NEXT_HEADER;
    let headers = Headers { transport, end, next_at, protocol, fragment: Fragment::Whole };
    match protocol {
        TCP | UDP => Ok(headers),
        _ => walk(packet, headers),
    }
}

/// Goes on from the header that `headers` takes for the transport's, while that is an extension
/// header. Their order (RFC 8200 section 4.1) is not enforced, but for hop-by-hop options.
///
/// Encrypted and authenticated packets end the walk: they are of a protocol that is not balanced.
#[inline(always)]
pub(crate) fn walk<P: Packet>(packet: &P, mut headers: Headers) -> Result<Headers, Reason> {
    for i in 0..EXTENSIONS {
        let h = headers;
        match h.protocol {
            HOP_BY_HOP if i > 0 => return Err(Reason::ExtensionHeaders),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => headers = options(packet, h)?,
            FRAGMENT => headers = fragment(packet, h)?,
            _ => return Ok(h),
        }
        if matches!(headers.fragment, Fragment::Later(_)) {
            return Ok(headers);
        }
    }
    match headers.protocol {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT => Err(Reason::ExtensionHeaders),
        _ => Ok(headers),
    }
}

/// Beyond an extension header of the general form: next header, length.
#[inline(always)]
fn options<P: Packet>(packet: &P, headers: Headers) -> Result<Headers, Reason> {
    let at = headers.transport;
    let [protocol, length, _, segments_left]: [u8; 4] = packet.load(at).ok_or(Reason::Truncated)?;
    // With segments left, the address is not where the packet is to go in the end.
    if headers.protocol == ROUTING && segments_left != 0 {
        return Err(Reason::ExtensionHeaders);
    }
    let transport = at + 8 + usize::from(length) * 8;
    if transport > headers.end {
        return Err(Reason::Truncated);
    }
    let transport = forget::<OFFSETS>(transport, u64::from(length));
    Ok(Headers { transport, next_at: at, protocol, ..headers })
}

#[inline(always)]
fn fragment<P: Packet>(packet: &P, headers: Headers) -> Result<Headers, Reason> {
    const LENGTH: usize = 8;
    const MORE: u16 = 1;
    let at = headers.transport;
    let [protocol, _, offset_hi, offset_lo, id @ ..]: [u8; LENGTH] =
        packet.load(at).ok_or(Reason::Truncated)?;
    if at + LENGTH > headers.end {
        return Err(Reason::Truncated);
    }
    if headers.fragment != Fragment::Whole {
        return Err(Reason::ExtensionHeaders);
    }
    let offset = u16::from_be_bytes([offset_hi, offset_lo]);
    let fragment = match (offset >> 3, offset & MORE) {
        // An atomic fragment (RFC 6946) is a packet like any other.
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First(id),
        _ => Fragment::Later(id),
    };
    let transport = forget::<OFFSETS>(at + LENGTH, u64::from(offset));
    Ok(Headers { transport, next_at: at, protocol, fragment, ..headers })
}
