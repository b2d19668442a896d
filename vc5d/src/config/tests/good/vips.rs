//! VIPs and their services.

use vc5_xdp::{OnDown, Ports, Unknown};

use super::*;
use crate::gate::{CapacitySettings, DampingSettings};

#[test]
fn vips_arrive() {
    let config = good();
    let udp = Service {
        ports: Ports::One(53),
        protocol: Protocol::Udp,
        pool: "web".into(),
        need: Need::Count(1),
        gating: true,
        panic_threshold: None,
        sticky: false,
        on_down: OnDown::Stick,
        checks: vec![],
        checks_need: Join::All,
    };
    let tcp = |ports| Service {
        ports,
        protocol: Protocol::Tcp,
        checks: vec!["alive".into()],
        ..udp.clone()
    };
    let www = Vip {
        name: "www".into(),
        addresses: vec![ip("192.168.101.1"), ip("192.168.101.2")],
        up_delay: seconds(7),
        down_delay: seconds(2),
        drain_time: seconds(3),
        damping: Some(DampingSettings {
            half_life: seconds(60),
            penalty: 500,
            suppress: 1500,
            reuse: 300,
            max_suppress: seconds(600),
        }),
        drain_local_pref: 20,
        capacity: Some(Capacity {
            link_bandwidth: Some(12_500_000),
            transitive: true,
            settings: CapacitySettings { step: 25, settle: seconds(30) },
            levels: vec![
                CapacityLevel {
                    below: 20,
                    med: Some(300),
                    local_pref: Some(40),
                    add_communities: vec![65000 << 16 | 20],
                },
                CapacityLevel {
                    below: 50,
                    med: Some(200),
                    local_pref: None,
                    add_communities: Vec::new(),
                },
            ],
        }),
        group: Some("front".into()),
        state: AdminState::Drain,
        unknown_port: Unknown::Reject,
        services: vec![
            Service {
                need: Need::Percent(50),
                panic_threshold: Some(30),
                sticky: true,
                on_down: OnDown::Reselect,
                ..tcp(Ports::One(80))
            },
            Service { gating: false, ..udp.clone() },
            tcp(Ports::Range(8000, 8099)),
        ],
    };
    let www6 = Vip {
        name: "www6".into(),
        addresses: vec![ip("2001:db8:101::1")],
        up_delay: seconds(5),
        down_delay: seconds(0),
        drain_time: seconds(10),
        damping: None,
        drain_local_pref: 0,
        capacity: None,
        group: None,
        state: AdminState::Enabled,
        unknown_port: Unknown::Drop,
        services: vec![Service {
            ports: Ports::All,
            checks: vec!["ping".into(), "script".into()],
            checks_need: Join::Any,
            ..udp
        }],
    };
    assert_eq!(config.vips.into_values().collect::<Vec<_>>(), [www, www6]);
}

#[test]
fn a_link_bandwidth_may_be_just_true() {
    let vip = |bandwidth: &str| {
        let text = format!(
            "[pool.p]\nbackends = [\"10.0.0.1\"]\n[vip.a]\naddresses = [\"192.0.2.1\"]\ncapacity = {{ link-bandwidth = {bandwidth} }}\nservice = [{{ port = 80, pool = \"p\" }}]\n"
        );
        with_base(&text).unwrap().vips["a"].capacity.clone().unwrap()
    };
    let unit = vip("true");
    let settings = CapacitySettings { step: 10, settle: seconds(10) };
    assert_eq!((unit.link_bandwidth, unit.transitive), (Some(125_000), false));
    assert_eq!((unit.settings, unit.levels), (settings, Vec::new()));
    assert_eq!(vip("false").link_bandwidth, None);
    assert_eq!(vip("\"1Gbit\"").link_bandwidth, Some(125_000_000));
}

#[test]
fn the_level_with_the_least_mark_above_the_share_holds() {
    let capacity = good().vips["www"].capacity.clone().unwrap();
    let below = |share| capacity.level(share).map(|level| level.below);
    assert_eq!(
        [0, 19, 20, 49, 50, 100].map(below),
        [Some(20), Some(20), Some(50), Some(50), None, None]
    );
}
