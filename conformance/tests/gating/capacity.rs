//! What routers are told of the healthy capacity.

use crate::common::ROUTE;
use crate::world::{Gating, INNER_SESSION, Inner};

/// A backend of weight 1 and one of weight 3, 1 Mbit/s for each.
const VIPS: &str = r#"
[pool.web]
backends = ["192.0.2.21", { address = "192.0.2.22", weight = 3 }]
probe = "direct"

[vip.www]
addresses = ["203.0.113.10"]
up-delay = "0s"
[vip.www.capacity]
link-bandwidth = true
transitive = true
settle-time = "1s"
[[vip.www.capacity.level]]
below = "50%"
med = 200
local-pref = 40
add-communities = ["65000:50"]
[[vip.www.service]]
port = 80
pool = "web"
checks = ["alive"]
"#;

/// Octets per second as FRR prints them: the kind, the AS, the number.
fn bandwidth(rate: u32) -> String {
    format!("LB:65001:{rate}")
}

#[test]
fn routers_are_told_the_healthy_capacity_in_steps_each_by_its_own_filter() {
    let marking = "[filter.inner]\ndefault = \"accept\"\n[[filter.inner.rule]]\n\
         match = { source = \"vip\" }\nset = { add-communities = [\"65000:7\"], med = 10 }\nthen = \"accept\"\n";
    let inner_session = INNER_SESSION.replace("\"all\"", "\"inner\"");
    let mut gating = Gating::new(&format!("{marking}{inner_session}{VIPS}"));
    let inner = Inner::start(&gating.world);
    inner.awaits("the whole capacity", |seen| {
        seen.extended_communities.contains(&bandwidth(500_000))
            && seen.communities == ["65000:7"]
            && (seen.local_pref, seen.med) == (Some(100), Some(10))
    });
    let route = gating.route();
    assert!(!route.contains("BGP.med") && !route.contains("BGP.community"), "{route}");

    gating.b2.stop().unwrap();
    inner.awaits("a quarter of it", |seen| {
        seen.extended_communities.contains(&bandwidth(125_000))
            && seen.communities == ["65000:7", "65000:50"]
            && (seen.local_pref, seen.med) == (Some(40), Some(200))
    });
    gating.routed_with(&["BGP.med: 200", "(65000,50)", "BGP.ext_community"]);

    gating.b2.start().unwrap();
    inner.awaits("all of it again", |seen| {
        seen.extended_communities.contains(&bandwidth(500_000))
            && seen.communities == ["65000:7"]
            && (seen.local_pref, seen.med) == (Some(100), Some(10))
    });
    // The route has never left, and came back to where it was.
    assert_eq!(gating.withdrawals(), 0);
    assert_eq!(gating.world.router.next_hops(ROUTE).unwrap().len(), 1);
    assert_eq!(gating.world.sessions(), 1);
}
