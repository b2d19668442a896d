//! The answer to an echo request (RFC 792, RFC 4443 section 4.2): the frame itself, turned round.

use vc5_ebpf_abi::Reason;

use crate::{checksum, ip, ipv4, ipv6, link::Link, packet::Packet, rewrite::set_ttl};

const TTL: u8 = 64;

/// Makes an echo request that was found to be one into its answer.
// A function of its own in the program, as few packets need it.
#[inline(never)]
pub(crate) fn answer<P: Packet>(packet: &mut P, link: &Link) -> Reason {
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
        swap::<P, 16>(packet, link.ip + ipv6::SOURCE)
    } else {
        swap::<P, 4>(packet, link.ip + ipv4::SOURCE)
    }
}

/// Sends the frame back to where it came from.
#[inline(always)]
pub(crate) fn swap_macs<P: Packet>(packet: &mut P) -> Option<()> {
    swap::<P, 6>(packet, 0)
}

#[inline(always)]
fn swap<P: Packet, const N: usize>(packet: &mut P, at: usize) -> Option<()> {
    let first: [u8; N] = packet.load(at)?;
    let second: [u8; N] = packet.load(at + N)?;
    packet.store(at, second)?;
    packet.store(at + N, first)
}
