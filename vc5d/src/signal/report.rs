//! What is said of a backend from outside.

use std::fmt;

use serde::Serialize;

/// The largest weight, as in the configuration.
pub const MAX_WEIGHT: u32 = 1000;

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The service itself, by the agent's socket or over HTTP.
    Agent,
    /// The pool's `state-file`.
    StateFile,
    /// The kernel: the backend does not answer on the link.
    Neighbour,
    /// The packets that clients send to it.
    Traffic,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::StateFile => "state file",
            Self::Neighbour => "neighbour",
            Self::Traffic => "traffic",
        })
    }
}

/// What a report makes of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stand {
    /// Nothing speaks against it; its checks decide.
    Up,
    /// No new flows, existing ones go on.
    Drain,
    /// Down, whatever its checks find.
    Down,
}

impl Stand {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Drain => "drain",
            Self::Down => "down",
        }
    }
}

/// What is said of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its state.
    pub stand: Stand,
    /// A weight in place of the configured one, 1 to [`MAX_WEIGHT`].
    pub weight: Option<u32>,
    /// Why.
    pub reason: Option<String>,
}

impl Report {
    /// It is down, for this reason.
    #[must_use]
    pub fn down(reason: String) -> Self {
        Self { stand: Stand::Down, weight: None, reason: Some(reason) }
    }
}

/// `up, weight 50: warming up`
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stand.word())?;
        if let Some(weight) = self.weight {
            write!(f, ", weight {weight}")?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}
