//! The OPEN message (RFC 4271 section 4.2).

use std::net::Ipv4Addr;

use nom::Parser;
use nom::bytes::complete::take;
use nom::combinator::all_consuming;
use nom::number::complete::{be_u8, be_u16, be_u32};

use super::Family;
use super::capability::{self, Capability};
use super::error::{EncodeError, Field, WireError};
use super::header::Frame;
use super::notification::{ErrorCode, subcode};
use super::parse::{Complete, Parsed, Verdict, counted, locate};

/// Stands in two octets for an AS number that needs four (RFC 6793).
pub const AS_TRANS: u16 = 23456;

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Open {
    /// Protocol version, 4.
    pub version: u8,
    /// The My Autonomous System field. A value above 65535 is written as [`AS_TRANS`]; the true one
    /// is in the 4-octet capability, see [`Open::effective_as`].
    pub my_as: u32,
    /// Proposed hold time in seconds: 0, or 3 to 65535.
    pub hold_time: u16,
    /// BGP identifier, not 0.0.0.0 (RFC 6286).
    pub identifier: Ipv4Addr,
    /// Capabilities in the order of the message, repetitions included.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// A version 4 OPEN of AS `my_as`; announces the AS in both forms.
    #[must_use]
    pub fn new(my_as: u32, hold_time: u16, identifier: Ipv4Addr, families: &[Family]) -> Self {
        let mut capabilities: Vec<_> =
            families.iter().copied().map(Capability::Multiprotocol).collect();
        capabilities.push(Capability::RouteRefresh);
        capabilities.push(Capability::FourOctetAs(my_as));
        let my_as = u16::try_from(my_as).unwrap_or(AS_TRANS).into();
        Self { version: 4, my_as, hold_time, identifier, capabilities }
    }

    /// The speaker's AS: the 4-octet one where announced, else the field (RFC 6793 section 4.1).
    #[must_use]
    pub fn effective_as(&self) -> u32 {
        self.four_octet_as().unwrap_or(self.my_as)
    }

    /// The AS of the 4-octet capability; of several, the last counts.
    #[must_use]
    pub fn four_octet_as(&self) -> Option<u32> {
        self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::FourOctetAs(number) => Some(*number),
            _ => None,
        })
    }

    /// The families the speaker can carry: IPv4 unicast alone if it announces none (RFC 4760
    /// section 8).
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let mut families = Vec::new();
        for capability in &self.capabilities {
            if let Capability::Multiprotocol(family) = capability
                && !families.contains(family)
            {
                families.push(*family);
            }
        }
        if families.is_empty() {
            families.push(Family::IPV4_UNICAST);
        }
        families
    }
}

/// The only version there is.
const VERSION: u8 = 4;
/// Optional parameter: capabilities (RFC 5492).
const CAPABILITIES: u8 = 2;
/// In place of length and type: optional parameters in the extended form (RFC 9072).
const EXTENDED: u8 = 255;

/// Reads the message and checks what RFC 4271 section 6.2 asks of it alone.
pub(crate) fn decode(frame: Frame<'_>) -> Result<Open, WireError> {
    let otherwise = open_error(Field::OptionalParameters, subcode::UNSPECIFIC);
    match all_consuming(open).parse(frame.body()) {
        Ok((_, open)) => Ok(open),
        Err(error) => Err(locate(error, frame.bytes, otherwise)),
    }
}

const fn open_error(field: Field, subcode: u8) -> Verdict<'static> {
    Verdict::reset(field, ErrorCode::OPEN_MESSAGE, subcode)
}

fn open(input: &[u8]) -> Parsed<'_, Open> {
    use subcode::open::{
        BAD_BGP_IDENTIFIER, BAD_PEER_AS, UNACCEPTABLE_HOLD_TIME, UNSUPPORTED_VERSION,
    };
    let (rest, version) = be_u8(input)?;
    if version != VERSION {
        let verdict = open_error(Field::Version, UNSUPPORTED_VERSION);
        return Err(Verdict { data: &[0, VERSION], ..verdict }.fault(input));
    }
    let (after_as, my_as) = be_u16.map(u32::from).parse(rest)?;
    if my_as == 0 {
        return Err(open_error(Field::MyAs, BAD_PEER_AS).fault(rest));
    }
    let (after_hold, hold_time) = be_u16(after_as)?;
    if matches!(hold_time, 1 | 2) {
        return Err(open_error(Field::HoldTime, UNACCEPTABLE_HOLD_TIME).fault(after_as));
    }
    let (rest, identifier) = be_u32.map(Ipv4Addr::from).parse(after_hold)?;
    if identifier.is_unspecified() {
        return Err(open_error(Field::Identifier, BAD_BGP_IDENTIFIER).fault(after_hold));
    }
    let (rest, capabilities) = optional_parameters(rest)?;
    Ok((rest, Open { version, my_as, hold_time, identifier, capabilities }))
}

fn optional_parameters(input: &[u8]) -> Parsed<'_, Vec<Capability>> {
    let (rest, length) = be_u8(input)?;
    let extended = length != 0 && rest.first() == Some(&EXTENDED);
    let (rest, mut list) = if extended {
        let (rest, _type) = be_u8(rest)?;
        counted(be_u16).parse(rest)?
    } else {
        take(length).parse(rest)?
    };
    let mut capabilities = Vec::new();
    while !list.is_empty() {
        let (behind, (kind, value)) = parameter(list, extended)?;
        if kind != CAPABILITIES {
            let unsupported = subcode::open::UNSUPPORTED_OPTIONAL_PARAMETER;
            return Err(open_error(Field::OptionalParameters, unsupported).fault(list));
        }
        read_capabilities(value, &mut capabilities)?;
        list = behind;
    }
    Ok((rest, capabilities))
}

fn parameter(input: &[u8], extended: bool) -> Parsed<'_, (u8, &[u8])> {
    let (rest, kind) = be_u8(input)?;
    let (rest, value) =
        if extended { counted(be_u16).parse(rest)? } else { counted(be_u8).parse(rest)? };
    Ok((rest, (kind, value)))
}

fn read_capabilities<'a>(mut input: &'a [u8], into: &mut Vec<Capability>) -> Complete<'a, ()> {
    while !input.is_empty() {
        let (rest, one) = capability::parse(input)?;
        if one == Capability::FourOctetAs(0) {
            let zero = open_error(Field::MyAs, subcode::open::BAD_PEER_AS);
            return Err(zero.fault(input));
        }
        into.push(one);
        input = rest;
    }
    Ok(())
}

/// Writes the body: all capabilities in one optional parameter, in the extended form if they need
/// it (RFC 9072).
pub(crate) fn put(open: &Open, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.push(open.version);
    out.extend(u16::try_from(open.my_as).unwrap_or(AS_TRANS).to_be_bytes());
    out.extend(open.hold_time.to_be_bytes());
    out.extend(open.identifier.octets());
    let mut list = Vec::new();
    for capability in &open.capabilities {
        capability::put(capability, &mut list)?;
    }
    let too_long = EncodeError::FieldTooLong {
        field: Field::OptionalParameters,
        length: list.len(),
        max: usize::from(u16::MAX) - 3,
    };
    match u16::try_from(list.len()).ok().filter(|length| *length <= u16::MAX - 3) {
        None => return Err(too_long),
        Some(0) => out.push(0),
        Some(length) => match u8::try_from(length) {
            Ok(short) if short <= u8::MAX - 2 => out.extend([short + 2, CAPABILITIES, short]),
            _ => {
                out.extend([EXTENDED, EXTENDED]);
                out.extend((length + 3).to_be_bytes());
                out.push(CAPABILITIES);
                out.extend(length.to_be_bytes());
            }
        },
    }
    out.extend(list);
    Ok(())
}
