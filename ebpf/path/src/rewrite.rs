//! The rewrite of layer-2 direct server return: hardware addresses and, if asked for, the TTL.

use vc5_ebpf_abi::Real;

use crate::{
    packet::Packet,
    parse::{IP, IP_CHECKSUM, IP_TTL},
};

/// Addresses an IPv4 frame to the real. `None` if the frame is too short (nothing is sent then).
#[inline(always)]
pub fn layer2<P: Packet>(packet: &mut P, real: &Real) -> Option<()> {
    if real.ttl != 0 {
        set_ttl(packet, real.ttl)?;
    }
    packet.store(0, real.mac)?;
    packet.store(6, real.src_mac)
}

#[inline(always)]
fn set_ttl<P: Packet>(packet: &mut P, ttl: u8) -> Option<()> {
    // The word of the header that holds the TTL holds the protocol too.
    let [old, protocol] = packet.load(IP + IP_TTL)?;
    let checksum = u16::from_be_bytes(packet.load(IP + IP_CHECKSUM)?);
    let checksum = updated_checksum(
        checksum,
        u16::from_be_bytes([old, protocol]),
        u16::from_be_bytes([ttl, protocol]),
    );
    packet.store(IP + IP_CHECKSUM, checksum.to_be_bytes())?;
    packet.store(IP + IP_TTL, [ttl])
}

/// The checksum after one word of what it covers changed (RFC 1624 section 3, equation 3).
#[inline(always)]
#[must_use]
pub fn updated_checksum(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000.
        assert_eq!(updated_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    /// The checksum over a header whose other words sum up to `rest`.
    fn from_scratch(rest: u16, word: u16) -> u16 {
        let (sum, carry) = rest.overflowing_add(word);
        !(sum + u16::from(carry))
    }

    #[test]
    fn agrees_with_the_sum_from_scratch() {
        // A header is never all zero, nor so its sum: it begins with the version.
        for rest in 1..=u16::MAX {
            for (old, new) in [(0x3906, 0x0106), (0, 0xff11), (0xffff, 0), (1, 0xffff), (6, 6)] {
                let updated = updated_checksum(from_scratch(rest, old), old, new);
                assert_eq!(updated, from_scratch(rest, new), "{rest:#x}: {old:#x} to {new:#x}");
            }
        }
    }
}
