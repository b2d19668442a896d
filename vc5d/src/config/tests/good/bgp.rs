//! Filters and BGP protocols.

use std::time::Duration;

use vc5_bgp::session::{GracefulRestart, LimitAction, Password, PrefixLimit};
use vc5_bgp::wire::BgpRole;

use super::*;

#[test]
fn filters_keep_the_order_of_their_rules() {
    let config = good();
    let filter = &config.filters["anycast"];
    let prefix = |text: &str, min, max| PrefixMatch { prefix: text.parse().unwrap(), min, max };
    assert_eq!(filter.name, "anycast");
    assert_eq!(filter.default, FilterAction::Reject);
    assert_eq!(
        filter.rules,
        [
            FilterRule {
                source: Some(RouteSource::Vip),
                prefixes: vec![
                    prefix("192.168.101.0/24", 32, 32),
                    prefix("2001:db8:101::/64", 64, 128),
                    prefix("0.0.0.0/0", 0, 0),
                ],
                vips: vec!["www".into()],
                med: Some(10),
                local_pref: Some(200),
                add_communities: vec![65000 << 16 | 100, 0xffff_ff01],
                add_extended_communities: vec!["rt:65000:7".parse().unwrap()],
                add_large_communities: vec!["65000:1:2".parse().unwrap()],
                prepend: 2,
                then: FilterAction::Accept,
            },
            FilterRule {
                source: Some(RouteSource::Bgp),
                prefixes: vec![],
                vips: vec![],
                med: None,
                local_pref: None,
                add_communities: vec![],
                add_extended_communities: vec![],
                add_large_communities: vec![],
                prepend: 0,
                then: FilterAction::Reject,
            },
        ]
    );
    let built_in = |name: &str| (config.filters[name].default, config.filters[name].rules.len());
    assert_eq!(built_in("all"), (FilterAction::Accept, 0));
    assert_eq!(built_in("none"), (FilterAction::Reject, 0));
    assert_eq!(config.filters.len(), 3);
}

#[test]
fn a_protocol_is_its_own_keys_over_those_of_the_template() {
    let config = good();
    let channel = |import: &str, export: &str, next_hop: &str| Channel {
        import: import.into(),
        export: export.into(),
        next_hop: Some(ip(next_hop)),
        next_hop_self: false,
        extended_next_hop: false,
        add_paths: false,
        import_limit: None,
    };
    let tor1 = BgpProtocol {
        name: "tor1".into(),
        description: Some("left".into()),
        neighbor: ip("10.1.10.200"),
        port: 1179,
        neighbor_as: 65000,
        source_address: Some(ip("10.1.10.100")),
        passive: true,
        interface: Some("eth1".into()),
        multihop: Some(3),
        ttl_security: true,
        password: Password::new("secret"),
        disable_after_error: true,
        graceful_restart: GracefulRestart::Off,
        extended_messages: true,
        enhanced_route_refresh: false,
        local_role: Some(BgpRole::Customer),
        require_roles: true,
        advertise_hostname: true,
        allow_local_as: 2,
        enforce_first_as: false,
        allow_as_sets: true,
        delay_open_time: seconds(3),
        send_hold_time: Some(seconds(20)),
        hold_time: seconds(12),
        keepalive_time: Some(seconds(4)),
        connect_retry_time: Duration::from_millis(500),
        connect_delay_time: seconds(1),
        startup_hold_time: seconds(120),
        error_wait_time: (seconds(2), seconds(30)),
        error_forget_time: seconds(90),
        shutdown_message: Some("bye".into()),
        ipv4: Some(channel("none", "anycast", "10.1.10.100")),
        ipv6: None,
    };
    let tor2 = BgpProtocol {
        name: "tor2".into(),
        description: None,
        neighbor: ip("10.1.10.201"),
        port: 179,
        neighbor_as: 65000,
        source_address: None,
        passive: false,
        interface: None,
        multihop: None,
        ttl_security: false,
        password: None,
        disable_after_error: false,
        graceful_restart: GracefulRestart::Aware,
        extended_messages: false,
        enhanced_route_refresh: true,
        local_role: None,
        require_roles: false,
        advertise_hostname: false,
        allow_local_as: 0,
        enforce_first_as: true,
        allow_as_sets: false,
        delay_open_time: seconds(0),
        send_hold_time: None,
        hold_time: seconds(12),
        keepalive_time: None,
        connect_retry_time: seconds(5),
        connect_delay_time: seconds(0),
        startup_hold_time: seconds(240),
        error_wait_time: (seconds(1), seconds(60)),
        error_forget_time: seconds(300),
        shutdown_message: None,
        ipv4: Some(Channel { extended_next_hop: true, ..channel("none", "none", "10.1.10.100") }),
        ipv6: Some(Channel {
            next_hop_self: true,
            add_paths: true,
            import_limit: Some(PrefixLimit {
                max: 1000,
                action: LimitAction::Restart(Some(seconds(60))),
            }),
            ..channel("all", "all", "2001:db8:10::100")
        }),
    };
    assert_eq!(config.bgp.into_values().collect::<Vec<_>>(), [tor1, tor2]);
}

#[test]
fn an_internal_neighbor_has_birds_default_filters() {
    let config = with_base(
        "[protocol.bgp.a]\nneighbor = \"192.0.2.9\"\nneighbor-as = 65001\nhold-time = \"0s\"\nkeepalive-time = \"30s\"\nipv4 = {}\n",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let peer = &config.bgp["a"];
    let channel = peer.ipv4.as_ref().unwrap();
    assert_eq!((channel.import.as_str(), channel.export.as_str()), ("all", "none"));
    assert_eq!(peer.hold_time, seconds(0));
}

#[test]
fn a_link_local_neighbor_has_its_interface_behind_it() {
    let config = with_base(
        "[protocol.bgp.a]
neighbor = \"fe80::1%eth0\"
neighbor-as = 65000
multihop = false
ipv6 = { import = \"none\", export = \"all\", import-limit = { max = 5 } }
[protocol.bgp.b]
neighbor = \"fe80::1\"
interface = \"eth1\"
neighbor-as = 65000
multihop = true
ipv6 = { import = \"none\", export = \"all\", import-limit = { max = 5, action = \"block\" } }
",
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let [a, b] = ["a", "b"].map(|name| &config.bgp[name]);
    assert_eq!((a.neighbor, a.interface.as_deref()), (ip("fe80::1"), Some("eth0")));
    assert_eq!((b.neighbor, b.interface.as_deref()), (ip("fe80::1"), Some("eth1")));
    assert_eq!((a.multihop, b.multihop), (None, Some(64)));
    let action = |peer: &BgpProtocol| peer.ipv6.as_ref().unwrap().import_limit.unwrap().action;
    assert_eq!((action(a), action(b)), (LimitAction::Disable, LimitAction::Block));
}
