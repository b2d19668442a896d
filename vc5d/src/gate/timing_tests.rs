//! Delays and damping, alone and in any order of events.

use std::time::{Duration, Instant};

use proptest::prelude::*;

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

#[derive(Clone, Debug)]
enum Step {
    Up,
    Down,
    Unknown,
    Lost(bool),
    Flushed,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Up),
        2 => Just(Step::Down),
        1 => Just(Step::Unknown),
        1 => any::<bool>().prop_map(Step::Lost),
        2 => Just(Step::Flushed),
        6 => (0u64..20_000).prop_map(Step::Wait),
    ]
}

/// The facts as a bystander sees them, and what the gate has made of them.
struct World {
    now: Instant,
    gate: Gate,
    /// Health and since when it has been good, or bad, without a break.
    good: bool,
    since: Instant,
    ready: bool,
    standing: bool,
    withdrawals: Vec<Instant>,
    suppressed: bool,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let timing = Timing {
            up_delay: UP_DELAY,
            down_delay: DOWN_DELAY,
            drain_time: Duration::ZERO,
            damping: Some(DAMPING),
            capacity: None,
        };
        Self {
            now,
            gate: Gate::new(timing, Admin::Enabled, Ready::Yes),
            good: false,
            since: now,
            ready: true,
            standing: false,
            withdrawals: Vec::new(),
            suppressed: false,
        }
    }

    fn health(&mut self, health: Health) {
        let good = health == Health::Up;
        if good != self.good {
            (self.good, self.since) = (good, self.now);
        }
        let action = self.gate.handle(self.now, Input::Health(health));
        self.check(action);
    }

    /// The penalty, worked out from all withdrawals there were.
    fn penalty(&self) -> f64 {
        let mut last = self.now;
        let mut figure = 0.0;
        for at in &self.withdrawals {
            figure = figure * half(*at, last) + 1000.0;
            figure = f64::min(figure, 500.0 * 16.0);
            last = *at;
        }
        figure * half(self.now, last)
    }

    fn check(&mut self, action: Option<Action>) {
        let lasted = self.now - self.since;
        if self.suppressed && self.penalty() <= 500.0 + 1e-3 {
            self.suppressed = false;
        }
        match action {
            Some(Action::Announce) => {
                assert!(!self.standing && self.good && self.ready);
                assert!(lasted >= UP_DELAY, "announced too early");
                assert!(!self.suppressed, "announced with a penalty of {}", self.penalty());
                self.standing = true;
            }
            Some(Action::Withdraw) => {
                assert!(self.standing);
                let bad = !self.good && lasted >= DOWN_DELAY;
                assert!(bad || !self.ready, "withdrawn while healthy");
                self.standing = false;
                self.withdrawals.push(self.now);
                self.suppressed |= self.penalty() > 2000.0;
            }
            Some(Action::Update) => panic!("nobody drains"),
            None => {}
        }
        let beyond = !self.good && lasted >= DOWN_DELAY;
        assert!(!self.standing || (self.ready && !beyond), "a route stands against the facts");
        let owed = self.good && self.ready && lasted >= UP_DELAY && !self.suppressed;
        let withdrawing = matches!(self.gate.state(), State::Withdrawing { .. });
        let reuse_is_near = self.penalty() > 500.0 - 1e-3 && !self.withdrawals.is_empty();
        assert!(self.standing || !owed || withdrawing || reuse_is_near, "a route is withheld");
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.gate.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let action = self.gate.handle_timeout(self.now);
            self.check(action);
        }
        self.now = end;
        let action = self.gate.handle_timeout(end);
        self.check(action);
    }
}

/// What is left of a penalty.
fn half(now: Instant, then: Instant) -> f64 {
    (-now.saturating_duration_since(then).as_secs_f64() / MINUTE.as_secs_f64()).exp2()
}

proptest! {
    /// In any order of events: no route stands while its VIP is unhealthy beyond the down-delay, none is withdrawn
    /// while it is healthy and the dataplane carries it, none is announced before the up-delay or while suppressed, and
    /// none is withheld once nothing speaks against it.
    #[test]
    fn delays_and_damping_hold_in_any_order(steps in proptest::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Up => world.health(Health::Up),
                Step::Down => world.health(Health::Down("down".into())),
                Step::Unknown => world.health(Health::Unknown),
                Step::Wait(ms) => world.wait(Duration::from_millis(ms)),
                Step::Flushed => {
                    let action = world.gate.handle(world.now, Input::Flushed);
                    world.check(action);
                }
                Step::Lost(lost) => {
                    world.ready = !lost;
                    let ready = if lost { Ready::No("lost".into()) } else { Ready::Yes };
                    let action = world.gate.handle(world.now, Input::Ready(ready));
                    world.check(action);
                }
            }
        }
        // However often it has flapped, good health brings it back.
        world.ready = true;
        let action = world.gate.handle(world.now, Input::Ready(Ready::Yes));
        world.check(action);
        world.health(Health::Up);
        world.wait(DAMPING.max_suppress + UP_DELAY + FLUSH_LIMIT);
        prop_assert!(world.standing);
    }
}
