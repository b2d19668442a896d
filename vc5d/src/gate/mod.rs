//! The gate of one VIP address: whether its route stands, as a pure machine.
//!
//! It knows no BGP, no probes and no dataplane: what it is told is health, the administrator's word, whether the
//! dataplane has the VIP's rings in place, and whether a withdrawal has reached the wire. Two rules are kept here and
//! nowhere else: nothing is announced before the dataplane has acknowledged its rings, and a ring may be emptied only
//! after its route is withdrawn (on the wire of every Established neighbour, or [`FLUSH_LIMIT`] later, so that a stuck
//! neighbour cannot hold a ring).

mod capacity;
mod damping;
#[cfg(test)]
mod properties;
mod reason;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timing_tests;

use std::time::{Duration, Instant};

use capacity::Capacity;
pub use capacity::{Level, Settings as CapacitySettings};
use damping::Damping;
pub use damping::Settings as DampingSettings;
pub use reason::Reason;

/// How long a withdrawal may take to reach the wire before it counts as done.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Health of a VIP: all its gating services taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Some service is undecided and none is down.
    Unknown,
    /// Every service is up.
    Up,
    /// A service is down; the text says which and why.
    Down(String),
}

/// The administrator's word on a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Health decides.
    Enabled,
    /// Withdrawn, while what still arrives is forwarded.
    Drain,
    /// Withdrawn.
    Disabled,
}

/// Whether the dataplane can carry the VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Acknowledged: every service has a ring with a backend in it.
    Yes,
    /// Not, for this reason.
    No(String),
}

/// How fast a route follows the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// How long the VIP has to be healthy without a break before it is announced.
    pub up_delay: Duration,
    /// How long it may be unhealthy without a break before it is withdrawn.
    pub down_delay: Duration,
    /// How long a drained route stands with GRACEFUL_SHUTDOWN before it is withdrawn (RFC 8326).
    pub drain_time: Duration,
    /// What becomes of a route that comes and goes; `None`: nothing.
    pub damping: Option<DampingSettings>,
    /// How the capacity that routers are told follows the healthy one; `None`: they are told none.
    pub capacity: Option<CapacitySettings>,
}

/// What can happen to a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The services' state changed.
    Health(Health),
    /// The administrator changed his mind.
    Admin(Admin),
    /// The dataplane said something about the VIP.
    Ready(Ready),
    /// The last withdrawal is on the wire of every Established neighbour.
    Flushed,
    /// Delays or damping were changed.
    Timing(Timing),
    /// The VIP went from the configuration, or came back to it before it was gone.
    Removed(bool),
    /// The daemon stops: withdraw and stay withdrawn.
    Stop,
}

/// What must be done to the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Announce it.
    Announce,
    /// It stands, and goes on standing: announce it anew, as [`Gate::is_draining`] and [`Gate::told`] say.
    Update,
    /// Withdraw it, before anything else that the same event causes.
    Withdraw,
}

/// Where the route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not announced, and nothing speaks for it.
    Down,
    /// Healthy since `since`; announced once `up-delay` is over and the dataplane is ready.
    Waiting {
        /// Since when it has been healthy without a break.
        since: Instant,
    },
    /// Announced.
    Announced,
    /// Withdrawn; counts as on the wire at `until` at the latest.
    Withdrawing {
        /// The limit.
        until: Instant,
    },
}

/// The gate of one VIP address.
#[derive(Clone, Debug)]
pub struct Gate {
    state: State,
    health: Health,
    /// Healthy without a break since then; survives a withdrawal for another cause.
    healthy_since: Option<Instant>,
    admin: Admin,
    ready: Ready,
    /// Not healthy without a break since then.
    unhealthy_since: Option<Instant>,
    timing: Timing,
    damping: Option<Damping>,
    /// When the route that stands began to be drained.
    draining_since: Option<Instant>,
    /// Routers have been told that it is.
    told_draining: bool,
    capacity: Capacity,
    flaps: u64,
    removed: bool,
    stopping: bool,
}

impl Gate {
    /// A new gate is down.
    pub fn new(timing: Timing, admin: Admin, ready: Ready) -> Self {
        Self {
            state: State::Down,
            health: Health::Unknown,
            healthy_since: None,
            admin,
            ready,
            unhealthy_since: None,
            timing,
            damping: None,
            draining_since: None,
            told_draining: false,
            capacity: Capacity::new(timing.capacity),
            flaps: 0,
            removed: false,
            stopping: false,
        }
    }

    /// Where the route stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The administrator's word as the gate holds it.
    pub fn admin(&self) -> Admin {
        self.admin
    }

    /// The route stands, but routers shall prefer others: it is going to be withdrawn.
    pub fn is_draining(&self) -> bool {
        self.state == State::Announced && self.draining_since.is_some()
    }

    /// Health as the gate holds it.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What the dataplane said last, as the gate holds it.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// True while routers may still send to this node: no ring of the VIP may be emptied.
    pub fn holds_rings(&self) -> bool {
        matches!(self.state, State::Announced | State::Withdrawing { .. })
            || (self.admin == Admin::Drain && !self.removed && !self.stopping)
    }

    /// Whether the VIP works as far as its services and the administrator go, whatever the route's waits and the
    /// dataplane say: whoever asks the address itself (ICMP echo) may be told so.
    pub fn speaks_for_the_vip(&self) -> bool {
        let off = self.admin == Admin::Disabled || self.removed || self.stopping;
        !off && self.healthy_since.is_some()
    }

    /// Takes an input; says what must be done to the route.
    pub fn handle(&mut self, now: Instant, input: Input) -> Option<Action> {
        self.prepare(now, input);
        self.act(now)
    }

    /// Takes an input of an event that has more of them. What follows comes with the last one, so that nothing is
    /// concluded from half of the facts.
    pub fn prepare(&mut self, now: Instant, input: Input) {
        match input {
            Input::Health(health) => {
                (self.healthy_since, self.unhealthy_since) = match health {
                    Health::Up => (self.healthy_since.or(Some(now)), None),
                    Health::Unknown | Health::Down(_) => (None, self.unhealthy_since.or(Some(now))),
                };
                self.health = health;
            }
            Input::Admin(admin) => self.set_admin(now, admin),
            Input::Ready(ready) => self.ready = ready,
            Input::Timing(timing) => self.set_timing(now, timing),
            Input::Removed(removed) => self.removed = removed,
            Input::Stop => self.stopping = true,
            Input::Flushed => {
                if matches!(self.state, State::Withdrawing { .. }) {
                    self.state = State::Down;
                }
            }
        }
    }

    /// How much of the VIP is healthy. What follows comes with the next input, as with [`Gate::prepare`].
    pub fn set_level(&mut self, now: Instant, level: Level) {
        self.capacity.update(now, level);
    }

    /// How much of the VIP is healthy.
    pub fn level(&self) -> Level {
        self.capacity.level()
    }

    /// How much of the VIP routers are told of, while the route stands.
    pub fn told(&self) -> Level {
        self.capacity.told()
    }

    /// When routers are told of another part, if nothing else happens until then.
    pub fn told_again(&self) -> Option<Instant> {
        self.capacity.due().filter(|_| self.state == State::Announced)
    }

    /// How flaps are damped.
    pub fn damping(&self) -> Option<DampingSettings> {
        self.timing.damping
    }

    /// Withdrawals so far that nobody asked for.
    pub fn flaps(&self) -> u64 {
        self.flaps
    }

    /// The penalty of flap damping; 0 without.
    pub fn penalty(&self, now: Instant) -> f64 {
        self.damping.map_or(0.0, |damping| damping.figure(now))
    }

    /// Until when flap damping keeps the route from being announced, if it does.
    pub fn suppressed_until(&self, now: Instant) -> Option<Instant> {
        self.damping?.suppressed_until(now)
    }

    /// What follows from what is known now.
    fn act(&mut self, now: Instant) -> Option<Action> {
        let action = self.settle(now);
        let draining = self.is_draining();
        let drained = std::mem::replace(&mut self.told_draining, draining);
        if action == Some(Action::Announce) {
            self.capacity.start(now);
        }
        if action.is_some() || self.state != State::Announced {
            return action;
        }
        let told = self.capacity.settle(now);
        (told || draining != drained).then_some(Action::Update)
    }

    /// When [`Gate::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            // A gate that waits for the dataplane alone is woken by the dataplane.
            State::Waiting { since } if self.ready == Ready::Yes => Some(self.opens_at(since)),
            State::Withdrawing { until } => Some(until),
            State::Announced => {
                let due = [self.closes_at(), self.drained_at(), self.capacity.due()];
                due.into_iter().flatten().min()
            }
            State::Waiting { .. } | State::Down => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        if let State::Withdrawing { until } = self.state
            && now >= until
        {
            self.state = State::Down;
        }
        self.act(now)
    }

    /// The state that follows from what is known now.
    fn settle(&mut self, now: Instant) -> Option<Action> {
        let wanted_since = self.wanted_since(now);
        match (self.state, wanted_since) {
            (State::Down, Some(since)) => {
                self.state = State::Waiting { since };
                self.settle(now)
            }
            (State::Waiting { since }, Some(_)) => {
                let open = self.ready == Ready::Yes && now >= self.opens_at(since);
                open.then(|| {
                    self.state = State::Announced;
                    Action::Announce
                })
            }
            (State::Waiting { .. }, None) => {
                self.state = State::Down;
                None
            }
            (State::Announced, _) if self.holds(now) => None,
            (State::Announced, _) => {
                self.note_flap(now);
                self.draining_since = None;
                self.state = State::Withdrawing { until: now + FLUSH_LIMIT };
                Some(Action::Withdraw)
            }
            // A withdrawal is finished before anything new begins: up-delay is never shorter than the truth.
            (State::Withdrawing { .. }, _) | (State::Down, None) => None,
        }
    }

    /// Since when everything but the dataplane has spoken for the route, if it does.
    fn wanted_since(&self, now: Instant) -> Option<Instant> {
        if self.unwanted(now) { None } else { self.healthy_since }
    }

    /// Somebody wants the route gone, however healthy the VIP is.
    fn unwanted(&self, now: Instant) -> bool {
        let off = match self.admin {
            Admin::Enabled => false,
            Admin::Drain => self.drained_at().is_none_or(|at| now >= at),
            Admin::Disabled => true,
        };
        self.stopping || self.removed || off
    }

    /// When a route that is being drained has stood for long enough.
    fn drained_at(&self) -> Option<Instant> {
        self.draining_since.map(|since| since + self.timing.drain_time)
    }

    fn set_admin(&mut self, now: Instant, admin: Admin) {
        let drains = admin == Admin::Drain && self.state == State::Announced;
        self.draining_since = drains.then(|| self.draining_since.unwrap_or(now));
        self.admin = admin;
    }

    /// Whether a route that stands goes on standing. Only failing health has to last for `down-delay`.
    fn holds(&self, now: Instant) -> bool {
        let closed = self.closes_at().is_some_and(|at| now >= at);
        !self.unwanted(now) && self.ready == Ready::Yes && !closed
    }

    /// When a VIP that has been healthy since then may be announced, as far as time goes.
    fn opens_at(&self, since: Instant) -> Instant {
        let suppressed = self.damping.and_then(|damping| damping.suppressed_until(since));
        (since + self.timing.up_delay).max(suppressed.unwrap_or(since))
    }

    /// When bad health will have lasted for `down-delay`.
    fn closes_at(&self) -> Option<Instant> {
        self.unhealthy_since.map(|since| since + self.timing.down_delay)
    }

    fn set_timing(&mut self, now: Instant, timing: Timing) {
        self.timing = timing;
        self.capacity.set(timing.capacity, now);
        match (&mut self.damping, timing.damping) {
            (Some(damping), Some(settings)) => damping.set(settings, now),
            (damping, None) => *damping = None,
            (None, Some(_)) => {}
        }
    }

    /// Counts a withdrawal that nobody asked for.
    fn note_flap(&mut self, now: Instant) {
        if self.unwanted(now) {
            return;
        }
        self.flaps += 1;
        if let Some(settings) = self.timing.damping {
            self.damping.get_or_insert_with(|| Damping::new(settings, now)).flap(now);
        }
    }
}
