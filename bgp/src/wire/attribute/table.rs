//! One row per known attribute: what is valid, what an error leads to, how to write it. Values found
//! good are read by [`AttributesView`](super::AttributesView).
//!
//! The rules are those of RFC 7606 section 7 and of the RFC that defines the attribute. Attributes
//! without a field are checked here all the same and kept opaque.

use super::encode::{put, put_header};
use super::scan::{Raw, Scan};
use super::{Aggregator, Attributes, code, flag, multiprotocol, segments, value};
use crate::wire::error::{Action, EncodeError};
use crate::wire::message::DecodeContext;
use crate::wire::notification::subcode::{UNSPECIFIC, update as subcode};
use crate::wire::open::AS_TRANS;
use crate::wire::parse::{Complete, fault};

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
    /// Judges a value whose length is valid.
    pub(super) check: Check,
    /// Appends the attribute if there is something to send.
    pub(super) encode: Encode,
}

/// Judges one attribute whose flags and length have been checked.
type Check = for<'a> fn(&Raw<'a>, &DecodeContext, &mut Scan<'a>) -> Complete<'a, ()>;
/// Appends an attribute; the flag says whether AS numbers have 4 octets.
type Encode = fn(&Row, &Attributes, bool, &mut Vec<u8>) -> Result<(), EncodeError>;

/// A rule for the length of a value, in octets.
#[derive(Clone, Copy)]
pub(super) enum Length {
    /// Judged by the row's check.
    Any,
    /// Exactly so many.
    Exactly(usize),
    /// So many times one or more.
    Multiple(usize),
    /// So many beside one AS number.
    AsNumberAnd(usize),
}

impl Length {
    pub(super) const fn allows(self, length: usize, as4: bool) -> bool {
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

/// What most rows have: an optional attribute whose errors withdraw the routes, without a field.
const OPTIONAL_ATTRIBUTE: Row = Row {
    code: 0,
    name: "",
    flags: OPTIONAL_TRANSITIVE,
    length: Length::Any,
    on_flags: Action::TreatAsWithdraw,
    on_error: Action::TreatAsWithdraw,
    internal_only: false,
    subcode: subcode::OPTIONAL_ATTRIBUTE,
    check: |_, _, _| Ok(()),
    encode: |_, _, _, _| Ok(()),
};

/// Where the known attributes are in the table, by type code.
static PLACES: [u8; 256] = {
    let mut places = [u8::MAX; 256];
    let mut place = 0;
    while place < TABLE.len() {
        // Evaluated by the compiler: a place outside the array would not build.
        #[expect(clippy::indexing_slicing, clippy::cast_possible_truncation)]
        {
            places[TABLE[place].code as usize] = place as u8;
        }
        place += 1;
    }
    places
};

/// The row of a type code, and its place in the table.
pub(super) fn row(code: u8) -> Option<(usize, &'static Row)> {
    let place = usize::from(*PLACES.get(usize::from(code))?);
    Some((place, TABLE.get(place)?))
}

/// The place of an attribute that has to be in the table.
const fn place(code: u8) -> usize {
    let mut place = 0;
    // Evaluated by the compiler: a code without a row would not build.
    #[expect(clippy::indexing_slicing)]
    while TABLE[place].code != code {
        place += 1;
    }
    place
}

pub(crate) const ORIGIN: usize = place(code::ORIGIN);
pub(crate) const AS_PATH: usize = place(code::AS_PATH);
pub(crate) const NEXT_HOP: usize = place(code::NEXT_HOP);
pub(super) const MULTI_EXIT_DISC: usize = place(code::MULTI_EXIT_DISC);
pub(super) const LOCAL_PREF: usize = place(code::LOCAL_PREF);
pub(super) const ATOMIC_AGGREGATE: usize = place(code::ATOMIC_AGGREGATE);
pub(super) const AGGREGATOR: usize = place(code::AGGREGATOR);
pub(super) const COMMUNITIES: usize = place(code::COMMUNITIES);
pub(super) const ORIGINATOR_ID: usize = place(code::ORIGINATOR_ID);
pub(super) const CLUSTER_LIST: usize = place(code::CLUSTER_LIST);
pub(crate) const MP_UNREACH_NLRI: usize = place(code::MP_UNREACH_NLRI);
pub(super) const EXTENDED_COMMUNITIES: usize = place(code::EXTENDED_COMMUNITIES);
pub(super) const AS4_PATH: usize = place(code::AS4_PATH);
pub(super) const AS4_AGGREGATOR: usize = place(code::AS4_AGGREGATOR);
pub(super) const IPV6_EXTENDED_COMMUNITIES: usize = place(code::IPV6_EXTENDED_COMMUNITIES);
pub(super) const AIGP: usize = place(code::AIGP);
pub(super) const LARGE_COMMUNITIES: usize = place(code::LARGE_COMMUNITIES);
pub(super) const ONLY_TO_CUSTOMER: usize = place(code::ONLY_TO_CUSTOMER);

/// Every attribute known, ascending by code.
pub(super) const TABLE: &[Row; 19] = &[
    Row {
        code: code::ORIGIN,
        name: "ORIGIN",
        flags: WELL_KNOWN,
        length: Length::Exactly(1),
        subcode: subcode::INVALID_ORIGIN,
        check: |raw, _, _| good(raw, value::origin(raw.value).is_some()),
        encode: |row, attributes, _, out| put(row.flags, row.code, &[attributes.origin as u8], out),
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::AS_PATH,
        name: "AS_PATH",
        flags: WELL_KNOWN,
        subcode: subcode::MALFORMED_AS_PATH,
        check: |raw, ctx, _| {
            let path = segments::check(raw.value, ctx.as4, |kind| {
                (ctx.allow_as_sets || !kind.is_set()) && !(ctx.ebgp && kind.is_confederation())
            })?;
            // An external neighbour is in its own path.
            good(raw, !(ctx.ebgp && path.is_empty()))
        },
        encode: |row, attributes, as4, out| {
            let path = attributes.as_path.view();
            put_header(row.flags, row.code, segments::wire_len(path, as4), out)?;
            segments::put(path, as4, out);
            Ok(())
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::NEXT_HOP,
        name: "NEXT_HOP",
        flags: WELL_KNOWN,
        length: Length::Exactly(4),
        subcode: subcode::INVALID_NEXT_HOP,
        check: |raw, _, _| good(raw, value::is_next_hop(raw.value)),
        encode: |row, attributes, _, out| {
            put_some(row, attributes.next_hop.map(|address| address.octets()), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::MULTI_EXIT_DISC,
        name: "MULTI_EXIT_DISC",
        flags: OPTIONAL,
        length: Length::Exactly(4),
        encode: |row, attributes, _, out| put_some(row, attributes.med.map(u32::to_be_bytes), out),
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::LOCAL_PREF,
        name: "LOCAL_PREF",
        flags: WELL_KNOWN,
        length: Length::Exactly(4),
        internal_only: true,
        subcode: UNSPECIFIC,
        encode: |row, attributes, _, out| {
            put_some(row, attributes.local_pref.map(u32::to_be_bytes), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::ATOMIC_AGGREGATE,
        name: "ATOMIC_AGGREGATE",
        flags: WELL_KNOWN,
        length: Length::Exactly(0),
        on_error: Action::AttributeDiscard,
        subcode: UNSPECIFIC,
        encode: |row, attributes, _, out| {
            put_some(row, attributes.atomic_aggregate.then_some([]), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::AGGREGATOR,
        name: "AGGREGATOR",
        length: Length::AsNumberAnd(4),
        on_error: Action::AttributeDiscard,
        check: |raw, ctx, _| good(raw, value::aggregator(raw.value, ctx.as4).is_some()),
        encode: |row, attributes, as4, out| match attributes.aggregator {
            Some(value) if !as4 => put(row.flags, row.code, &narrow_aggregator(value), out),
            value => put_some(row, value.map(wide_aggregator), out),
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::COMMUNITIES,
        name: "COMMUNITIES",
        length: Length::Multiple(4),
        encode: |row, attributes, _, out| {
            put_list(row, &attributes.communities, |value| value.0.to_be_bytes(), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::ORIGINATOR_ID,
        name: "ORIGINATOR_ID",
        flags: OPTIONAL,
        length: Length::Exactly(4),
        internal_only: true,
        encode: |row, attributes, _, out| {
            put_some(row, attributes.originator_id.map(|id| id.octets()), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::CLUSTER_LIST,
        name: "CLUSTER_LIST",
        flags: OPTIONAL,
        length: Length::Multiple(4),
        internal_only: true,
        encode: |row, attributes, _, out| {
            put_list(row, &attributes.cluster_list, |id| id.octets(), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::MP_REACH_NLRI,
        name: "MP_REACH_NLRI",
        flags: OPTIONAL,
        on_error: Action::SessionReset,
        check: multiprotocol::check_reach,
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::MP_UNREACH_NLRI,
        name: "MP_UNREACH_NLRI",
        flags: OPTIONAL,
        on_error: Action::SessionReset,
        check: multiprotocol::check_unreach,
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::EXTENDED_COMMUNITIES,
        name: "EXTENDED COMMUNITIES",
        length: Length::Multiple(8),
        encode: |row, attributes, _, out| {
            put_list(row, &attributes.extended_communities, |value| value.0, out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::AS4_PATH,
        name: "AS4_PATH",
        on_error: Action::AttributeDiscard,
        check: |raw, ctx, _| {
            refuse_between_new_speakers(raw, ctx)?;
            let path = segments::check(raw.value, true, |_| true)?;
            if !ctx.allow_as_sets && path.segments().any(|segment| segment.kind.is_set()) {
                let verdict = raw.error(Action::TreatAsWithdraw, subcode::MALFORMED_AS_PATH);
                return Err(verdict.fault(raw.value));
            }
            Ok(())
        },
        encode: |row, attributes, as4, out| match as4 {
            true => Ok(()),
            false => segments::put_as4_path(row.flags, &attributes.as_path, out),
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::AS4_AGGREGATOR,
        name: "AS4_AGGREGATOR",
        length: Length::Exactly(8),
        on_error: Action::AttributeDiscard,
        check: |raw, ctx, _| {
            refuse_between_new_speakers(raw, ctx)?;
            good(raw, value::aggregator(raw.value, true).is_some())
        },
        encode: |row, attributes, as4, out| {
            let wide = |value: &Aggregator| !as4 && u16::try_from(value.asn).is_err();
            put_some(row, attributes.aggregator.filter(wide).map(wide_aggregator), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::IPV6_EXTENDED_COMMUNITIES,
        name: "IPv6 EXTENDED COMMUNITIES",
        length: Length::Multiple(20),
        check: |_, _, scan| {
            scan.attributes.keep_opaque();
            Ok(())
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::AIGP,
        name: "AIGP",
        flags: OPTIONAL,
        on_flags: Action::AttributeDiscard,
        on_error: Action::AttributeDiscard,
        internal_only: true,
        check: |raw, _, _| good(raw, value::aigp(raw.value).is_some()),
        encode: |row, attributes, _, out| put_some(row, attributes.aigp.map(aigp_tlv), out),
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::LARGE_COMMUNITIES,
        name: "LARGE_COMMUNITY",
        length: Length::Multiple(12),
        encode: |row, attributes, _, out| {
            put_list(row, &attributes.large_communities, |value| value.octets(), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
    Row {
        code: code::ONLY_TO_CUSTOMER,
        name: "ONLY_TO_CUSTOMER",
        length: Length::Exactly(4),
        encode: |row, attributes, _, out| {
            put_some(row, attributes.only_to_customer.map(u32::to_be_bytes), out)
        },
        ..OPTIONAL_ATTRIBUTE
    },
];

/// A check's answer about the whole value.
fn good<'a>(raw: &Raw<'a>, good: bool) -> Complete<'a, ()> {
    if good { Ok(()) } else { Err(fault(raw.value)) }
}

/// AS4_PATH and AS4_AGGREGATOR make sense only from a speaker of 2-octet AS numbers (RFC 6793
/// section 4.1).
fn refuse_between_new_speakers<'a>(raw: &Raw<'a>, ctx: &DecodeContext) -> Complete<'a, ()> {
    good(raw, !ctx.as4)
}

fn put_some<const N: usize>(
    row: &Row,
    value: Option<[u8; N]>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match value {
        Some(octets) => put(row.flags, row.code, &octets, out),
        None => Ok(()),
    }
}

fn put_list<T, const N: usize>(
    row: &Row,
    values: &[T],
    octets: impl Fn(&T) -> [u8; N],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if !values.is_empty() {
        put_header(row.flags, row.code, values.len() * N, out)?;
        values.iter().for_each(|value| out.extend_from_slice(&octets(value)));
    }
    Ok(())
}

fn narrow_aggregator(value: Aggregator) -> [u8; 6] {
    let [a, b] = u16::try_from(value.asn).unwrap_or(AS_TRANS).to_be_bytes();
    let [c, d, e, f] = value.address.octets();
    [a, b, c, d, e, f]
}

fn wide_aggregator(value: Aggregator) -> [u8; 8] {
    let [a, b, c, d] = value.asn.to_be_bytes();
    let [e, f, g, h] = value.address.octets();
    [a, b, c, d, e, f, g, h]
}

fn aigp_tlv(metric: u64) -> [u8; 11] {
    let [a, b, c, d, e, f, g, h] = metric.to_be_bytes();
    [value::AIGP_METRIC, 0, 11, a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_by_code() {
        assert!(TABLE.is_sorted_by(|one, next| one.code < next.code));
    }

    #[test]
    fn rows_are_found_by_code() {
        for code in 0..=u8::MAX {
            let found = TABLE.iter().position(|row| row.code == code);
            assert_eq!(row(code).map(|(place, row)| (place, row.code)), found.map(|at| (at, code)));
        }
    }

    #[test]
    fn length_rules() {
        assert!(Length::Multiple(4).allows(8, true) && !Length::Multiple(4).allows(0, true));
        assert!(!Length::Multiple(4).allows(6, true));
        assert!(Length::AsNumberAnd(4).allows(8, true) && Length::AsNumberAnd(4).allows(6, false));
        assert!(Length::Exactly(0).allows(0, true) && !Length::Exactly(0).allows(1, true));
    }
}
