//! What stands between verdicts and the route: words of the administrator, backup pools, panic, the node's own path,
//! and what a reload brings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{LIMIT, ROUTE, ROUTER, VIP, World};
use vc5_conformance::lab::{Backend, Process, wait};

const B2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 22);
const CHECK: &str = r#"
[check.alive]
type = "http"
path = "/alive"
interval = "100ms"
rise = 2
fall = 2
"#;

/// A world with a second backend; both serve.
struct Gating {
    b2: Backend,
    world: World,
}

impl Gating {
    /// With this configuration besides the session and the check, and the route in the router.
    fn new(rest: &str) -> Self {
        let mut world = World::new(false);
        let mut b2 = Backend::new(&world.lab, &world.fabric, "b2", B2, VIP).unwrap();
        world.backend.start().unwrap();
        b2.start().unwrap();
        let gating = Self { b2, world };
        gating.configure(rest);
        let Self { b2, mut world } = gating;
        world.start();
        world.await_route(ROUTE, 1);
        Self { b2, world }
    }

    fn configure(&self, rest: &str) {
        self.world.configure(&format!("{ROUTER}{CHECK}{rest}"));
    }

    /// Waits until `explain` of the VIP has all these words.
    fn explains(&self, words: &[&str]) {
        let mut said = String::new();
        let found = wait::until_true("explanation", LIMIT, || {
            said = self.world.node.vc5c("explain www")?;
            Ok(words.iter().all(|word| said.contains(word)))
        });
        found.unwrap_or_else(|error| panic!("{error:#}: {words:?} in\n{said}"));
    }

    fn announced(&self) -> bool {
        !self.world.router.next_hops(ROUTE).unwrap().is_empty()
    }
}

/// A pool of both backends, and a VIP with one service and more keys of it.
fn both(keys: &str) -> String {
    format!(
        "[pool.web]\nbackends = [\"192.0.2.21\", \"192.0.2.22\"]\nprobe = \"direct\"\n\
         [vip.www]\naddresses = [\"203.0.113.10\"]\nup-delay = \"0s\"\ndrain-time = \"1s\"\n\
         [[vip.www.service]]\nport = 80\npool = \"web\"\nchecks = [\"alive\"]\n{keys}\n"
    )
}

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
fn a_drained_vip_says_so_to_the_router_before_it_is_withdrawn() {
    let gating = Gating::new(&both(""));
    gating.world.node.vc5c("drain vip www \"moving\"").unwrap();
    wait::until_true("GRACEFUL_SHUTDOWN", LIMIT, || {
        let route = gating.world.router.birdc(&format!("show route {ROUTE} all"))?;
        Ok(route.contains("(65535,0)"))
    })
    .unwrap();
    gating.world.await_route(ROUTE, 0);
    gating.explains(&["moving"]);
    gating.world.node.vc5c("enable vip www").unwrap();
    gating.world.await_route(ROUTE, 1);
    let route = gating.world.router.birdc(&format!("show route {ROUTE} all")).unwrap();
    assert!(!route.contains("(65535,0)"), "{route}");
}

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

/// A service says itself that it is down, by the agent's socket.
#[test]
fn what_a_service_says_of_itself_takes_its_backend_out_and_back() {
    let socket = |world: &World| world.lab.dir().join("agent.sock");
    let mut world = World::new(false);
    world.backend.start().unwrap();
    let one = both("").replace(", \"192.0.2.22\"", "");
    let agent = format!("[agent]\nsocket = \"{}\"\n", socket(&world).display());
    world.configure(&format!("{ROUTER}{CHECK}{agent}{one}"));
    world.start();
    world.await_route(ROUTE, 1);

    let mut stream = UnixStream::connect(socket(&world)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut say = |line: &str| {
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        answers.next().unwrap().unwrap()
    };
    assert_eq!(say("backend web/192.0.2.21 down for 1h \"cache lost\""), "ok");
    world.await_route(ROUTE, 0);
    assert!(world.node.vc5c("explain www").unwrap().contains("cache lost"));
    assert!(say("backend web/192.0.2.99 down").starts_with("error: "));
    assert_eq!(say("backend web/192.0.2.21 clear"), "ok");
    world.await_route(ROUTE, 1);
    // Not for ever, unless it is said again.
    assert_eq!(say("backend web/192.0.2.21 down for 1s"), "ok");
    world.await_route(ROUTE, 0);
    world.await_route(ROUTE, 1);
}

/// A backend behind an interface of its own, so that its loss leaves the session alone.
#[test]
fn a_lost_interface_is_the_nodes_own_affair_and_counts_as_it_is_told() {
    let mut world = World::new(false);
    let far = world.lab.netns("far").unwrap();
    world.node.namespace().veth("eth1", &far, "eth0").unwrap();
    world.node.namespace().ip("address add 10.9.0.1/24 dev eth1").unwrap();
    far.ip("address add 10.9.0.21/24 dev eth0").unwrap();
    far.ip(&format!("address add {VIP}/32 dev lo")).unwrap();
    let mut service = far.command(common::TOOL);
    service.args(["serve", "--name", "far", "--listen", "[::]:80"]);
    let log = world.lab.dir().join("far.log");
    let _service = Process::start("far", &mut service, &log).unwrap();
    let configure = |world: &World, on_path_loss: &str| {
        world.configure(&format!(
            "{ROUTER}{CHECK}[probe]\non-path-loss = \"{on_path_loss}\"\n\
             [pool.web]\nbackends = [\"10.9.0.21\"]\n\
             [vip.www]\naddresses = [\"203.0.113.10\"]\nup-delay = \"0s\"\n\
             [[vip.www.service]]\nport = 80\npool = \"web\"\nchecks = [\"alive\"]\n"
        ));
    };
    configure(&world, "withdraw");
    world.start();
    world.await_route(ROUTE, 1);

    let link = |state: &str| {
        world.node.namespace().ip(&format!("link set eth1 {state}")).unwrap();
    };
    link("down");
    world.await_route(ROUTE, 0);
    let history = || world.node.vc5c("show history").unwrap();
    let losses = || history().matches("-> lost").count();
    assert_eq!(losses(), 1, "{}", history());
    let died = |line: &str| line.contains("backend 10.9.0.21") && line.contains("-> down");
    assert!(!history().lines().any(died), "{}", history());
    link("up");
    world.await_route(ROUTE, 1);

    configure(&world, "hold");
    world.node.vc5c("configure").unwrap();
    link("down");
    wait::until_true("the loss is told", LIMIT, || Ok(losses() == 2)).unwrap();
    assert_eq!(world.router.next_hops(ROUTE).unwrap().len(), 1);
    link("up");
    assert_eq!(world.sessions(), 1);
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
