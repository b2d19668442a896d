//! One scenario: what is asked where, and what has to be found.

use std::net::IpAddr;
use std::time::Duration;

use vc5_health::{CheckKind, Outcome};

/// How long a probe that is to time out has.
pub(crate) const SHORT: Duration = Duration::from_secs(2);
/// How long any other has: machines that run this may be slow.
const LONG: Duration = Duration::from_secs(10);

/// The ways for a service to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Good,
    Refused,
    BlackHoled,
    Slow,
    WrongAnswer,
    WrongCertificate,
    Truncated,
    Endless,
    HalfClosed,
    NoVip,
}

impl Way {
    pub(crate) const ALL: [Self; 10] = [
        Self::Good,
        Self::Refused,
        Self::BlackHoled,
        Self::Slow,
        Self::WrongAnswer,
        Self::WrongCertificate,
        Self::Truncated,
        Self::Endless,
        Self::HalfClosed,
        Self::NoVip,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Refused => "refused",
            Self::BlackHoled => "black-holed",
            Self::Slow => "slow",
            Self::WrongAnswer => "wrong answer",
            Self::WrongCertificate => "wrong certificate",
            Self::Truncated => "truncated",
            Self::Endless => "endless",
            Self::HalfClosed => "half-closed",
            Self::NoVip => "VIP missing",
        }
    }
}

/// Which VIP is asked, and with it what is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The backend holds it and all servers answer on it.
    Served,
    /// The backend holds it, but packets to it are dropped on the way.
    Hole,
    /// Packets to it are answered by an ICMP error on the way.
    Rejecting,
    /// The backend does not hold it, though its servers answer on all addresses.
    Missing,
    /// Held by a backend whose line is so slow that no answer comes in time.
    SlowLine,
}

/// A scenario, for both address families.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The type of check.
    pub(crate) kind: &'static str,
    pub(crate) way: Way,
    /// What of the way it is, where there are several.
    pub(crate) what: &'static str,
    pub(crate) place: Place,
    pub(crate) port: u16,
    pub(crate) ask: CheckKind,
    /// How long a probe has, over IPv4 and IPv6.
    pub(crate) timeout: [Duration; 2],
    /// Whether it passes.
    pub(crate) ok: bool,
    /// What the diagnostic begins with, for IPv4 and IPv6; ` | ` between them where it may be one of several.
    pub(crate) says: [String; 2],
}

impl Row {
    /// A good one; what follows makes it bad.
    pub(crate) fn new(kind: &'static str, port: u16, ask: CheckKind) -> Self {
        let says = [String::new(), String::new()];
        let (way, place) = (Way::Good, Place::Served);
        Self { kind, way, what: "", place, port, ask, timeout: [LONG; 2], ok: true, says }
    }

    pub(crate) fn what(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// Passes, with a diagnostic that begins so.
    pub(crate) fn up(self, says: &str) -> Self {
        Self { says: [says.into(), says.into()], ..self }
    }

    /// Fails, with a diagnostic that begins so.
    pub(crate) fn down(self, way: Way, says: &str) -> Self {
        Self { way, ok: false, ..self }.up(says)
    }

    /// Fails when its time is over.
    pub(crate) fn times_out(self, way: Way, doing: &str) -> Self {
        let says = format!("timed out after {} ms while {doing}", SHORT.as_millis());
        Self { timeout: [SHORT; 2], ..self }.down(way, &says)
    }

    /// What IPv6 says where that is something else, without waiting.
    pub(crate) fn v6(mut self, says: &str) -> Self {
        self.says[1] = says.into();
        self.timeout[1] = LONG;
        self
    }

    pub(crate) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

/// What the first probe of a scenario found in one address family.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Index of the scenario.
    pub(crate) row: usize,
    pub(crate) vip: IpAddr,
    pub(crate) outcome: Outcome,
}

impl Finding {
    /// What is not as it has to be.
    pub(crate) fn wrong(&self, rows: &[Row]) -> Option<String> {
        let row = &rows[self.row];
        let family = usize::from(self.vip.is_ipv6());
        let (says, timeout) = (&row.says[family], row.timeout[family]);
        let Outcome { ok, diagnostic, took } = &self.outcome;
        // A failure that is not to time out has to count at once.
        let late = timeout != SHORT && *took >= timeout;
        let right =
            *ok == row.ok && says.split(" | ").any(|one| diagnostic.starts_with(one)) && !late;
        (!right).then(|| {
            format!(
                "{} {} {} of {}: found {ok} {diagnostic:?} after {took:?}, wanted {} {says:?}",
                row.kind,
                row.way.name(),
                row.what,
                self.vip,
                row.ok
            )
        })
    }
}
