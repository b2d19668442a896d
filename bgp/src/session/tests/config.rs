//! What a change of the configuration does, and what the configuration keeps to itself.

use std::time::Duration;

use super::fixture::*;
use crate::policy::Policy;
use crate::session::{
    FamilyConfig, GracefulRestart, LimitAction, Password, PeerConfig, PrefixLimit,
};
use crate::wire::{BgpRole, Family};

const IPV4: Family = Family::IPV4_UNICAST;

/// A change of one setting.
type Change = fn(&mut PeerConfig);

fn family(config: &mut PeerConfig) -> &mut FamilyConfig {
    config.families.get_mut(&IPV4).unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn what_is_agreed_on_or_about_tcp_takes_a_new_session() {
    let changes: [(&str, Change); 24] = [
        ("neighbor", |c| c.neighbor = [192, 0, 2, 9].into()),
        ("interface", |c| c.interface = Some("eth1".to_owned())),
        ("port", |c| c.port = 1790),
        ("neighbor_as", |c| c.neighbor_as += 1),
        ("source_address", |c| c.source_address = Some([192, 0, 2, 9].into())),
        ("passive", |c| c.passive = true),
        ("multihop", |c| c.multihop = Some(2)),
        ("ttl_security", |c| c.ttl_security = true),
        ("hold_time", |c| c.hold_time = seconds(30)),
        ("keepalive_time", |c| c.keepalive_time = Some(seconds(1))),
        ("send_hold_time", |c| c.send_hold_time = Some(seconds(60))),
        ("graceful_restart", |c| c.graceful_restart = GracefulRestart::Off),
        ("extended_messages", |c| c.extended_messages = true),
        ("enhanced_route_refresh", |c| c.enhanced_route_refresh = false),
        ("local_role", |c| c.local_role = Some(BgpRole::Customer)),
        ("require_role", |c| c.require_role = true),
        ("hostname", |c| c.hostname = Some("lb1".to_owned())),
        ("allow_local_as", |c| c.allow_local_as = 1),
        ("enforce_first_as", |c| c.enforce_first_as = false),
        ("allow_as_sets", |c| c.allow_as_sets = true),
        ("a family more", |c| {
            c.families.insert(Family::IPV6_UNICAST, FamilyConfig::default());
        }),
        ("a family less", |c| c.families.clear()),
        ("extended_next_hop", |c| family(c).extended_next_hop = true),
        ("add_path_receive", |c| family(c).add_path_receive = true),
    ];
    let old = config(&THEM);
    for (name, change) in changes {
        let mut new = old.clone();
        change(&mut new);
        assert!(old.needs_restart(&new), "{name}");
        assert!(new.needs_restart(&old), "{name}, the other way");
    }
}

#[test]
fn everything_else_applies_in_place() {
    let changes: [(&str, Change); 15] = [
        ("nothing", |_| {}),
        ("name", |c| c.name = "another".to_owned()),
        ("password", |c| c.password = Password::new("secret")),
        ("automatic_start", |c| c.automatic_start = false),
        ("notification_without_open", |c| c.notification_without_open = false),
        ("connect_retry_time", |c| c.connect_retry_time = seconds(60)),
        ("connect_delay_time", |c| c.connect_delay_time = seconds(60)),
        ("delay_open_time", |c| c.delay_open_time = seconds(60)),
        ("startup_hold_time", |c| c.startup_hold_time = seconds(60)),
        ("error_wait_time", |c| c.error_wait_time = (seconds(3), seconds(5))),
        ("error_forget_time", |c| c.error_forget_time = seconds(20)),
        ("shutdown_message", |c| c.shutdown_message = Some("bye".to_owned())),
        ("policies", |c| {
            family(c).import = Policy::none();
            family(c).export = Policy::none();
        }),
        ("next hops", |c| {
            family(c).next_hop = Some([192, 0, 2, 9].into());
            family(c).next_hop_self = true;
        }),
        ("import_limit", |c| {
            family(c).import_limit = Some(PrefixLimit { max: 1, action: LimitAction::Warn });
        }),
    ];
    let old = config(&THEM);
    for (name, change) in changes {
        let mut new = old.clone();
        change(&mut new);
        assert!(!old.needs_restart(&new), "{name}");
    }
}

#[test]
fn keys_are_bounded_and_not_shown() {
    assert_eq!(Password::new(""), None);
    assert_eq!(Password::new("x".repeat(81)), None);
    let longest = Password::new("x".repeat(80)).unwrap();
    assert_eq!(longest.octets(), [b'x'; 80]);
    let config = PeerConfig {
        password: Password::new("hunter2"),
        ..PeerConfig::new("p", [192, 0, 2, 1].into(), 1)
    };
    assert!(!format!("{config:?}").contains("hunter2"));
}
