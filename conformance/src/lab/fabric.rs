//! The network most labs share: one subnet on a bridge, and a router with a leg to a client.
//!
//! ```text
//! client 198.51.100.10 --- 198.51.100.1 router 192.0.2.1 --- bridge --- nodes 192.0.2.11..  backends 192.0.2.21..
//! ```
//!
//! The bridge stands for a switch: it has no address and its namespace does no routing. Backends and nodes have the
//! router as default gateway, so a backend's answer goes from the backend to the router, never by a node.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{Lab, Netns};

/// The router on the shared subnet.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The router on the shared subnet, IPv6.
pub const ROUTER6: &str = "2001:db8:2::1";
/// The router towards the client.
pub const ROUTER_UP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The interface of every host.
pub const INTERFACE: &str = "eth0";
/// The router's interface on the shared subnet.
pub const ROUTER_LAN: &str = "lan0";

/// The bridge, the router and the client.
#[derive(Debug)]
pub struct Fabric {
    /// The bridge's namespace; its ports have the names of the hosts.
    pub bridge: Netns,
    /// The router's namespace.
    pub router: Netns,
    /// The client's namespace.
    pub client: Netns,
}

impl Fabric {
    /// Builds it.
    ///
    /// # Errors
    /// When `ip` or `ethtool` fails.
    pub fn new(lab: &Lab) -> Result<Self> {
        let bridge = lab.netns("fabric")?;
        bridge.sysctl(&[
            ("net/ipv6/conf/all/disable_ipv6", "1"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
        ])?;
        bridge.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        bridge.ip("link set br0 up")?;

        let router = lab.netns("router")?;
        // Hashing by ports spreads the flows of one client over all next hops.
        router.sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/fib_multipath_hash_policy", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
        ])?;
        let client = lab.netns("client")?;
        client.veth(INTERFACE, &router, "up0")?;
        router.ip(&format!("address add {ROUTER_UP}/24 dev up0"))?;
        client.ip(&format!("address add {CLIENT}/24 dev {INTERFACE}"))?;
        client.ip(&format!("route add default via {ROUTER_UP}"))?;

        let fabric = Self { bridge, router, client };
        fabric.plug(&fabric.router, ROUTER_LAN, "router")?;
        fabric.router.ip(&format!("address add {ROUTER}/24 dev {ROUTER_LAN}"))?;
        fabric.router.ip(&format!("address add {ROUTER6}/64 dev {ROUTER_LAN}"))?;
        Ok(fabric)
    }

    /// A new namespace on the shared subnet, with the router as its gateway.
    ///
    /// # Errors
    /// When `ip` or `ethtool` fails.
    pub fn host(&self, lab: &Lab, role: &str, address: Ipv4Addr) -> Result<Netns> {
        let host = lab.netns(role)?;
        self.plug(&host, INTERFACE, role)?;
        host.ip(&format!("address add {address}/24 dev {INTERFACE}"))?;
        host.ip(&format!("address add {}/64 dev {INTERFACE}", address6(address)))?;
        host.ip(&format!("route add default via {ROUTER}"))?;
        Ok(host)
    }

    fn plug(&self, host: &Netns, interface: &str, port: &str) -> Result<()> {
        host.veth(interface, &self.bridge, port)?;
        self.bridge.ip(&format!("link set {port} master br0"))?;
        Ok(())
    }
}

/// The IPv6 address that goes with an address of the shared subnet: the last octet in decimal digits.
#[must_use]
pub fn address6(address: Ipv4Addr) -> String {
    format!("2001:db8:2::{}", address.octets()[3])
}
