//! Who plays: a router, two vc5d nodes, three backends and a client.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::lab::{
    Backend, Bird, Client, Fabric, Lab, Node, bird::Neighbor, fabric, node, view, wait,
};
use crate::tool::unix_now;

/// The address that all of this is about.
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Its route.
pub(super) const ROUTE: &str = "203.0.113.10/32";
/// Its name in the configuration.
pub(super) const NAME: &str = "www";
/// The nodes' AS.
const NODE_AS: u32 = 65001;
/// The router's AS.
const ROUTER_AS: u32 = 64512;
/// The shortest hold time of RFC 4271.
const HOLD: Duration = Duration::from_secs(3);
const NODES: [(&str, Ipv4Addr); 2] =
    [("node1", Ipv4Addr::new(192, 0, 2, 11)), ("node2", Ipv4Addr::new(192, 0, 2, 12))];
const BACKENDS: [(&str, Ipv4Addr); 3] = [
    ("b1", Ipv4Addr::new(192, 0, 2, 21)),
    ("b2", Ipv4Addr::new(192, 0, 2, 22)),
    ("b3", Ipv4Addr::new(192, 0, 2, 23)),
];
/// How long after a change the previous ring is asked; as in [`CONFIGURATION`].
pub(super) const SETTLE: Duration = Duration::from_secs(2);
/// What every node's configuration says beside its own addresses and paths. It goes on where `[dataplane]` is.
const CONFIGURATION: &str = r#"
settle-time = "2s"

[filter.anycast]
default = "reject"
[[filter.anycast.rule]]
match = { source = "vip", prefix = ["203.0.113.0/24{32,32}"] }
then = "accept"

[protocol.bgp.router]
neighbor = "192.0.2.1"
neighbor-as = 64512
hold-time = "3s"
connect-retry-time = "1s"
ipv4 = { import = "none", export = "anycast" }

[pool.web]
backends = ["192.0.2.21", "192.0.2.22", "192.0.2.23"]

[check.alive]
type = "http"
path = "/alive"
interval = "250ms"
timeout = "1s"
rise = 3
fall = 2

[vip.www]
addresses = ["203.0.113.10"]
up-delay = "500ms"
[[vip.www.service]]
port = 80
protocol = "tcp"
pool = "web"
need = 1
checks = ["alive"]
"#;

/// Everyone. The lab itself comes last, so that it goes last.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) nodes: Vec<Node>,
    pub(super) backends: Vec<Backend>,
    pub(super) router: Bird,
    pub(super) fabric: Fabric,
    pub(super) lab: Lab,
}

impl Cast {
    /// Builds the network and starts the router; nodes and services do not run yet.
    pub(super) fn new(tool: PathBuf) -> Result<Self> {
        node::binary("vc5d")?;
        node::binary("vc5c")?;
        let lab = Lab::new(tool)?;
        let fabric = Fabric::new(&lab)?;
        let backends = BACKENDS
            .iter()
            .map(|(name, address)| Backend::new(&lab, &fabric, name, *address, VIP))
            .collect::<Result<_>>()?;
        let nodes: Vec<Node> = NODES
            .iter()
            .map(|(name, address)| Node::new(&lab, &fabric, name, *address))
            .collect::<Result<_>>()?;
        for node in &nodes {
            node.configure(NODE_AS, "native", CONFIGURATION)?;
        }
        let neighbors: Vec<Neighbor> = nodes
            .iter()
            .map(|node| Neighbor {
                name: node.name().to_owned(),
                address: node.address(),
                remote_as: NODE_AS,
                ipv6: false,
            })
            .collect();
        let router =
            Bird::start(&lab, &fabric.router, fabric::ROUTER, ROUTER_AS, HOLD, &neighbors)?;
        Ok(Self { nodes, backends, router, fabric, lab })
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client::new(&self.lab, &self.fabric.client, VIP)
    }

    /// Each node's view of the VIP.
    pub(super) fn views(&self) -> Result<Vec<view::Vip>> {
        self.nodes.iter().map(|node| node.vip(NAME)).collect()
    }

    /// Waits until the router's own table has this many next hops for the VIP.
    pub(super) fn await_next_hops(&self, count: usize, limit: Duration) -> Result<Duration> {
        wait::until_true(&format!("{count} next hops"), limit, || {
            Ok(self.router.next_hops(ROUTE)?.len() == count)
        })
    }

    /// Waits until every node that runs has the same verdict on these backends; returns when the last one came to
    /// it, in Unix seconds.
    pub(super) fn await_verdict(
        &self,
        backends: &[Ipv4Addr],
        state: &str,
        limit: Duration,
    ) -> Result<f64> {
        let what = format!("both nodes say {state}");
        let (last, _) = wait::until(&what, limit, || {
            let mut last = 0.0_f64;
            for view in self.views()? {
                for address in backends {
                    let backend = view.backend(*address)?;
                    if backend.state != state {
                        return Ok(None);
                    }
                    last = last.max(backend.since);
                }
            }
            Ok(Some(last))
        })?;
        Ok(last)
    }

    /// Waits until a backend is, or is not, in the rings of both nodes; returns when that was seen, in Unix seconds.
    pub(super) fn await_ring(
        &self,
        backend: Ipv4Addr,
        within: bool,
        limit: Duration,
    ) -> Result<f64> {
        wait::until_true("the rings change", limit, || {
            for view in self.views()? {
                if (view.backend(backend)?.ring_slots > 0) != within {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(unix_now())
    }

    /// Addresses of all backends.
    pub(super) fn addresses(&self) -> Vec<Ipv4Addr> {
        self.backends.iter().map(Backend::address).collect()
    }

    /// Process ids of what must be gone at the end.
    pub(super) fn pids(&mut self) -> Vec<u32> {
        let daemons = self.nodes.iter_mut().filter_map(|node| node.daemon().ok());
        let mut pids: Vec<u32> = daemons.map(|daemon| daemon.pid()).collect();
        pids.push(self.router.pid());
        pids
    }
}
