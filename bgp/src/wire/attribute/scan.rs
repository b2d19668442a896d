//! The path attributes of an UPDATE, checked one by one where they lie.
//!
//! Each attribute is cut out by its own length before its value is looked at, so that a bad value
//! cannot shift what follows. Errors are collected with the action RFC 7606 gives them; only one
//! that resets the session ends the reading. Nothing is copied: the values found good are kept as
//! slices, to be read later.

use super::multiprotocol::{Reach, Unreach};
use super::table::{self, Row, TABLE};
use super::view::AttributesView;
use super::{code, flag};
use crate::wire::error::{Action, Field, WireError};
use crate::wire::message::DecodeContext;
use crate::wire::notification::{ErrorCode, subcode::update as subcode};
use crate::wire::parse::{Fault, Verdict, locate};

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
    /// The known attributes that were present, well-formed or not: a bit for each place in the table.
    seen: u32,
    /// Attributes were present that are not in the table.
    seen_unknown: bool,
}

/// A set of type codes.
#[derive(Debug, Default)]
pub(super) struct CodeSet([u64; 4]);

impl CodeSet {
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
#[inline]
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
    #[inline(always)]
    pub(crate) fn empty() -> Self {
        Self {
            attributes: AttributesView::empty(),
            reach: None,
            unreach: None,
            foreign_routes: false,
            errors: Vec::new(),
            seen: 0,
            seen_unknown: false,
        }
    }

    /// Reads the attributes in `input`, which lies in `message`.
    ///
    /// # Errors
    /// The first error that resets the session.
    #[inline]
    pub(crate) fn read(
        &mut self,
        input: &'a [u8],
        message: &'a [u8],
        ctx: &DecodeContext,
    ) -> Result<(), WireError> {
        self.attributes.start(input, ctx.as4);
        let mut unknown = CodeSet::default();
        let mut rest = input;
        while !rest.is_empty() {
            let Some((raw, behind)) = attribute(rest) else {
                self.cut_short(rest, message);
                break;
            };
            // What nearly every UPDATE has is compiled with its row known; the rest looks it up.
            match raw.code {
                code::ORIGIN => self.take::<{ table::ORIGIN }>(&raw, message, ctx)?,
                code::AS_PATH => self.take::<{ table::AS_PATH }>(&raw, message, ctx)?,
                code::NEXT_HOP => self.take::<{ table::NEXT_HOP }>(&raw, message, ctx)?,
                code::MULTI_EXIT_DISC => {
                    self.take::<{ table::MULTI_EXIT_DISC }>(&raw, message, ctx)?;
                }
                code::COMMUNITIES => self.take::<{ table::COMMUNITIES }>(&raw, message, ctx)?,
                _ => self.take_seldom(&raw, message, ctx, &mut unknown)?,
            }
            rest = behind;
        }
        Ok(())
    }

    /// RFC 7606 section 4: without a usable length nothing behind it can be read.
    #[cold]
    fn cut_short(&mut self, rest: &'a [u8], message: &'a [u8]) {
        let verdict = Verdict {
            action: Action::TreatAsWithdraw,
            ..update_error(Field::Attributes, subcode::MALFORMED_ATTRIBUTE_LIST)
        };
        self.errors.push(verdict.locate(rest, message));
    }

    /// Takes an attribute of the row at `PLACE`.
    #[inline(always)]
    fn take<const PLACE: usize>(
        &mut self,
        raw: &Raw<'a>,
        message: &'a [u8],
        ctx: &DecodeContext,
    ) -> Result<(), WireError> {
        // Evaluated by the compiler: a place outside the table would not build.
        #[expect(clippy::indexing_slicing)]
        let row = const { &TABLE[PLACE] };
        self.take_known(raw, PLACE, row, message, ctx)
    }

    /// Takes an attribute of any other type; `unknown` are those met that have no row.
    #[inline(never)]
    fn take_seldom(
        &mut self,
        raw: &Raw<'a>,
        message: &'a [u8],
        ctx: &DecodeContext,
        unknown: &mut CodeSet,
    ) -> Result<(), WireError> {
        if let Some((place, row)) = table::row(raw.code) {
            self.attributes.keep_seldom();
            return self.take_known(raw, place, row, message, ctx);
        }
        if !unknown.insert(raw.code) {
            return self.repeated(raw, message);
        }
        self.seen_unknown = true;
        if raw.flags & flag::OPTIONAL == 0 {
            let verdict = raw.error(Action::SessionReset, subcode::UNRECOGNIZED_WELL_KNOWN);
            return Err(verdict.locate(raw.octets, message));
        }
        if raw.is_optional_transitive() {
            self.attributes.keep_opaque();
        }
        Ok(())
    }

    #[inline(always)]
    fn take_known(
        &mut self,
        raw: &Raw<'a>,
        place: usize,
        row: &Row,
        message: &'a [u8],
        ctx: &DecodeContext,
    ) -> Result<(), WireError> {
        if self.seen & 1 << place != 0 {
            return self.repeated(raw, message);
        }
        self.seen |= 1 << place;
        if row.internal_only && ctx.ebgp {
            return self.report(raw, raw.error(Action::AttributeDiscard, row.subcode), message);
        }
        if !has_valid_flags(raw.flags, row.flags) {
            // The routes of MP_REACH_NLRI have to be known all the same.
            self.report(raw, raw.error(row.on_flags, subcode::ATTRIBUTE_FLAGS), message)?;
            if row.on_error != Action::SessionReset {
                return Ok(());
            }
        }
        if !row.length.allows(raw.value.len(), ctx.as4) {
            return self.report(raw, raw.error(row.on_error, subcode::ATTRIBUTE_LENGTH), message);
        }
        match (row.check)(raw, ctx, self) {
            Ok(()) => {
                self.attributes.keep(place, raw.value);
                Ok(())
            }
            Err(error) => self.refused(error, raw.error(row.on_error, row.subcode), message),
        }
    }

    /// RFC 7606 section 3 (g): the first one stands.
    #[cold]
    fn repeated(&mut self, raw: &Raw<'a>, message: &'a [u8]) -> Result<(), WireError> {
        let multiprotocol = matches!(raw.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
        let action = if multiprotocol { Action::SessionReset } else { Action::AttributeDiscard };
        let verdict = Verdict { data: &[], ..raw.error(action, subcode::MALFORMED_ATTRIBUTE_LIST) };
        self.report(raw, verdict, message)
    }

    /// A row's check has found an error; `verdict` is what it means, unless the check said.
    #[cold]
    fn refused(
        &mut self,
        error: nom::Err<Fault<'a>>,
        verdict: Verdict<'a>,
        message: &'a [u8],
    ) -> Result<(), WireError> {
        self.note(locate(error, message, verdict))
    }

    /// An error of the whole attribute.
    #[cold]
    fn report(
        &mut self,
        raw: &Raw<'a>,
        verdict: Verdict<'a>,
        message: &'a [u8],
    ) -> Result<(), WireError> {
        self.note(verdict.locate(raw.octets, message))
    }

    /// Notes an error, or returns it if the session cannot survive it.
    fn note(&mut self, error: WireError) -> Result<(), WireError> {
        if error.action == Action::SessionReset {
            return Err(error);
        }
        self.errors.push(error);
        Ok(())
    }

    /// Whether the attribute at this place of the table was present, well-formed or not.
    #[inline]
    pub(crate) const fn has_seen(&self, place: usize) -> bool {
        self.seen & 1 << place != 0
    }

    /// Whether no attribute was present but perhaps MP_UNREACH_NLRI.
    #[inline]
    pub(crate) const fn is_bare(&self) -> bool {
        self.seen & !(1 << table::MP_UNREACH_NLRI) == 0 && !self.seen_unknown
    }
}

/// Optional and Transitive have to be as defined; Partial has no place on a well-known attribute
/// (RFC 4271 section 4.3). The low four bits mean nothing.
#[inline]
const fn has_valid_flags(flags: u8, required: u8) -> bool {
    let kind = flags & (flag::OPTIONAL | flag::TRANSITIVE);
    let well_known = required & flag::OPTIONAL == 0;
    kind == required && !(well_known && flags & flag::PARTIAL != 0)
}
