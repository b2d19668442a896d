//! gRPC: `grpc.health.v1` says that it serves.

use vc5_conformance::tool::rude::Manner;
use vc5_health::check::GrpcCheck;
use vc5_health::{CheckKind, Tls};

use super::NO_ROUTE;
use super::tls::{believing, pinned, trusting};
use crate::certificates::{Certificates, NAME};
use crate::row::{Place, Row, Way};
use crate::servers::{self, GRPC, GRPC_BARE, GRPC_TLS};

pub(super) fn rows(certificates: &Certificates) -> Vec<Row> {
    let to = |port, service: &str, tls: Option<Tls>| {
        let check = GrpcCheck { service: service.into(), host: None, tls };
        Row::new("grpc", port, CheckKind::Grpc(check))
    };
    let of = |service| to(GRPC, service, None);
    let rude = |manner: Manner| to(manner.port(), "", None);
    let tls = |tls| to(GRPC_TLS, "", Some(tls));
    vec![
        of("").up("SERVING"),
        of("www").what("a service").up("SERVING"),
        tls(trusting(certificates, Some(NAME))).what("TLS").up("SERVING"),
        to(servers::CLOSED, "", None).down(Way::Refused, "connection refused"),
        rude(Manner::Reset).what("once spoken to").down(Way::Refused, "connection reset"),
        of("").at(Place::Hole).times_out(Way::BlackHoled, "connecting"),
        // The server is told of the time limit too, and may be the first to give up.
        of("slow")
            .what("the service")
            .times_out(Way::Slow, "waiting for the response | grpc-status 4 (DEADLINE_EXCEEDED)"),
        rude(Manner::Silent).what("server says nothing").times_out(Way::Slow, "waiting for"),
        of("down").what("NOT_SERVING").down(Way::WrongAnswer, "NOT_SERVING"),
        of("unknown").what("NOT_FOUND").down(Way::WrongAnswer, "grpc-status 5 (NOT_FOUND)"),
        to(GRPC_BARE, "", None)
            .what("no such service")
            .down(Way::WrongAnswer, "grpc-status 12 (UNIMPLEMENTED)"),
        of("garbled").what("not a message of it").down(Way::WrongAnswer, "the answer"),
        to(servers::HTTP, "", None).what("HTTP/1.1").down(Way::WrongAnswer, "not"),
        tls(trusting(certificates, Some("other.example"))).what("name").down(
            Way::WrongCertificate,
            "invalid peer certificate: certificate not valid for name",
        ),
        tls(believing(certificates, "unknown"))
            .what("authority")
            .down(Way::WrongCertificate, "invalid peer certificate: UnknownIssuer"),
        tls(pinned(certificates, "unknown")).what("pin").down(Way::WrongCertificate, "certificate"),
        rude(Manner::TruncatedSettings)
            .down(Way::Truncated, "connection closed in the middle of the response"),
        of("large").what("message").down(Way::Endless, "the answer has more than"),
        rude(Manner::Noise).what("not HTTP/2").down(Way::Endless, "not"),
        rude(Manner::HalfClosed).down(Way::HalfClosed, "connection closed too early"),
        of("").at(Place::Missing).times_out(Way::NoVip, "connecting").v6(NO_ROUTE),
    ]
}
