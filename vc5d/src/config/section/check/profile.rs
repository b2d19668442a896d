//! What the keys of a check default to.

use vc5_health::check::dns::{RecordType, Transport, name};
use vc5_health::{Check, CheckKind, DnsCheck, Rule};

use super::super::super::read::Table;
use super::super::seconds;

/// Whose defaults they are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Profile {
    /// This daemon's.
    Own,
    /// The predecessor's.
    Vc5,
}

/// In percent of the interval.
const JITTER: u8 = 10;

pub(super) fn read(table: &mut Table<'_>) -> Profile {
    let profile = table.get("profile").and_then(|field| field.word(&[("vc5", Profile::Vc5)]));
    profile.unwrap_or(Profile::Own)
}

impl Profile {
    /// When it asks, how long it waits, and what makes a verdict. `dns` is what carries the query of a DNS check.
    pub(super) fn pace(self, dns: Option<Transport>) -> Check {
        let own = Check { jitter: JITTER, ..Check::new(CheckKind::Tcp) };
        match self {
            Self::Own => own,
            Self::Vc5 => Check {
                interval: seconds(2),
                // For DNS it was 1 s for each step: the answer, and by TCP the connection before.
                timeout: seconds(if dns == Some(Transport::Udp) { 1 } else { 2 }),
                jitter: 0,
                rule: Rule { rise: 5, fall: 2, window: Some(5) },
                ..own
            },
        }
    }

    /// What a DNS check asks. The predecessor took any answer, so that nothing had to be known of the server.
    pub(super) fn dns(self) -> DnsCheck {
        let own = DnsCheck::default();
        match self {
            Self::Own => own,
            Self::Vc5 => DnsCheck {
                name: name("localhost").unwrap_or(own.name),
                record: RecordType::A,
                rcode: (0..=15).collect(),
                ..own
            },
        }
    }
}
