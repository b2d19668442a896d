//! Good files against the model.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vc5_bgp::session::{GracefulRestart, LimitAction, Password, PrefixLimit};
use vc5_bgp::wire::BgpRole;
use vc5_health::check::dns;
use vc5_health::{
    DnsCheck, ExecCheck, GrpcCheck, HttpCheck, HttpVersion, IcmpCheck, Pattern, Rule, Tls,
    TlsSettings, UdpCheck, Verify,
};
use vc5_xdp::{OnDown, Ports, Unknown};

use super::super::model::*;
use super::{BASE, parse, with_base};
use crate::agent::Expired;
use crate::gate::{CapacitySettings, DampingSettings};
use crate::signal::path::OnLoss;
use crate::signal::{Stand, file, passive};

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

fn good() -> Config {
    parse(include_str!("good.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn every_daemon_key_arrives() {
    let config = good();
    assert_eq!(config.file, Path::new("vc5.toml"));
    assert_eq!(
        config.router,
        Router {
            id: Ipv4Addr::new(10, 1, 10, 100),
            local_as: 65001,
            listen: vec!["10.1.10.100:179".parse().unwrap()],
            learn_time: seconds(20),
        }
    );
    assert_eq!(config.control.socket, Path::new("/run/vc5/a.ctl"));
    assert_eq!(config.metrics.listen, Some("127.0.0.1:9999".parse().unwrap()));
    assert_eq!(
        config.dataplane,
        Dataplane {
            mode: DataplaneMode::Off,
            interfaces: vec!["eth1".into()],
            vlans: [
                (10, vec![net("10.1.10.0/24"), net("2001:db8:10::/64")]),
                (20, vec![net("10.1.20.0/24")]),
            ]
            .into(),
            pin_path: PathBuf::from("/sys/fs/bpf/a"),
            on_stop: OnStop::Remove,
            hash_key: None,
            flows: 8192,
            max_reals: 2048,
            settle_time: seconds(60),
            drain_time: seconds(30),
            sample_new_flows: Some(128),
        }
    );
    assert_eq!(
        config.probe,
        ProbeSettings {
            mark_mask: 0x0fff_f000,
            table_base: 1000,
            rule_priority: 100,
            on_path_loss: OnLoss::Hold,
        }
    );
}

#[test]
fn the_agents_doors_are_shut_unless_they_are_opened() {
    let agent = good().agent;
    assert_eq!(agent.socket, Some(PathBuf::from("/run/vc5/agent")));
    assert_eq!(agent.listen, Some("127.0.0.1:9325".parse().unwrap()));
    assert_eq!((agent.lifetime, agent.expired), (seconds(45), Expired::Down));
    let agent = with_base("").unwrap_or_else(|errors| panic!("{errors}")).agent;
    assert_eq!((agent.socket, agent.listen, agent.token), (None, None, None));
    assert_eq!((agent.lifetime, agent.expired), (seconds(30), Expired::Ignore));
}

#[test]
fn outliers_are_looked_for_where_a_pool_says_so() {
    let read = |keys: &str| {
        let text = format!("[pool.a]\nbackends = [\"192.0.2.10\"]\noutliers = {{ {keys} }}\n");
        let config = with_base(&text).unwrap_or_else(|errors| panic!("{errors}"));
        config.pools["a"].outliers.clone()
    };
    let standard = passive::Settings {
        unanswered: Some(50),
        resets: Some(50),
        connections: 100,
        window: seconds(10),
        eject_time: seconds(30),
        eject_max: 50,
    };
    assert_eq!(read(""), Some(standard));
}

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

/// Each figure of the profile holds unless its key is there.
#[test]
fn the_profile_vc5_decides_as_the_predecessor_did() {
    let config = with_base(
        r#"
            [check.whole]
            type = "tcp"
            profile = "vc5"
            [check.partly]
            type = "tcp"
            profile = "vc5"
            timeout = "1s"
            jitter = "5%"
            rise = 4
        "#,
    );
    let checks = config.unwrap().checks;
    let vc5 = vc5_health::Check {
        timeout: seconds(2),
        rule: Rule { rise: 5, fall: 2, window: Some(5) },
        ..vc5_health::Check::new(CheckKind::Tcp)
    };
    assert_eq!(vc5.interval, seconds(2));
    assert_eq!(checks["whole"].check, vc5);
    let mut partly = vc5_health::Check { timeout: seconds(1), jitter: 5, ..vc5 };
    partly.rule.rise = 4;
    assert_eq!(checks["partly"].check, partly);
}

#[test]
fn the_profile_vc5_asks_as_the_predecessor_did() {
    let config = with_base(
        r#"
            [check.dns]
            type = "dns"
            profile = "vc5"
            [check.tcp]
            type = "dns"
            profile = "vc5"
            transport = "tcp"
            rcode = ["NOERROR"]
            [check.web]
            type = "http"
            profile = "vc5"
            [check.own]
            type = "http"
        "#,
    );
    let checks = config.unwrap().checks;
    let query = DnsCheck {
        transport: dns::Transport::Udp,
        name: dns::name("localhost.").unwrap(),
        record: dns::RecordType::A,
        rcode: (0..=15).collect(),
        answer: None,
    };
    assert_eq!(checks["dns"].check.kind, CheckKind::Dns(query.clone()));
    assert_eq!(checks["dns"].check.timeout, seconds(1));
    let by_tcp = DnsCheck { transport: dns::Transport::Tcp, rcode: vec![0], ..query };
    assert_eq!(checks["tcp"].check.kind, CheckKind::Dns(by_tcp));
    assert_eq!(checks["tcp"].check.timeout, seconds(2));
    // GET / with the VIP as host and 200 is what both do.
    assert_eq!(checks["web"].check.kind, checks["own"].check.kind);
    assert_eq!(checks["web"].check.timeout, seconds(2));
}

/// Checks by SYN, DNS, ICMP and a command.
fn newer_checks(check: impl Fn(&str, CheckKind) -> Check) -> [Check; 4] {
    let name = DnsCheck {
        transport: dns::Transport::Tcp,
        name: dns::name("www.example.org.").unwrap(),
        record: dns::RecordType::AAAA,
        rcode: vec![3, 5],
        answer: Some(dns::answer(dns::RecordType::AAAA, "2001:db8::80").unwrap()),
    };
    let script = ExecCheck {
        command: vec!["/usr/local/bin/check".into(), "a b".into()],
        environment: [("HOME".into(), "/tmp".into())].into(),
        memory: Some(256 << 20),
        cpu: Some(seconds(90)),
        user: Some(0),
        group: Some(65_534),
    };
    [
        check("half", CheckKind::Syn),
        check("name", CheckKind::Dns(name)),
        check("ping", CheckKind::Icmp(IcmpCheck { size: 1000 })),
        check("script", CheckKind::Exec(script)),
    ]
}

#[test]
fn pools_checks_and_vips_arrive() {
    let config = good();
    let backend =
        |last, weight, state| Backend { address: ip(&format!("10.1.10.{last}")), weight, state };
    let pool = Pool {
        name: "web".into(),
        backends: vec![
            backend(10, 1, AdminState::Enabled),
            backend(11, 2, AdminState::Enabled),
            backend(12, 1, AdminState::Disabled),
            Backend { address: ip("2001:db8:10::10"), weight: 1, state: AdminState::Enabled },
        ],
        probe: ProbePath::Direct,
        ttl: None,
        on_down: OnDown::Stick,
        backup: Some("spare".into()),
        neighbour: false,
        state_file: Some(file::Settings {
            path: "/run/web/{backend}".into(),
            missing: Stand::Drain,
        }),
        outliers: Some(passive::Settings {
            unanswered: Some(80),
            resets: None,
            connections: 20,
            window: seconds(30),
            eject_time: seconds(60),
            eject_max: 10,
        }),
    };
    let spare = Pool {
        name: "spare".into(),
        backends: vec![
            backend(20, 1, AdminState::Enabled),
            Backend { address: ip("2001:db8:10::20"), weight: 1, state: AdminState::Enabled },
        ],
        probe: ProbePath::Dsr,
        ttl: None,
        on_down: OnDown::Reselect,
        backup: None,
        neighbour: true,
        state_file: None,
        outliers: None,
    };
    assert_eq!(config.pools.into_values().collect::<Vec<_>>(), [spare, pool]);
    let check = |name: &str, kind| Check {
        name: name.into(),
        port: None,
        check: vc5_health::Check { jitter: 10, ..vc5_health::Check::new(kind) },
    };
    let mut alive = check(
        "alive",
        CheckKind::Http(HttpCheck {
            host: Some("www.example.org".into()),
            path: "/alive".into(),
            headers: vec![("X-Probe".into(), "vc5".into())],
            expect: vec![(204, 204), (300, 399)],
            version: HttpVersion::Two,
            body: Some("ready".into()),
            body_pattern: Some(Pattern::new("^status: (ready|busy)").unwrap()),
            body_limit: 4096,
            ..HttpCheck::default()
        }),
    );
    alive.port = Some(8080);
    alive.check.interval = seconds(1);
    alive.check.fast_interval = Some(Duration::from_millis(100));
    alive.check.jitter = 0;
    alive.check.timeout = Duration::from_millis(250);
    alive.check.rule = Rule { rise: 4, fall: 5, window: Some(8) };
    let udp = UdpCheck { send: b"ping".to_vec(), receive: Some(vec![0, 255]) };
    let echo = check("echo", CheckKind::Udp(udp));
    let settings = TlsSettings {
        server_name: Some("www.example.org".into()),
        verify: Verify::Pinned(vec![[0xab; 32]]),
        identity: None,
    };
    let unverified = TlsSettings { verify: Verify::Off, ..settings.clone() };
    let grpc = GrpcCheck {
        service: "shop.Basket".into(),
        host: Some("basket.example.org".into()),
        tls: Some(Tls::new(unverified).unwrap()),
    };
    let deep = check("deep", CheckKind::Grpc(grpc));
    let secure = check("secure", CheckKind::Tls(Tls::new(settings).unwrap()));
    let spare = check("spare", CheckKind::Tcp);
    let [half, name, ping, script] = newer_checks(check);
    let checks: Vec<_> = config.checks.into_values().collect();
    assert_eq!(checks, [alive, deep, echo, half, name, ping, script, secure, spare]);
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

#[test]
fn defaults() {
    let config = with_base("").unwrap();
    let any: [SocketAddr; 2] = ["0.0.0.0:179".parse().unwrap(), "[::]:179".parse().unwrap()];
    assert_eq!(config.router.listen, any);
    assert_eq!(config.router.learn_time, seconds(10));
    assert_eq!(config.control.socket, Path::new("/run/vc5/vc5.ctl"));
    assert_eq!(config.control.history, 4096);
    assert_eq!(config.control.state_directory, Path::new("/var/lib/vc5"));
    assert_eq!(config.metrics.listen, Some("127.0.0.1:9324".parse().unwrap()));
    assert_eq!(config.dataplane.pin_path, Path::new("/sys/fs/bpf/vc5"));
    assert_eq!(config.dataplane.on_stop, OnStop::Keep);
    assert_eq!(config.dataplane.vlans, [].into());
    assert_eq!((config.dataplane.flows, config.dataplane.max_reals), (4_194_304, 65_536));
    assert_eq!(config.dataplane.settle_time, seconds(120));
    assert_eq!(config.dataplane.drain_time, seconds(300));
    assert_eq!(config.dataplane.sample_new_flows, Some(1024));
    assert_eq!(
        config.probe,
        ProbeSettings {
            mark_mask: 0x7fff_8000,
            table_base: 0x5643_0000,
            rule_priority: 20_000,
            on_path_loss: OnLoss::Withdraw,
        }
    );
    assert_eq!(config.filters.keys().collect::<Vec<_>>(), ["all", "none"]);
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
fn a_local_pool_serves_vips_of_both_families() {
    let text = "[pool.self]\nprobe = \"local\"\nbackends = [\"127.0.0.1\"]\n[vip.a]\naddresses = [\"192.0.2.80\", \"2001:db8::80\"]\nservice = [{ port = 80, pool = \"self\" }]\n";
    let config = with_base(text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.vips["a"].addresses.len(), 2);
    assert_eq!(config.vips["a"].services[0].protocol, Protocol::Tcp);
}

#[test]
fn the_backends_of_each_family_serve_the_addresses_of_that_family() {
    let text = "[dataplane]\ninterfaces = [\"eth0\"]\nsample-new-flows = \"off\"\n[router]\nid = \"192.0.2.1\"\nas = 65001\n\
        [pool.web]\nbackends = [\"10.1.10.10\", \"2001:db8:10::10\", \"2001:db8:10::11\"]\n\
        [vip.a]\naddresses = [\"192.0.2.80\", \"2001:db8::80\"]\nservice = [{ port = 80, pool = \"web\" }]\n";
    let config = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    let count = |vip: &str| config.pools["web"].backends_for(ip(vip)).count();
    assert_eq!((count("192.0.2.80"), count("2001:db8::80")), (1, 2));
    assert_eq!(config.dataplane.sample_new_flows, None);
}

#[test]
fn there_has_to_be_room_for_the_backends_of_all_services() {
    let text = |reals: u32| {
        let backends: Vec<String> = (1..=16).map(|n| format!("\"10.1.10.{n}\"")).collect();
        let services: Vec<String> =
            (1..=40).map(|port| format!("{{ port = {port}, pool = \"web\" }}")).collect();
        format!(
            "[router]\nid = \"192.0.2.1\"\nas = 65001\n[dataplane]\ninterfaces = [\"eth0\"]\nmax-reals = {reals}\n\
             [pool.web]\nbackends = [{}]\n[vip.a]\naddresses = [\"192.0.2.80\"]\nservice = [{}]\n",
            backends.join(", "),
            services.join(", ")
        )
    };
    // 16 backends have the numbers 1 to 16, which are two steps of 16 entries.
    assert_eq!(
        parse(&text(1024)).unwrap_err().to_string(),
        "vc5.toml:4:2: dataplane.max-reals: 1024 is too few: each service takes an entry for each backend, rounded up to 16, 1296 in all"
    );
    assert!(parse(&text(2048)).is_ok());
}

#[test]
fn metrics_can_be_off() {
    let config = with_base("[metrics]\nlisten = \"off\"\n").unwrap();
    assert_eq!(config.metrics.listen, None);
}

#[test]
fn errors_are_counted_and_ordered() {
    let errors = parse(&format!("{BASE}b = 1\na = 1\n")).unwrap_err();
    let lines: Vec<_> = errors.iter().map(|error| error.at.unwrap().0).collect();
    assert_eq!((errors.count(), lines), (2, vec![6, 7]));
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

#[test]
fn only_checks_that_connect_need_a_port() {
    let text = "[check.ping]\ntype = \"icmp\"\n[check.run]\ntype = \"exec\"\ncommand = [\"/bin/true\"]\nuser = \"root\"\n\
        [check.half]\ntype = \"syn\"\n";
    let config = with_base(text).unwrap_or_else(|errors| panic!("{errors}"));
    let of = |name: &str, ports| config.checks[name].port_for(ports);
    let all = ["ping", "run", "half"].map(|name| of(name, Ports::All));
    assert_eq!(all, [Some(0), Some(0), None]);
    let one = ["ping", "run", "half"].map(|name| of(name, Ports::One(53)));
    assert_eq!(one, [Some(0), Some(53), Some(53)]);
    let CheckKind::Exec(exec) = &config.checks["run"].check.kind else { panic!("not exec") };
    assert_eq!((exec.user, exec.group), (Some(0), Some(0)), "the group is the user's own");
}
