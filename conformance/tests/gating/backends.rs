//! How many backends are healthy, and what helps out.

use vc5_conformance::lab::wait;

use crate::common::{LIMIT, ROUTE};
use crate::world::{Gating, both};

#[test]
fn a_backup_pool_keeps_the_route_while_the_pool_is_down() {
    let mut gating = Gating::new(
        "[pool.web]\nbackends = [\"192.0.2.21\"]\nprobe = \"direct\"\nbackup = \"spare\"\n\
         [pool.spare]\nbackends = [\"192.0.2.22\"]\nprobe = \"direct\"\n\
         [vip.www]\naddresses = [\"203.0.113.10\"]\nup-delay = \"0s\"\n\
         [[vip.www.service]]\nport = 80\npool = \"web\"\nchecks = [\"alive\"]\n",
    );
    gating.world.backend.stop().unwrap();
    gating.explains(&["192.0.2.21", "connection refused"]);
    assert!(gating.announced(), "{}", gating.world.node.log());
    gating.b2.stop().unwrap();
    gating.world.await_route(ROUTE, 0);
    gating.b2.start().unwrap();
    gating.world.await_route(ROUTE, 1);
    gating.world.backend.start().unwrap();
    wait::until_true("the backend is up again", LIMIT, || {
        let returned =
            |line: &str| line.contains("backend 192.0.2.21") && line.contains("down -> up");
        Ok(gating.world.node.vc5c("show history")?.lines().any(returned))
    })
    .unwrap();
    assert!(gating.announced(), "{}", gating.world.node.log());
    assert_eq!(gating.world.sessions(), 1);
}

#[test]
fn in_a_panic_the_last_good_backends_stay() {
    let mut gating = Gating::new(&both("panic-threshold = \"50%\""));
    gating.world.backend.stop().unwrap();
    gating.explains(&["192.0.2.21"]);
    gating.b2.stop().unwrap();
    gating.explains(&["192.0.2.21", "192.0.2.22", "panic"]);
    assert!(gating.announced(), "{}", gating.world.node.log());

    gating.world.node.vc5c("disable backend web/192.0.2.21").unwrap();
    gating.world.node.vc5c("disable backend web/192.0.2.22").unwrap();
    gating.world.await_route(ROUTE, 0);
}

#[test]
fn a_broken_service_takes_a_live_vip_down_by_its_verdict_and_its_end_brings_it_back() {
    let good = both("");
    let gating = Gating::new(&good);
    let broken = "[[vip.www.service]]\nport = 81\npool = \"web\"\nchecks = [\"alive\"]\n";
    gating.configure(&format!("{good}{broken}"));
    gating.world.node.vc5c("configure").unwrap();
    gating.world.await_route(ROUTE, 0);
    gating.explains(&["81/tcp", "connection refused"]);
    gating.configure(&good);
    gating.world.node.vc5c("configure").unwrap();
    gating.world.await_route(ROUTE, 1);

    gating.configure("");
    gating.world.node.vc5c("configure").unwrap();
    gating.world.await_route(ROUTE, 0);
    assert_eq!(gating.world.sessions(), 1);
}

#[test]
fn all_checks_of_a_service_have_to_pass_or_any_of_them() {
    let two = |need: &str| {
        let other = "[check.other]\ntype = \"tcp\"\nport = 81\ninterval = \"100ms\"\n";
        both(&format!("checks-need = \"{need}\"")).replace("[\"alive\"]", "[\"alive\", \"other\"]")
            + other
    };
    let mut gating = Gating::new(&two("any"));
    gating.reconfigure("off", &two("all"));
    gating.world.await_route(ROUTE, 0);
    gating.explains(&["other", "connection refused"]);
    gating.reconfigure("off", &two("any"));
    gating.world.await_route(ROUTE, 1);
    gating.world.backend.stop().unwrap();
    gating.b2.stop().unwrap();
    gating.world.await_route(ROUTE, 0);
}

/// Two VIPs on a backend each.
#[test]
fn vips_of_a_group_move_together() {
    let vip = |name: &str, address: &str, backend: &str| {
        format!(
            "[pool.{name}]\nbackends = [\"{backend}\"]\nprobe = \"direct\"\n\
             [vip.{name}]\naddresses = [\"{address}\"]\nup-delay = \"0s\"\ngroup = \"front\"\n\
             [[vip.{name}.service]]\nport = 80\npool = \"{name}\"\nchecks = [\"alive\"]\n"
        )
    };
    let www = vip("www", "203.0.113.10", "192.0.2.21");
    let mail = vip("mail", "203.0.113.11", "192.0.2.22");
    let mut gating = Gating::new(&(www + &mail));
    let second = "203.0.113.11/32";
    gating.world.await_route(second, 1);

    gating.b2.stop().unwrap();
    gating.world.await_route(ROUTE, 0);
    gating.world.await_route(second, 0);
    gating.explains(&["mail", "192.0.2.22"]);
    gating.b2.start().unwrap();
    gating.world.await_route(ROUTE, 1);
    gating.world.await_route(second, 1);

    // Whoever is switched off holds nobody down.
    gating.world.node.vc5c("disable vip mail").unwrap();
    gating.world.await_route(second, 0);
    assert!(gating.announced());
    assert_eq!(gating.withdrawals(), 1);
}
