//! Words of the administrator.

use std::time::{Duration, Instant};

use crate::common::{BACKEND, LIMIT, ROUTE};
use crate::world::{Gating, INNER_SESSION, Inner, both};

#[test]
fn words_of_the_administrator_outlive_a_crash_and_end_by_their_time() {
    let mut gating = Gating::new(&both(""));
    let node = &gating.world.node;
    node.vc5c("drain backend web/192.0.2.21 for 1h \"kernel\"").unwrap();
    let begin = Instant::now();
    let time = Duration::from_secs(8);
    node.vc5c("disable vip www for 8s \"moving\"").unwrap();
    gating.world.await_route(ROUTE, 0);

    gating.world.node.daemon().unwrap().signal(libc::SIGKILL).unwrap();
    gating.world.node.daemon().unwrap().wait(LIMIT).unwrap();
    gating.world.start();
    gating.explains(&["moving", "kernel"]);
    assert!(!gating.announced() || begin.elapsed() >= time);
    gating.world.await_route(ROUTE, 1);
    assert!(begin.elapsed() >= time, "announced again after {:?}", begin.elapsed());
    gating.explains(&["kernel"]);

    // The other backend is all that is left: without it the drained one is nothing to announce.
    gating.b2.stop().unwrap();
    gating.world.await_route(ROUTE, 0);
    gating.world.node.vc5c("enable backend web/192.0.2.21").unwrap();
    gating.world.await_route(ROUTE, 1);
}

#[test]
fn a_drained_vip_says_so_to_all_routers_before_it_is_withdrawn() {
    let long = both("").replace("drain-time = \"1s\"", "drain-time = \"4s\"\ndrain-local-pref = 7");
    let gating = Gating::new(&format!("{INNER_SESSION}{long}"));
    let inner = Inner::start(&gating.world);
    inner.awaits("the route as it is", |seen| {
        seen.local_pref == Some(100) && seen.communities.is_empty()
    });

    gating.world.node.vc5c("drain vip www \"moving\"").unwrap();
    gating.routed_with(&["(65535,0)"]);
    inner.awaits("GRACEFUL_SHUTDOWN and LOCAL_PREF", |seen| {
        seen.local_pref == Some(7) && seen.communities == ["gracefulShutdown"]
    });
    gating.world.await_route(ROUTE, 0);
    gating.explains(&["moving"]);

    gating.world.node.vc5c("enable vip www").unwrap();
    gating.world.await_route(ROUTE, 1);
    let route = gating.route();
    assert!(!route.contains("(65535,0)"), "{route}");
    inner.awaits("the route as it was", |seen| {
        seen.local_pref == Some(100) && seen.communities.is_empty()
    });
}

#[test]
fn a_backend_that_is_switched_off_is_probed_on_and_back_at_once() {
    let mut gating = Gating::new(&both(""));
    gating.world.node.vc5c("disable backend web/192.0.2.21").unwrap();
    gating.world.backend.stop().unwrap();
    gating.awaits_check(BACKEND, |check| {
        check["up"] == false && check["diagnostic"] == "connection refused"
    });
    gating.world.backend.start().unwrap();
    gating.awaits_check(BACKEND, |check| check["up"] == true);
    let state = || gating.world.node.vip("www").unwrap().backend(BACKEND).unwrap().state.clone();
    assert_eq!(state(), "disabled");

    // It does not count meanwhile.
    gating.b2.stop().unwrap();
    gating.world.await_route(ROUTE, 0);
    gating.world.node.vc5c("enable backend web/192.0.2.21").unwrap();
    assert_eq!(state(), "up");
    gating.world.await_route(ROUTE, 1);
}
