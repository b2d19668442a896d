//! Why a VIP is or is not announced, in one line.

use std::fmt;
use std::time::Instant;

use super::{Admin, Gate, Health, Ready, State};

/// The answer to "why is it (not) announced".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Gate {
    /// Why the route stands where it does.
    pub fn reason(&self, now: Instant) -> Reason {
        let stand = match self.state {
            State::Announced => "announced",
            State::Withdrawing { .. } => "being withdrawn",
            State::Waiting { .. } | State::Down => "not announced",
        };
        Reason(format!("{stand}: {}", self.cause(now)))
    }

    /// What makes the route stand there.
    pub fn cause(&self, now: Instant) -> String {
        match self.state {
            State::Announced => self.standing(now),
            State::Waiting { since } => match &self.ready {
                Ready::No(why) => format!("healthy, but {why}"),
                Ready::Yes => self.waiting(since, now),
            },
            State::Withdrawing { .. } | State::Down => self.obstacle(),
        }
    }

    fn standing(&self, now: Instant) -> String {
        if let Some(at) = self.drained_at() {
            let left = at.saturating_duration_since(now).as_secs_f64();
            return format!("drained by the administrator, to be withdrawn in {left:.1} s");
        }
        match self.closes_at() {
            None => "every service is up".to_owned(),
            Some(at) => {
                let left = at.saturating_duration_since(now).as_secs_f64();
                format!("{}; down-delay ends in {left:.1} s", self.obstacle())
            }
        }
    }

    fn waiting(&self, since: Instant, now: Instant) -> String {
        let left = (since + self.timing.up_delay).saturating_duration_since(now).as_secs_f64();
        match self.damping.and_then(|damping| Some((damping, damping.suppressed_until(now)?))) {
            None => format!("healthy, up-delay ends in {left:.1} s"),
            Some((damping, until)) => format!(
                "healthy, but it came and went too often: suppressed for {:.1} s (penalty {:.0})",
                until.saturating_duration_since(now).as_secs_f64(),
                damping.figure(now)
            ),
        }
    }

    /// The first thing that speaks against the route.
    fn obstacle(&self) -> String {
        if self.stopping {
            return "the daemon is stopping".to_owned();
        }
        if self.removed {
            return "removed from the configuration".to_owned();
        }
        match self.admin {
            Admin::Disabled => return "disabled by the administrator".to_owned(),
            Admin::Drain => return "drained by the administrator".to_owned(),
            Admin::Enabled => {}
        }
        match (&self.health, &self.ready) {
            (Health::Down(why), _) => why.clone(),
            (Health::Unknown, _) => "no verdict on its backends yet".to_owned(),
            (Health::Up, Ready::No(why)) => why.clone(),
            (Health::Up, Ready::Yes) => "recovering".to_owned(),
        }
    }
}
