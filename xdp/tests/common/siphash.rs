//! The fleet's flow hash once more, from the paper and the encoding's description alone: SipHash-1-3
//! over source, destination, source port, destination port, protocol, IP version.

use std::net::IpAddr;

/// SipHash with one round a word and three to finish.
pub fn siphash13([k0, k1]: [u64; 2], bytes: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len() / 8 * 8 + 7, 0);
    padded.push(bytes.len() as u8);
    for word in padded.chunks_exact(8) {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    for (a, b, c, d, r, s) in [(0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)] {
        v[a] = v[a].wrapping_add(v[b]);
        v[b] = v[b].rotate_left(r) ^ v[a];
        v[a] = v[a].rotate_left(32);
        v[c] = v[c].wrapping_add(v[d]);
        v[d] = v[d].rotate_left(s) ^ v[c];
    }
}

/// Hash of a 5-tuple; with ports and protocol zero that of a `sticky` service.
pub fn tuple_hash(
    key: [u64; 2],
    source: IpAddr,
    destination: IpAddr,
    ports: (u16, u16),
    protocol: u8,
) -> u64 {
    let mut encoded = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => encoded.extend(address.octets()),
            IpAddr::V6(address) => encoded.extend(address.octets()),
        }
    }
    encoded.extend(ports.0.to_be_bytes());
    encoded.extend(ports.1.to_be_bytes());
    encoded.extend([protocol, if source.is_ipv4() { 4 } else { 6 }]);
    siphash13(key, &encoded)
}

/// The standard library's hasher happens to be the same function with a key of zeros.
#[test]
fn agrees_with_the_standard_library() {
    use std::hash::{DefaultHasher, Hasher as _};
    for length in 0..64u8 {
        let bytes: Vec<u8> = (0..length).collect();
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        assert_eq!(siphash13([0, 0], &bytes), hasher.finish(), "{length} bytes");
    }
}
