//! Without a dataplane: IPv4 and IPv6 VIPs over one session, gated by checks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{ROUTE, ROUTER, World};

const ROUTE6: &str = "2001:db8:101::1/128";
const VIPS: &str = r#"
[pool.web4]
backends = ["192.0.2.21"]
probe = "direct"
[pool.web6]
backends = ["2001:db8:2::21"]
probe = "direct"

[check.alive]
type = "http"
path = "/alive"
interval = "200ms"
rise = 2
fall = 2

[vip.www4]
addresses = ["203.0.113.10"]
up-delay = "0s"
[[vip.www4.service]]
port = 80
protocol = "tcp"
pool = "web4"
checks = ["alive"]

[vip.www6]
addresses = ["2001:db8:101::1"]
up-delay = "0s"
[[vip.www6.service]]
port = 80
protocol = "tcp"
pool = "web6"
checks = ["alive"]
"#;

#[test]
fn one_session_carries_both_families() {
    let mut world = World::new(true);
    let both = format!("{ROUTER}ipv6 = {{ import = \"none\", export = \"all\" }}\n{VIPS}");
    world.configure(&both);
    world.start();
    let detail = world.router.birdc("show protocols all node1").unwrap();
    assert!(detail.contains("AF announced: ipv4 ipv6"), "{detail}");
    assert!(world.router.next_hops(ROUTE).unwrap().is_empty());

    world.backend.start().unwrap();
    world.await_route(ROUTE, 1);
    world.await_route(ROUTE6, 1);
    assert_eq!(world.router.next_hops(ROUTE).unwrap(), ["192.0.2.11"]);
    assert_eq!(world.router.next_hops(ROUTE6).unwrap(), ["2001:db8:2::11"]);

    world.backend.stop().unwrap();
    world.await_route(ROUTE, 0);
    world.await_route(ROUTE6, 0);
    assert_eq!(world.sessions(), 1);
    assert_eq!(world.traces(), Vec::<String>::new());
}
