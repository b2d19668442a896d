//! The keys of a DNS query and of the answer to it.

use vc5_health::DnsCheck;
use vc5_health::check::dns::{Transport, answer, name, rcode, record};

use super::super::super::read::{Field, Table};

pub(super) const KEYS: [&str; 5] = ["transport", "name", "record", "rcode", "answer"];

pub(super) fn read(table: &mut Table<'_>, default: DnsCheck) -> DnsCheck {
    let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];
    let transport = table.get("transport").and_then(|field| field.word(&transports));
    let name = table.get("name").and_then(|field| field.literal(name));
    let record = match table.get("record") {
        None => Some(default.record),
        Some(field) => field.literal(record),
    };
    let codes = table.get("rcode").and_then(|field| field.some(code));
    let codes = codes.map(|list| list.into_iter().map(|code| code.value).collect());
    let answer = table
        .get("answer")
        .zip(record)
        .and_then(|(field, record)| field.literal(|text| answer(record, text)));
    DnsCheck {
        transport: transport.unwrap_or(default.transport),
        name: name.unwrap_or(default.name),
        record: record.unwrap_or(default.record),
        rcode: codes.unwrap_or(default.rcode),
        answer,
    }
}

fn code(item: &Field<'_>) -> Option<u8> {
    if item.is_text() { item.literal(rcode) } else { item.number(0..=15_u8) }
}
