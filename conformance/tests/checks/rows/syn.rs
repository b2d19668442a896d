//! SYN: a connection is answered, and never made.

use vc5_conformance::tool::rude::Manner;
use vc5_health::CheckKind;

use super::NO_ROUTE;
use crate::row::{Place, Row, Way};
use crate::servers;

const DOING: &str = "waiting for the SYN-ACK";

pub(super) fn rows() -> Vec<Row> {
    let to = |port| Row::new("syn", port, CheckKind::Syn);
    let nginx = || to(servers::HTTP);
    vec![
        nginx().up("SYN-ACK"),
        to(servers::CLOSED).down(Way::Refused, "connection refused"),
        nginx()
            .at(Place::Rejecting)
            .what("by ICMP on the way")
            .down(Way::Refused, "no route to host")
            .v6("permission denied"),
        nginx().at(Place::Hole).times_out(Way::BlackHoled, DOING),
        nginx().at(Place::SlowLine).times_out(Way::Slow, DOING),
        to(Manner::Full.port()).what("connections are not taken").times_out(Way::Slow, DOING),
        Row { way: Way::HalfClosed, ..to(Manner::HalfClosed.port()) }.up("SYN-ACK"),
        Row { way: Way::Endless, ..to(Manner::Noise.port()) }.up("SYN-ACK"),
        nginx().at(Place::Missing).times_out(Way::NoVip, DOING).v6(NO_ROUTE),
    ]
}
