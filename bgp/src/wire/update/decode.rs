//! UPDATE from octets, its errors resolved as RFC 7606 demands.

use ipnet::{IpNet, Ipv4Net};
use nom::Parser;
use nom::combinator::rest;
use nom::number::complete::be_u16;

use super::{DecodedUpdate, MpUnreach, Update};
use crate::wire::attribute::{self, Attributes, Draft, code};
use crate::wire::error::{Action, Field, WireError};
use crate::wire::header::Frame;
use crate::wire::message::DecodeContext;
use crate::wire::notification::{ErrorCode, subcode::update as subcode};
use crate::wire::parse::{Complete, Judge, Verdict, counted, locate};
use crate::wire::{Family, Nlri, nlri};

/// The three parts of the body, still octets.
struct Sections<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    nlri: &'a [u8],
}

/// Reads the message.
///
/// # Errors
/// The first error that resets the session.
pub(crate) fn decode(frame: Frame<'_>, ctx: &DecodeContext) -> Result<DecodedUpdate, WireError> {
    let message = frame.bytes;
    let malformed = update_error(Field::Attributes, subcode::MALFORMED_ATTRIBUTE_LIST);
    let parts = sections(frame.body()).map_err(|error| locate(error, message, malformed))?;
    let withdrawn = prefixes(parts.withdrawn, Field::Withdrawn, message, ctx)?;
    let nlri = prefixes(parts.nlri, Field::Nlri, message, ctx)?;
    let draft = attribute::decode(parts.attributes, message, ctx)?;
    Assembly { draft, withdrawn, nlri, parts, message }.finish(ctx)
}

const fn update_error(field: Field, subcode: u8) -> Verdict<'static> {
    Verdict::reset(field, ErrorCode::UPDATE_MESSAGE, subcode)
}

fn sections(body: &[u8]) -> Complete<'_, Sections<'_>> {
    let malformed = |field| update_error(field, subcode::MALFORMED_ATTRIBUTE_LIST);
    let (body, withdrawn) = counted(be_u16).parse(body).judge(malformed(Field::Withdrawn))?;
    let (body, attributes) = counted(be_u16).parse(body).judge(malformed(Field::Attributes))?;
    let (_, nlri) = rest(body)?;
    Ok(Sections { withdrawn, attributes, nlri })
}

fn prefixes(
    input: &[u8],
    field: Field,
    message: &[u8],
    ctx: &DecodeContext,
) -> Result<Vec<Nlri<Ipv4Net>>, WireError> {
    // RFC 7606 section 5.3: routes that cannot be told cannot be withdrawn either.
    let verdict = update_error(field, subcode::INVALID_NETWORK_FIELD);
    let add_path = ctx.add_path.contains(Family::IPV4_UNICAST);
    nlri::list::<Ipv4Net, _>(input, add_path).map_err(|error| locate(error, message, verdict))
}

/// All that was read, on its way to one result.
struct Assembly<'a> {
    draft: Draft,
    withdrawn: Vec<Nlri<Ipv4Net>>,
    nlri: Vec<Nlri<Ipv4Net>>,
    parts: Sections<'a>,
    message: &'a [u8],
}

impl Assembly<'_> {
    fn finish(mut self, ctx: &DecodeContext) -> Result<DecodedUpdate, WireError> {
        self.check_mandatory();
        self.check_unreachable()?;
        self.drop_foreign(ctx);
        self.drop_unroutable();
        let only_unreach = self.draft.count() == u32::from(self.draft.mp_unreach.is_some());
        let errors = self.draft.errors;
        let action = errors.iter().map(|error| error.action).max().unwrap_or_default();
        let mut update = Update {
            withdrawn: self.withdrawn,
            attributes: self.draft.attributes,
            nlri: self.nlri,
            mp_reach: self.draft.mp_reach,
            mp_unreach: self.draft.mp_unreach,
        };
        if action == Action::TreatAsWithdraw {
            withdraw_all(&mut update);
        }
        if update.nlri.is_empty() {
            // RFC 4760 section 3: without NLRI, NEXT_HOP is to be ignored.
            update.attributes.next_hop = None;
            if update.mp_reach.is_none() {
                update.attributes = Attributes::default();
            }
        }
        prefer_announcements(&mut update);
        let end_of_rib =
            (only_unreach && errors.is_empty()).then(|| update.is_end_of_rib()).flatten();
        Ok(DecodedUpdate { update, end_of_rib, errors, action })
    }

    /// Attributes that an announcement cannot do without (RFC 7606 section 3 (d)).
    fn check_mandatory(&mut self) {
        let plain = !self.nlri.is_empty();
        if !plain && self.draft.mp_reach.is_none() {
            return;
        }
        for (code, needed) in [(code::ORIGIN, true), (code::AS_PATH, true), (code::NEXT_HOP, plain)]
        {
            if needed && !self.draft.has_seen(code) {
                let verdict = Verdict {
                    action: Action::TreatAsWithdraw,
                    data: &[code],
                    ..update_error(Field::Attribute(code), subcode::MISSING_WELL_KNOWN)
                };
                self.draft.errors.push(verdict.locate(self.parts.attributes, self.message));
            }
        }
    }

    /// RFC 7606 section 5.2: where attributes other than MP_UNREACH_NLRI come without any route,
    /// the routes may have been lost to the very error that should withdraw them.
    fn check_unreachable(&mut self) -> Result<(), WireError> {
        let reach = self.draft.mp_reach.as_ref();
        let announces = !self.nlri.is_empty()
            || self.draft.foreign_routes
            || reach.is_some_and(|reach| !reach.nlri.is_empty());
        let unreach_only =
            self.draft.count() == u32::from(self.draft.has_seen(code::MP_UNREACH_NLRI));
        let cut_short = self.draft.errors.iter().any(|error| error.field == Field::Attributes);
        let errors = &mut self.draft.errors;
        let grave = errors.iter().position(|error| error.action == Action::TreatAsWithdraw);
        match grave {
            Some(index) if !announces && (cut_short || !unreach_only) => {
                Err(WireError { action: Action::SessionReset, ..errors.swap_remove(index) })
            }
            _ => Ok(()),
        }
    }

    /// Passes over plain IPv4 routes if IPv4 unicast was not negotiated.
    fn drop_foreign(&mut self, ctx: &DecodeContext) {
        if ctx.families.contains(Family::IPV4_UNICAST) {
            return;
        }
        let ignored = |field| Verdict {
            action: Action::AttributeDiscard,
            ..update_error(field, subcode::INVALID_NETWORK_FIELD)
        };
        if !self.withdrawn.is_empty() {
            self.withdrawn.clear();
            let error = ignored(Field::Withdrawn).locate(self.parts.withdrawn, self.message);
            self.draft.errors.push(error);
        }
        if !self.nlri.is_empty() {
            self.nlri.clear();
            let error = ignored(Field::Nlri).locate(self.parts.nlri, self.message);
            self.draft.errors.push(error);
        }
    }

    /// Passes over prefixes that make no sense as a route, and says so (RFC 4271 section 6.3).
    fn drop_unroutable(&mut self) {
        let before = self.nlri.len();
        self.nlri.retain(|nlri| nlri::is_routable(&IpNet::V4(nlri.prefix)));
        let mut dropped = before - self.nlri.len();
        if let Some(reach) = &mut self.draft.mp_reach {
            let before = reach.nlri.len();
            reach.nlri.retain(|nlri| nlri::is_routable(&nlri.prefix));
            dropped += before - reach.nlri.len();
        }
        if dropped > 0 {
            let verdict = Verdict {
                action: Action::AttributeDiscard,
                ..update_error(Field::Nlri, subcode::INVALID_NETWORK_FIELD)
            };
            self.draft.errors.push(verdict.locate(self.parts.nlri, self.message));
        }
    }
}

/// Turns every announcement into a withdrawal (RFC 7606 section 2).
fn withdraw_all(update: &mut Update) {
    update.withdrawn.append(&mut update.nlri);
    let Some(reach) = update.mp_reach.take() else { return };
    if let Some(unreach) = &mut update.mp_unreach
        && unreach.family == reach.family
    {
        unreach.nlri.extend(reach.nlri);
        return;
    }
    // One message has one MP_UNREACH_NLRI: IPv4 routes give way to their own field.
    let reached = MpUnreach { family: reach.family, nlri: reach.nlri };
    let unreached = update.mp_unreach.take();
    for part in unreached.into_iter().chain([reached]) {
        match part.family {
            Family::IPV4_UNICAST => update.withdrawn.extend(part.nlri.iter().filter_map(v4)),
            _ => update.mp_unreach = Some(part),
        }
    }
}

fn v4(nlri: &Nlri) -> Option<Nlri<Ipv4Net>> {
    match nlri.prefix {
        IpNet::V4(prefix) => Some(Nlri { prefix, path_id: nlri.path_id }),
        IpNet::V6(_) => None,
    }
}

/// A prefix both withdrawn and announced counts as announced (RFC 4271 section 4.3).
fn prefer_announcements(update: &mut Update) {
    if update.withdrawals().next().is_none() {
        return;
    }
    let mut announced: Vec<Nlri> = update.announcements().map(|(nlri, _)| nlri).collect();
    if announced.is_empty() {
        return;
    }
    announced.sort_unstable();
    let is_gone = |nlri: &Nlri| announced.binary_search(nlri).is_err();
    update.withdrawn.retain(|nlri| is_gone(&(*nlri).into()));
    if let Some(unreach) = &mut update.mp_unreach {
        unreach.nlri.retain(is_gone);
    }
}
