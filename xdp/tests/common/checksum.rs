//! The Internet checksum from scratch (RFC 1071), which the path only ever updates.

use std::net::IpAddr;

/// The checksum over bytes; zero over those that hold their own.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]));
    !words.fold(0, ones_sum)
}

/// The sum in one's complement arithmetic.
pub fn ones_sum(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// What the checksums of TCP, UDP and ICMPv6 cover beside the packet (RFC 9293 section 3.1, RFC
/// 8200 section 8.1).
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut header = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(address.octets()),
        }
    }
    header.extend([0, protocol]);
    header.extend((length as u32).to_be_bytes());
    header
}

#[test]
fn the_example_of_rfc_1071() {
    // Section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2.
    assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    assert_eq!(checksum(&[0; 8]), 0xffff);
    assert_eq!(checksum(&[0xff, 0xff, 0, 0]), 0);
}
