//! Delays and damping.

use std::time::{Duration, Instant};

use super::*;

const UP_DELAY: Duration = Duration::from_secs(2);
const DOWN_DELAY: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_secs(60);

const DAMPING: DampingSettings = DampingSettings {
    half_life: MINUTE,
    penalty: 1000,
    suppress: 2000,
    reuse: 500,
    max_suppress: Duration::from_secs(240),
};

fn down() -> Input {
    Input::Health(Health::Down("it fails".into()))
}

fn up() -> Input {
    Input::Health(Health::Up)
}

fn announced(timing: Timing, now: Instant) -> Gate {
    let mut gate = Gate::new(timing, Admin::Enabled, Ready::Yes);
    let at_once = gate.handle(now - timing.up_delay, up());
    assert_eq!(at_once.or_else(|| gate.handle_timeout(now)), Some(Action::Announce));
    gate
}

#[test]
fn bad_health_has_to_last_for_the_down_delay() {
    let start = Instant::now();
    let timing = Timing { up_delay: UP_DELAY, down_delay: DOWN_DELAY, ..Timing::default() };
    let mut gate = announced(timing, start);
    assert_eq!(gate.handle(start, down()), None);
    assert_eq!(gate.poll_timeout(), Some(start + DOWN_DELAY));
    let reason = gate.reason(start).to_string();
    assert_eq!(reason, "announced: it fails; down-delay ends in 3.0 s");
    let soon = start + DOWN_DELAY - Duration::from_millis(1);
    assert_eq!(gate.handle(soon, up()), None);
    assert_eq!(gate.poll_timeout(), None);
    assert_eq!(gate.handle(soon, down()), None, "the delay begins anew");
    assert_eq!(gate.handle_timeout(soon + DOWN_DELAY), Some(Action::Withdraw));
}

#[test]
fn nothing_but_bad_health_is_delayed() {
    let start = Instant::now();
    let timing = Timing { up_delay: UP_DELAY, down_delay: DOWN_DELAY, ..Timing::default() };
    let lost = Input::Ready(Ready::No("the dataplane is gone".into()));
    for input in [Input::Admin(Admin::Disabled), Input::Removed(true), Input::Stop, lost] {
        let mut gate = announced(timing, start);
        assert_eq!(gate.handle(start, input), Some(Action::Withdraw));
    }
}

#[test]
fn a_route_that_flaps_is_suppressed_and_comes_back() {
    let start = Instant::now();
    let timing = Timing { damping: Some(DAMPING), ..Timing::default() };
    let mut gate = announced(timing, start);
    for _ in 0..2 {
        assert_eq!(gate.handle(start, down()), Some(Action::Withdraw));
        gate.handle(start, Input::Flushed);
        assert_eq!(gate.handle(start, up()), Some(Action::Announce));
    }
    assert_eq!(gate.handle(start, down()), Some(Action::Withdraw), "withdrawn at once as ever");
    gate.handle(start, Input::Flushed);
    assert_eq!(gate.handle(start, up()), None);
    let reason = gate.reason(start).to_string();
    assert!(reason.contains("suppressed for 155.1 s (penalty 3000)"), "{reason}");
    let reuse = gate.poll_timeout().unwrap();
    assert_eq!(gate.handle_timeout(reuse - Duration::from_millis(1)), None);
    assert_eq!(gate.handle_timeout(reuse), Some(Action::Announce));
}

#[test]
fn what_the_administrator_does_is_no_flap() {
    let start = Instant::now();
    let timing = Timing { damping: Some(DAMPING), ..Timing::default() };
    let mut gate = announced(timing, start);
    for _ in 0..10 {
        let off = gate.handle(start, Input::Admin(Admin::Disabled));
        assert_eq!(off, Some(Action::Withdraw));
        gate.handle(start, Input::Flushed);
        let on = gate.handle(start, Input::Admin(Admin::Enabled));
        assert_eq!(on, Some(Action::Announce));
    }
}

#[test]
fn a_drained_route_stands_for_the_drain_time_and_then_goes() {
    let start = Instant::now();
    let timing = Timing { drain_time: MINUTE, damping: Some(DAMPING), ..Timing::default() };
    let mut gate = announced(timing, start);
    assert_eq!(gate.handle(start, Input::Admin(Admin::Drain)), Some(Action::Update));
    assert!(gate.is_draining());
    assert_eq!(gate.poll_timeout(), Some(start + MINUTE));
    let reason = gate.reason(start).to_string();
    assert_eq!(reason, "announced: drained by the administrator, to be withdrawn in 60.0 s");
    let half = start + MINUTE / 2;
    assert_eq!(gate.handle(half, Input::Admin(Admin::Drain)), None, "said twice is said once");
    assert_eq!(gate.handle(half, Input::Admin(Admin::Enabled)), Some(Action::Update));
    assert!(!gate.is_draining());
    assert_eq!(gate.poll_timeout(), None);
    assert_eq!(gate.handle(half, Input::Admin(Admin::Drain)), Some(Action::Update));
    assert_eq!(gate.handle_timeout(start + MINUTE), None, "it began anew");
    assert_eq!(gate.handle_timeout(half + MINUTE), Some(Action::Withdraw));
    gate.handle(half + MINUTE, Input::Flushed);
    assert_eq!(gate.handle_timeout(half + 10 * MINUTE), None);
    assert!(gate.holds_rings());
    let again = gate.handle(half + 10 * MINUTE, Input::Admin(Admin::Enabled));
    assert_eq!(again, Some(Action::Announce), "a drain is no flap");
}

#[test]
fn a_drained_route_whose_vip_fails_goes_at_once() {
    let start = Instant::now();
    let mut gate = announced(Timing { drain_time: MINUTE, ..Timing::default() }, start);
    gate.handle(start, Input::Admin(Admin::Drain));
    assert_eq!(gate.handle(start, down()), Some(Action::Withdraw));
    gate.handle(start, Input::Flushed);
    assert_eq!(gate.handle(start, up()), None, "it does not come back to be drained");
    assert_eq!(gate.handle_timeout(start + 10 * MINUTE), None);
}
