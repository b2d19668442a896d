//! The answer to an echo request (RFC 792, RFC 4443 section 4.2): the frame itself, turned round.

use vc5_ebpf_abi::Reason;

use crate::{checksum, ip, ipv4, ipv6, link::Link, packet::Packet, rewrite::set_ttl};

const TTL: u8 = 64;

/// Makes an echo request that was found to be one into its answer.
#[inline(always)]
pub fn answer<P: Packet>(packet: &mut P, link: &Link) -> Reason {
    let Ok(headers) = ip::read(packet, link) else { return Reason::EchoDown };
    match reply(packet, link, headers.transport) {
        Some(()) => Reason::Echo,
        None => Reason::NoRoom,
    }
}

#[inline(always)]
fn reply<P: Packet>(packet: &mut P, link: &Link, at: usize) -> Option<()> {
    let [kind, code, hi, lo] = packet.load(at)?;
    let word: [u8; 4] = packet.load(at + 4)?;
    let reply = if link.v6 { 129 } else { 0 };
    let [old, new] = [kind, reply].map(|kind| u16::from_be_bytes([kind, code]));
    let [hi, lo] = match checksum::updated(u16::from_be_bytes([hi, lo]), old, new) {
        // Of an all zero message, which ICMPv4 alone has, the checksum is not 0 but the other form
        // of it, and no update can tell. Where the data are not zero it is as good (RFC 1071
        // section 2).
        0 if !link.v6 && word == [0; 4] => [0xff; 2],
        checksum => checksum.to_be_bytes(),
    };
    packet.store(at, [reply, code, hi, lo])?;
    turn_round(packet, link)?;
    set_ttl(packet, link.ip, link.v6, TTL)
}

/// Swaps the addresses of both layers, by which no checksum changes.
#[inline(always)]
fn turn_round<P: Packet>(packet: &mut P, link: &Link) -> Option<()> {
    swap_macs(packet)?;
    if link.v6 {
        let source = link.ip + ipv6::SOURCE;
        for at in [0, 4, 8, 12] {
            swap(packet, source + at, source + at + 16)?;
        }
        return Some(());
    }
    swap(packet, link.ip + ipv4::SOURCE, link.ip + ipv4::SOURCE + 4)
}

/// Sends the frame back to where it came from.
#[inline(always)]
pub(crate) fn swap_macs<P: Packet>(packet: &mut P) -> Option<()> {
    let [a, b, c] = [packet.word(0)?, packet.word(4)?, packet.word(8)?];
    // The second address begins in the middle of the second word.
    packet.set_word(0, b >> 16 | c << 16)?;
    packet.set_word(4, c >> 16 | a << 16)?;
    packet.set_word(8, a >> 16 | b << 16)
}

#[inline(always)]
fn swap<P: Packet>(packet: &mut P, first: usize, second: usize) -> Option<()> {
    let (a, b) = (packet.word(first)?, packet.word(second)?);
    packet.set_word(first, b)?;
    packet.set_word(second, a)
}
