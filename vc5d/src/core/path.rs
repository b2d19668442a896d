//! This node's own path to a backend: while it is lost, what probes find says nothing about the backend.
//!
//! From the loss until the path is back and the learn time is over, the verdict stands as it was. Only good news is
//! taken meanwhile, once the path is back. What the loss means for the VIP is another question: with
//! `on-path-loss = "withdraw"` such a backend does not count for the gate, until a probe has passed again.

use std::time::{Duration, Instant};

use vc5_health::{ProbeEvent, Verdict};

/// Where the path to a backend stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Path {
    /// It is whole: probes tell of the backend.
    #[default]
    Whole,
    /// It is lost, for this reason.
    Lost(String),
    /// It is back: until the learn time is over bad news is not believed.
    Learning {
        /// Since when it is back.
        since: Instant,
        /// When bad news counts again.
        until: Instant,
        /// Why it was lost.
        was: String,
    },
}

impl Path {
    /// Takes note of whether it is lost now; true when that is new.
    pub(crate) fn set(
        &mut self,
        lost: Option<&String>,
        now: Instant,
        learn_time: Duration,
    ) -> bool {
        let next = match (lost, &*self) {
            (Some(cause), _) => Self::Lost(cause.clone()),
            (None, Self::Lost(was)) => {
                Self::Learning { since: now, until: now + learn_time, was: was.clone() }
            }
            (None, Self::Whole | Self::Learning { .. }) => return false,
        };
        let changed = next != *self;
        *self = next;
        changed
    }

    /// Whether what a probe found counts for the verdict.
    pub(crate) fn believes(&self, event: &ProbeEvent) -> bool {
        match self {
            Self::Whole => true,
            Self::Lost(_) => false,
            Self::Learning { .. } => event.outcome.ok && event.verdict == Verdict::Up,
        }
    }

    /// Whether a probe that ended then has passed this path since it came back.
    pub(crate) fn proven_at(&self, at: Instant) -> bool {
        match self {
            Self::Whole => true,
            Self::Lost(_) => false,
            Self::Learning { since, .. } => at >= *since,
        }
    }

    /// Whether a failed probe is the backend's own failure.
    pub(crate) fn blames(&self) -> bool {
        !matches!(self, Self::Lost(_))
    }

    /// When [`Path::timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Learning { until, .. } => Some(*until),
            Self::Whole | Self::Lost(_) => None,
        }
    }

    /// Lets time pass; true when the learn time is over.
    pub(crate) fn timeout(&mut self, now: Instant) -> bool {
        let over = self.poll_timeout().is_some_and(|until| until <= now);
        if over {
            *self = Self::Whole;
        }
        over
    }

    /// Its state in one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Lost(_) => "lost",
            Self::Learning { .. } => "back",
        }
    }

    /// Why the verdict is held, in words.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Lost(cause) => Some(format!("this node's own path to it is lost: {cause}")),
            Self::Learning { was, .. } => {
                Some(format!("this node's own path to it is just back; it was lost: {was}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEARN: Duration = Duration::from_secs(10);

    #[test]
    fn it_is_whole_again_a_learn_time_after_it_came_back() {
        let (mut path, start) = (Path::default(), Instant::now());
        let lost = "eth0 has no carrier".to_owned();
        assert!(!path.set(None, start, LEARN) && path == Path::Whole);
        assert!(path.set(Some(&lost), start, LEARN));
        assert!(!path.set(Some(&lost), start, LEARN), "it is not new");
        assert_eq!(path.poll_timeout(), None, "a loss lasts");
        assert!(path.set(None, start, LEARN));
        assert!(!path.set(None, start + LEARN / 2, LEARN), "the time runs on");
        assert!(!path.timeout(start + LEARN / 2));
        assert_eq!(path.poll_timeout(), Some(start + LEARN));
        assert!(path.timeout(start + LEARN) && path == Path::Whole);
    }

    #[test]
    fn a_loss_while_learning_begins_anew() {
        let (mut path, start) = (Path::default(), Instant::now());
        path.set(Some(&"down".to_owned()), start, LEARN);
        path.set(None, start, LEARN);
        assert!(path.set(Some(&"down".to_owned()), start + LEARN / 2, LEARN));
        assert!(!path.timeout(start + LEARN));
        assert!(path.set(None, start + LEARN, LEARN));
        assert_eq!(path.poll_timeout(), Some(start + LEARN * 2));
    }
}
