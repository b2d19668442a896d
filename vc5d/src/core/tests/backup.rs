//! Backup pools.

use super::*;
use crate::config::model::{AdminState, Need};

const SPARE: [&str; 2] = ["10.0.1.1", "10.0.1.2"];

/// The standard configuration with one service, two backends and two more in a backup pool.
fn with_spare(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = standard();
    let mut spare = config.pools["web"].clone();
    spare.name = "spare".into();
    for (backend, address) in spare.backends.iter_mut().zip(SPARE) {
        backend.address = address.parse().unwrap();
    }
    config.pools.insert("spare".into(), spare);
    config.pools.get_mut("web").unwrap().backup = Some("spare".into());
    config.vips.get_mut("www").unwrap().services.truncate(1);
    change(&mut config);
    config
}

fn up_with(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&with_spare(change));
    for backend in BACKENDS.iter().chain(&SPARE) {
        world.probe(80, backend, Verdict::Up);
    }
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
    world
}

/// What the dataplane makes of the two backends and the two backups.
fn states(world: &World) -> Vec<RealState> {
    world.spec(VIP.into()).services[0].backends.iter().map(|b| b.state).collect()
}

#[test]
fn backups_get_new_flows_only_while_too_few_others_work() {
    use RealState::{Down, Draining, Live};
    let mut world = up_with(|_| {});
    assert_eq!(states(&world), [Live, Live, Draining, Draining]);
    world.probe(80, "10.0.0.1", Verdict::Down);
    assert_eq!(states(&world), [Down, Live, Draining, Draining], "one is enough");
    world.probe(80, "10.0.0.2", Verdict::Down);
    assert!(world.standing, "the backup has taken over before anybody could notice");
    assert_eq!(states(&world), [Down, Down, Live, Live]);
    let view = world.state.view(world.now);
    let service = &view.vips[0].services[0];
    assert_eq!((service.word(), service.healthy, service.own_backends()), ("backup", 2, 2));
    world.probe(80, "10.0.0.2", Verdict::Up);
    assert_eq!(states(&world), [Down, Live, Draining, Draining], "what they have goes on");
    assert_eq!(world.state.view(world.now).vips[0].services[0].word(), "up");
}

#[test]
fn what_is_left_and_the_backups_make_up_the_need_together() {
    use RealState::{Down, Live};
    let mut world = up_with(|config| {
        config.vips.get_mut("www").unwrap().services[0].need = Need::Percent(100);
    });
    world.probe(80, "10.0.0.1", Verdict::Down);
    assert!(world.standing);
    assert_eq!(states(&world), [Down, Live, Live, Live]);
    world.probe(80, SPARE[0], Verdict::Down);
    assert!(world.standing, "1 and 1 are 2");
    world.probe(80, SPARE[1], Verdict::Down);
    assert!(!world.standing);
    let reason = world.state.view(world.now).vips[0].reason.clone();
    let said =
        "service 80/tcp has 1 of 2 backends up, and 0 of 2 of the backup pool spare and needs 2";
    assert!(reason.contains(said), "{reason}");
}

#[test]
fn a_backup_is_asked_only_when_its_own_pool_is_known_to_fail() {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&with_spare(|_| {}));
    world.probe(80, SPARE[0], Verdict::Up);
    assert_eq!(world.live(80), 0, "nothing is known of the others yet");
    world.wait(Duration::from_secs(30));
    assert_eq!(world.live(80), 1, "the learn time is over");
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    assert!(world.standing);
}

#[test]
fn no_panic_while_the_backup_makes_up_for_it() {
    use RealState::{Down, Live};
    let mut world = up_with(|config| {
        config.vips.get_mut("www").unwrap().services[0].panic_threshold = Some(50);
    });
    BACKENDS.iter().for_each(|backend| drop(world.probe(80, backend, Verdict::Down)));
    assert!(!world.state.view(world.now).vips[0].services[0].panic);
    assert_eq!(states(&world), [Down, Down, Live, Live]);
    SPARE.iter().for_each(|backend| drop(world.probe(80, backend, Verdict::Down)));
    assert!(world.standing, "now there is nothing else left");
    assert_eq!(states(&world), [Down, Live, Down, Down], "the last good one of its own");
}

#[test]
fn words_on_backups_are_by_their_own_pool() {
    use crate::admin::{Off, Target, Word, Words};
    let mut world = up_with(|_| {});
    BACKENDS.iter().for_each(|backend| drop(world.probe(80, backend, Verdict::Down)));
    let mut words = Words::default();
    let target = Target::Backend { pool: "spare".into(), address: SPARE[0].parse().unwrap() };
    words.set(&target, Word { state: Off::Disabled, reason: None, since: 0.0, until: None });
    let effects = world.state.set_words(world.now, words.into(), "over");
    world.take(effects);
    assert_eq!(world.live(80), 1);
    assert!(world.standing);
}

#[test]
fn every_backup_is_probed() {
    let config = with_spare(|config| {
        config.pools.get_mut("spare").unwrap().backends[1].state = AdminState::Disabled;
    });
    let probed: Vec<String> =
        translate::probes(&config).iter().map(|p| p.key.backend.to_string()).collect();
    assert_eq!(probed, ["10.0.0.1", "10.0.0.2", "10.0.1.1"]);
}
