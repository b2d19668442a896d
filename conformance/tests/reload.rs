//! Reload by SIGHUP and by `configure`, good and bad, without touching the session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{ALWAYS, LIMIT, ROUTE, ROUTER, World};
use vc5_conformance::lab::wait;

const SECOND: &str = "203.0.113.11/32";

/// The good configuration with a second address of the VIP.
fn two() -> String {
    format!("{ROUTER}{ALWAYS}")
        .replace(r#"["203.0.113.10"]"#, r#"["203.0.113.10", "203.0.113.11"]"#)
}

#[test]
fn reloads_apply_whole_or_not_at_all_and_keep_the_session() {
    let mut world = World::new(false);
    let one = format!("{ROUTER}{ALWAYS}");
    world.configure(&one);
    world.start();
    world.await_route(ROUTE, 1);

    world.configure(&two());
    let said = world.node.vc5c("configure check").unwrap();
    assert!(said.contains("Configuration OK"), "{said}");
    assert!(world.router.next_hops(SECOND).unwrap().is_empty(), "check applies nothing");
    let said = world.node.vc5c("configure").unwrap();
    assert!(said.contains("Reconfigured"), "{said}");
    world.await_route(SECOND, 1);

    // The bad file also lacks the second address: nothing of it may be taken.
    world.configure(&one.replace("up-delay", "up-dely"));
    for command in ["configure check", "configure"] {
        let done = world.node.vc5c_output(command).unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned()
            + &String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("vc5.toml:") && said.contains("up-delay"), "{command}: {said}");
    }
    world.node.daemon().unwrap().signal(libc::SIGHUP).unwrap();
    wait::until_true("the refusal is logged", LIMIT, || Ok(world.node.log().contains("up-dely")))
        .unwrap();
    assert_eq!(world.router.next_hops(ROUTE).unwrap().len(), 1);
    assert_eq!(world.router.next_hops(SECOND).unwrap().len(), 1);

    world.configure(&one);
    world.node.daemon().unwrap().signal(libc::SIGHUP).unwrap();
    world.await_route(SECOND, 0);
    assert_eq!(world.router.next_hops(ROUTE).unwrap().len(), 1);
    assert_eq!(world.sessions(), 1, "a reload has reset the session");
}
