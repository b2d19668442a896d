//! UPDATE read where it lies, its errors resolved as RFC 7606 demands.

use std::net::Ipv4Addr;

use nom::Parser;
use nom::combinator::rest;
use nom::number::complete::be_u16;

use super::{DecodedUpdate, NextHop};
use crate::wire::attribute::{AttributesView, Reach, Scan, Unreach, code, table};
use crate::wire::error::{Action, Field, WireError};
use crate::wire::header::Frame;
use crate::wire::message::DecodeContext;
use crate::wire::nlri::{Nlri, Routes};
use crate::wire::notification::{ErrorCode, subcode::update as subcode};
use crate::wire::parse::{Complete, Judge, Verdict, counted, locate};
use crate::wire::{Family, FamilySet};

/// A received UPDATE, read where it lies: nothing is copied, and nothing allocated but for errors.
///
/// All checks are done when it is made, and what is read is what is left after the errors have been
/// handled: discarded attributes are gone, and under [`Action::TreatAsWithdraw`] every announced
/// route counts as withdrawn.
#[derive(Debug)]
pub struct UpdateView<'a> {
    pub(super) withdrawn: Routes<'a>,
    pub(super) nlri: Routes<'a>,
    scan: Scan<'a>,
    end_of_rib: Option<Family>,
    action: Action,
}

/// The three parts of the body, still octets.
struct Sections<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    nlri: &'a [u8],
    message: &'a [u8],
}

impl<'a> UpdateView<'a> {
    /// Nothing read as yet. (A constant, as copying it is quicker than making it part by part.)
    #[inline(always)]
    pub(crate) fn empty() -> Self {
        Self {
            withdrawn: Routes::EMPTY,
            nlri: Routes::EMPTY,
            scan: Scan::empty(),
            end_of_rib: None,
            action: Action::None,
        }
    }

    /// Checks the UPDATE in `frame`.
    ///
    /// # Errors
    /// The first error that resets the session.
    pub fn new(frame: Frame<'a>, ctx: &DecodeContext) -> Result<Self, WireError> {
        // Made where it is returned: a view is large, and to move it would cost a tenth of the time.
        let mut result = Ok(Self::empty());
        if let Ok(view) = &mut result
            && let Err(error) = view.read(frame, ctx)
        {
            result = Err(error);
        }
        result
    }

    /// Reads the UPDATE in `frame` into this view, which is new.
    pub(crate) fn read(&mut self, frame: Frame<'a>, ctx: &DecodeContext) -> Result<(), WireError> {
        let malformed = update_error(Field::Attributes, subcode::MALFORMED_ATTRIBUTE_LIST);
        let parts = sections(frame).map_err(|error| locate(error, frame.bytes, malformed))?;
        self.withdrawn = routes(parts.withdrawn, Field::Withdrawn, parts.message, ctx)?;
        self.nlri = routes(parts.nlri, Field::Nlri, parts.message, ctx)?;
        self.scan.read(parts.attributes, parts.message, ctx)?;
        self.resolve(&parts, ctx)
    }

    /// All routes announced, of both encodings, each with its next hop.
    #[inline]
    pub fn announcements(&self) -> impl Iterator<Item = (Nlri, NextHop)> + use<'a> {
        let stands = self.action != Action::TreatAsWithdraw;
        let next_hop = self.scan.attributes.next_hop().filter(|_| stands);
        let plain_hop = NextHop::Ipv4(next_hop.unwrap_or(Ipv4Addr::UNSPECIFIED));
        let plain = next_hop.map_or(Routes::EMPTY, |_| self.nlri);
        let plain = plain.routable().map(move |nlri| (nlri, plain_hop));
        let reach = self.scan.reach.filter(|_| stands);
        let reach_hop = reach.map_or(plain_hop, |reach| reach.next_hop);
        let reached = reach.map_or(Routes::EMPTY, |reach| reach.routes);
        plain.chain(reached.routable().map(move |nlri| (nlri, reach_hop)))
    }

    /// All routes withdrawn, of both encodings, and those announced that have to be taken as
    /// withdrawn. A route that is announced as well counts as announced (RFC 4271 section 4.3): so
    /// act on the withdrawals first.
    #[inline]
    pub fn withdrawals(&self) -> impl Iterator<Item = Nlri> + use<'a> {
        let refused = self.action == Action::TreatAsWithdraw;
        let nlri = if refused { self.nlri } else { Routes::EMPTY };
        let reach = self.scan.reach.filter(|_| refused);
        let reach = reach.map_or(Routes::EMPTY, |reach| reach.routes);
        let unreach = self.scan.unreach.map_or(Routes::EMPTY, |unreach| unreach.routes);
        let plain = self.withdrawn.iter().chain(nlri.routable());
        plain.chain(unreach.iter()).chain(reach.routable())
    }

    /// The attributes of all routes announced here; none if no route is.
    #[must_use]
    #[inline]
    pub fn attributes(&self) -> &AttributesView<'a> {
        &self.scan.attributes
    }

    /// Set if the message is exactly the End-of-RIB marker of that family.
    #[must_use]
    pub fn end_of_rib(&self) -> Option<Family> {
        self.end_of_rib
    }

    /// Everything found wrong, in the order found.
    #[must_use]
    pub fn errors(&self) -> &[WireError] {
        &self.scan.errors
    }

    /// The strongest action among the errors; never [`Action::SessionReset`].
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The message for keeping.
    #[must_use]
    pub fn into_decoded(self) -> DecodedUpdate {
        DecodedUpdate {
            update: self.to_update(),
            end_of_rib: self.end_of_rib,
            action: self.action,
            errors: self.scan.errors,
        }
    }

    pub(super) const fn reach(&self) -> Option<&Reach<'a>> {
        self.scan.reach.as_ref()
    }

    pub(super) const fn unreach(&self) -> Option<&Unreach<'a>> {
        self.scan.unreach.as_ref()
    }

    /// Handles the errors.
    fn resolve(&mut self, parts: &Sections<'a>, ctx: &DecodeContext) -> Result<(), WireError> {
        self.check_mandatory(parts);
        if !self.scan.errors.is_empty() {
            self.check_unreachable()?;
        }
        if !ctx.families.contains(Family::IPV4_UNICAST) {
            self.drop_foreign(parts);
        }
        self.note_unroutable(parts);
        let errors = &self.scan.errors;
        self.action = errors.iter().map(|error| error.action).max().unwrap_or_default();
        if self.scan.errors.is_empty() {
            self.end_of_rib = self.is_end_of_rib();
        }
        let announced = self.nlri.has_routable() || self.scan.reach.is_some();
        if !announced || self.action == Action::TreatAsWithdraw {
            self.scan.attributes = AttributesView::empty();
        }
        Ok(())
    }

    /// The family whose End-of-RIB marker this is (RFC 4724 section 2).
    fn is_end_of_rib(&self) -> Option<Family> {
        if !self.scan.is_bare() || !self.withdrawn.is_empty() || !self.nlri.is_empty() {
            return None;
        }
        match self.scan.unreach {
            None => Some(Family::IPV4_UNICAST),
            Some(unreach) => unreach.routes.is_empty().then_some(unreach.family),
        }
    }

    /// Attributes that an announcement cannot do without (RFC 7606 section 3 (d)).
    fn check_mandatory(&mut self, parts: &Sections<'a>) {
        let plain = !self.nlri.is_empty();
        if !plain && self.scan.reach.is_none() {
            return;
        }
        let wanted = [
            (code::ORIGIN, self.scan.has_seen(table::ORIGIN)),
            (code::AS_PATH, self.scan.has_seen(table::AS_PATH)),
            (code::NEXT_HOP, self.scan.has_seen(table::NEXT_HOP) || !plain),
        ];
        for (code, is_there) in wanted {
            if !is_there {
                self.note_missing(code, parts);
            }
        }
    }

    #[cold]
    fn note_missing(&mut self, code: u8, parts: &Sections<'a>) {
        let verdict = Verdict {
            action: Action::TreatAsWithdraw,
            data: &[code],
            ..update_error(Field::Attribute(code), subcode::MISSING_WELL_KNOWN)
        };
        self.scan.errors.push(verdict.locate(parts.attributes, parts.message));
    }

    /// RFC 7606 section 5.2: where attributes other than MP_UNREACH_NLRI come without any route,
    /// the routes may have been lost to the very error that should withdraw them.
    fn check_unreachable(&mut self) -> Result<(), WireError> {
        let announces = !self.nlri.is_empty()
            || self.scan.foreign_routes
            || self.scan.reach.is_some_and(|reach| !reach.routes.is_empty());
        let cut_short = self.scan.errors.iter().any(|error| error.field == Field::Attributes);
        let is_bare = self.scan.is_bare();
        let errors = &mut self.scan.errors;
        let grave = errors.iter().position(|error| error.action == Action::TreatAsWithdraw);
        match grave {
            Some(index) if !announces && (cut_short || !is_bare) => {
                Err(WireError { action: Action::SessionReset, ..errors.swap_remove(index) })
            }
            _ => Ok(()),
        }
    }

    /// Passes over plain IPv4 routes, as IPv4 unicast was not negotiated.
    fn drop_foreign(&mut self, parts: &Sections<'a>) {
        let lists = [
            (&mut self.withdrawn, Field::Withdrawn, parts.withdrawn),
            (&mut self.nlri, Field::Nlri, parts.nlri),
        ];
        for (list, field, octets) in lists {
            if !list.is_empty() {
                *list = Routes::EMPTY;
                self.scan.errors.push(ignored(field).locate(octets, parts.message));
            }
        }
    }

    /// Prefixes that make no sense as a route are passed over, and that is said (RFC 4271 section
    /// 6.3).
    fn note_unroutable(&mut self, parts: &Sections<'a>) {
        let reach = self.scan.reach.map_or(Routes::EMPTY, |reach| reach.routes);
        if self.nlri.has_unroutable() || reach.has_unroutable() {
            let error = ignored(Field::Nlri).locate(parts.nlri, parts.message);
            self.scan.errors.push(error);
        }
    }
}

const fn update_error(field: Field, subcode: u8) -> Verdict<'static> {
    Verdict::reset(field, ErrorCode::UPDATE_MESSAGE, subcode)
}

/// Routes are not taken, and nothing else comes of it.
const fn ignored(field: Field) -> Verdict<'static> {
    let verdict = update_error(field, subcode::INVALID_NETWORK_FIELD);
    Verdict { action: Action::AttributeDiscard, ..verdict }
}

fn sections(frame: Frame<'_>) -> Complete<'_, Sections<'_>> {
    let malformed = |field| update_error(field, subcode::MALFORMED_ATTRIBUTE_LIST);
    let body = frame.body();
    let (body, withdrawn) = counted(be_u16).parse(body).judge(malformed(Field::Withdrawn))?;
    let (body, attributes) = counted(be_u16).parse(body).judge(malformed(Field::Attributes))?;
    let (_, nlri) = rest(body)?;
    Ok(Sections { withdrawn, attributes, nlri, message: frame.bytes })
}

/// The plain IPv4 routes of a part of the body.
#[inline]
fn routes<'a>(
    octets: &'a [u8],
    field: Field,
    message: &'a [u8],
    ctx: &DecodeContext,
) -> Result<Routes<'a>, WireError> {
    // RFC 7606 section 5.3: routes that cannot be told cannot be withdrawn either.
    let verdict = update_error(field, subcode::INVALID_NETWORK_FIELD);
    let add_path: FamilySet = ctx.add_path;
    Routes::check(octets, Family::IPV4_UNICAST, add_path)
        .map_err(|error| locate(error, message, verdict))
}
