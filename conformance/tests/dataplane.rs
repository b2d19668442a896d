//! Packets through one node: native and generic XDP, TCP and UDP, and probes that look where packets go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use common::{BACKEND, LIMIT, NODE, NODE_AS, ROUTE, ROUTER, TOOL, VIP, World, get};
use vc5_conformance::lab::{Backend, Client, Process, command, wait};

const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 22);
const VIPS: &str = r#"
[pool.web]
backends = ["192.0.2.21", "192.0.2.22"]

[check.alive]
type = "http"
path = "/alive"
interval = "200ms"
rise = 2
fall = 2

[vip.www]
addresses = ["203.0.113.10"]
up-delay = "0s"
[[vip.www.service]]
port = 80
protocol = "tcp"
pool = "web"
checks = ["alive"]
[[vip.www.service]]
port = 5353
protocol = "udp"
pool = "web"
"#;

/// A node in a mode, with two backends that serve.
fn world(mode: &str) -> (Backend, World) {
    let mut world = World::new(false);
    let mut second = Backend::new(&world.lab, &world.fabric, "b2", SECOND, VIP).unwrap();
    second.start().unwrap();
    world.backend.start().unwrap();
    world.node.configure(NODE_AS, mode, &format!("{ROUTER}{VIPS}")).unwrap();
    // Strict, as many distributions set it.
    let strict = ["all", "default", "eth0"].map(|name| format!("net/ipv4/conf/{name}/rp_filter"));
    for key in &strict {
        world.node.namespace().sysctl(&[(key, "1")]).unwrap();
    }
    world.start();
    world.await_route(ROUTE, 1);
    await_backends(&world, "up", "up");
    (second, world)
}

fn await_backends(world: &World, first: &str, second: &str) {
    wait::until_true("verdicts", LIMIT, || {
        let vip = world.node.vip("www")?;
        let is = |address, state: &str| {
            let backend = vip.backend(address)?;
            anyhow::Ok(backend.state == state && (backend.ring_slots > 0) == (state == "up"))
        };
        Ok(is(BACKEND, first)? && is(SECOND, second)?)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", world.node.log()));
}

/// Backends that answer 100 requests, none of which fails.
fn answering(world: &World) -> BTreeSet<String> {
    let client = Client::new(&world.lab, &world.fabric.client, VIP);
    let report = client.run(&client.requests(100)).unwrap();
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());
    report.by_backend().into_keys().map(str::to_owned).collect()
}

#[test]
fn a_backend_that_lacks_the_vip_is_down_whatever_else_it_answers() {
    let (_second, world) = world("native");
    assert_eq!(answering(&world), ["b1", "b2"].map(str::to_owned).into());

    let host = world.backend.namespace();
    host.ip(&format!("address del {VIP}/32 dev lo")).unwrap();
    await_backends(&world, "down", "up");
    let own = get(world.node.namespace(), "192.0.2.21:80", "/alive").unwrap();
    assert_eq!(own, "alive\n", "it still serves on its own address");
    assert_eq!(answering(&world), ["b2".to_owned()].into());

    host.ip(&format!("address add {VIP}/32 dev lo")).unwrap();
    await_backends(&world, "up", "up");
    assert_eq!(answering(&world), ["b1", "b2"].map(str::to_owned).into());
}

/// With the node as their gateway, what the backends answer goes by it: packets from a VIP that are no answer to a probe.
#[test]
fn a_node_may_be_the_gateway_of_its_backends() {
    let (second, world) = world("native");
    let node = world.node.namespace();
    node.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/send_redirects", "0")])
        .unwrap();
    for backend in [world.backend.namespace(), second.namespace()] {
        backend.ip(&format!("route replace default via {NODE}")).unwrap();
    }
    let before = node.counters("eth0").unwrap();
    assert_eq!(answering(&world), ["b1", "b2"].map(str::to_owned).into());
    let passed = node.counters("eth0").unwrap().since(before);
    // Of each of 100 connections the backend sends three packets and more.
    assert!(passed.rx_packets > 800, "{passed:?}");
    await_backends(&world, "up", "up");
    assert_eq!(world.sessions(), 1);
}

#[test]
fn generic_mode_forwards_tcp_and_udp() {
    let (second, world) = world("generic");
    let link = world.node.namespace().ip("-d link show dev eth0").unwrap();
    assert!(link.contains("xdpgeneric"), "{link}");
    assert_eq!(answering(&world), ["b1", "b2"].map(str::to_owned).into());
    udp(&world, &second);
}

#[test]
fn native_mode_forwards_udp_and_keeps_a_flow_on_its_backend() {
    let (second, world) = world("native");
    udp(&world, &second);
}

fn udp(world: &World, second: &Backend) {
    let _services: Vec<Process> =
        [&world.backend, second].map(|backend| udp_service(world, backend)).into();
    let mut ask = world.fabric.client.command(TOOL);
    ask.args(["udp-ask", "--target=203.0.113.10:5353", "--ports=64", "--times=3"]);
    let answers: BTreeMap<u16, Vec<String>> =
        serde_json::from_str(&command::output(&mut ask).unwrap()).unwrap();
    assert_eq!(answers.len(), 64);
    let mut used = BTreeSet::new();
    for (port, names) in &answers {
        assert!(
            names.len() == 3 && names.iter().all(|name| *name == names[0]),
            "{port}: {names:?}"
        );
        used.insert(names[0].as_str());
    }
    assert_eq!(used, ["b1", "b2"].into());
}

fn udp_service(world: &World, backend: &Backend) -> Process {
    let mut serve = backend.namespace().command(TOOL);
    serve.args(["udp-serve", "--listen=203.0.113.10:5353", "--name", backend.name()]);
    let log = world.lab.dir().join(format!("{}-udp.log", backend.name()));
    let service = Process::start("udp", &mut serve, &log).unwrap();
    wait::until_true("UDP service listens", LIMIT, || {
        let table = command::output(backend.namespace().command("cat").arg("/proc/net/udp"))?;
        Ok(table.contains(":14E9 "))
    })
    .unwrap();
    service
}
