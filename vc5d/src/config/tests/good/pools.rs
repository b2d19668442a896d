//! Pools.

use vc5_xdp::OnDown;

use super::*;
use crate::signal::{Stand, file, passive};

#[test]
fn pools_arrive() {
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
