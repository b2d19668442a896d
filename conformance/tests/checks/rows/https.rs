//! HTTP/1.1 over TLS.

use vc5_conformance::tool::rude::Manner;
use vc5_health::{CheckKind, HttpCheck, Tls};

use super::http::{CUT_OFF, get, through_nginx};
use super::tls::{client, disbelieved, pinned, trusting};
use crate::certificates::{Certificates, NAME};
use crate::row::{Row, Way};
use crate::servers;

pub(super) fn rows(certificates: &Certificates) -> Vec<Row> {
    let to =
        |port, check: HttpCheck, tls: Tls| Row::new("https", port, CheckKind::Https(check, tls));
    let [(good, _), (expired, _), (misnamed, _), (unknown, _), (demanding, _)] = servers::HTTPS;
    let trust = trusting(certificates, Some(NAME));
    let mut rows = through_nginx(CUT_OFF, |check| to(good, check, trust.clone()));
    let host = HttpCheck { host: Some(NAME.into()), ..get("/") };
    let at = |port| to(port, get("/"), trust.clone());
    let rude = |manner: Manner| at(manner.port());
    rows.extend(disbelieved([expired, misnamed, unknown].map(at)));
    rows.extend([
        to(good, host, trusting(certificates, None)).what("name of the host").up("200 OK"),
        to(expired, get("/"), pinned(certificates, "expired")).what("expired, pinned").up("200 OK"),
        to(demanding, get("/"), client(certificates)).what("client certificate").up("200 OK"),
        at(servers::CLOSED).down(Way::Refused, "connection refused"),
        rude(Manner::Reset).what("once spoken to").down(Way::Refused, "connection reset by peer"),
        rude(Manner::Silent)
            .what("handshake")
            .times_out(Way::Slow, "waiting for the TLS handshake"),
        rude(Manner::Foreign).what("not TLS").down(Way::WrongAnswer, "received corrupt message"),
        to(good, get("/"), pinned(certificates, "expired"))
            .what("pin")
            .down(Way::WrongCertificate, "certificate"),
        at(demanding).what("client has none").down(Way::WrongCertificate, "got 400, expected 200"),
        rude(Manner::TruncatedFrame)
            .what("handshake")
            .down(Way::Truncated, "connection closed too early"),
        rude(Manner::Noise).what("not TLS").down(Way::Endless, "received corrupt message"),
        rude(Manner::HalfClosed).down(Way::HalfClosed, "connection closed too early"),
    ]);
    rows
}
