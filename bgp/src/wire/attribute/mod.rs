//! Path attributes (RFC 4271 sections 4.3 and 5).

mod as_path;
mod encode;
mod multiprotocol;
mod scan;
mod segments;
pub(crate) mod table;
mod value;
mod view;

use std::fmt;
use std::net::Ipv4Addr;

use bytes::Bytes;

pub use as_path::{AsPath, AsPathView, Segment, SegmentKind};
pub(crate) use encode::put_all;
pub(crate) use multiprotocol::{Reach, Unreach, put_reach, put_unreach, reach_overhead};
pub(crate) use scan::Scan;
pub use view::AttributesView;

use super::community::{Community, ExtendedCommunity, LargeCommunity};

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
    /// ORIGINATOR_ID (RFC 4456); discarded when it comes from an external peer.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456), the nearest cluster first; discarded when it comes from an external
    /// peer.
    pub cluster_list: Vec<Ipv4Addr>,
    /// EXTENDED COMMUNITIES (RFC 4360), in the order received.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// The accumulated metric of AIGP (RFC 7311); discarded when it comes from an external peer.
    pub aigp: Option<u64>,
    /// LARGE_COMMUNITY (RFC 8092), in the order received, each value once.
    pub large_communities: Vec<LargeCommunity>,
    /// ONLY_TO_CUSTOMER: the AS that must not be passed upwards (RFC 9234 section 5).
    pub only_to_customer: Option<u32>,
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

/// Attribute flags (RFC 4271 section 4.3).
pub(crate) mod flag {
    /// Not every speaker knows the attribute.
    pub(crate) const OPTIONAL: u8 = 0x80;
    /// To be passed on, even by a speaker that does not know it.
    pub(crate) const TRANSITIVE: u8 = 0x40;
    /// Passed on by a speaker that did not know it.
    pub(crate) const PARTIAL: u8 = 0x20;
    /// The length takes two octets.
    pub(crate) const EXTENDED_LENGTH: u8 = 0x10;
}

/// Attribute type codes (IANA "BGP Path Attributes").
pub(crate) mod code {
    pub(crate) const ORIGIN: u8 = 1;
    pub(crate) const AS_PATH: u8 = 2;
    pub(crate) const NEXT_HOP: u8 = 3;
    pub(crate) const MULTI_EXIT_DISC: u8 = 4;
    pub(crate) const LOCAL_PREF: u8 = 5;
    pub(crate) const ATOMIC_AGGREGATE: u8 = 6;
    pub(crate) const AGGREGATOR: u8 = 7;
    pub(crate) const COMMUNITIES: u8 = 8;
    pub(crate) const ORIGINATOR_ID: u8 = 9;
    pub(crate) const CLUSTER_LIST: u8 = 10;
    pub(crate) const MP_REACH_NLRI: u8 = 14;
    pub(crate) const MP_UNREACH_NLRI: u8 = 15;
    pub(crate) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(crate) const AS4_PATH: u8 = 17;
    pub(crate) const AS4_AGGREGATOR: u8 = 18;
    pub(crate) const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    pub(crate) const AIGP: u8 = 26;
    pub(crate) const LARGE_COMMUNITIES: u8 = 32;
    pub(crate) const ONLY_TO_CUSTOMER: u8 = 35;
}

/// Writes the attribute's name, or its number where it has none.
pub(crate) fn write_name(code: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match table::row(code) {
        Some((_, row)) => f.write_str(row.name),
        None => write!(f, "attribute {code}"),
    }
}
