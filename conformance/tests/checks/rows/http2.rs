//! HTTP/2: with prior knowledge in the clear, by ALPN over TLS.

use vc5_conformance::tool::rude::Manner;
use vc5_health::check::http::HttpVersion;
use vc5_health::{CheckKind, HttpCheck};

use super::http::{get, through_nginx};
use super::tls::{disbelieved, trusting};
use crate::certificates::{Certificates, NAME};
use crate::row::{Row, Way};
use crate::servers::{self, H2C, HTTPS, HTTPS_ONE};

/// What is said of a body that ends early: the connection goes on without its stream (RFC 9113 section 7).
const CUT_OFF: &str = "the server reset the stream";

fn two(check: HttpCheck) -> HttpCheck {
    HttpCheck { version: HttpVersion::Two, ..check }
}

pub(super) fn in_the_clear() -> Vec<Row> {
    let to = |port, check| Row::new("h2c", port, CheckKind::Http(two(check)));
    let rude = |manner: Manner| to(manner.port(), get("/"));
    let mut rows = through_nginx(CUT_OFF, |check| to(H2C, check));
    rows.extend([
        to(servers::CLOSED, get("/")).down(Way::Refused, "connection refused"),
        rude(Manner::Reset).what("once spoken to").down(Way::Refused, "connection reset"),
        rude(Manner::Silent).what("server says nothing").times_out(Way::Slow, "waiting for"),
        to(servers::HTTP, get("/")).what("HTTP/1.1").down(Way::WrongAnswer, "not"),
        rude(Manner::Foreign).what("not HTTP").down(Way::WrongAnswer, "not"),
        rude(Manner::TruncatedSettings)
            .what("frame")
            .down(Way::Truncated, "connection closed in the middle of the response"),
        rude(Manner::Noise).what("not HTTP").down(Way::Endless, "not"),
        rude(Manner::HalfClosed).down(Way::HalfClosed, "connection closed too early"),
    ]);
    rows
}

pub(super) fn over_tls(certificates: &Certificates) -> Vec<Row> {
    let trust = trusting(certificates, Some(NAME));
    let to = |port, check| Row::new("h2", port, CheckKind::Https(two(check), trust.clone()));
    let at = |port| to(port, get("/"));
    let [(good, _), (expired, _), (misnamed, _), (unknown, _), _] = HTTPS;
    let rude = |manner: Manner| at(manner.port());
    let mut rows = through_nginx(CUT_OFF, |check| to(good, check));
    rows.extend(disbelieved([expired, misnamed, unknown].map(at)));
    rows.extend([
        at(servers::CLOSED).down(Way::Refused, "connection refused"),
        rude(Manner::Reset).what("once spoken to").down(Way::Refused, "connection reset by peer"),
        rude(Manner::Silent)
            .what("handshake")
            .times_out(Way::Slow, "waiting for the TLS handshake"),
        rude(Manner::Foreign).what("not TLS").down(Way::WrongAnswer, "received corrupt message"),
        rude(Manner::Noise).what("not TLS").down(Way::Endless, "received corrupt message"),
        at(HTTPS_ONE)
            .what("HTTP/1.1 alone")
            .down(Way::WrongAnswer, "received fatal alert: NoApplicationProtocol"),
        rude(Manner::TruncatedFrame)
            .what("handshake")
            .down(Way::Truncated, "connection closed too early"),
        rude(Manner::HalfClosed).down(Way::HalfClosed, "connection closed too early"),
    ]);
    rows
}
