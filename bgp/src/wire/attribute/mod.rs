//! Path attributes (RFC 4271 sections 4.3 and 5).

mod as_path;

use std::fmt;
use std::net::Ipv4Addr;

use bytes::Bytes;

pub use as_path::{AsPath, Segment, SegmentKind};

use super::community::Community;

/// The attributes of a route, without MP_REACH_NLRI and MP_UNREACH_NLRI, which are about prefixes.
///
/// Comparable and hashable, so that equal sets can be shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, with AS4_PATH merged in where the peer speaks 2-octet AS numbers (RFC 6793).
    pub as_path: AsPath,
    /// NEXT_HOP of the UPDATE's IPv4 NLRI field; written only if that field is not empty.
    pub next_hop: Option<Ipv4Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF; discarded when it comes from an external peer.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR, with AS4_AGGREGATOR merged in.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES, in the order received.
    pub communities: Vec<Community>,
    /// Everything else, ascending by type code, one per code.
    pub opaque: Vec<OpaqueAttribute>,
}

/// ORIGIN (RFC 4271 section 5.1.1); the order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Origin {
    /// Interior to the originating AS.
    #[default]
    Igp,
    /// Learned by EGP.
    Egp,
    /// By other means.
    Incomplete,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "IGP",
            Self::Egp => "EGP",
            Self::Incomplete => "Incomplete",
        })
    }
}

/// AGGREGATOR (RFC 4271 section 5.1.7): who formed the aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aggregator {
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier.
    pub address: Ipv4Addr,
}

/// An attribute that is carried without being understood.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpaqueAttribute {
    /// Optional (0x80), Transitive (0x40) and Partial (0x20); the other bits are zero.
    pub flags: u8,
    /// Type code.
    pub code: u8,
    /// Value.
    pub value: Bytes,
}

/// Writes the attribute's name, or its number where it has none.
pub(crate) fn write_name(code: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "attribute {code}")
}
