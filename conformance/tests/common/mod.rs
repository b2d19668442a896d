//! What the scenarios share: a router, one node and one backend on the lab's subnet.
#![allow(dead_code, unreachable_pub, reason = "each scenario uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;
use std::time::Duration;

use vc5_conformance::lab::{
    Backend, Bird, Fabric, Lab, Node, bird::Neighbor, command, fabric, wait,
};

pub const TOOL: &str = env!("CARGO_BIN_EXE_vc5-lab");
pub const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const ROUTE: &str = "203.0.113.10/32";
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
pub const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 21);
pub const NODE_AS: u32 = 65001;
pub const ROUTER_AS: u32 = 64512;
pub const LIMIT: Duration = Duration::from_secs(20);

/// The session with the router; more keys of it may follow.
pub const ROUTER: &str = r#"
[protocol.bgp.router]
neighbor = "192.0.2.1"
neighbor-as = 64512
hold-time = "3s"
connect-retry-time = "1s"
ipv4 = { import = "none", export = "all" }
"#;

/// A VIP that is always healthy: its service has no check.
pub const ALWAYS: &str = r#"
[pool.web]
backends = ["192.0.2.21"]

[vip.www]
addresses = ["203.0.113.10"]
up-delay = "0s"
[[vip.www.service]]
port = 80
protocol = "tcp"
pool = "web"
"#;

/// Everything; the lab comes last, so that it goes last.
pub struct World {
    pub node: Node,
    pub backend: Backend,
    pub router: Bird,
    pub fabric: Fabric,
    pub lab: Lab,
}

impl World {
    /// The network with the router running; neither daemon nor service runs.
    pub fn new(ipv6: bool) -> Self {
        let lab = Lab::new(TOOL).unwrap();
        let fabric = Fabric::new(&lab).unwrap();
        let backend = Backend::new(&lab, &fabric, "b1", BACKEND, VIP).unwrap();
        let node = Node::new(&lab, &fabric, "node1", NODE).unwrap();
        let neighbor = Neighbor { name: "node1".into(), address: NODE, remote_as: NODE_AS, ipv6 };
        let hold = Duration::from_secs(3);
        let router =
            Bird::start(&lab, &fabric.router, fabric::ROUTER, ROUTER_AS, hold, &[neighbor])
                .unwrap();
        Self { node, backend, router, fabric, lab }
    }

    /// Writes the configuration of a node without a dataplane.
    pub fn configure(&self, rest: &str) {
        self.node.configure(NODE_AS, "off", rest).unwrap();
    }

    /// Starts the daemon and waits for the session.
    pub fn start(&mut self) {
        self.node.start().unwrap();
        self.await_session();
    }

    pub fn await_session(&self) {
        let up = wait::until_true("session", LIMIT, || self.router.established("node1"));
        self.checked(up);
    }

    /// Waits until the router has a route by this many next hops.
    pub fn await_route(&self, prefix: &str, count: usize) {
        let there = wait::until_true(&format!("{prefix} by {count}"), LIMIT, || {
            Ok(self.router.next_hops(prefix)?.len() == count)
        });
        self.checked(there);
    }

    fn checked<T>(&self, result: anyhow::Result<T>) -> T {
        result.unwrap_or_else(|error| panic!("{error:#}\nnode:\n{}", self.node.log()))
    }

    /// How often the session with the node has come up, by the router's log.
    pub fn sessions(&self) -> usize {
        self.router.log().matches("node1: BGP session established").count()
    }

    /// What of the daemon's is on its host: program, rules, routes, pins, listeners.
    pub fn traces(&self) -> Vec<String> {
        let host = self.node.namespace();
        let mut found = Vec::new();
        let link = host.ip(&format!("-d link show dev {}", fabric::INTERFACE)).unwrap();
        if link.contains("prog/xdp") {
            found.push("XDP program".to_owned());
        }
        let rules = host.ip("rule show").unwrap() + &host.ip("-6 rule show").unwrap();
        found.extend(rules.lines().filter(|line| line.contains("fwmark")).map(str::to_owned));
        let routes = host.ip("route show table all").unwrap();
        found.extend(
            routes
                .lines()
                .filter(|line| line.contains("203.0.113.") && !line.contains("table local"))
                .map(str::to_owned),
        );
        let pins = std::fs::read_dir(self.node.pin_path()).map_or(0, Iterator::count);
        if pins > 0 {
            found.push(format!("{pins} pins"));
        }
        found
    }
}

/// One GET inside a namespace.
pub fn get(
    namespace: &vc5_conformance::lab::Netns,
    target: &str,
    path: &str,
) -> anyhow::Result<String> {
    command::output(namespace.command(TOOL).args(["get", "--target", target, "--path", path]))
}
