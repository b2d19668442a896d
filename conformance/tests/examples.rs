//! The examples of the speaker library beside BIRD.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use vc5_conformance::lab::router::{Announcement, BirdRouter, Place, Router, Session};
use vc5_conformance::lab::{Fabric, Lab, Netns, Process, wait};

const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const THEIRS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 31);
const PREFIX: &str = "203.0.113.10/32";
const LIMIT: Duration = Duration::from_secs(15);

/// The lab comes last, so that it goes last.
struct World {
    bird: BirdRouter,
    host: Netns,
    peer: Netns,
    _fabric: Fabric,
    lab: Lab,
}

impl World {
    fn new() -> Self {
        let lab = Lab::new(env!("CARGO_BIN_EXE_vc5-lab")).unwrap();
        let fabric = Fabric::new(&lab).unwrap();
        let host = fabric.host(&lab, "host", OURS).unwrap();
        let peer = fabric.host(&lab, "peer", THEIRS).unwrap();
        Self { bird: BirdRouter::default(), host, peer, _fabric: fabric, lab }
    }

    fn start_bird(&mut self, session: &Session) {
        let place = Place { lab: &self.lab, namespace: &self.peer };
        self.bird.start(&place, session).unwrap();
    }

    /// Starts an example on our host.
    fn example(&self, name: &str, arguments: &[&str]) -> Process {
        let mut command = self.host.command(example(name));
        command.args(arguments);
        Process::start(name, &mut command, &self.lab.dir().join(format!("{name}.log"))).unwrap()
    }
}

/// An example's program: cargo puts it beside the directory of this test.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let file = own.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        file.is_file(),
        "{name} is not built; build it with: cargo build -p vc5-bgp --examples"
    );
    file
}

fn session(routes: Vec<Announcement>) -> Session {
    Session { routes, ..Session::plain((THEIRS, 64512), (OURS, 65001)) }
}

#[test]
fn announce_is_heard_and_says_goodbye() {
    let mut world = World::new();
    world.start_bird(&Session { passive: true, ..session(vec![]) });
    let arguments = ["192.0.2.11", "65001", "192.0.2.31", "64512", PREFIX];
    let mut announce = world.example("announce", &arguments);
    let (seen, _) = wait::until("route", LIMIT, || world.bird.route(PREFIX)).unwrap();
    assert_eq!((seen.next_hop.as_str(), seen.as_path.as_str()), ("192.0.2.11", "65001"));

    announce.signal(libc::SIGINT).unwrap();
    assert!(announce.wait(LIMIT).unwrap().success());
    wait::until_true("no route", LIMIT, || Ok(world.bird.route(PREFIX)?.is_none())).unwrap();
    assert!(world.bird.words().contains("interrupted"), "{}", world.bird.words());
}

#[test]
fn listen_prints_what_comes_and_goes() {
    let mut world = World::new();
    let arguments = ["192.0.2.11", "65001", "0.0.0.0:179", "192.0.2.31,64512"];
    let mut listen = world.example("listen", &arguments);
    world.start_bird(&session(vec![Announcement::to(PREFIX)]));
    let announced = "+ 192.0.2.31 203.0.113.10/32 0 via 192.0.2.31 path 64512";
    wait::until_true("the announcement", LIMIT, || Ok(listen.log().contains(announced))).unwrap();

    let sent = || world.bird.words().matches("Sending UPDATE").count();
    let before = sent();
    listen.signal(libc::SIGHUP).unwrap();
    wait::until_true("BIRD is asked and answers", LIMIT, || {
        Ok(world.bird.words().contains("Got ROUTE-REFRESH") && sent() > before)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", world.bird.words()));

    world.bird.change(&session(vec![])).unwrap();
    let withdrawn = "- 192.0.2.31 203.0.113.10/32 0\n";
    wait::until_true("the withdrawal", LIMIT, || Ok(listen.log().contains(withdrawn))).unwrap();

    listen.signal(libc::SIGINT).unwrap();
    assert!(listen.wait(LIMIT).unwrap().success());
}
