//! The fleet's hash: SipHash-1-3, keyed, over a fixed encoding of the 5-tuple.
//!
//! Every node of a fleet must choose the same backend for a flow, so the hash, its encoding and the
//! bits of the slot are a wire contract: [`FLOW_HASH`] names this version of it, and the vectors
//! under `golden/` hold it fast.
//!
//! A tuple is encoded as source address, destination address, source port, destination port (all
//! in network byte order), IP protocol, IP version: 14 bytes for IPv4, which SipHash takes as two
//! words.

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

/// Hash of an IPv4 flow. `addresses` is source, destination and `ports` source, destination, both
/// as they lie in the packet.
#[inline(always)]
#[must_use]
pub fn flow_hash_v4(key: [u64; 2], addresses: [u8; 8], ports: [u8; 4], protocol: u8) -> u64 {
    const LENGTH: u64 = 14;
    const VERSION: u64 = 4;
    let mut state = State::new(key);
    state.word(u64::from_le_bytes(addresses));
    state.word(
        u64::from(u32::from_le_bytes(ports))
            | u64::from(protocol) << 32
            | VERSION << 40
            | LENGTH << 56,
    );
    state.finish()
}

/// Ring slot of a flow: the upper 16 bits of its hash.
#[inline(always)]
#[must_use]
pub const fn slot(hash: u64) -> u16 {
    (hash >> 48) as u16
}
