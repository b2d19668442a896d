//! TCP: a connection can be made.

use vc5_conformance::tool::rude::Manner;
use vc5_health::CheckKind;

use super::NO_ROUTE;
use crate::row::{Place, Row, Way};
use crate::servers;

pub(super) fn rows() -> Vec<Row> {
    let to = |port| Row::new("tcp", port, CheckKind::Tcp);
    let nginx = || to(servers::HTTP);
    vec![
        nginx().up("connected"),
        to(servers::CLOSED).down(Way::Refused, "connection refused"),
        nginx()
            .at(Place::Rejecting)
            .what("by ICMP on the way")
            .down(Way::Refused, "no route to host")
            .v6("permission denied"),
        nginx().at(Place::Hole).times_out(Way::BlackHoled, "connecting"),
        nginx().at(Place::SlowLine).times_out(Way::Slow, "connecting"),
        to(Manner::Full.port())
            .what("connections are not taken")
            .times_out(Way::Slow, "connecting"),
        Row { way: Way::HalfClosed, ..to(Manner::HalfClosed.port()) }.up("connected"),
        Row { way: Way::Endless, ..to(Manner::Noise.port()) }.up("connected"),
        nginx().at(Place::Missing).times_out(Way::NoVip, "connecting").v6(NO_ROUTE),
    ]
}
