//! The error that our nom parsers return, and how it becomes a [`WireError`].
//!
//! A nom primitive knows only where the octets ended too soon. The parser around it knows what the
//! octets were to be, and [`Judge::judge`] adds that; the outermost verdict never replaces an inner
//! one. The offset is computed last, from the place that the error points at.

use bytes::Bytes;
use nom::bytes::complete::take;
use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Parser, ToUsize};

use super::error::{Action, Field, WireError};
use super::notification::ErrorCode;

/// Result of a parser over borrowed octets.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault<'a>>;
/// Result of a parser that has to use up its input.
pub(crate) type Complete<'a, T> = Result<T, nom::Err<Fault<'a>>>;

/// A parser's error: the octets it stopped at, and what that means once somebody has said so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault<'a> {
    at: &'a [u8],
    verdict: Option<Verdict<'a>>,
}

/// What an error is about and what has to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict<'a> {
    pub(crate) field: Field,
    pub(crate) action: Action,
    pub(crate) code: ErrorCode,
    pub(crate) subcode: u8,
    pub(crate) data: &'a [u8],
}

impl<'a> ParseError<&'a [u8]> for Fault<'a> {
    fn from_error_kind(input: &'a [u8], _: ErrorKind) -> Self {
        Self { at: input, verdict: None }
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl<'a> Verdict<'a> {
    /// An error that resets the session, without data.
    pub(crate) const fn reset(field: Field, code: ErrorCode, subcode: u8) -> Self {
        Self { field, action: Action::SessionReset, code, subcode, data: &[] }
    }

    /// This verdict about the octets `at`, as a parser's error.
    pub(crate) const fn fault(self, at: &'a [u8]) -> nom::Err<Fault<'a>> {
        nom::Err::Error(Fault { at, verdict: Some(self) })
    }

    /// This verdict about the octets `at`, which lie in `message`.
    pub(crate) fn locate(self, at: &[u8], message: &[u8]) -> WireError {
        let offset = (at.as_ptr() as usize).saturating_sub(message.as_ptr() as usize);
        WireError {
            field: self.field,
            offset: offset.min(message.len()),
            action: self.action,
            code: self.code,
            subcode: self.subcode,
            data: Bytes::copy_from_slice(self.data),
        }
    }
}

/// Adds a verdict to errors that have none.
pub(crate) trait Judge<'a> {
    /// Says what an error means, unless that has been said already.
    fn judge(self, verdict: Verdict<'a>) -> Self;
}

impl<'a, T> Judge<'a> for Complete<'a, T> {
    fn judge(self, verdict: Verdict<'a>) -> Self {
        self.map_err(|error| {
            error.map(|fault| Fault { verdict: fault.verdict.or(Some(verdict)), ..fault })
        })
    }
}

/// The error in `message`; `otherwise` is the verdict if none was reached.
pub(crate) fn locate<'a>(
    error: nom::Err<Fault<'a>>,
    message: &'a [u8],
    otherwise: Verdict<'a>,
) -> WireError {
    match error {
        nom::Err::Error(fault) | nom::Err::Failure(fault) => {
            fault.verdict.unwrap_or(otherwise).locate(fault.at, message)
        }
        nom::Err::Incomplete(_) => {
            otherwise.locate(message.get(message.len()..).unwrap_or_default(), message)
        }
    }
}

/// An error without a verdict about the octets `at`.
pub(crate) const fn fault<'a>(at: &'a [u8]) -> nom::Err<Fault<'a>> {
    nom::Err::Error(Fault { at, verdict: None })
}

/// As many octets as `length` reads. (nom's `length_data` asks for more input where the octets end,
/// but a frame has no more.)
pub(crate) fn counted<'a, N: ToUsize>(
    length: impl Parser<&'a [u8], Output = N, Error = Fault<'a>>,
) -> impl Parser<&'a [u8], Output = &'a [u8], Error = Fault<'a>> {
    length.flat_map(|octets: N| take(octets.to_usize()))
}
