//! What holds whatever happens in whatever order, under virtual time, as a bystander sees it who knows the facts and the
//! settings but nothing of the gate's own state.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const DAMPING: DampingSettings = DampingSettings {
    half_life: MINUTE,
    penalty: 1000,
    suppress: 2000,
    reuse: 500,
    max_suppress: Duration::from_secs(240),
};

const CAPACITY: CapacitySettings = CapacitySettings { step: 20, settle: Duration::from_secs(10) };

/// The settings between which a reload chooses.
fn settings(kind: usize) -> Timing {
    let seconds = |[up, down, drain]: [u32; 3]| Timing {
        up_delay: up * SECOND,
        down_delay: down * SECOND,
        drain_time: drain * SECOND,
        damping: Some(DAMPING),
        capacity: Some(CAPACITY),
    };
    match kind {
        0 => seconds([2, 3, 4]),
        1 => seconds([5, 0, 10]),
        2 => Timing { capacity: None, ..seconds([0, 1, 0]) },
        _ => Timing { damping: None, ..seconds([0, 0, 0]) },
    }
}

#[derive(Clone, Debug)]
enum Step {
    Health(Health),
    Level(u8),
    Ready(bool),
    Admin(Admin),
    Timing(usize),
    Removed(bool),
    Flushed,
    Wait(u64),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => Just(Step::Health(Health::Up)),
        15 => Just(Step::Health(Health::Down("down".into()))),
        5 => Just(Step::Health(Health::Unknown)),
        20 => (0u8..=10).prop_map(Step::Level),
        10 => Just(Step::Ready(true)),
        4 => Just(Step::Ready(false)),
        10 => Just(Step::Admin(Admin::Enabled)),
        4 => Just(Step::Admin(Admin::Drain)),
        2 => Just(Step::Admin(Admin::Disabled)),
        5 => (0usize..4).prop_map(Step::Timing),
        3 => Just(Step::Removed(false)),
        1 => Just(Step::Removed(true)),
        20 => Just(Step::Flushed),
        60 => (0u64..20_000).prop_map(Step::Wait),
        1 => Just(Step::Stop),
    ]
}

/// So many of ten backends.
fn of_ten(healthy: u8) -> Level {
    Level { weight: healthy.into(), full: 10, share: healthy * 10, marks: u8::from(healthy < 5) }
}

/// The facts, and what the gate has made of them.
struct Bystander {
    now: Instant,
    gate: Gate,
    timing: Timing,
    good: bool,
    /// Since when health has been good, or bad, without a break.
    since: Instant,
    ready: bool,
    admin: Admin,
    removed: bool,
    stopped: bool,
    /// When the route that stands began to be drained.
    draining: Option<Instant>,
    /// When the route began to stand, if it does.
    standing: Option<Instant>,
    /// Withdrawals that count for damping.
    flaps: Vec<Instant>,
    suppressed: bool,
    level: Level,
    /// Since when that is so, and routers are to be told.
    level_since: Instant,
    told: Level,
    told_at: Instant,
}

impl Bystander {
    fn new() -> Self {
        let now = Instant::now();
        let timing = settings(0);
        Self {
            now,
            gate: Gate::new(timing, Admin::Enabled, Ready::Yes),
            timing,
            good: false,
            since: now,
            ready: true,
            admin: Admin::Enabled,
            removed: false,
            stopped: false,
            draining: None,
            standing: None,
            flaps: Vec::new(),
            suppressed: false,
            level: Level::default(),
            level_since: now,
            told: Level::default(),
            told_at: now,
        }
    }

    /// The penalty, worked out from all flaps there were.
    fn penalty(&self) -> f64 {
        let left = |now: Instant, then: Instant| {
            let age = now.saturating_duration_since(then).as_secs_f64();
            (-age / MINUTE.as_secs_f64()).exp2()
        };
        let (mut figure, mut last) = (0.0, self.now);
        for at in &self.flaps {
            figure = f64::min(figure * left(*at, last) + 1000.0, 500.0 * 16.0);
            last = *at;
        }
        figure * left(self.now, last)
    }

    /// Somebody wants the route gone, however healthy the VIP is.
    fn unwanted(&self) -> bool {
        let off = match self.admin {
            Admin::Enabled => false,
            Admin::Drain => self.draining.is_none_or(|at| self.now >= at + self.timing.drain_time),
            Admin::Disabled => true,
        };
        off || self.removed || self.stopped
    }

    /// Health has been bad for longer than it may be.
    fn beyond(&self) -> bool {
        !self.good && self.now - self.since >= self.timing.down_delay
    }

    fn input(&mut self, input: Input) {
        match &input {
            Input::Health(health) => {
                let good = *health == Health::Up;
                if good != self.good {
                    (self.good, self.since) = (good, self.now);
                }
            }
            Input::Ready(ready) => self.ready = *ready == Ready::Yes,
            Input::Admin(admin) => {
                self.admin = *admin;
                let drains = *admin == Admin::Drain && self.standing.is_some();
                self.draining = drains.then(|| self.draining.unwrap_or(self.now));
            }
            Input::Timing(timing) => {
                if self.timing.capacity.is_none() {
                    self.level_since = self.now;
                }
                self.timing = *timing;
                if timing.damping.is_none() {
                    self.flaps.clear();
                    self.suppressed = false;
                }
            }
            Input::Removed(removed) => self.removed = *removed,
            Input::Stop => self.stopped = true,
            Input::Flushed => {}
        }
        let was_draining = self.gate.is_draining();
        let action = self.gate.handle(self.now, input);
        self.check(action, was_draining);
    }

    fn level(&mut self, level: Level) {
        if level != self.level {
            (self.level, self.level_since) = (level, self.now);
        }
        self.gate.set_level(self.now, level);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.gate.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let was_draining = self.gate.is_draining();
            let action = self.gate.handle_timeout(self.now);
            self.check(action, was_draining);
            assert!(self.gate.poll_timeout().is_none_or(|at| at > self.now), "it spins");
        }
        self.now = end;
    }

    fn check(&mut self, action: Option<Action>, was_draining: bool) {
        if self.suppressed && self.penalty() <= 500.0 + 1e-3 {
            self.suppressed = false;
        }
        match action {
            Some(Action::Announce) => self.announced(),
            Some(Action::Withdraw) => self.withdrawn(),
            Some(Action::Update) => self.updated(was_draining),
            None => assert_eq!(self.gate.told(), self.told, "told without an update"),
        }
        let may_stand = self.ready && !self.beyond() && !self.unwanted();
        assert!(self.standing.is_none() || may_stand, "a route stands against the facts");
        assert_eq!(self.standing.is_some(), self.gate.state() == State::Announced);
        assert_eq!(self.gate.is_draining(), self.draining.is_some());
        assert!(self.standing.is_none() || self.gate.holds_rings());
        self.owed();
    }

    fn announced(&mut self) {
        assert!(self.standing.is_none(), "announced twice");
        assert!(self.good && self.now - self.since >= self.timing.up_delay, "too early");
        assert!(self.ready && !self.unwanted() && self.admin == Admin::Enabled);
        assert!(!self.suppressed, "faster than damping allows, penalty {}", self.penalty());
        assert_eq!(self.gate.told(), self.level, "it goes out with what is true");
        self.standing = Some(self.now);
        (self.told, self.told_at) = (self.level, self.now);
    }

    fn withdrawn(&mut self) {
        assert!(self.standing.is_some());
        assert!(self.beyond() || !self.ready || self.unwanted(), "withdrawn while healthy");
        assert!(self.gate.holds_rings());
        if !self.unwanted() && self.timing.damping.is_some() {
            self.flaps.push(self.now);
            self.suppressed |= self.penalty() > 2000.0;
        }
        (self.standing, self.draining) = (None, None);
    }

    fn updated(&mut self, was_draining: bool) {
        assert!(self.standing.is_some());
        let told = self.gate.told();
        assert!(told != self.told || was_draining != self.gate.is_draining(), "nothing is new");
        if told == self.told {
            return;
        }
        let settle = self.timing.capacity.expect("routers are told").settle;
        assert!(self.now - self.told_at >= settle, "two changes so soon");
        let apart = told.share.abs_diff(self.told.share);
        assert!(apart >= 20 || told.marks > self.told.marks || told.share == 100, "{apart} %");
        assert!(told.share <= self.level.share, "more than is true");
        assert!(told.share > 0);
        (self.told, self.told_at) = (told, self.now);
    }

    /// What is due by now must have been done.
    fn owed(&self) {
        let withdrawing = matches!(self.gate.state(), State::Withdrawing { .. });
        let reuse_is_near = self.penalty() > 500.0 - 1e-3 && !self.flaps.is_empty();
        let healthy = self.good && self.now - self.since >= self.timing.up_delay;
        let wanted = self.admin == Admin::Enabled && !self.unwanted() && self.ready;
        let owed = healthy && wanted && !self.suppressed && !withdrawing && !reuse_is_near;
        assert!(self.standing.is_some() || !owed, "a route is withheld");
        let Some((settings, since)) = self.timing.capacity.zip(self.standing) else { return };
        let quiet = self.now - self.level_since.max(self.told_at).max(since);
        let apart = self.level.share.abs_diff(self.told.share);
        let worth = self.level.weight > 0 && (apart >= settings.step || self.level.share == 100);
        // Up to two settle times: the least of the first one, then the rest.
        let stale = worth && self.level != self.told && quiet > 2 * settings.settle;
        assert!(!stale, "routers are told {:?} of {:?}", self.told, self.level);
    }
}

proptest! {
    /// In any order of events, whatever is reloaded meanwhile: no route stands while its VIP is unhealthy beyond the
    /// down-delay, or against the dataplane or the administrator; none is withdrawn without such a cause; none is
    /// announced before the up-delay or while it is suppressed, and none is withheld once nothing speaks against it.
    /// What routers are told of the capacity changes in steps, no more often than once in a settle time, is never more
    /// than is true, and follows in the end.
    #[test]
    fn the_route_follows_the_facts_in_any_order(
        steps in proptest::collection::vec(step(), 1..300)
    ) {
        let mut world = Bystander::new();
        for step in steps {
            match step {
                Step::Health(health) => world.input(Input::Health(health)),
                Step::Level(healthy) => world.level(of_ten(healthy)),
                Step::Ready(true) => world.input(Input::Ready(Ready::Yes)),
                Step::Ready(false) => world.input(Input::Ready(Ready::No("lost".into()))),
                Step::Admin(admin) => world.input(Input::Admin(admin)),
                Step::Timing(kind) => world.input(Input::Timing(settings(kind))),
                Step::Removed(removed) => world.input(Input::Removed(removed)),
                Step::Flushed => world.input(Input::Flushed),
                Step::Wait(ms) => world.wait(Duration::from_millis(ms)),
                Step::Stop => world.input(Input::Stop),
            }
        }
        // However it has been treated, good facts bring it back, unless the daemon stops.
        world.level(of_ten(10));
        world.input(Input::Removed(false));
        world.input(Input::Ready(Ready::Yes));
        world.input(Input::Admin(Admin::Enabled));
        world.input(Input::Health(Health::Up));
        world.wait(DAMPING.max_suppress + 10 * SECOND);
        world.input(Input::Flushed);
        prop_assert_eq!(world.standing.is_some(), !world.stopped);
    }
}
