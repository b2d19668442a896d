//! `[check.NAME]`.

mod http;
mod tls;
mod udp;
mod verdict;

use std::collections::BTreeMap;

use super::super::model::{Check, CheckKind};
use super::super::read::{Field, Table};
use super::{collect, port};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Http,
    Https,
    Tls,
    Udp,
    /// A type that is planned.
    Later,
}

const KINDS: [(&str, Kind); 5] = [
    ("tcp", Kind::Tcp),
    ("http", Kind::Http),
    ("https", Kind::Https),
    ("tls", Kind::Tls),
    ("udp", Kind::Udp),
];
const LATER: [&str; 3] = ["syn", "dns", "script"];

/// Keys that only some types have.
const OWNERS: [(&[&str], &[Kind], &str); 3] = [
    (&http::KEYS, &[Kind::Http, Kind::Https], "belongs to type = \"http\" or \"https\""),
    (&tls::KEYS, &[Kind::Https, Kind::Tls], "belongs to type = \"https\" or \"tls\""),
    (&udp::KEYS, &[Kind::Udp], "belongs to type = \"udp\""),
];

pub(super) fn checks(table: Table<'_>) -> BTreeMap<String, Check> {
    collect(table, "check.NAME", check)
}

fn check(name: &str, mut table: Table<'_>) -> Option<Check> {
    let kind = table.need("type").and_then(|field| kind(&field));
    // All keys are read whatever the type, so that each is known, and wrong where it is wrong.
    let http = http::read(&mut table);
    let tls = tls::read(&mut table);
    let udp = udp::read(&mut table);
    if let Some(kind) = kind.filter(|kind| *kind != Kind::Later) {
        for (keys, _, message) in OWNERS.iter().filter(|(_, owners, _)| !owners.contains(&kind)) {
            table.misplaced(keys, message);
        }
    }
    let port = table.get("port").and_then(|field| port(&field));
    let pace = verdict::read(&mut table);
    table.end();
    let kind = match kind? {
        Kind::Tcp => CheckKind::Tcp,
        Kind::Http => CheckKind::Http(http),
        Kind::Https => CheckKind::Https(http, tls?),
        Kind::Tls => CheckKind::Tls(tls?),
        Kind::Udp => CheckKind::Udp(udp),
        Kind::Later => return None,
    };
    Some(Check { name: name.to_owned(), port, check: vc5_health::Check { kind, ..pace } })
}

fn kind(field: &Field<'_>) -> Option<Kind> {
    let text = field.text()?;
    if LATER.contains(&text) {
        let words: Vec<_> = KINDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let words = words.join(", ");
        field.fail::<()>(&format!("\"{text}\" is not supported yet; there are {words}"));
        return Some(Kind::Later);
    }
    field.word(&KINDS)
}
