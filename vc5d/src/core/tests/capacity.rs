//! What routers are told of the healthy capacity.

use vc5_bgp::wire::Community;

use super::*;
use crate::config::model::{AdminState, Capacity, CapacityLevel, Need};
use crate::gate::CapacitySettings;
use crate::snapshot::Subject;

const SETTLE: Duration = Duration::from_secs(10);

/// Ten backends of one service, 1 MB/s each, and MED 200 below half.
fn ten(change: impl FnOnce(&mut Config)) -> Config {
    let backends: Vec<String> = (1..=10).map(|last| format!("\"10.0.0.{last}\"")).collect();
    let mut config = config("auto", &backends.join(", "));
    let www = config.vips.get_mut("www").unwrap();
    www.services.truncate(1);
    www.capacity = Some(Capacity {
        link_bandwidth: Some(1_000_000),
        transitive: false,
        settings: CapacitySettings { step: 20, settle: SETTLE },
        levels: vec![CapacityLevel {
            below: 50,
            med: Some(200),
            local_pref: Some(50),
            add_communities: vec![65000 << 16 | 50],
        }],
    });
    change(&mut config);
    config
}

/// The first `healthy` of ten backends are up, the others down; what was asked for is returned.
fn healthy(world: &mut World, healthy: u8) -> Vec<Effect> {
    let verdict = |last| if last <= healthy { Verdict::Up } else { Verdict::Down };
    let effects: Vec<Effect> = (1..=10_u8)
        .flat_map(|last| world.probe(80, &format!("10.0.0.{last}"), verdict(last)))
        .collect();
    world.acknowledge();
    effects
}

fn up(change: impl FnOnce(&mut Config), first: u8) -> (World, Vec<Effect>) {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&ten(change));
    healthy(&mut world, first);
    let effects = world.wait(Duration::from_secs(6));
    assert!(world.standing);
    (world, effects)
}

/// What went out with the route, announcement by announcement.
fn adverts(effects: &[Effect]) -> Vec<Advert> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Announce { advert, .. } | Effect::Update { advert, .. } => Some(advert.clone()),
            _ => None,
        })
        .collect()
}

/// Megabytes per second and MED of each.
fn told(effects: &[Effect]) -> Vec<(f32, Option<u32>)> {
    let adverts = adverts(effects);
    let bandwidth = |advert: &Advert| advert.link_bandwidth.unwrap().bytes_per_second / 1e6;
    adverts.iter().map(|advert| (bandwidth(advert), advert.med)).collect()
}

#[test]
fn a_route_goes_out_with_what_is_healthy_at_that_moment() {
    let (_, effects) = up(|_| {}, 7);
    assert_eq!(told(&effects), [(7.0, None)]);
    let (_, effects) = up(|_| {}, 4);
    assert_eq!(told(&effects), [(4.0, Some(200))]);
}

#[test]
fn what_is_told_follows_in_steps_and_not_too_often() {
    let (mut world, _) = up(|_| {}, 10);
    world.wait(SETTLE);
    assert_eq!(told(&healthy(&mut world, 9)), [], "less than a step");
    assert_eq!(told(&healthy(&mut world, 8)), [(8.0, None)]);
    assert_eq!(told(&healthy(&mut world, 3)), [], "so soon after the last");
    assert_eq!(told(&world.wait(SETTLE)), [(3.0, Some(200))]);
    assert_eq!(told(&healthy(&mut world, 10)), [], "more has to last");
    let steps = told(&world.wait(10 * SETTLE));
    assert_eq!(steps, [(5.0, None), (10.0, None)], "they came back one by one");
    let events = world.state.take_events();
    let changes: Vec<_> =
        events.iter().filter(|e| e.subject == Subject::Route && e.to.starts_with("told")).collect();
    let words: Vec<_> = changes.iter().map(|e| e.to).collect();
    assert_eq!(words, ["told less", "told less", "told more", "told more"]);
    assert_eq!(changes[1].cause, "routers are told of 30 % of its capacity");
}

#[test]
fn a_backend_that_comes_and_goes_costs_no_more_than_one_update_in_a_settle_time() {
    let (mut world, _) = up(
        |config| {
            config.vips.get_mut("www").unwrap().capacity.as_mut().unwrap().settings.step = 1;
        },
        10,
    );
    world.wait(SETTLE);
    let start = world.now;
    let mut updates = 0;
    for second in 0..100 {
        updates += told(&healthy(&mut world, 9 + second % 2)).len();
        updates += told(&world.wait(Duration::from_secs(1))).len();
    }
    assert_eq!(world.now, start + Duration::from_secs(100));
    assert_eq!(updates, 1, "it is told of as down, since it never lasts");
}

#[test]
fn the_service_that_has_the_least_counts_and_only_if_it_gates() {
    let mut world = World::new(DataplaneMode::Auto);
    let both = |gating: bool| {
        ten(|config| {
            let www = config.vips.get_mut("www").unwrap();
            let mut other = www.services[0].clone();
            (other.ports, other.gating) = (Ports::One(443), gating);
            www.services.push(other);
        })
    };
    world.configure(&both(true));
    healthy(&mut world, 8);
    for last in 1..=10 {
        let verdict = if last <= 6 { Verdict::Up } else { Verdict::Down };
        world.probe(443, &format!("10.0.0.{last}"), verdict);
    }
    world.acknowledge();
    assert_eq!(told(&world.wait(SETTLE)), [(6.0, None)]);
    let effects = world.configure(&both(false));
    assert_eq!(told(&effects), [], "more has to last, a reload or not");
    assert_eq!(told(&world.wait(SETTLE)), [(8.0, None)]);
}

#[test]
fn weights_count_and_a_drained_backend_does_not() {
    let (mut world, effects) = up(
        |config| {
            config.pools.get_mut("web").unwrap().backends[0].weight = 11;
        },
        10,
    );
    assert_eq!(told(&effects), [(20.0, None)]);
    let weak = ten(|config| {
        let first = &mut config.pools.get_mut("web").unwrap().backends[0];
        (first.weight, first.state) = (11, AdminState::Drain);
    });
    world.wait(SETTLE);
    let effects = world.configure(&weak);
    assert_eq!(told(&effects), [(9.0, Some(200))], "9 of 20 are left");
}

#[test]
fn a_reload_that_changes_what_is_said_says_it_anew() {
    let (mut world, _) = up(|_| {}, 10);
    let effects = world.configure(&ten(|config| {
        let www = config.vips.get_mut("www").unwrap();
        www.capacity.as_mut().unwrap().link_bandwidth = Some(2_000_000);
    }));
    assert_eq!(told(&effects), [(20.0, None)]);
    let effects =
        world.configure(&ten(|config| config.vips.get_mut("www").unwrap().capacity = None));
    assert_eq!(adverts(&effects), [Advert { name: "www".into(), ..Advert::default() }]);
}

#[test]
fn a_drained_route_has_the_lower_preference_of_both() {
    let (mut world, _) = up(|_| {}, 4);
    let drained = |preference| {
        ten(|config| {
            let www = config.vips.get_mut("www").unwrap();
            www.state = AdminState::Drain;
            www.drain_local_pref = preference;
        })
    };
    for (preference, expected) in [(80, 50), (20, 20)] {
        let effects = world.configure(&drained(preference));
        let last = adverts(&effects).pop().map(|advert| (advert.draining, advert.local_pref));
        assert_eq!(last, Some((true, Some(expected))));
    }
}

#[test]
fn what_is_told_becomes_attributes_that_win_over_filters() {
    let (_, effects) = up(
        |config| {
            config.vips.get_mut("www").unwrap().capacity.as_mut().unwrap().transitive = true;
            config.router.local_as = 4_200_000_000;
        },
        4,
    );
    let adverts = adverts(&effects);
    let route =
        translate::local_route(VIP.into(), &Advert { draining: true, ..adverts[0].clone() });
    assert_eq!((route.last.med, route.last.local_pref), (Some(200), Some(50)));
    let communities = [Community::GRACEFUL_SHUTDOWN, Community(65000 << 16 | 50)];
    assert_eq!(route.last.add_communities, communities);
    // AS_TRANS, as the AS has more than 16 bits; 4e6 as an IEEE 754 number.
    let bandwidth = route.last.add_extended_communities[0];
    assert_eq!(bandwidth.0, [0x00, 4, 0x5B, 0xA0, 0x4A, 0x74, 0x24, 0x00]);
}

/// A reload switches the VIP on and makes it unhealthy: it must not go out for good after its withdrawal.
#[test]
fn what_one_event_announces_and_withdraws_never_goes_out() {
    let mut world = World::new(DataplaneMode::Auto);
    world.configure(&ten(|config| config.vips.get_mut("www").unwrap().state = AdminState::Drain));
    healthy(&mut world, 9);
    world.wait(SETTLE);
    assert!(!world.standing);
    let effects = world.configure(&ten(|config| {
        config.vips.get_mut("www").unwrap().services[0].need = Need::Percent(100);
    }));
    assert_eq!(adverts(&effects), []);
    assert!(!world.standing);
    world.wait(FLUSH_LIMIT);
    healthy(&mut world, 10);
    world.wait(SETTLE);
    assert!(world.standing);
}

/// The same while it stands: what is told anew is of no use to a route that goes.
#[test]
fn what_one_event_updates_and_withdraws_is_withdrawn() {
    let (mut world, _) = up(|_| {}, 9);
    let effects = world.configure(&ten(|config| {
        let www = config.vips.get_mut("www").unwrap();
        www.state = AdminState::Drain;
        www.services[0].need = Need::Percent(100);
    }));
    assert_eq!(adverts(&effects), []);
    assert!(!world.standing);
}
