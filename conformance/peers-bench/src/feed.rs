//! A full table as one neighbour sends it: 1,000,000 IPv4 prefixes over about 200,000 attribute sets.
//!
//! Written octet by octet, by none of the codecs that are measured. The same each time.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

const PREFIXES: usize = 1_000_000;
/// Prefixes that share an attribute set, on average.
const SHARING: f64 = 5.0;
const MOST_SHARING: usize = 400;
const NEIGHBOR_AS: u32 = 64_500;

/// Prefix lengths as in today's table, in per cent, the longest first.
const LENGTHS: [(u8, u32); 9] =
    [(24, 61), (23, 10), (22, 12), (21, 5), (20, 4), (19, 3), (18, 2), (17, 1), (16, 2)];

/// The stream and what is in it.
pub(crate) struct Feed {
    /// UPDATE after UPDATE, no gaps.
    pub(crate) octets: Vec<u8>,
    /// What has to be found in it.
    pub(crate) tally: Tally,
}

/// What a codec found; all have to find the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) messages: usize,
    pub(crate) prefixes: usize,
    pub(crate) as_numbers: usize,
    pub(crate) communities: usize,
    /// Octets written; zero for a decoder.
    pub(crate) octets: usize,
    /// The addresses of the prefixes, the AS numbers and the communities, added up (wrapping); zero for a
    /// codec that gives values to keep instead of octets to read.
    pub(crate) sum: u32,
}

impl Tally {
    pub(crate) fn prefix(&mut self, address: IpAddr) {
        let bits = match address {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(_) => 0,
        };
        self.prefixes += 1;
        self.sum = self.sum.wrapping_add(bits);
    }

    pub(crate) fn as_number(&mut self, asn: u32) {
        self.as_numbers += 1;
        self.sum = self.sum.wrapping_add(asn);
    }

    pub(crate) fn community(&mut self, value: u32) {
        self.communities += 1;
        self.sum = self.sum.wrapping_add(value);
    }
}

impl Feed {
    pub(crate) fn full_table() -> Self {
        let mut rng = Rng(0x5EED);
        let prefixes = prefixes(&mut rng);
        let mut feed = Self { octets: Vec::new(), tally: Tally::default() };
        let mut rest = &prefixes[..];
        while !rest.is_empty() {
            let (shared, behind) = rest.split_at(rng.sharing().min(rest.len()));
            feed.update(&mut rng, shared);
            rest = behind;
        }
        feed
    }

    fn update(&mut self, rng: &mut Rng, prefixes: &[(Ipv4Addr, u8)]) {
        let attributes = self.attributes(rng);
        let nlri: Vec<u8> = prefixes
            .iter()
            .flat_map(|(address, length)| {
                let octets = address.octets();
                [*length]
                    .into_iter()
                    .chain(octets.into_iter().take(usize::from(*length).div_ceil(8)))
            })
            .collect();
        let length = u16::try_from(23 + attributes.len() + nlri.len()).expect("a short message");
        self.octets.extend([0xFF; 16]);
        self.octets.extend(length.to_be_bytes());
        self.octets.extend([2, 0, 0]);
        self.octets.extend(u16::try_from(attributes.len()).expect("few attributes").to_be_bytes());
        self.octets.extend(attributes);
        self.octets.extend(nlri);
        self.tally.messages += 1;
        prefixes.iter().for_each(|(address, _)| self.tally.prefix(IpAddr::V4(*address)));
    }

    /// ORIGIN, AS_PATH, NEXT_HOP, MULTI_EXIT_DISC on one in five, COMMUNITIES on most.
    fn attributes(&mut self, rng: &mut Rng) -> Vec<u8> {
        let mut out = vec![0x40, 1, 1, if rng.below(10) == 0 { 2 } else { 0 }];
        let hops = 2 + rng.below(4) as u8 + rng.below(4) as u8;
        out.extend([0x40, 2, 2 + 4 * hops, 2, hops]);
        for hop in 0..hops {
            let asn = match hop {
                0 => NEIGHBOR_AS,
                _ if rng.below(4) == 0 => 131_072 + rng.below(280_000),
                _ => 1 + rng.below(64_000),
            };
            out.extend(asn.to_be_bytes());
            self.tally.as_number(asn);
        }
        out.extend([0x40, 3, 4, 192, 0, 2, 1]);
        if rng.below(5) == 0 {
            out.extend([0x80, 4, 4]);
            out.extend(rng.below(1000).to_be_bytes());
        }
        let communities = rng.below(13) as u8;
        if communities > 0 {
            out.extend([0xC0, 8, 4 * communities]);
            for _ in 0..communities {
                let community = rng.below(64_000) << 16 | rng.below(9999);
                out.extend(community.to_be_bytes());
                self.tally.community(community);
            }
        }
        out
    }
}

/// Different prefixes in no order.
fn prefixes(rng: &mut Rng) -> Vec<(Ipv4Addr, u8)> {
    let mut taken = HashSet::with_capacity(PREFIXES);
    let mut prefixes = Vec::with_capacity(PREFIXES);
    while prefixes.len() < PREFIXES {
        let length = rng.length();
        let address = (1 << 24) + rng.below(223 << 24) >> (32 - length) << (32 - length);
        // Not loopback, which is no route.
        if address >> 24 != 127 && taken.insert((address, length)) {
            prefixes.push((Ipv4Addr::from(address), length));
        }
    }
    prefixes
}

/// Xorshift64*.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    fn below(&mut self, bound: u32) -> u32 {
        (u64::from(self.next()) * u64::from(bound) >> 32) as u32
    }

    fn length(&mut self) -> u8 {
        let mut place = self.below(100);
        for (length, share) in LENGTHS {
            if place < share {
                return length;
            }
            place -= share;
        }
        24
    }

    /// Geometrically distributed: most sets belong to one or two prefixes, some to many.
    fn sharing(&mut self) -> usize {
        let uniform = (f64::from(self.next()) + 1.0) / 4_294_967_297.0;
        (1 + (uniform.ln() / (1.0 - 1.0 / SHARING).ln()) as usize).min(MOST_SHARING)
    }
}
