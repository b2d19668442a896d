//! What the daemon itself is told, and what holds where nothing is said.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::*;
use crate::agent::Expired;
use crate::signal::path::OnLoss;

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
fn metrics_can_be_off() {
    let config = with_base("[metrics]\nlisten = \"off\"\n").unwrap();
    assert_eq!(config.metrics.listen, None);
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
