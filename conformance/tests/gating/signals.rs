//! What else tells the state of a backend: the service itself, a file, this node's own path.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use vc5_conformance::lab::{Process, wait};

use crate::common::{LIMIT, ROUTE, ROUTER, TOOL, VIP, World};
use crate::world::{CHECK, Gating, both};

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
    let mut service = far.command(TOOL);
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
fn a_state_file_takes_its_backend_out_until_it_is_gone() {
    let write = |path: &Path, line: &str| {
        let new = path.with_extension("new");
        fs::write(&new, line).unwrap();
        fs::rename(new, path).unwrap();
    };
    let key = "probe = \"direct\"\nstate-file = \"{lab}/{backend}\"";
    let gating = Gating::new(&both("").replace("probe = \"direct\"", key));

    let [first, second] = ["192.0.2.21", "192.0.2.22"].map(|one| gating.world.lab.dir().join(one));
    write(&first, "down disk is being replaced\n");
    gating.explains(&["192.0.2.21", "disk is being replaced"]);
    assert!(gating.announced(), "the other one is enough");
    write(&second, "drain new release\n");
    gating.world.await_route(ROUTE, 0);
    gating.explains(&["disk is being replaced", "new release"]);

    // What cannot be understood takes nothing back.
    write(&first, "fine again\n");
    let told = wait::until_true("the file is told", LIMIT, || {
        Ok(gating.world.node.log().contains("192.0.2.21:1"))
    });
    told.unwrap_or_else(|error| panic!("{error:#}\n{}", gating.world.node.log()));
    gating.explains(&["disk is being replaced"]);
    assert!(!gating.announced());
    fs::remove_file(&first).unwrap();
    gating.world.await_route(ROUTE, 1);
    gating.explains(&["new release"]);
    write(&second, "up\n");
    gating.awaits("both are up", |vip| vip.services[0].healthy == 2);
    assert_eq!(gating.world.sessions(), 1);
}
