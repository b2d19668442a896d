//! TLS: a handshake completes.

use vc5_conformance::tool::rude::Manner;
use vc5_health::{CheckKind, Identity, Tls, TlsSettings, Verify};

use super::NO_ROUTE;
use crate::certificates::{Certificates, NAME};
use crate::row::{Place, Row, Way};
use crate::servers;

/// Certificates for this name, of the authority.
pub(super) fn trusting(certificates: &Certificates, name: Option<&str>) -> Tls {
    made(name, Verify::Authorities(certificates.read("authority.pem")), None)
}

/// Certificates that another authority than ours has issued.
pub(super) fn believing(certificates: &Certificates, file: &str) -> Tls {
    made(Some(NAME), Verify::Authorities(certificates.read(&format!("{file}.pem"))), None)
}

/// This certificate and no other.
pub(super) fn pinned(certificates: &Certificates, file: &str) -> Tls {
    made(None, Verify::Pinned(vec![certificates.fingerprint(file)]), None)
}

/// Shows a certificate that the authority issued.
pub(super) fn client(certificates: &Certificates) -> Tls {
    let [certificate, key] = ["client.pem", "client.key"].map(|file| certificates.read(file));
    made(None, Verify::Off, Some(Identity { certificates: certificate, key }))
}

fn made(name: Option<&str>, verify: Verify, identity: Option<Identity>) -> Tls {
    Tls::new(TlsSettings { server_name: name.map(Into::into), verify, identity }).unwrap()
}

/// Certificates that nobody should believe, by the ports of such servers.
pub(super) fn disbelieved([expired, misnamed, unknown]: [Row; 3]) -> [Row; 3] {
    let down = |row: Row, what, words| row.what(what).down(Way::WrongCertificate, words);
    [
        down(expired, "expired", "invalid peer certificate: certificate expired"),
        down(misnamed, "name", "invalid peer certificate: certificate not valid for name"),
        down(unknown, "authority", "invalid peer certificate: UnknownIssuer"),
    ]
}

pub(super) fn rows(certificates: &Certificates) -> Vec<Row> {
    let to = |port, tls: Tls| Row::new("tls", port, CheckKind::Tls(tls));
    let [(good, _), (expired, _), (misnamed, _), (unknown, _), (demanding, _)] = servers::TLS;
    let at = |port| to(port, trusting(certificates, Some(NAME)));
    let rude = |manner: Manner| at(manner.port());
    let mut rows = vec![
        at(good).up("TLSv1.3 handshake done"),
        to(unknown, made(None, Verify::Off, None)).what("unverified").up("TLSv1.3 handshake done"),
        to(unknown, pinned(certificates, "unknown")).what("pinned").up("TLSv1.3 handshake done"),
        to(demanding, client(certificates)).what("client certificate").up("TLSv1.2 handshake done"),
        at(servers::CLOSED).down(Way::Refused, "connection refused"),
        at(good).at(Place::Hole).times_out(Way::BlackHoled, "connecting"),
        rude(Manner::Reset).what("once spoken to").down(Way::Refused, "connection reset by peer"),
        rude(Manner::Silent).times_out(Way::Slow, "waiting for the TLS handshake"),
        rude(Manner::Foreign).what("not TLS").down(Way::WrongAnswer, "received corrupt message"),
        to(good, pinned(certificates, "unknown"))
            .what("pin")
            .down(Way::WrongCertificate, "certificate"),
        at(demanding).what("client has none").down(Way::WrongCertificate, "received fatal alert"),
        rude(Manner::TruncatedFrame).down(Way::Truncated, "connection closed too early"),
        rude(Manner::Noise).down(Way::Endless, "received corrupt message"),
        rude(Manner::HalfClosed).down(Way::HalfClosed, "connection closed too early"),
        at(good).at(Place::Missing).times_out(Way::NoVip, "connecting").v6(NO_ROUTE),
    ];
    rows.extend(disbelieved([expired, misnamed, unknown].map(at)));
    rows
}
