//! The administrator's words at the control socket.

use std::sync::Arc;

use super::*;
use crate::admin::{Off, Target, Word, Words};
use crate::snapshot::{BackendState, Subject};

fn word(state: Off) -> Word {
    Word { state, reason: Some("kernel upgrade".into()), since: 0.0, until: None }
}

fn backend(address: &str) -> Target {
    Target::Backend { pool: "web".into(), address: address.parse().unwrap() }
}

fn say(world: &mut World, words: &[(Target, Off)]) -> Vec<Effect> {
    let mut all = Words::default();
    words.iter().for_each(|(target, state)| all.set(target, word(*state)));
    let effects = world.state.set_words(world.now, Arc::new(all), "taken back");
    world.take(effects)
}

fn states(world: &World, address: &str) -> Vec<RealState> {
    let spec = world.spec(IpAddr::V4(VIP));
    let backends = spec.services.iter().flat_map(|service| &service.backends);
    let address: IpAddr = address.parse().unwrap();
    backends.filter(|b| b.address == address).map(|b| b.state).collect()
}

#[test]
fn a_drained_backend_keeps_its_flows_in_all_services_of_its_pool() {
    let mut world = World::up();
    say(&mut world, &[(backend("10.0.0.1"), Off::Drain)]);
    assert!(world.standing);
    assert_eq!(states(&world, "10.0.0.1"), [RealState::Draining; 2]);
    assert_eq!(states(&world, "10.0.0.2"), [RealState::Live; 2]);
    let view = world.state.view(world.now);
    let drained = &view.vips[0].services[0].backends[0];
    assert_eq!(drained.state, BackendState::Draining);
    assert_eq!(drained.admin, Some(word(Off::Drain)));
    say(&mut world, &[]);
    assert_eq!(states(&world, "10.0.0.1"), [RealState::Live; 2], "probes have gone on");
}

#[test]
fn a_word_on_a_backend_is_a_cause_and_so_is_its_end() {
    let mut world = World::up();
    world.state.take_events();
    say(&mut world, &[(backend("10.0.0.1"), Off::Disabled)]);
    say(&mut world, &[]);
    let events = world.state.take_events();
    let told: Vec<_> = events.iter().map(|e| (e.from, e.to, e.cause.as_str())).collect();
    let off = ("up", "disabled", "disabled by the administrator: kernel upgrade");
    let on = ("disabled", "up", "taken back");
    assert_eq!(told, [off, off, on, on], "in each of the two services");
    assert!(events.iter().all(|event| event.subject == Subject::Backend));
}

#[test]
fn the_last_backend_that_is_switched_off_takes_the_route_with_it() {
    let mut world = World::up();
    let both = [(backend("10.0.0.1"), Off::Disabled), (backend("10.0.0.2"), Off::Disabled)];
    let effects = say(&mut world, &both);
    assert!(matches!(effects.first(), Some(Effect::Withdraw { .. })), "{effects:?}");
    assert_eq!(world.live(80), 2, "not before the withdrawal is on the wire");
    world.flushed();
    assert_eq!(world.live(80), 0);
}

#[test]
fn a_disabled_vip_says_who_and_why() {
    let mut world = World::up();
    say(&mut world, &[(Target::Vip("www".into()), Off::Disabled)]);
    assert!(!world.standing);
    let reason = world.state.view(world.now).vips[0].reason.clone();
    assert_eq!(reason, "being withdrawn: disabled by the administrator: kernel upgrade");
    let last = world.state.take_events().pop().unwrap();
    assert_eq!(last.cause, "disabled by the administrator: kernel upgrade");
}

#[test]
fn a_drained_vip_is_announced_anew_and_then_withdrawn() {
    let mut world = World::up();
    world.state.take_events();
    let effects = say(&mut world, &[(Target::Vip("www".into()), Off::Drain)]);
    let update = |draining: bool| {
        let local_pref = draining.then_some(0);
        let advert = Advert { name: "www".into(), draining, local_pref, ..Advert::default() };
        Effect::Update { address: VIP.into(), advert }
    };
    assert_eq!(effects, [update(true)]);
    assert_eq!(say(&mut world, &[]), [update(false)]);
    say(&mut world, &[(Target::Vip("www".into()), Off::Drain)]);
    world.wait(Duration::from_secs(9));
    assert!(world.standing);
    world.wait(Duration::from_secs(1));
    assert!(!world.standing);
    world.flushed();
    assert_eq!((world.live(80), world.live(443)), (2, 2), "what still arrives is forwarded");
    let events = world.state.take_events();
    let route = events.iter().filter(|event| event.subject == Subject::Route);
    let told: Vec<_> = route.map(|event| (event.from, event.to)).collect();
    let (on, off) = (("draining", "announced"), ("announced", "draining"));
    let gone = [("announced", "withdrawing"), ("withdrawing", "down")];
    assert_eq!(told, [off, on, off, gone[0], gone[1]]);
}

#[test]
fn words_outlive_a_reload_and_count_from_the_start() {
    let mut world = World::new(DataplaneMode::Auto);
    let words = [(backend("10.0.0.2"), Off::Disabled), (Target::Vip("www".into()), Off::Drain)];
    say(&mut world, &words);
    world.configure(&standard());
    world.all(Verdict::Up);
    world.acknowledge();
    world.wait(Duration::from_secs(60));
    assert!(!world.standing);
    world.configure(&config("auto", r#""10.0.0.2", "10.0.0.1""#));
    assert_eq!(states(&world, "10.0.0.2"), [RealState::Down; 2]);
    say(&mut world, &words[..1]);
    world.acknowledge();
    assert!(world.standing);
}
