//! When a route comes and goes. What is measured is only ever that something took long enough.

use std::time::{Duration, Instant};

use crate::common::{LIMIT, ROUTE};
use crate::world::{Gating, both};

#[test]
fn the_predecessors_figures_are_a_profile() {
    let checked = both("").replace("[\"alive\"]", "[\"old\"]");
    let begin = Instant::now();
    let mut gating = Gating::new(&format!(
        "[check.old]\ntype = \"http\"\npath = \"/alive\"\nprofile = \"vc5\"\n{checked}"
    ));
    // Up took five good probes, 2 s apart.
    assert!(begin.elapsed() > Duration::from_secs(8), "up after {:?}", begin.elapsed());
    let begin = Instant::now();
    gating.world.backend.stop().unwrap();
    gating.b2.stop().unwrap();
    gating.world.await_route(ROUTE, 0);
    // Two failures of five: not by the first.
    assert!(begin.elapsed() > Duration::from_secs(2), "down after {:?}", begin.elapsed());
}

#[test]
fn up_delay_begins_anew_with_each_break_and_down_delay_bridges_a_short_one() {
    let slow = both("").replace("up-delay = \"0s\"", "up-delay = \"3s\"\ndown-delay = \"4s\"");
    let one = slow.replace(", \"192.0.2.22\"", "");
    let mut gating = Gating::new(&one);
    // A break that is shorter than the delay is nothing to a router.
    let begin = Instant::now();
    gating.world.backend.stop().unwrap();
    gating.explains(&["down-delay ends in", "connection refused"]);
    gating.world.backend.start().unwrap();
    gating.awaits("healthy again", |vip| vip.services[0].up);
    if begin.elapsed() < Duration::from_secs(4) {
        assert_eq!(gating.withdrawals(), 0);
    }
    gating.world.await_route(ROUTE, 1);

    gating.world.backend.stop().unwrap();
    let begin = Instant::now();
    gating.world.await_route(ROUTE, 0);
    assert!(begin.elapsed() > Duration::from_secs(3), "withdrawn after {:?}", begin.elapsed());
    gating.world.backend.start().unwrap();
    gating.awaits("it waits", |vip| vip.state == "waiting");
    gating.world.backend.stop().unwrap();
    gating.awaits("it waits no more", |vip| vip.state == "down");
    let begin = Instant::now();
    gating.world.backend.start().unwrap();
    gating.world.await_route(ROUTE, 1);
    assert_eq!(gating.withdrawals(), 1);
    assert!(begin.elapsed() > Duration::from_secs(3), "announced after {:?}", begin.elapsed());
}

#[test]
fn a_vip_that_comes_and_goes_is_held_down_for_a_time() {
    let half_life = Duration::from_secs(4);
    let damped = both("").replace(
        "up-delay = \"0s\"",
        "up-delay = \"0s\"\ndamping = { half-life = \"4s\", suppress = 1500, reuse = 750, max-suppress = \"30s\" }",
    );
    let mut gating = Gating::new(&damped.replace(", \"192.0.2.22\"", ""));
    // However slow the machine is, each withdrawal adds more than decays until the next one.
    let begin = Instant::now();
    let withdrawn = loop {
        gating.world.backend.stop().unwrap();
        gating.world.await_route(ROUTE, 0);
        let withdrawn = Instant::now();
        gating.world.backend.start().unwrap();
        gating.awaits("healthy again", |vip| vip.services[0].up);
        if gating.world.node.vc5c("explain www").unwrap().contains("came and went too often") {
            break withdrawn;
        }
        assert!(begin.elapsed() < LIMIT, "it may come and go for ever");
        gating.world.await_route(ROUTE, 1);
    };
    assert!(!gating.announced());
    gating.world.await_route(ROUTE, 1);
    assert!(withdrawn.elapsed() >= half_life, "announced again after {:?}", withdrawn.elapsed());
    assert_eq!(gating.world.sessions(), 1);
}
