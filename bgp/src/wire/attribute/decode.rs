//! The path attributes of an UPDATE, read one by one.
//!
//! Each attribute is cut out by its own length before its value is looked at, so that a bad value
//! cannot shift what follows. Errors are collected with the action RFC 7606 gives them; only one
//! that resets the session ends the reading.

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16};

use super::table::{Row, row};
use super::{Aggregator, AsPath, Attributes, OpaqueAttribute, code, flag, segments};
use crate::wire::error::{Action, Field, WireError};
use crate::wire::message::DecodeContext;
use crate::wire::notification::{ErrorCode, subcode::update as subcode};
use crate::wire::open::AS_TRANS;
use crate::wire::parse::{Judge, Parsed, Verdict, locate};
use crate::wire::update::{MpReach, MpUnreach};

/// One attribute as it lies in the message.
pub(crate) struct Raw<'a> {
    pub(super) flags: u8,
    pub(super) code: u8,
    pub(super) value: &'a [u8],
    /// The attribute with its header.
    pub(super) octets: &'a [u8],
}

/// What the attributes read so far amount to.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) attributes: Attributes,
    pub(crate) mp_reach: Option<MpReach>,
    pub(crate) mp_unreach: Option<MpUnreach>,
    /// Routes of a family that was not negotiated were passed over.
    pub(crate) foreign_routes: bool,
    pub(crate) errors: Vec<WireError>,
    pub(super) as4_path: Option<AsPath>,
    pub(super) as4_aggregator: Option<Aggregator>,
    /// One bit per type code.
    seen: [u64; 4],
}

/// Reads the attributes in `input`, which lies in `message`.
///
/// # Errors
/// The first error that resets the session.
pub(crate) fn decode(
    mut input: &[u8],
    message: &[u8],
    ctx: &DecodeContext,
) -> Result<Draft, WireError> {
    let mut draft = Draft::default();
    while !input.is_empty() {
        // RFC 7606 section 4: without a usable length nothing behind it can be read.
        let Ok((rest, raw)) = attribute(input) else {
            let verdict = Verdict {
                action: Action::TreatAsWithdraw,
                ..update_error(Field::Attributes, subcode::MALFORMED_ATTRIBUTE_LIST)
            };
            draft.errors.push(verdict.locate(input, message));
            break;
        };
        draft.take(&raw, message, ctx)?;
        input = rest;
    }
    draft.merge_as4();
    Ok(draft)
}

fn attribute(input: &[u8]) -> Parsed<'_, Raw<'_>> {
    let (rest, (flags, code)) = (be_u8, be_u8).parse(input)?;
    let (rest, length) = match flags & flag::EXTENDED_LENGTH {
        0 => be_u8.map(u16::from).parse(rest)?,
        _ => be_u16(rest)?,
    };
    let (rest, value) = take(length).parse(rest)?;
    let (_, octets) = take(input.len() - rest.len()).parse(input)?;
    Ok((rest, Raw { flags, code, value, octets }))
}

const fn update_error(field: Field, subcode: u8) -> Verdict<'static> {
    Verdict::reset(field, ErrorCode::UPDATE_MESSAGE, subcode)
}

impl<'a> Raw<'a> {
    /// An error of this attribute, which the NOTIFICATION repeats as data.
    pub(super) fn error(&self, action: Action, subcode: u8) -> Verdict<'a> {
        let verdict = update_error(Field::Attribute(self.code), subcode);
        Verdict { action, data: self.octets, ..verdict }
    }

    /// The attribute with another value, for keeping.
    pub(super) fn opaque(&self, value: Vec<u8>) -> OpaqueAttribute {
        let flags = self.flags & (flag::OPTIONAL | flag::TRANSITIVE | flag::PARTIAL);
        OpaqueAttribute { flags, code: self.code, value: Bytes::from(value) }
    }
}

impl Draft {
    fn take(
        &mut self,
        raw: &Raw<'_>,
        message: &[u8],
        ctx: &DecodeContext,
    ) -> Result<(), WireError> {
        let multiprotocol = matches!(raw.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
        if self.has_seen(raw.code) {
            // RFC 7606 section 3 (g): the first one stands.
            let action =
                if multiprotocol { Action::SessionReset } else { Action::AttributeDiscard };
            let verdict =
                Verdict { data: &[], ..raw.error(action, subcode::MALFORMED_ATTRIBUTE_LIST) };
            return self.report(verdict.locate(raw.octets, message));
        }
        self.mark_seen(raw.code);
        match row(raw.code) {
            Some(row) => self.take_known(raw, row, message, ctx),
            None => self.take_unknown(raw, message),
        }
    }

    fn take_known(
        &mut self,
        raw: &Raw<'_>,
        row: &Row,
        message: &[u8],
        ctx: &DecodeContext,
    ) -> Result<(), WireError> {
        if row.internal_only && ctx.ebgp {
            let verdict = raw.error(Action::AttributeDiscard, row.subcode);
            return self.report(verdict.locate(raw.octets, message));
        }
        if !has_valid_flags(raw.flags, row.flags) {
            // The routes of MP_REACH_NLRI have to be known all the same.
            let verdict = raw.error(row.on_flags, subcode::ATTRIBUTE_FLAGS);
            self.report(verdict.locate(raw.octets, message))?;
            if row.on_error != Action::SessionReset {
                return Ok(());
            }
        }
        if !row.length.allows(raw.value.len(), ctx.as4) {
            let verdict = raw.error(row.on_error, subcode::ATTRIBUTE_LENGTH);
            return self.report(verdict.locate(raw.octets, message));
        }
        let verdict = raw.error(row.on_error, row.subcode);
        match (row.decode)(raw, ctx, self).judge(verdict) {
            Ok(()) => Ok(()),
            Err(error) => self.report(locate(error, message, verdict)),
        }
    }

    fn take_unknown(&mut self, raw: &Raw<'_>, message: &[u8]) -> Result<(), WireError> {
        if raw.flags & flag::OPTIONAL == 0 {
            let verdict = raw.error(Action::SessionReset, subcode::UNRECOGNIZED_WELL_KNOWN);
            return Err(verdict.locate(raw.octets, message));
        }
        if raw.flags & flag::TRANSITIVE != 0 {
            // Ready to be passed on (RFC 4271 section 5).
            let mut kept = raw.opaque(raw.value.to_vec());
            kept.flags |= flag::PARTIAL;
            self.keep(kept);
        }
        Ok(())
    }

    /// Notes an error, or returns it if the session cannot survive it.
    fn report(&mut self, error: WireError) -> Result<(), WireError> {
        if error.action == Action::SessionReset {
            return Err(error);
        }
        self.errors.push(error);
        Ok(())
    }

    /// Files an opaque attribute by its code.
    pub(super) fn keep(&mut self, attribute: OpaqueAttribute) {
        let opaque = &mut self.attributes.opaque;
        let place = opaque.partition_point(|other| other.code < attribute.code);
        opaque.insert(place, attribute);
    }

    /// Whether an attribute of this type was present, well-formed or not.
    pub(crate) fn has_seen(&self, code: u8) -> bool {
        let [word, bit] = place(code);
        self.seen.get(word).is_some_and(|bits| bits & (1 << bit) != 0)
    }

    /// How many different attributes were present.
    pub(crate) fn count(&self) -> u32 {
        self.seen.iter().map(|bits| bits.count_ones()).sum()
    }

    fn mark_seen(&mut self, code: u8) {
        let [word, bit] = place(code);
        if let Some(bits) = self.seen.get_mut(word) {
            *bits |= 1 << bit;
        }
    }

    /// RFC 6793 section 4.2.3: an aggregator that needed no AS4_AGGREGATOR formed the path anew, and
    /// then AS4_PATH is out of date as well.
    fn merge_as4(&mut self) {
        let (path, aggregator) = (self.as4_path.take(), self.as4_aggregator.take());
        let own = self.attributes.aggregator;
        if aggregator.is_some() && own.is_some_and(|own| own.asn != u32::from(AS_TRANS)) {
            return;
        }
        if own.is_some() && aggregator.is_some() {
            self.attributes.aggregator = aggregator;
        }
        if let Some(path) = path {
            let old = std::mem::take(&mut self.attributes.as_path);
            self.attributes.as_path = segments::merge(old, path);
        }
    }
}

/// Word and bit of a type code in a set of 256 bits.
fn place(code: u8) -> [usize; 2] {
    [usize::from(code) / 64, usize::from(code) % 64]
}

/// Optional and Transitive have to be as defined; Partial has no place on a well-known attribute
/// (RFC 4271 section 4.3). The low four bits mean nothing.
fn has_valid_flags(flags: u8, required: u8) -> bool {
    let kind = flags & (flag::OPTIONAL | flag::TRANSITIVE);
    let well_known = required & flag::OPTIONAL == 0;
    kind == required && !(well_known && flags & flag::PARTIAL != 0)
}
