//! Attributes read where they lie.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bytes::Bytes;

use super::as_path::AsPathView;
use super::scan::{CodeSet, attribute};
use super::table::{self, TABLE};
use super::{Aggregator, Attributes, OpaqueAttribute, Origin, code, flag, segments, value};
use crate::wire::community::{Community, ExtendedCommunity, LargeCommunity};
use crate::wire::open::AS_TRANS;

/// The attributes of a received UPDATE, read where they lie. Those with errors are not there.
///
/// All have been checked; to read one again costs little, and nothing is allocated.
#[derive(Debug)]
pub struct AttributesView<'a> {
    list: &'a [u8],
    as4: bool,
    /// Unknown attributes are among them that are passed on.
    opaque: bool,
    /// Attributes are among them that most routes have not.
    seldom: bool,
    /// Where in the list the values are, by the attribute's place in the table.
    values: [Span; TABLE.len()],
}

/// Octets of a message, which has no more than 65535 of them: the place of the first in the upper
/// half, their number in the lower. Never 0, as an attribute's header is in front of its value; 0
/// stands for none. (One number, as views are made by the million.)
#[derive(Debug, Clone, Copy)]
struct Span(u32);

impl Span {
    fn new(start: usize, length: usize) -> Option<Self> {
        let [start, length] = [u16::try_from(start).ok()?, u16::try_from(length).ok()?];
        Some(Self(u32::from(start) << 16 | u32::from(length)))
    }

    fn of(self, list: &[u8]) -> Option<&[u8]> {
        if self.0 == 0 {
            return None;
        }
        // Both halves have 16 bits.
        let (start, length) = ((self.0 >> 16) as usize, (self.0 & 0xFFFF) as usize);
        list.get(start..start + length)
    }
}

impl<'a> AttributesView<'a> {
    /// No attributes.
    #[inline(always)]
    pub(crate) fn empty() -> Self {
        Self { list: &[], as4: false, opaque: false, seldom: false, values: [Span(0); TABLE.len()] }
    }

    /// Starts to read `list`; there are no values as yet.
    pub(super) fn start(&mut self, list: &'a [u8], as4: bool) {
        self.list = list;
        self.as4 = as4;
    }

    /// Keeps a value of the list that has been found good.
    #[inline]
    pub(super) fn keep(&mut self, index: usize, value: &'a [u8]) {
        let start = (value.as_ptr() as usize).wrapping_sub(self.list.as_ptr() as usize);
        if let (Some(place), Some(span)) =
            (self.values.get_mut(index), Span::new(start, value.len()))
        {
            *place = span;
        }
    }

    /// Notes that there are attributes to be kept opaque.
    pub(super) fn keep_opaque(&mut self) {
        self.opaque = true;
    }

    /// Notes that there may be attributes that most routes have not.
    pub(super) fn keep_seldom(&mut self) {
        self.seldom = true;
    }

    #[inline]
    fn value(&self, index: usize) -> Option<&'a [u8]> {
        self.values.get(index)?.of(self.list)
    }

    fn list_of(&self, index: usize) -> &'a [u8] {
        self.value(index).unwrap_or_default()
    }

    /// ORIGIN.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.value(table::ORIGIN).and_then(value::origin).unwrap_or_default()
    }

    /// AS_PATH as it was sent: where the peer speaks 2-octet AS numbers, AS4_PATH has to be merged
    /// in, which [`UpdateView::into_decoded`](crate::wire::UpdateView::into_decoded) does.
    #[must_use]
    pub fn as_path(&self) -> AsPathView<'a> {
        AsPathView::new(self.list_of(table::AS_PATH), self.as4)
    }

    /// NEXT_HOP.
    #[must_use]
    pub fn next_hop(&self) -> Option<Ipv4Addr> {
        self.value(table::NEXT_HOP).and_then(value::ipv4)
    }

    /// MULTI_EXIT_DISC.
    #[must_use]
    pub fn med(&self) -> Option<u32> {
        self.value(table::MULTI_EXIT_DISC).and_then(value::number)
    }

    /// LOCAL_PREF.
    #[must_use]
    pub fn local_pref(&self) -> Option<u32> {
        self.value(table::LOCAL_PREF).and_then(value::number)
    }

    /// Whether ATOMIC_AGGREGATE is there.
    #[must_use]
    pub fn atomic_aggregate(&self) -> bool {
        self.value(table::ATOMIC_AGGREGATE).is_some()
    }

    /// AGGREGATOR as it was sent.
    #[must_use]
    pub fn aggregator(&self) -> Option<Aggregator> {
        self.value(table::AGGREGATOR).and_then(|octets| value::aggregator(octets, self.as4))
    }

    /// COMMUNITIES.
    pub fn communities(&self) -> impl Iterator<Item = Community> + 'a {
        value::communities(self.list_of(table::COMMUNITIES))
    }

    /// ORIGINATOR_ID.
    #[must_use]
    pub fn originator_id(&self) -> Option<Ipv4Addr> {
        self.value(table::ORIGINATOR_ID).and_then(value::ipv4)
    }

    /// CLUSTER_LIST.
    pub fn cluster_list(&self) -> impl Iterator<Item = Ipv4Addr> + 'a {
        value::cluster_list(self.list_of(table::CLUSTER_LIST))
    }

    /// EXTENDED COMMUNITIES.
    pub fn extended_communities(&self) -> impl Iterator<Item = ExtendedCommunity> + 'a {
        value::extended_communities(self.list_of(table::EXTENDED_COMMUNITIES))
    }

    /// The accumulated metric of AIGP.
    #[must_use]
    pub fn aigp(&self) -> Option<u64> {
        self.value(table::AIGP).and_then(value::aigp).flatten()
    }

    /// LARGE_COMMUNITY, repetitions included.
    pub fn large_communities(&self) -> impl Iterator<Item = LargeCommunity> + 'a {
        value::large_communities(self.list_of(table::LARGE_COMMUNITIES))
    }

    /// ONLY_TO_CUSTOMER.
    #[must_use]
    pub fn only_to_customer(&self) -> Option<u32> {
        self.value(table::ONLY_TO_CUSTOMER).and_then(value::number)
    }

    /// What has no field of its own, ascending by code.
    fn to_opaque(&self) -> Vec<OpaqueAttribute> {
        let mut kept_all = Vec::new();
        let kept_known = self.value(table::IPV6_EXTENDED_COMMUNITIES).is_some();
        let (mut rest, mut seen) = (self.list, CodeSet::default());
        while let Some((raw, behind)) = attribute(rest) {
            rest = behind;
            let known = table::row(raw.code).is_some();
            let kept = match known {
                true => kept_known && raw.code == code::IPV6_EXTENDED_COMMUNITIES,
                false => raw.is_optional_transitive(),
            };
            if !seen.insert(raw.code) || !kept {
                continue;
            }
            let flags = raw.flags & (flag::OPTIONAL | flag::TRANSITIVE | flag::PARTIAL);
            // Ready to be passed on by a speaker that did not know it (RFC 4271 section 5).
            let flags = if known { flags } else { flags | flag::PARTIAL };
            let value = Bytes::copy_from_slice(raw.value);
            kept_all.push(OpaqueAttribute { flags, code: raw.code, value });
        }
        kept_all.sort_by_key(|attribute| attribute.code);
        kept_all
    }

    /// All attributes for keeping, each list made at its length.
    #[inline]
    pub(crate) fn to_attributes(&self) -> Attributes {
        let mut attributes = Attributes {
            origin: self.origin(),
            as_path: self.as_path().to_path(),
            next_hop: self.next_hop(),
            med: self.med(),
            communities: self.communities().collect(),
            ..Attributes::default()
        };
        if self.seldom {
            self.read_seldom(&mut attributes);
        }
        if !self.as4 {
            self.merge_as4(&mut attributes);
        }
        if self.opaque {
            attributes.opaque = self.to_opaque();
        }
        attributes
    }

    /// Reads what few routes of an external neighbour have.
    #[inline(never)]
    fn read_seldom(&self, into: &mut Attributes) {
        into.local_pref = self.local_pref();
        into.atomic_aggregate = self.atomic_aggregate();
        into.aggregator = self.aggregator();
        into.originator_id = self.originator_id();
        into.cluster_list = self.cluster_list().collect();
        into.extended_communities = self.extended_communities().collect();
        into.aigp = self.aigp();
        into.only_to_customer = self.only_to_customer();
        into.large_communities = self.different_large_communities();
    }

    /// RFC 8092 section 2: repeated values are dropped without a word.
    fn different_large_communities(&self) -> Vec<LargeCommunity> {
        let mut seen = BTreeSet::new();
        self.large_communities().filter(|value| seen.insert(*value)).collect()
    }

    /// RFC 6793 section 4.2.3: an aggregator that needed no AS4_AGGREGATOR formed the path anew, and
    /// then AS4_PATH is out of date as well.
    fn merge_as4(&self, into: &mut Attributes) {
        let wide =
            self.value(table::AS4_AGGREGATOR).and_then(|octets| value::aggregator(octets, true));
        if let (Some(narrow), Some(_)) = (into.aggregator, wide) {
            if narrow.asn != u32::from(AS_TRANS) {
                return;
            }
            into.aggregator = wide;
        }
        if let Some(octets) = self.value(table::AS4_PATH) {
            into.as_path = segments::merge(self.as_path(), AsPathView::new(octets, true));
        }
    }
}
