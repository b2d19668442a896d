//! The real `birdc`, `vc5c` and a scrape of the metrics, against one running node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{ALWAYS, LIMIT, ROUTE, ROUTER, World, get};
use serde_json::Value;
use vc5_conformance::lab::{bird::birdc, wait};

#[test]
fn birdc_vc5c_and_metrics_see_a_running_node() {
    let mut world = World::new(false);
    world.configure(&format!("{ROUTER}{ALWAYS}"));
    world.start();
    world.await_route(ROUTE, 1);
    by_birdc(&world);
    by_vc5c(&world);
    by_metrics(&world);
    world.node.daemon().unwrap().terminate(LIMIT).unwrap();
    world.await_route(ROUTE, 0);
    assert!(!world.node.socket().exists(), "the socket is left behind");
}

fn by_birdc(world: &World) {
    let ask = |words: &str| birdc(&world.node.socket(), words).unwrap();
    let established = |text: &str| {
        text.lines().any(|line| line.starts_with("router") && line.contains("Established"))
    };
    let (protocols, _) = wait::until("the session is shown", LIMIT, || {
        Ok(Some(ask("show protocols")).filter(|text| established(text)))
    })
    .unwrap();
    let row = |name: &str| -> Vec<String> {
        let line = protocols.lines().find(|line| line.starts_with(name));
        line.expect(name).split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(row("router")[1], "BGP");
    assert_eq!(row("www")[1], "Static", "{protocols}");
    let all = ask("show protocols all router");
    for part in ["BGP state:          Established", "Neighbor AS:      64512", "Channel ipv4"] {
        assert!(all.contains(part), "no {part:?} in:\n{all}");
    }
    assert!(ask("show status").contains("Router ID is 192.0.2.11"));
    let route = ask("show route all");
    assert!(route.contains(ROUTE), "{route}");
    assert!(birdc(&world.node.socket(), "show nonsense").is_err(), "an error has exit status 1");
}

fn by_vc5c(world: &World) {
    let text = world.node.vc5c("show vip www").unwrap();
    assert!(text.contains("203.0.113.10"), "{text}");
    for words in ["show status", "show protocols", "show route", "show services", "show backends"] {
        assert!(!world.node.vc5c(words).unwrap().trim().is_empty(), "{words}");
        let value = world.node.vc5c_json(words).unwrap();
        assert!(value != Value::Null, "{words}");
    }
    let vip = world.node.vip("www").unwrap();
    assert_eq!((vip.state.as_str(), vip.services.len()), ("up", 1), "{vip:?}");
    let refused = world.node.vc5c_output("show nonsense").unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

fn by_metrics(world: &World) {
    let host = world.node.namespace();
    wait::until_true("metrics answer", LIMIT, || {
        Ok(get(host, "127.0.0.1:9324", "/metrics")?.contains("# TYPE"))
    })
    .unwrap();
    let text = get(host, "127.0.0.1:9324", "/metrics").unwrap();
    let value = |start: &str| text.lines().any(|line| line.starts_with(start));
    for name in
        ["vc5_withdraw_seconds", "vc5_peer", "vc5_route", "vc5_vip", "vc5_service", "vc5_backend"]
    {
        assert!(value(name), "no {name} in:\n{text}");
    }
    assert!(get(&world.fabric.client, "192.0.2.11:9324", "/metrics").is_err(), "loopback only");
}
