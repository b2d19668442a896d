//! Capabilities from and to octets.

use std::time::Duration;

use bytes::Bytes;
use nom::Parser;
use nom::combinator::{all_consuming, eof, map_opt, value};
use nom::multi::many0;
use nom::number::complete::{be_u8, be_u16, be_u24, be_u32};

use super::{
    ADD_PATH, AddPath, BgpRole, Capability, ENHANCED_ROUTE_REFRESH, EXTENDED_MESSAGE,
    EXTENDED_NEXT_HOP, ExtendedNextHop, FOUR_OCTET_AS, FQDN, GRACEFUL_RESTART, GracefulRestart,
    LONG_LIVED_GRACEFUL_RESTART, LongLivedFamily, MULTIPROTOCOL, ROLE, ROUTE_REFRESH,
    RestartFamily, SOFTWARE_VERSION,
};
use crate::wire::Family;
use crate::wire::error::{EncodeError, Field};
use crate::wire::notification::{ErrorCode, subcode};
use crate::wire::parse::{Fault, Judge, Parsed, Verdict, counted};

/// GRACEFUL RESTART: the R flag, above the restart time.
const RESTART_STATE: u16 = 0x8000;
/// GRACEFUL RESTART: the N flag.
const NOTIFICATION: u16 = 0x4000;
/// GRACEFUL RESTART: the restart time.
const RESTART_TIME: u16 = 0x0FFF;
/// The F flag of a family.
const FORWARDING: u8 = 0x80;
/// LLGR: the longest stale time.
const STALE_TIME: u32 = 0x00FF_FFFF;

/// Reads one capability; one that decides about the session has to have the form its RFC gives it.
pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Capability> {
    let (rest, code) = be_u8(input)?;
    let verdict =
        Verdict::reset(Field::Capability(code), ErrorCode::OPEN_MESSAGE, subcode::UNSPECIFIC);
    let (rest, octets) = counted(be_u8).parse(rest).judge(verdict)?;
    Ok((rest, capability(code, octets).judge(verdict)?.1))
}

fn capability(code: u8, octets: &[u8]) -> Parsed<'_, Capability> {
    let as_received = || Capability::Unknown { code, value: Bytes::copy_from_slice(octets) };
    match code {
        MULTIPROTOCOL => {
            let family = (be_u16, be_u8, be_u8).map(|(afi, _, safi)| Family { afi, safi });
            all_consuming(family.map(Capability::Multiprotocol)).parse(octets)
        }
        ROUTE_REFRESH => value(Capability::RouteRefresh, eof).parse(octets),
        EXTENDED_NEXT_HOP => {
            all_consuming(tuples(next_hop).map(Capability::ExtendedNextHop)).parse(octets)
        }
        EXTENDED_MESSAGE => value(Capability::ExtendedMessage, eof).parse(octets),
        ROLE => {
            let role = be_u8::<_, Fault<'_>>
                .map(|octet| BgpRole::from_octet(octet).map_or_else(as_received, Capability::Role));
            all_consuming(role).parse(octets)
        }
        GRACEFUL_RESTART => all_consuming(graceful_restart).parse(octets),
        FOUR_OCTET_AS => {
            all_consuming(be_u32::<_, Fault<'_>>.map(Capability::FourOctetAs)).parse(octets)
        }
        ADD_PATH => all_consuming(tuples(add_path).map(Capability::AddPath)).parse(octets),
        ENHANCED_ROUTE_REFRESH => value(Capability::EnhancedRouteRefresh, eof).parse(octets),
        LONG_LIVED_GRACEFUL_RESTART => {
            all_consuming(many0(long_lived).map(Capability::LongLivedGracefulRestart)).parse(octets)
        }
        // These only inform: a form we do not know is no reason to refuse the neighbour.
        FQDN => Ok(all_consuming(fqdn).parse(octets).unwrap_or_else(|_| (&[], as_received()))),
        SOFTWARE_VERSION => {
            let version = text.map(|version| Capability::SoftwareVersion(version.to_owned()));
            Ok(all_consuming(version).parse(octets).unwrap_or_else(|_| (&[], as_received())))
        }
        _ => Ok((&[], as_received())),
    }
}

/// All tuples of a list without those that `one` reads as `None`, which are to be ignored.
fn tuples<'a, T>(
    one: impl Parser<&'a [u8], Output = Option<T>, Error = Fault<'a>>,
) -> impl Parser<&'a [u8], Output = Vec<T>, Error = Fault<'a>> {
    many0(one).map(|all| all.into_iter().flatten().collect())
}

fn next_hop(input: &[u8]) -> Parsed<'_, Option<ExtendedNextHop>> {
    (be_u16, be_u16, be_u16)
        .map(|(afi, safi, next_hop_afi)| {
            let safi = u8::try_from(safi).ok()?;
            Some(ExtendedNextHop { family: Family { afi, safi }, next_hop_afi })
        })
        .parse(input)
}

fn add_path(input: &[u8]) -> Parsed<'_, Option<AddPath>> {
    (be_u16, be_u8, be_u8)
        .map(|(afi, safi, mode)| {
            // RFC 7911 section 4: another mode, and the tuple is to be ignored.
            matches!(mode, 1..=3).then_some(AddPath {
                family: Family { afi, safi },
                receive: mode & 1 != 0,
                send: mode & 2 != 0,
            })
        })
        .parse(input)
}

fn graceful_restart(input: &[u8]) -> Parsed<'_, Capability> {
    let family = (be_u16, be_u8, be_u8).map(|(afi, safi, flags)| RestartFamily {
        family: Family { afi, safi },
        forwarding: flags & FORWARDING != 0,
    });
    let (rest, (word, families)) = (be_u16, many0(family)).parse(input)?;
    let value = GracefulRestart {
        restart_state: word & RESTART_STATE != 0,
        notification: word & NOTIFICATION != 0,
        restart_time: Duration::from_secs((word & RESTART_TIME).into()),
        families,
    };
    Ok((rest, Capability::GracefulRestart(value)))
}

fn long_lived(input: &[u8]) -> Parsed<'_, LongLivedFamily> {
    (be_u16, be_u8, be_u8, be_u24)
        .map(|(afi, safi, flags, seconds)| LongLivedFamily {
            family: Family { afi, safi },
            forwarding: flags & FORWARDING != 0,
            stale_time: Duration::from_secs(seconds.into()),
        })
        .parse(input)
}

/// Text with its length in one octet.
fn text(input: &[u8]) -> Parsed<'_, &str> {
    map_opt(counted(be_u8), |octets| std::str::from_utf8(octets).ok()).parse(input)
}

fn fqdn(input: &[u8]) -> Parsed<'_, Capability> {
    (text, text)
        .map(|(host, domain)| Capability::Fqdn { host: host.into(), domain: domain.into() })
        .parse(input)
}

/// Writes one capability.
pub(crate) fn put(capability: &Capability, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let field = Field::Capability(capability.code());
    out.extend([capability.code(), 0]);
    let start = out.len();
    put_value(capability, out)?;
    let length = out.len() - start;
    let octet = u8::try_from(length).map_err(|_| EncodeError::FieldTooLong {
        field,
        length,
        max: usize::from(u8::MAX),
    })?;
    if let Some(place) = out.get_mut(start - 1) {
        *place = octet;
    }
    Ok(())
}

fn put_value(capability: &Capability, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let field = Field::Capability(capability.code());
    match capability {
        Capability::RouteRefresh
        | Capability::ExtendedMessage
        | Capability::EnhancedRouteRefresh => {}
        Capability::Multiprotocol(family) => {
            out.extend(family.afi.to_be_bytes());
            out.extend([0, family.safi]);
        }
        Capability::ExtendedNextHop(tuples) => {
            for tuple in tuples {
                out.extend(tuple.family.afi.to_be_bytes());
                out.extend([0, tuple.family.safi]);
                out.extend(tuple.next_hop_afi.to_be_bytes());
            }
        }
        Capability::Role(role) => out.push(*role as u8),
        Capability::GracefulRestart(value) => put_graceful_restart(value, out)?,
        Capability::FourOctetAs(number) => out.extend(number.to_be_bytes()),
        Capability::AddPath(tuples) => {
            for AddPath { family, receive, send } in tuples {
                put_family(*family, out);
                out.push(u8::from(*receive) | u8::from(*send) << 1);
            }
        }
        Capability::LongLivedGracefulRestart(families) => put_long_lived(families, out)?,
        Capability::Fqdn { host, domain } => {
            put_text(host, field, out)?;
            put_text(domain, field, out)?;
        }
        Capability::SoftwareVersion(version) => put_text(version, field, out)?,
        Capability::Unknown { value, .. } => out.extend_from_slice(value),
    }
    Ok(())
}

fn put_graceful_restart(value: &GracefulRestart, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let seconds = seconds(value.restart_time, RESTART_TIME.into(), GRACEFUL_RESTART)?;
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let flags = flag(value.restart_state, RESTART_STATE) | flag(value.notification, NOTIFICATION);
    let time = u16::try_from(seconds).unwrap_or(RESTART_TIME);
    out.extend((flags | time).to_be_bytes());
    for RestartFamily { family, forwarding } in &value.families {
        put_family(*family, out);
        out.push(if *forwarding { FORWARDING } else { 0 });
    }
    Ok(())
}

fn put_long_lived(families: &[LongLivedFamily], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    for LongLivedFamily { family, forwarding, stale_time } in families {
        put_family(*family, out);
        let flags = if *forwarding { FORWARDING } else { 0 };
        let seconds = seconds(*stale_time, STALE_TIME, LONG_LIVED_GRACEFUL_RESTART)?;
        out.extend((u32::from(flags) << 24 | seconds).to_be_bytes());
    }
    Ok(())
}

fn put_family(family: Family, out: &mut Vec<u8>) {
    out.extend(family.afi.to_be_bytes());
    out.push(family.safi);
}

/// A time in whole seconds, as the capability can express it.
fn seconds(time: Duration, max: u32, code: u8) -> Result<u32, EncodeError> {
    let seconds = u32::try_from(time.as_secs()).ok().filter(|seconds| *seconds <= max);
    seconds.ok_or(EncodeError::TimeTooLong { field: Field::Capability(code), time, max })
}

fn put_text(text: &str, field: Field, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (length, max) = (text.len(), usize::from(u8::MAX));
    let octet =
        u8::try_from(length).map_err(|_| EncodeError::FieldTooLong { field, length, max })?;
    out.push(octet);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
