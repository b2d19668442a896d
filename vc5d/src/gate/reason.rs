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
            State::Announced => "every service is up".to_owned(),
            State::Waiting { since } => match &self.ready {
                Ready::No(why) => format!("healthy, but {why}"),
                Ready::Yes => {
                    let left = (since + self.up_delay).saturating_duration_since(now);
                    format!("healthy, up-delay ends in {:.1} s", left.as_secs_f64())
                }
            },
            State::Withdrawing { .. } | State::Down => self.obstacle(),
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
