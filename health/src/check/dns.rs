//! What a DNS check asks, and which answers it takes.

use hickory_proto::rr::Record;
pub use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};

/// The response codes that fit into a header without EDNS (RFC 1035 section 4.1.1, RFC 2136 section
/// 2.2), by their number.
const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE",
];

/// The largest response code without EDNS.
const RCODE_MAX: u8 = 15;

/// What carries a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way; a truncated answer fails.
    Udp,
    /// A connection of its own, closed by RST after the answer (RFC 7766).
    Tcp,
}

/// One query of class IN with recursion desired, and the answers that pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCheck {
    /// What carries it.
    pub transport: Transport,
    /// The name that is asked for.
    pub name: Name,
    /// The type that is asked for.
    pub record: RecordType,
    /// The response codes that pass, 0 to 15; at least one.
    pub rcode: Vec<u8>,
    /// Data that a record of this type has to have in the answer section.
    pub answer: Option<RData>,
}

impl Default for DnsCheck {
    /// The SOA of the root by UDP, answered without an error.
    fn default() -> Self {
        Self {
            transport: Transport::Udp,
            name: Name::root(),
            record: RecordType::SOA,
            rcode: vec![0],
            answer: None,
        }
    }
}

impl DnsCheck {
    /// Says which value cannot be used.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.rcode.is_empty() {
            return Err("at least one response code has to pass".into());
        }
        match self.rcode.iter().find(|code| **code > RCODE_MAX) {
            Some(code) => Err(format!("response code {code} is more than {RCODE_MAX}")),
            None => Ok(()),
        }
    }
}

/// A name as it is asked for, always taken as absolute.
///
/// # Errors
/// Says that it is none (RFC 1035 section 2.3.4).
pub fn name(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(text).map_err(|_| format!("`{text}` is not a DNS name"))?;
    if text.is_empty() {
        return Err("a DNS name is not empty; the root is `.`".into());
    }
    name.set_fqdn(true);
    Ok(name)
}

/// A type of records by its name.
///
/// # Errors
/// Says that it is none, or none that one message answers.
pub fn record(text: &str) -> Result<RecordType, String> {
    match text.parse() {
        Ok(RecordType::AXFR | RecordType::TSIG | RecordType::SIG | RecordType::NULL) | Err(_) => {
            Err(format!("`{text}` is not a type of DNS records that can be asked for"))
        }
        Ok(record) => Ok(record),
    }
}

/// A response code by its name.
///
/// # Errors
/// Names those that there are.
pub fn rcode(text: &str) -> Result<u8, String> {
    let found = RCODES.iter().position(|name| *name == text);
    found.and_then(|code| u8::try_from(code).ok()).ok_or_else(|| {
        format!(
            "`{text}` is not a response code; there are 0 to {RCODE_MAX}, {}",
            RCODES.join(", ")
        )
    })
}

/// The name of a response code, or its number.
pub(crate) fn rcode_name(code: u8) -> String {
    RCODES.get(usize::from(code)).map_or_else(|| format!("RCODE {code}"), |name| (*name).into())
}

/// The data of a record of this type, as it stands in a zone file (RFC 1035 section 5). Names in it
/// are taken as absolute.
///
/// # Errors
/// Says that it is no such data.
pub fn answer(record: RecordType, text: &str) -> Result<RData, String> {
    let wrong = || format!("`{text}` is not the data of a record of type {record}");
    let data = RData::try_from_str(record, text).map_err(|_| wrong())?;
    // As it comes from the wire, where every name is absolute.
    let wire = Record::from_rdata(Name::root(), 0, data).to_bytes().map_err(|_| wrong())?;
    Ok(Record::from_bytes(&wire).map_err(|_| wrong())?.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_absolute() {
        assert_eq!(name("www.example").unwrap(), name("WWW.Example.").unwrap());
        assert_eq!(name(".").unwrap(), Name::root());
        for wrong in ["", "a..b", &"a".repeat(64)] {
            assert!(name(wrong).unwrap_err().contains("DNS name"), "{wrong}");
        }
    }

    #[test]
    fn words_are_those_of_the_protocol() {
        assert_eq!(record("AAAA"), Ok(RecordType::AAAA));
        for wrong in ["AXFR", "aaaa", "TSIG", ""] {
            assert!(record(wrong).unwrap_err().contains("type of DNS records"), "{wrong}");
        }
        assert_eq!(rcode("REFUSED"), Ok(5));
        assert_eq!((rcode_name(5), rcode_name(15)), ("REFUSED".into(), "RCODE 15".into()));
        assert!(rcode("OK").unwrap_err().contains("NOERROR, FORMERR"));
    }

    #[test]
    fn data_is_read_as_in_a_zone_file() {
        let same =
            |record, a, b| assert_eq!(answer(record, a).unwrap(), answer(record, b).unwrap());
        same(RecordType::A, "192.0.2.7", " 192.0.2.7 ");
        same(RecordType::AAAA, "2001:db8::1", "2001:DB8:0::1");
        same(RecordType::MX, "10 mail.example", "10 MAIL.example.");
        same(RecordType::TXT, "word", "\"word\"");
        assert_ne!(answer(RecordType::TXT, "word"), answer(RecordType::TXT, "Word"));
        for (record, text) in [
            (RecordType::A, "2001:db8::1"),
            (RecordType::MX, "mail.example"),
            (RecordType::ANY, "x"),
        ] {
            assert!(answer(record, text).unwrap_err().contains(&record.to_string()), "{text}");
        }
    }

    #[test]
    fn names_the_value_that_cannot_be_used() {
        let with = |rcode| DnsCheck { rcode, ..DnsCheck::default() }.validate();
        assert_eq!(with(vec![0, 15]), Ok(()));
        assert!(with(vec![]).unwrap_err().contains("at least one"));
        assert!(with(vec![16]).unwrap_err().contains("code 16"));
    }
}
