//! The path attributes of an UPDATE, checked one by one where they lie.
//!
//! Each attribute is cut out by its own length before its value is looked at, so that a bad value
//! cannot shift what follows. Errors are collected with the action RFC 7606 gives them; only one
//! that resets the session ends the reading. Nothing is copied: the values found good are kept as
//! slices, to be read later.

use super::multiprotocol::{Reach, Unreach};
use super::table::{Row, row};
use super::view::AttributesView;
use super::{code, flag};
use crate::wire::error::{Action, Field, WireError};
use crate::wire::message::DecodeContext;
use crate::wire::notification::{ErrorCode, subcode::update as subcode};
use crate::wire::parse::{Judge, Verdict, locate};

/// One attribute as it lies in the message.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(super) flags: u8,
    pub(super) code: u8,
    pub(super) value: &'a [u8],
    /// The attribute with its header.
    pub(super) octets: &'a [u8],
}

/// What the attributes amount to.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) attributes: AttributesView<'a>,
    pub(crate) reach: Option<Reach<'a>>,
    pub(crate) unreach: Option<Unreach<'a>>,
    /// Routes of a family that was not negotiated were passed over.
    pub(crate) foreign_routes: bool,
    pub(crate) errors: Vec<WireError>,
    seen: CodeSet,
}

/// A set of type codes.
#[derive(Debug, Default)]
pub(super) struct CodeSet([u64; 4]);

impl CodeSet {
    fn contains(&self, code: u8) -> bool {
        self.0.get(usize::from(code) / 64).is_some_and(|bits| bits >> (code % 64) & 1 != 0)
    }

    /// Puts `code` in; false if it was there.
    pub(super) fn insert(&mut self, code: u8) -> bool {
        let bit = 1 << (code % 64);
        let Some(bits) = self.0.get_mut(usize::from(code) / 64) else { return false };
        let new = *bits & bit == 0;
        *bits |= bit;
        new
    }
}

/// The first attribute in `input`, and what is behind it.
pub(super) fn attribute(input: &[u8]) -> Option<(Raw<'_>, &[u8])> {
    let (&[flags, code, short], rest) = input.split_first_chunk()?;
    let (length, rest) = match flags & flag::EXTENDED_LENGTH {
        0 => (usize::from(short), rest),
        _ => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(u16::from_be_bytes([short, low])), rest)
        }
    };
    let (value, rest) = rest.split_at_checked(length)?;
    let octets = input.get(..input.len() - rest.len())?;
    Some((Raw { flags, code, value, octets }, rest))
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

    /// Whether the attribute is passed on by a speaker that does not know it.
    pub(super) fn is_optional_transitive(&self) -> bool {
        const BOTH: u8 = flag::OPTIONAL | flag::TRANSITIVE;
        self.flags & BOTH == BOTH
    }
}

impl<'a> Scan<'a> {
    /// Nothing read as yet.
    pub(crate) const EMPTY: Self = Self {
        attributes: AttributesView::EMPTY,
        reach: None,
        unreach: None,
        foreign_routes: false,
        errors: Vec::new(),
        seen: CodeSet([0; 4]),
    };

    /// Reads the attributes in `input`, which lies in `message`.
    ///
    /// # Errors
    /// The first error that resets the session.
    pub(crate) fn read(
        &mut self,
        input: &'a [u8],
        message: &'a [u8],
        ctx: &DecodeContext,
    ) -> Result<(), WireError> {
        self.attributes.start(input, ctx.as4);
        let mut rest = input;
        while !rest.is_empty() {
            // RFC 7606 section 4: without a usable length nothing behind it can be read.
            let Some((raw, behind)) = attribute(rest) else {
                let verdict = Verdict {
                    action: Action::TreatAsWithdraw,
                    ..update_error(Field::Attributes, subcode::MALFORMED_ATTRIBUTE_LIST)
                };
                self.errors.push(verdict.locate(rest, message));
                break;
            };
            self.take(&raw, message, ctx)?;
            rest = behind;
        }
        Ok(())
    }

    fn take(
        &mut self,
        raw: &Raw<'a>,
        message: &'a [u8],
        ctx: &DecodeContext,
    ) -> Result<(), WireError> {
        if !self.seen.insert(raw.code) {
            return self.repeated(raw, message);
        }
        match row(raw.code) {
            Some((index, row)) => self.take_known(raw, index, row, message, ctx),
            None if raw.flags & flag::OPTIONAL == 0 => {
                let verdict = raw.error(Action::SessionReset, subcode::UNRECOGNIZED_WELL_KNOWN);
                Err(verdict.locate(raw.octets, message))
            }
            None => {
                if raw.is_optional_transitive() {
                    self.attributes.keep_opaque();
                }
                Ok(())
            }
        }
    }

    /// RFC 7606 section 3 (g): the first one stands.
    fn repeated(&mut self, raw: &Raw<'a>, message: &'a [u8]) -> Result<(), WireError> {
        let multiprotocol = matches!(raw.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
        let action = if multiprotocol { Action::SessionReset } else { Action::AttributeDiscard };
        let verdict = Verdict { data: &[], ..raw.error(action, subcode::MALFORMED_ATTRIBUTE_LIST) };
        self.report(verdict.locate(raw.octets, message))
    }

    fn take_known(
        &mut self,
        raw: &Raw<'a>,
        index: usize,
        row: &Row,
        message: &'a [u8],
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
        match (row.check)(raw, ctx, self) {
            Ok(()) => {
                self.attributes.keep(index, raw.value);
                Ok(())
            }
            error => {
                let verdict = raw.error(row.on_error, row.subcode);
                error.judge(verdict).or_else(|error| self.report(locate(error, message, verdict)))
            }
        }
    }

    /// Notes an error, or returns it if the session cannot survive it.
    fn report(&mut self, error: WireError) -> Result<(), WireError> {
        if error.action == Action::SessionReset {
            return Err(error);
        }
        self.errors.push(error);
        Ok(())
    }

    /// Whether an attribute of this type was present, well-formed or not.
    pub(crate) fn has_seen(&self, code: u8) -> bool {
        self.seen.contains(code)
    }

    /// How many different attributes were present.
    pub(crate) fn count(&self) -> u32 {
        self.seen.0.iter().map(|bits| bits.count_ones()).sum()
    }
}

/// Optional and Transitive have to be as defined; Partial has no place on a well-known attribute
/// (RFC 4271 section 4.3). The low four bits mean nothing.
fn has_valid_flags(flags: u8, required: u8) -> bool {
    let kind = flags & (flag::OPTIONAL | flag::TRANSITIVE);
    let well_known = required & flag::OPTIONAL == 0;
    kind == required && !(well_known && flags & flag::PARTIAL != 0)
}
