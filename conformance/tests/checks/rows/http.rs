//! HTTP/1.1 in the clear.

use vc5_conformance::tool::rude::Manner;
use vc5_health::{CheckKind, HttpCheck};

use super::NO_ROUTE;
use crate::certificates::NAME;
use crate::row::{Place, Row, Way};
use crate::servers;

/// What is said of a body that ends early in HTTP/1.1.
pub(super) const CUT_OFF: &str = "connection closed too early";

/// A request for a path.
pub(super) fn get(path: &str) -> HttpCheck {
    HttpCheck { path: path.into(), ..HttpCheck::default() }
}

/// A request for a path whose answer must hold a text.
pub(super) fn reading(path: &str, body: &str) -> HttpCheck {
    HttpCheck { body: Some(body.into()), ..get(path) }
}

pub(super) fn rows() -> Vec<Row> {
    let to = |port, check| Row::new("http", port, CheckKind::Http(check));
    let rude = |manner: Manner| to(manner.port(), get("/"));
    let mut rows = through_nginx(CUT_OFF, |check| to(servers::HTTP, check));
    rows.extend([
        to(servers::HTTP, HttpCheck { host: Some(NAME.into()), ..reading("/", NAME) })
            .what("by name")
            .up("200 OK"),
        to(servers::CLOSED, get("/")).down(Way::Refused, "connection refused"),
        rude(Manner::Reset).what("once spoken to").down(Way::Refused, "connection reset by peer"),
        rude(Manner::Full).what("connections are not taken").times_out(Way::Slow, "connecting"),
        rude(Manner::Silent).what("server says nothing").times_out(Way::Slow, "waiting for"),
        rude(Manner::Foreign).what("not HTTP").down(Way::WrongAnswer, "not an HTTP response"),
        rude(Manner::TruncatedFrame).what("not HTTP").down(Way::Truncated, "not an HTTP response"),
        rude(Manner::EndlessHeader).what("header").down(Way::Endless, "response header too large"),
        rude(Manner::Noise).what("not HTTP").down(Way::Endless, "not an HTTP response"),
        rude(Manner::HalfClosed).down(Way::HalfClosed, "connection closed too early"),
        Row { way: Way::HalfClosed, ..rude(Manner::HalfClosedAfterwards) }
            .what("after the answer")
            .up("200 OK"),
    ]);
    rows
}

/// What is alike in all of HTTP: answers of nginx and of what is behind it. `cut_off` is said of a body that ends early.
pub(super) fn through_nginx(cut_off: &str, to: impl Fn(HttpCheck) -> Row) -> Vec<Row> {
    let code = |path, from, to| HttpCheck { expect: vec![(from, to)], ..get(path) };
    vec![
        to(get("/")).up("200 OK"),
        to(reading("/", "alive")).what("body").up("200 OK"),
        to(HttpCheck { method: "HEAD".into(), ..get("/") }).what("HEAD").up("200 OK"),
        to(code("/code", 500, 599)).what("503 of 500-599").up("503 Service Unavailable"),
        to(HttpCheck { headers: vec![("X-Lab".into(), "yes".into())], ..code("/agent", 204, 204) })
            .what("header")
            .up("204 No Content"),
        to(get("/")).at(Place::Hole).times_out(Way::BlackHoled, "connecting"),
        to(get("/slow")).what("origin says nothing").times_out(Way::Slow, "waiting for"),
        to(reading("/dripping", "alive")).what("body").times_out(Way::Slow, "reading the body"),
        to(get("/code")).what("503").down(Way::WrongAnswer, "got 503, expected 200"),
        to(get("/redirect")).what("redirect").down(Way::WrongAnswer, "got 302, expected 200"),
        to(get("/agent")).what("403").down(Way::WrongAnswer, "got 403, expected 200"),
        to(reading("/", "dead")).what("body").down(Way::WrongAnswer, "\"dead\" is not in"),
        to(reading("/truncated", "alive")).what("body").down(Way::Truncated, cut_off),
        to(reading("/endless", "dead"))
            .what("body")
            .down(Way::Endless, "\"dead\" is not in the first 65536 bytes"),
        Row { way: Way::Endless, ..to(reading("/endless", "alive")) }
            .what("body, begins well")
            .up("200 OK"),
        to(get("/")).at(Place::Missing).times_out(Way::NoVip, "connecting").v6(NO_ROUTE),
    ]
}
