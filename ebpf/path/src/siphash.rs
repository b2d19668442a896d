//! The fleet's hash: SipHash-1-3, keyed, over a fixed encoding of the 5-tuple.
//!
//! Every node of a fleet must choose the same backend for a flow, so the hash, its encoding and the
//! bits of the slot are a wire contract: [`FLOW_HASH`] names this version of it, and the vectors
//! under `golden/` hold it fast.
//!
//! A tuple is encoded as source address, destination address, source port, destination port (all
//! in network byte order), IP protocol, IP version: 14 bytes for IPv4, which SipHash takes as two
//! words, and 38 for IPv6, five words.

use vc5_ebpf_abi::Address;

use crate::packet::field;

/// Name and version of the flow hash.
pub const FLOW_HASH: &str = "siphash-1-3/tuple-v1";

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    fn new([k0, k1]: [u64; 2]) -> Self {
        Self {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

/// SipHash-1-3 of any bytes; `key` is the two words of a 16-byte key, little-endian.
#[must_use]
pub fn siphash13(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut state = State::new(key);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        state.word(chunk.iter().rev().fold(0, |word, &b| word << 8 | u64::from(b)));
    }
    let tail = chunks.remainder().iter().rev().fold(0, |word, &b| word << 8 | u64::from(b));
    state.word((bytes.len() as u64) << 56 | tail);
    state.finish()
}

/// An [`Address`] as two little-endian words.
pub type Words = [u64; 2];

/// The lower half of the second word of an IPv4 address; the first is zero.
const MAPPED: u64 = 0xffff_0000;

/// The words of an IPv4 address in network byte order.
#[inline(always)]
pub(crate) const fn mapped_words(address: [u8; 4]) -> Words {
    [0, MAPPED | (u32::from_le_bytes(address) as u64) << 32]
}

/// Whether these are the words of an IPv4 address.
#[inline(always)]
pub(crate) const fn is_mapped([upper, lower]: Words) -> bool {
    upper == 0 && lower as u32 as u64 == MAPPED
}

#[inline(always)]
pub(crate) fn words(address: &Address) -> Words {
    let word = |at| u64::from_le_bytes(field(address, at));
    [word(0), word(8)]
}

#[inline(always)]
pub(crate) const fn address([upper, lower]: Words) -> Address {
    let [a, b, c, d, e, f, g, h] = upper.to_le_bytes();
    let [i, j, k, l, m, n, o, p] = lower.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// Hash of a flow: an IPv4 one if its destination is a mapped address, as then its source is too.
/// `ports` is source, destination as they lie in the packet.
#[inline(always)]
#[must_use]
pub fn flow_hash(
    key: [u64; 2],
    source: &Address,
    destination: &Address,
    ports: [u8; 4],
    protocol: u8,
) -> u64 {
    hash_words(key, words(source), words(destination), u32::from_le_bytes(ports), protocol)
}

/// [`flow_hash`] of addresses and ports as little-endian words.
#[inline(always)]
#[must_use]
pub fn hash_words(
    key: [u64; 2],
    source: Words,
    destination: Words,
    ports: u32,
    protocol: u8,
) -> u64 {
    const LENGTH_V4: u64 = 14;
    const LENGTH_V6: u64 = 38;
    let last = |version: u64, length: u64| {
        u64::from(ports) | u64::from(protocol) << 32 | version << 40 | length << 56
    };
    let [upper, lower] = source;
    let mut state = State::new(key);
    let last = if is_mapped(destination) {
        state.word(lower >> 32 | destination[1] >> 32 << 32);
        last(4, LENGTH_V4)
    } else {
        state.word(upper);
        state.word(lower);
        state.word(destination[0]);
        state.word(destination[1]);
        last(6, LENGTH_V6)
    };
    state.word(last);
    state.finish()
}

/// Ring slot of a flow: the upper 16 bits of its hash.
#[inline(always)]
#[must_use]
pub const fn slot(hash: u64) -> u16 {
    (hash >> 48) as u16
}
