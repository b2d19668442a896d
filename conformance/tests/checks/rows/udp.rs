//! UDP: a datagram is answered.

use vc5_conformance::tool::rude::Reply;
use vc5_health::{CheckKind, UdpCheck};

use super::NO_ROUTE;
use crate::row::{Place, Row, Way};
use crate::servers;

pub(super) fn rows() -> Vec<Row> {
    let wanting = |port, receive: Option<&str>| {
        let receive = receive.map(|text| text.as_bytes().to_vec());
        Row::new("udp", port, CheckKind::Udp(UdpCheck { send: b"12345678".to_vec(), receive }))
    };
    let echo = || wanting(Reply::Echo.port(), Some("5678"));
    vec![
        echo().up("an answer of 8 bytes"),
        wanting(Reply::Empty.port(), None).what("an empty answer").up("an answer of 0 bytes"),
        wanting(servers::CLOSED, None).down(Way::Refused, "connection refused"),
        echo()
            .at(Place::Rejecting)
            .what("by ICMP on the way")
            .down(Way::Refused, "no route to host")
            .v6("permission denied"),
        echo().at(Place::Hole).times_out(Way::BlackHoled, "waiting for an answer"),
        wanting(Reply::Silence.port(), None).times_out(Way::Slow, "waiting for an answer"),
        wanting(Reply::Echo.port(), Some("9"))
            .down(Way::WrongAnswer, "\"9\" is not in an answer of 8 bytes"),
        wanting(Reply::Half.port(), Some("5678"))
            .down(Way::Truncated, "\"5678\" is not in an answer of 4 bytes"),
        echo().at(Place::Missing).times_out(Way::NoVip, "waiting for an answer").v6(NO_ROUTE),
    ]
}
