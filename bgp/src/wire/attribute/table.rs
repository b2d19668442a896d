//! One row per known attribute: what is valid, what an error leads to, how to read and write it.
//!
//! The rules are those of RFC 7606 section 7 and of the RFC that defines the attribute. Attributes
//! without a typed field are checked here all the same and kept opaque.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use nom::Parser;
use nom::bytes::complete::take;
use nom::combinator::{all_consuming, map_opt};
use nom::multi::many0;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};

use super::decode::{Draft, Raw};
use super::{Aggregator, Attributes, Origin, code, flag, multiprotocol, segments};
use crate::wire::community::{Community, ExtendedCommunity, LargeCommunity};
use crate::wire::error::Action;
use crate::wire::message::DecodeContext;
use crate::wire::notification::subcode::{UNSPECIFIC, update as subcode};
use crate::wire::open::AS_TRANS;
use crate::wire::parse::{Complete, Parsed, fault};

/// What is known about one attribute.
pub(super) struct Row {
    /// Type code.
    pub(super) code: u8,
    /// Name in the registry.
    pub(super) name: &'static str,
    /// Optional and Transitive as they have to be.
    pub(super) flags: u8,
    /// Lengths that are valid.
    pub(super) length: Length,
    /// What wrong flags lead to (RFC 7606 section 3 (c), unless the attribute's own RFC differs).
    pub(super) on_flags: Action,
    /// What a bad length or value leads to.
    pub(super) on_error: Action,
    /// Never taken from an external peer, whatever its form.
    pub(super) internal_only: bool,
    /// UPDATE error subcode of a bad value.
    pub(super) subcode: u8,
    /// Reads the value into the draft.
    pub(super) decode: Decode,
    /// Appends the value and returns true, or returns false if there is nothing to send.
    pub(super) encode: Encode,
}

/// Reads one attribute whose flags and length have been checked.
type Decode = for<'a> fn(&Raw<'a>, &DecodeContext, &mut Draft) -> Complete<'a, ()>;
/// Writes one attribute's value; the flag says whether AS numbers have 4 octets.
type Encode = fn(&Attributes, bool, &mut Vec<u8>) -> bool;

/// A rule for the length of a value, in octets.
#[derive(Clone, Copy)]
pub(super) enum Length {
    /// Judged by the decoder.
    Any,
    /// Exactly so many.
    Exactly(usize),
    /// So many times one or more.
    Multiple(usize),
    /// So many beside one AS number.
    AsNumberAnd(usize),
}

impl Length {
    pub(super) fn allows(self, length: usize, as4: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(octets) => length == octets,
            Self::Multiple(octets) => length > 0 && length.is_multiple_of(octets),
            Self::AsNumberAnd(octets) => length == octets + if as4 { 4 } else { 2 },
        }
    }
}

const WELL_KNOWN: u8 = flag::TRANSITIVE;
const OPTIONAL: u8 = flag::OPTIONAL;
const OPTIONAL_TRANSITIVE: u8 = flag::OPTIONAL | flag::TRANSITIVE;

/// What most rows have: an optional attribute kept opaque, whose errors withdraw the routes.
const OPAQUE: Row = Row {
    code: 0,
    name: "",
    flags: OPTIONAL_TRANSITIVE,
    length: Length::Any,
    on_flags: Action::TreatAsWithdraw,
    on_error: Action::TreatAsWithdraw,
    internal_only: false,
    subcode: subcode::OPTIONAL_ATTRIBUTE,
    decode: keep_opaque,
    encode: |_, _, _| false,
};

/// The row of a type code.
pub(super) fn row(code: u8) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.code == code)
}

/// Every attribute known, ascending by code.
pub(super) static TABLE: [Row; 19] = [
    Row {
        code: code::ORIGIN,
        name: "ORIGIN",
        flags: WELL_KNOWN,
        length: Length::Exactly(1),
        subcode: subcode::INVALID_ORIGIN,
        decode: |raw, _, draft| {
            let origin = map_opt(be_u8, Origin::from_octet);
            set(&mut draft.attributes.origin, whole(raw.value, origin))
        },
        encode: |attributes, _, out| {
            out.push(attributes.origin as u8);
            true
        },
        ..OPAQUE
    },
    Row {
        code: code::AS_PATH,
        name: "AS_PATH",
        flags: WELL_KNOWN,
        subcode: subcode::MALFORMED_AS_PATH,
        decode: |raw, ctx, draft| {
            let path = segments::parse(raw.value, ctx.as4)?;
            let unacceptable = |kind: super::SegmentKind| {
                (kind.is_set() && !ctx.allow_as_sets) || (kind.is_confederation() && ctx.ebgp)
            };
            let empty_from_outside = ctx.ebgp && path.is_empty();
            if empty_from_outside || path.segments.iter().any(|s| unacceptable(s.kind)) {
                return Err(fault(raw.value));
            }
            draft.attributes.as_path = path;
            Ok(())
        },
        encode: |attributes, as4, out| {
            segments::put(&attributes.as_path, as4, out);
            true
        },
        ..OPAQUE
    },
    Row {
        code: code::NEXT_HOP,
        name: "NEXT_HOP",
        flags: WELL_KNOWN,
        length: Length::Exactly(4),
        subcode: subcode::INVALID_NEXT_HOP,
        decode: |raw, _, draft| {
            let address = map_opt(ipv4, |address| is_next_hop(address).then_some(address));
            set(&mut draft.attributes.next_hop, whole(raw.value, address).map(Some))
        },
        encode: |attributes, _, out| {
            attributes.next_hop.map(|address| out.extend(address.octets())).is_some()
        },
        ..OPAQUE
    },
    Row {
        code: code::MULTI_EXIT_DISC,
        name: "MULTI_EXIT_DISC",
        flags: OPTIONAL,
        length: Length::Exactly(4),
        decode: |raw, _, draft| set(&mut draft.attributes.med, whole(raw.value, be_u32).map(Some)),
        encode: |attributes, _, out| {
            attributes.med.map(|med| out.extend(med.to_be_bytes())).is_some()
        },
        ..OPAQUE
    },
    Row {
        code: code::LOCAL_PREF,
        name: "LOCAL_PREF",
        flags: WELL_KNOWN,
        length: Length::Exactly(4),
        internal_only: true,
        subcode: UNSPECIFIC,
        decode: |raw, _, draft| {
            set(&mut draft.attributes.local_pref, whole(raw.value, be_u32).map(Some))
        },
        encode: |attributes, _, out| {
            attributes.local_pref.map(|value| out.extend(value.to_be_bytes())).is_some()
        },
        ..OPAQUE
    },
    Row {
        code: code::ATOMIC_AGGREGATE,
        name: "ATOMIC_AGGREGATE",
        flags: WELL_KNOWN,
        length: Length::Exactly(0),
        on_error: Action::AttributeDiscard,
        subcode: UNSPECIFIC,
        decode: |_, _, draft| {
            draft.attributes.atomic_aggregate = true;
            Ok(())
        },
        encode: |attributes, _, _| attributes.atomic_aggregate,
        ..OPAQUE
    },
    Row {
        code: code::AGGREGATOR,
        name: "AGGREGATOR",
        length: Length::AsNumberAnd(4),
        on_error: Action::AttributeDiscard,
        decode: |raw, ctx, draft| {
            set(&mut draft.attributes.aggregator, aggregator(raw.value, ctx.as4).map(Some))
        },
        encode: |attributes, as4, out| {
            attributes.aggregator.map(|value| put_aggregator(value, as4, out)).is_some()
        },
        ..OPAQUE
    },
    Row {
        code: code::COMMUNITIES,
        name: "COMMUNITIES",
        length: Length::Multiple(4),
        decode: |raw, _, draft| {
            let communities = many0(be_u32.map(Community));
            set(&mut draft.attributes.communities, whole(raw.value, communities))
        },
        encode: |attributes, _, out| {
            out.extend(attributes.communities.iter().flat_map(|value| value.0.to_be_bytes()));
            !attributes.communities.is_empty()
        },
        ..OPAQUE
    },
    Row {
        code: code::ORIGINATOR_ID,
        name: "ORIGINATOR_ID",
        flags: OPTIONAL,
        length: Length::Exactly(4),
        internal_only: true,
        decode: |raw, _, draft| {
            set(&mut draft.attributes.originator_id, whole(raw.value, ipv4).map(Some))
        },
        encode: |attributes, _, out| {
            attributes.originator_id.map(|id| out.extend(id.octets())).is_some()
        },
        ..OPAQUE
    },
    Row {
        code: code::CLUSTER_LIST,
        name: "CLUSTER_LIST",
        flags: OPTIONAL,
        length: Length::Multiple(4),
        internal_only: true,
        decode: |raw, _, draft| {
            set(&mut draft.attributes.cluster_list, whole(raw.value, many0(ipv4)))
        },
        encode: |attributes, _, out| {
            out.extend(attributes.cluster_list.iter().flat_map(Ipv4Addr::octets));
            !attributes.cluster_list.is_empty()
        },
        ..OPAQUE
    },
    Row {
        code: code::MP_REACH_NLRI,
        name: "MP_REACH_NLRI",
        flags: OPTIONAL,
        on_error: Action::SessionReset,
        decode: multiprotocol::reach,
        ..OPAQUE
    },
    Row {
        code: code::MP_UNREACH_NLRI,
        name: "MP_UNREACH_NLRI",
        flags: OPTIONAL,
        on_error: Action::SessionReset,
        decode: multiprotocol::unreach,
        ..OPAQUE
    },
    Row {
        code: code::EXTENDED_COMMUNITIES,
        name: "EXTENDED COMMUNITIES",
        length: Length::Multiple(8),
        decode: |raw, _, draft| {
            let (values, _) = raw.value.as_chunks();
            draft.attributes.extended_communities =
                values.iter().copied().map(ExtendedCommunity).collect();
            Ok(())
        },
        encode: |attributes, _, out| {
            out.extend(attributes.extended_communities.iter().flat_map(|value| value.0));
            !attributes.extended_communities.is_empty()
        },
        ..OPAQUE
    },
    Row {
        code: code::AS4_PATH,
        name: "AS4_PATH",
        on_error: Action::AttributeDiscard,
        decode: |raw, ctx, draft| {
            refuse_between_new_speakers(raw, ctx)?;
            let mut path = segments::parse(raw.value, true)?;
            if !ctx.allow_as_sets && path.segments.iter().any(|segment| segment.kind.is_set()) {
                let verdict = raw.error(Action::TreatAsWithdraw, subcode::MALFORMED_AS_PATH);
                return Err(verdict.fault(raw.value));
            }
            segments::drop_confederation(&mut path);
            set(&mut draft.as4_path, Ok(Some(path)))
        },
        encode: |attributes, as4, out| {
            let path = if as4 { None } else { segments::as4_path(&attributes.as_path) };
            path.map(|path| segments::put(&path, true, out)).is_some()
        },
        ..OPAQUE
    },
    Row {
        code: code::AS4_AGGREGATOR,
        name: "AS4_AGGREGATOR",
        length: Length::Exactly(8),
        on_error: Action::AttributeDiscard,
        decode: |raw, ctx, draft| {
            refuse_between_new_speakers(raw, ctx)?;
            set(&mut draft.as4_aggregator, aggregator(raw.value, true).map(Some))
        },
        encode: |attributes, as4, out| {
            let wide = |value: &Aggregator| !as4 && u16::try_from(value.asn).is_err();
            let value = attributes.aggregator.filter(wide);
            value.map(|value| put_aggregator(value, true, out)).is_some()
        },
        ..OPAQUE
    },
    Row {
        code: code::IPV6_EXTENDED_COMMUNITIES,
        name: "IPv6 EXTENDED COMMUNITIES",
        length: Length::Multiple(20),
        ..OPAQUE
    },
    Row {
        code: code::AIGP,
        name: "AIGP",
        flags: OPTIONAL,
        on_flags: Action::AttributeDiscard,
        on_error: Action::AttributeDiscard,
        internal_only: true,
        decode: |raw, _, draft| set(&mut draft.attributes.aigp, aigp(raw.value)),
        encode: |attributes, _, out| attributes.aigp.map(|metric| put_aigp(metric, out)).is_some(),
        ..OPAQUE
    },
    Row {
        code: code::LARGE_COMMUNITIES,
        name: "LARGE_COMMUNITY",
        length: Length::Multiple(12),
        decode: |raw, _, draft| {
            // RFC 8092 section 2: repeated values are dropped without a word.
            let (values, _) = raw.value.as_chunks();
            let mut seen = HashSet::new();
            let first = values.iter().copied().filter(|value| seen.insert(*value));
            draft.attributes.large_communities = first.map(LargeCommunity::from_octets).collect();
            Ok(())
        },
        encode: |attributes, _, out| {
            out.extend(attributes.large_communities.iter().flat_map(|value| value.octets()));
            !attributes.large_communities.is_empty()
        },
        ..OPAQUE
    },
    Row {
        code: code::ONLY_TO_CUSTOMER,
        name: "ONLY_TO_CUSTOMER",
        length: Length::Exactly(4),
        decode: |raw, _, draft| {
            set(&mut draft.attributes.only_to_customer, whole(raw.value, be_u32).map(Some))
        },
        encode: |attributes, _, out| {
            attributes.only_to_customer.map(|asn| out.extend(asn.to_be_bytes())).is_some()
        },
        ..OPAQUE
    },
];

fn keep_opaque<'a>(raw: &Raw<'a>, _: &DecodeContext, draft: &mut Draft) -> Complete<'a, ()> {
    draft.keep(raw.opaque(raw.value.to_vec()));
    Ok(())
}

/// `parser` over all of `value`.
fn whole<'a, T>(
    value: &'a [u8],
    parser: impl Parser<&'a [u8], Output = T, Error = crate::wire::parse::Fault<'a>>,
) -> Complete<'a, T> {
    Ok(all_consuming(parser).parse(value)?.1)
}

fn set<'a, T>(place: &mut T, value: Complete<'a, T>) -> Complete<'a, ()> {
    *place = value?;
    Ok(())
}

impl Origin {
    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Igp, Self::Egp, Self::Incomplete].into_iter().find(|origin| *origin as u8 == octet)
    }
}

fn ipv4(input: &[u8]) -> Parsed<'_, Ipv4Addr> {
    be_u32.map(Ipv4Addr::from).parse(input)
}

/// Whether an address can be a neighbour's: not of this network, loopback, multicast or reserved.
fn is_next_hop(address: Ipv4Addr) -> bool {
    !matches!(address.octets(), [0 | 127 | 224.., ..])
}

/// An aggregator; AS 0 is malformed (RFC 7607).
fn aggregator(value: &[u8], as4: bool) -> Complete<'_, Aggregator> {
    let number = |input| if as4 { be_u32(input) } else { be_u16.map(u32::from).parse(input) };
    let pair = (number, ipv4);
    whole(value, map_opt(pair, |(asn, address)| (asn != 0).then_some(Aggregator { asn, address })))
}

fn put_aggregator(value: Aggregator, as4: bool, out: &mut Vec<u8>) {
    if as4 {
        out.extend(value.asn.to_be_bytes());
    } else {
        out.extend(u16::try_from(value.asn).unwrap_or(AS_TRANS).to_be_bytes());
    }
    out.extend(value.address.octets());
}

/// Type of the only TLV of AIGP (RFC 7311 section 3).
const AIGP_METRIC: u8 = 1;

/// The first metric; TLVs of other types, and further metrics, are passed over (RFC 7311 section 3).
fn aigp(value: &[u8]) -> Complete<'_, Option<u64>> {
    let tlv = (be_u8, map_opt(be_u16, |length| length.checked_sub(3)))
        .flat_map(|(kind, length)| take(length).map(move |value| (kind, value)));
    let tlvs: Vec<(u8, &[u8])> = whole(value, many0(tlv))?;
    let mut metric = None;
    for (_, value) in tlvs.into_iter().filter(|tlv| tlv.0 == AIGP_METRIC) {
        let one = whole(value, be_u64)?;
        metric = metric.or(Some(one));
    }
    Ok(metric)
}

fn put_aigp(metric: u64, out: &mut Vec<u8>) {
    out.extend([AIGP_METRIC, 0, 11]);
    out.extend(metric.to_be_bytes());
}

/// AS4_PATH and AS4_AGGREGATOR make sense only from a speaker of 2-octet AS numbers (RFC 6793
/// section 4.1).
fn refuse_between_new_speakers<'a>(raw: &Raw<'a>, ctx: &DecodeContext) -> Complete<'a, ()> {
    if ctx.as4 { Err(fault(raw.value)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_by_code() {
        assert!(TABLE.is_sorted_by(|one, next| one.code < next.code));
    }

    #[test]
    fn length_rules() {
        assert!(Length::Multiple(4).allows(8, true) && !Length::Multiple(4).allows(0, true));
        assert!(!Length::Multiple(4).allows(6, true));
        assert!(Length::AsNumberAnd(4).allows(8, true) && Length::AsNumberAnd(4).allows(6, false));
        assert!(Length::Exactly(0).allows(0, true) && !Length::Exactly(0).allows(1, true));
    }
}
