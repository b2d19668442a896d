//! The keys of an HTTP request and of the answers to it.

use std::net::Ipv6Addr;

use vc5_health::check::http::{BODY_LIMIT_MAX, bad_header, bad_host};
use vc5_health::{HttpCheck, HttpVersion, Pattern};

use super::super::super::literal::status_range;
use super::super::super::read::{Field, Table};

pub(super) const KEYS: [&str; 8] =
    ["version", "path", "method", "headers", "expect", "body", "body-pattern", "body-limit"];

/// That which gRPC has too.
pub(super) const HOST_KEYS: [&str; 1] = ["host"];

const VERSIONS: [(&str, HttpVersion); 2] = [("1.1", HttpVersion::One), ("2", HttpVersion::Two)];

const METHODS: [(&str, &str); 3] = [("GET", "GET"), ("HEAD", "HEAD"), ("OPTIONS", "OPTIONS")];

pub(super) fn read(table: &mut Table<'_>) -> HttpCheck {
    let default = HttpCheck::default();
    let version = table.get("version").and_then(|field| field.word(&VERSIONS));
    let host = table.get("host").and_then(|field| host(&field));
    let path = table.get("path").and_then(|field| path(&field));
    let method = table.get("method").and_then(|field| field.word(&METHODS));
    let headers = table.get("headers").and_then(|field| headers(&field));
    let expect = table.get("expect").and_then(|field| field.some(expect));
    let expect = expect.map(|list| list.into_iter().map(|range| range.value).collect());
    let body = table.get("body").and_then(|field| body(&field, method).map(str::to_owned));
    let pattern = table.get("body-pattern").and_then(|field| pattern(&field, method));
    let limit = table.get("body-limit").and_then(|field| field.number(1..=BODY_LIMIT_MAX));
    HttpCheck {
        version: version.unwrap_or_default(),
        host,
        path: path.unwrap_or(default.path),
        method: method.unwrap_or("GET").to_owned(),
        headers: headers.unwrap_or_default(),
        expect: expect.unwrap_or_else(|| vec![(200, 200)]),
        body,
        body_pattern: pattern,
        body_limit: limit.unwrap_or(default.body_limit),
    }
}

fn host(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.parse::<Ipv6Addr>().is_ok() {
        return field.fail(&format!("an IPv6 address stands in brackets there: `[{text}]`"));
    }
    if bad_host(text).is_some() {
        return field.fail(&format!("`{text}` cannot stand in a Host header"));
    }
    Some(text.to_owned())
}

fn path(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if !text.starts_with('/') || !is_request_word(text) {
        return field.fail(&format!(
            "`{text}` is not a path: it starts with / and has neither spaces nor letters beyond ASCII"
        ));
    }
    Some(text.to_owned())
}

fn headers(field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    for (name, place, value) in field.entries()? {
        let Some(text) = value.text() else { continue };
        match bad_header(name, text) {
            Some(message) => field.fail_at(place, &message),
            None => headers.push((name.to_owned(), text.to_owned())),
        }
    }
    Some(headers)
}

fn body<'a>(field: &Field<'a>, method: Option<&str>) -> Option<&'a str> {
    let text = field.text()?;
    if text.is_empty() {
        return field.fail("must not be empty");
    }
    if method == Some("HEAD") {
        return field.fail("an answer to HEAD has no body to look into");
    }
    Some(text)
}

fn pattern(field: &Field<'_>, method: Option<&str>) -> Option<Pattern> {
    let text = body(field, method)?;
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(message) => field.fail(&format!("`{text}` is not a regular expression: {message}")),
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
