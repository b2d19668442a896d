//! ICMP: an echo request is answered, by the kernel.

use vc5_health::CheckKind;
use vc5_health::check::IcmpCheck;

use super::NO_ROUTE;
use crate::row::{Place, Row, Way};

const DOING: &str = "waiting for the echo reply";

pub(super) fn rows() -> Vec<Row> {
    let of = |size| Row::new("icmp", 1, CheckKind::Icmp(IcmpCheck { size }));
    vec![
        of(56).up("echo reply of 56 bytes"),
        of(4000).what("in fragments").up("echo reply of 4000 bytes"),
        of(56)
            .at(Place::Rejecting)
            .what("by ICMP on the way")
            .down(Way::Refused, "prohibited by a filter (said by "),
        of(56).at(Place::Hole).times_out(Way::BlackHoled, DOING),
        of(56).at(Place::SlowLine).times_out(Way::Slow, DOING),
        of(56).at(Place::Missing).times_out(Way::NoVip, DOING).v6(NO_ROUTE),
    ]
}
