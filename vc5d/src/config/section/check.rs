//! `[check.NAME]`.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::super::literal::status_range;
use super::super::model::{Check, CheckKind};
use super::super::read::{Field, Table};
use super::{collect, milliseconds, port, seconds};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Http,
    /// A type that is planned.
    Later,
}

const KINDS: [(&str, Kind); 2] = [("tcp", Kind::Tcp), ("http", Kind::Http)];
const LATER: [&str; 5] = ["https", "syn", "dns", "udp", "script"];

/// Keys that describe an HTTP request.
const HTTP_KEYS: [&str; 4] = ["host", "path", "method", "expect"];

pub(super) fn checks(table: Table<'_>) -> BTreeMap<String, Check> {
    collect(table, "check.NAME", check)
}

fn check(name: &str, mut table: Table<'_>) -> Option<Check> {
    let kind = table.need("type").and_then(|field| kind(&field));
    let http = http(&mut table);
    if kind == Some(Kind::Tcp) {
        table.misplaced(&HTTP_KEYS, "belongs to type = \"http\"");
    }
    let port = table.get("port").and_then(|field| port(&field));
    let longest = seconds(3600);
    let interval =
        table.get("interval").and_then(|field| field.duration(milliseconds(50)..=longest));
    let timeout = table.get("timeout").and_then(|field| field.duration(milliseconds(10)..=longest));
    let count = |field: Field<'_>| field.number(1..=100_u32);
    let rise = table.get("rise").and_then(count);
    let fall = table.get("fall").and_then(count);
    table.end();
    Some(Check {
        name: name.to_owned(),
        kind: if kind? == Kind::Http { http } else { CheckKind::Tcp },
        port,
        interval: interval.unwrap_or(seconds(2)),
        timeout: timeout.unwrap_or(Duration::from_secs(1)),
        rise: rise.unwrap_or(3),
        fall: fall.unwrap_or(2),
    })
}

fn kind(field: &Field<'_>) -> Option<Kind> {
    let text = field.text()?;
    if LATER.contains(&text) {
        field.fail::<()>(&format!("\"{text}\" is not supported yet; use \"tcp\" or \"http\""));
        return Some(Kind::Later);
    }
    field.word(&KINDS)
}

fn http(table: &mut Table<'_>) -> CheckKind {
    let host = table.get("host").and_then(|field| {
        let text = field.text()?;
        if text.is_empty() || !is_request_word(text) {
            return field.fail(&format!("`{text}` cannot stand in a Host header"));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return field.fail(&format!("an IPv6 address stands in brackets there: `[{text}]`"));
        }
        Some(text.to_owned())
    });
    let path = table.get("path").and_then(|field| {
        let text = field.text()?;
        if !text.starts_with('/') || !is_request_word(text) {
            return field.fail(&format!(
                "`{text}` is not a path: it starts with / and has neither spaces nor letters beyond ASCII"
            ));
        }
        Some(text.to_owned())
    });
    let method =
        table.get("method").and_then(|field| field.word(&[("GET", "GET"), ("HEAD", "HEAD")]));
    let expect = table.get("expect").and_then(|field| field.some(expect));
    let expect = expect.map(|list| list.into_iter().map(|range| range.value).collect());
    CheckKind::Http {
        host,
        path: path.unwrap_or_else(|| "/".to_owned()),
        method: method.unwrap_or("GET").to_owned(),
        expect: expect.unwrap_or_else(|| vec![(200, 200)]),
    }
}

/// Whether a text fits into a line of an HTTP request without being escaped.
fn is_request_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn expect(item: &Field<'_>) -> Option<(u16, u16)> {
    if !item.is_text() {
        let code = item.number(100..=599_u16)?;
        return Some((code, code));
    }
    item.literal(|text| {
        status_range(text)
            .ok_or_else(|| format!("`{text}` is not a range of status codes such as \"200-299\""))
    })
}
