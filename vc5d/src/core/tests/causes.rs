//! Every change has a cause.

use super::*;
use crate::core::Event as Change;
use crate::snapshot::Subject;

fn told(world: &mut World) -> Vec<(Subject, &'static str, &'static str, String)> {
    let events = world.state.take_events();
    assert!(events.is_sorted_by_key(|event| event.at));
    events
        .into_iter()
        .map(|Change { subject, from, to, cause, .. }| (subject, from, to, cause))
        .collect()
}

#[test]
fn an_outage_is_told_from_the_probe_to_the_route() {
    let mut world = World::up();
    told(&mut world);
    world.probe(80, "10.0.0.1", Verdict::Down);
    let first = told(&mut world);
    assert_eq!(first, [(Subject::Backend, "up", "down", "check alive: down".to_owned())]);
    world.probe(80, "10.0.0.2", Verdict::Down);
    world.flushed();
    let tally = "0 of 2 backends up and needs 1 (10.0.0.1: down)".to_owned();
    let service = format!("service 80/tcp has {tally}");
    assert_eq!(
        told(&mut world),
        [
            (Subject::Backend, "up", "down", "check alive: down".to_owned()),
            (Subject::Service, "up", "down", tally),
            (Subject::Vip, "up", "down", service.clone()),
            (Subject::Route, "announced", "withdrawing", service),
            (Subject::Route, "withdrawing", "down", "the withdrawal is on the wire".to_owned()),
        ]
    );
}

#[test]
fn a_return_is_told_from_the_probe_to_the_route() {
    let mut world = World::up();
    world.all(Verdict::Down);
    world.flushed();
    told(&mut world);
    world.all(Verdict::Up);
    world.acknowledge();
    world.wait(Duration::from_secs(6));
    let events = told(&mut world);
    let route: Vec<_> = events.iter().filter(|event| event.0 == Subject::Route).collect();
    assert_eq!(route.len(), 2, "{route:?}");
    assert_eq!((route[0].1, route[0].2), ("down", "waiting"));
    assert_eq!(
        (route[1].1, route[1].2, route[1].3.as_str()),
        ("waiting", "announced", "every service is up")
    );
}

#[test]
fn a_neighbour_that_does_not_take_the_withdrawal_is_named_as_the_cause() {
    let mut world = World::up();
    world.all(Verdict::Down);
    told(&mut world);
    world.wait(FLUSH_LIMIT);
    let cause = "a neighbour has not taken the withdrawal in time".to_owned();
    assert_eq!(told(&mut world), [(Subject::Route, "withdrawing", "down", cause)]);
}

#[test]
fn what_comes_and_goes_with_the_configuration_is_told() {
    let mut world = World::up();
    told(&mut world);
    world.configure(&config("auto", r#""10.0.0.1", "10.0.0.3""#));
    let backends = |port: &str, events: &[Change]| {
        let of = events.iter().filter(|event| event.service.as_deref() == Some(port));
        of.map(|e| (e.backend.unwrap().to_string(), e.from, e.to)).collect::<Vec<_>>()
    };
    let events = world.state.take_events();
    let expected = [("10.0.0.3".into(), "absent", "unknown"), ("10.0.0.2".into(), "up", "absent")];
    assert_eq!(backends("80/tcp", &events), expected);
    assert_eq!(backends("443/tcp", &events), expected);
    let mut none = standard();
    none.vips.clear();
    world.configure(&none);
    world.flushed();
    let last = told(&mut world).pop();
    assert_eq!(
        last,
        Some((Subject::Route, "down", "absent", "the configuration was changed".into()))
    );
}

#[test]
fn the_last_failure_of_a_check_is_kept() {
    let mut world = World::up();
    world.probe(80, "10.0.0.1", Verdict::Down);
    world.wait(Duration::from_secs(10));
    world.probe(80, "10.0.0.1", Verdict::Up);
    let view = world.state.view(world.now);
    let check = &view.vips[0].services[0].backends[0].checks["alive"];
    assert_eq!((check.ok, check.diagnostic.as_str()), (Some(true), "up"));
    assert_eq!(check.last_failure.as_ref().map(|f| f.diagnostic.as_str()), Some("down"));
}
