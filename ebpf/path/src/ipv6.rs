//! The IPv6 header and its extension headers (RFC 8200 sections 3 and 4).

use vc5_ebpf_abi::Reason;

use crate::{
    ip::{FRAGMENT, Headers, Part, TCP, UDP},
    packet::{Packet, field},
    verifier::{forget, forget_which, opaque},
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
    let mut headers = fixed(packet, ip)?;
    packet.walk(&mut headers)?;
    Ok(Headers { transport: at(&headers), ..headers })
}

/// The header at `ip`, if TCP or UDP comes right after it.
#[inline(always)]
pub(crate) fn plain<P: Packet>(packet: &P, ip: usize) -> Option<Headers> {
    fixed(packet, ip).ok().filter(|headers| matches!(headers.protocol, TCP | UDP))
}

/// The header at `ip` by itself.
#[inline(always)]
fn fixed<P: Packet>(packet: &P, ip: usize) -> Result<Headers, Reason> {
    let bytes: &[u8; HEADER] = packet.bytes(ip).ok_or(Reason::Short)?;
    let [version, ..] = *bytes;
    let [protocol] = field(bytes, NEXT_HEADER);
    let end = ip + HEADER + usize::from(u16::from_be_bytes(field(bytes, 4)));
    if version >> 4 != 6 || packet.len() < end {
        return Err(Reason::Malformed);
    }
    let (transport, next_at) = (ip + HEADER, ip + NEXT_HEADER);
    Ok(Headers {
        transport,
        end,
        next_at,
        identification: 0,
        protocol,
        part: Part::Whole,
        pad: [0; 2],
    })
}

/// Goes on from the header that `headers` takes for the transport's, while that is an extension
/// header. Their order (RFC 8200 section 4.1) is not enforced, but for hop-by-hop options.
///
/// Encrypted and authenticated packets end the walk: they are of a protocol that is not balanced.
///
/// # Errors
///
/// The reason for which a packet to a VIP is dropped.
#[inline(always)]
pub fn walk<P: Packet>(packet: &P, headers: &mut Headers) -> Result<(), Reason> {
    for i in 0..EXTENSIONS {
        match headers.protocol {
            HOP_BY_HOP if i > 0 => return Err(Reason::ExtensionHeaders),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => options(packet, headers)?,
            FRAGMENT => fragment(packet, headers)?,
            _ => return Ok(()),
        }
        if headers.part == Part::Later {
            return Ok(());
        }
    }
    match headers.protocol {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT => Err(Reason::ExtensionHeaders),
        _ => Ok(()),
    }
}

/// Where the next header begins, as a number that the verifier knows the bounds of.
#[inline(always)]
pub(crate) fn at(headers: &Headers) -> usize {
    opaque(headers.transport as u64) as usize & OFFSETS
}

/// Beyond an extension header of the general form: next header, length.
#[inline(always)]
fn options<P: Packet>(packet: &P, headers: &mut Headers) -> Result<(), Reason> {
    let at = at(headers);
    let [protocol, length, _, segments_left] =
        packet.word(at).ok_or(Reason::Truncated)?.to_ne_bytes();
    // With segments left, the address is not where the packet is to go in the end.
    if headers.protocol == ROUTING && segments_left != 0 {
        return Err(Reason::ExtensionHeaders);
    }
    step(headers, protocol, 8 + usize::from(length) * 8)
}

#[inline(always)]
fn fragment<P: Packet>(packet: &P, headers: &mut Headers) -> Result<(), Reason> {
    const LENGTH: usize = 8;
    const MORE: u16 = 1;
    let at = at(headers);
    let [protocol, _, offset @ ..] = packet.word(at).ok_or(Reason::Truncated)?.to_ne_bytes();
    let offset = u16::from_be_bytes(offset);
    let identification = packet.word(at + 4).ok_or(Reason::Truncated)?.to_le();
    if headers.part != Part::Whole {
        return Err(Reason::ExtensionHeaders);
    }
    headers.identification = identification;
    let part = match (offset >> 3, offset & MORE) {
        // An atomic fragment (RFC 6946) is a packet like any other.
        (0, 0) => Part::Whole,
        (0, _) => Part::First,
        _ => Part::Later,
    };
    headers.part = forget_which(part, u64::from(identification));
    step(headers, protocol, LENGTH)
}

/// To the header after one of this length.
#[inline(always)]
fn step(headers: &mut Headers, protocol: u8, length: usize) -> Result<(), Reason> {
    let transport = headers.transport + length;
    if transport > headers.end {
        return Err(Reason::Truncated);
    }
    headers.next_at = headers.transport;
    headers.transport = forget::<OFFSETS>(transport, u64::from(protocol));
    headers.protocol = protocol;
    Ok(())
}
