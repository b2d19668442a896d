use std::time::{Duration, Instant};

use super::*;

const DELAY: Duration = Duration::from_secs(5);

fn gate() -> Gate {
    let timing = Timing { up_delay: DELAY, ..Timing::default() };
    Gate::new(timing, Admin::Enabled, Ready::No("rings not in place".into()))
}

fn announced(start: Instant) -> Gate {
    let mut gate = gate();
    assert_eq!(gate.handle(start, Input::Health(Health::Up)), None);
    assert_eq!(gate.handle(start, Input::Ready(Ready::Yes)), None);
    assert_eq!(gate.handle_timeout(start + DELAY), Some(Action::Announce));
    gate
}

#[test]
fn announces_after_the_delay_once_ready() {
    let start = Instant::now();
    let mut gate = gate();
    assert_eq!(gate.handle(start, Input::Health(Health::Up)), None);
    assert_eq!(gate.poll_timeout(), None, "only the dataplane can wake it");
    assert_eq!(gate.handle(start, Input::Ready(Ready::Yes)), None);
    assert_eq!(gate.poll_timeout(), Some(start + DELAY));
    assert_eq!(gate.handle_timeout(start + DELAY - Duration::from_millis(1)), None);
    assert_eq!(gate.handle_timeout(start + DELAY), Some(Action::Announce));
    assert_eq!(gate.state(), State::Announced);
}

#[test]
fn waits_for_the_dataplane_past_the_delay() {
    let start = Instant::now();
    let mut gate = gate();
    gate.handle(start, Input::Health(Health::Up));
    assert_eq!(gate.handle_timeout(start + 2 * DELAY), None);
    assert_eq!(gate.handle(start + 2 * DELAY, Input::Ready(Ready::Yes)), Some(Action::Announce));
}

#[test]
fn a_break_in_health_starts_the_delay_anew() {
    let start = Instant::now();
    let mut gate = gate();
    gate.handle(start, Input::Ready(Ready::Yes));
    gate.handle(start, Input::Health(Health::Up));
    gate.handle(start + Duration::from_secs(3), Input::Health(Health::Down("x".into())));
    gate.handle(start + Duration::from_secs(4), Input::Health(Health::Up));
    assert_eq!(gate.handle_timeout(start + DELAY), None);
    assert_eq!(gate.handle_timeout(start + Duration::from_secs(9)), Some(Action::Announce));
}

#[test]
fn withdraws_at_once_and_holds_the_rings_until_flushed() {
    let start = Instant::now();
    let mut gate = announced(start);
    let later = start + Duration::from_secs(60);
    assert_eq!(
        gate.handle(later, Input::Health(Health::Down("80/tcp is down".into()))),
        Some(Action::Withdraw)
    );
    assert!(gate.holds_rings());
    assert_eq!(gate.reason(later).as_str(), "being withdrawn: 80/tcp is down");
    assert_eq!(gate.handle(later, Input::Flushed), None);
    assert!(!gate.holds_rings());
    assert_eq!(gate.reason(later).as_str(), "not announced: 80/tcp is down");
}

#[test]
fn a_stuck_neighbour_holds_the_rings_for_one_second_at_most() {
    let start = Instant::now();
    let mut gate = announced(start);
    let later = start + Duration::from_secs(60);
    gate.handle(later, Input::Health(Health::Down("x".into())));
    assert_eq!(gate.poll_timeout(), Some(later + FLUSH_LIMIT));
    gate.handle_timeout(later + FLUSH_LIMIT);
    assert_eq!(gate.state(), State::Down);
    assert!(!gate.holds_rings());
}

#[test]
fn a_recovery_during_the_withdrawal_waits_its_turn() {
    let start = Instant::now();
    let mut gate = announced(start);
    let later = start + Duration::from_secs(60);
    gate.handle(later, Input::Health(Health::Down("x".into())));
    assert_eq!(gate.handle(later, Input::Health(Health::Up)), None);
    assert_eq!(gate.handle(later, Input::Flushed), None);
    assert_eq!(gate.state(), State::Waiting { since: later });
    assert_eq!(gate.handle_timeout(later + DELAY), Some(Action::Announce));
}

#[test]
fn a_lost_dataplane_withdraws() {
    let start = Instant::now();
    let mut gate = announced(start);
    let lost = Input::Ready(Ready::No("the program on eth0 is detached".into()));
    assert_eq!(gate.handle(start + 2 * DELAY, lost), Some(Action::Withdraw));
    assert_eq!(
        gate.reason(start + 2 * DELAY).as_str(),
        "being withdrawn: the program on eth0 is detached"
    );
}

#[test]
fn the_administrator_and_the_stop_withdraw() {
    let start = Instant::now();
    for input in [Input::Admin(Admin::Disabled), Input::Admin(Admin::Drain), Input::Stop] {
        let mut gate = announced(start);
        assert_eq!(gate.handle(start + 2 * DELAY, input), Some(Action::Withdraw));
        gate.handle(start + 2 * DELAY, Input::Flushed);
        assert_eq!(gate.handle_timeout(start + 20 * DELAY), None);
    }
}

#[test]
fn a_removed_vip_that_comes_back_in_time_is_announced_again() {
    let start = Instant::now();
    let mut gate = announced(start);
    let later = start + 2 * DELAY;
    assert_eq!(gate.handle(later, Input::Removed(true)), Some(Action::Withdraw));
    assert_eq!(gate.reason(later).as_str(), "being withdrawn: removed from the configuration");
    assert_eq!(gate.handle(later, Input::Removed(false)), None);
    assert_eq!(gate.handle(later, Input::Flushed), Some(Action::Announce));
}

#[test]
fn a_drained_vip_keeps_its_rings() {
    let start = Instant::now();
    let mut gate = announced(start);
    gate.handle(start + 2 * DELAY, Input::Admin(Admin::Drain));
    gate.handle(start + 2 * DELAY, Input::Flushed);
    assert!(gate.holds_rings());
    assert_eq!(
        gate.handle(start + 3 * DELAY, Input::Admin(Admin::Enabled)),
        Some(Action::Announce)
    );
}
