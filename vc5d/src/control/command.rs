//! What the control socket asks of the rest of the daemon, and what comes back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::question::Answers;
use super::reply::{Reply, code};
use crate::admin::Target;
use crate::snapshot::Snapshot;

/// The server's whole knowledge of the daemon: a picture to read, a queue for changes, and whom to ask for more.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The newest picture; the core replaces it after each change.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Commands that change something, for the core to take one by one.
    pub commands: mpsc::Sender<Request>,
    /// The dataplane.
    pub dataplane: Arc<dyn Answers>,
}

/// A command on its way to the core.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// Where the answer goes; nobody listens any more if the client has gone.
    pub reply: oneshot::Sender<Result<Outcome, Failure>>,
}

/// A command that changes the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `configure ["FILE"] [soft]`
    Configure {
        /// The file; without one, the file in use is read again.
        file: Option<PathBuf>,
        /// Leave routes that are there alone when only filters changed.
        soft: bool,
    },
    /// `configure check ["FILE"]`
    ConfigureCheck {
        /// The file; without one, the file in use.
        file: Option<PathBuf>,
    },
    /// `enable`, `disable`, `restart`
    Protocol {
        /// Which of the three.
        action: Action,
        /// Neighbours and VIPs meant.
        names: NamePattern,
        /// The administrator's words, at most 255 bytes (RFC 9003).
        message: Option<String>,
    },
    /// `drain`, `disable`, `enable` with a backend or a VIP
    Admin {
        /// Which of the three.
        action: AdminAction,
        /// What is meant.
        target: Target,
        /// After this time it ends by itself.
        lasts: Option<Duration>,
        /// The administrator's words, at most 255 bytes.
        reason: Option<String>,
    },
    /// `down`
    Down,
}

/// What to do with a backend or a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// No new flows.
    Drain,
    /// Out of use.
    Disable,
    /// As the configuration says.
    Enable,
}

/// What to do with a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Switch on.
    Enable,
    /// Switch off.
    Disable,
    /// Off and on.
    Restart,
}

/// Which protocols a command means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// `all`
    All,
    /// Exactly this one.
    Name(String),
    /// A shell pattern: `*` is any text, `?` any one character.
    Glob(String),
}

impl NamePattern {
    /// Whether `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => wanted == name,
            Self::Glob(pattern) => {
                let pattern: Vec<char> = pattern.chars().collect();
                let name: Vec<char> = name.chars().collect();
                glob(&pattern, &name)
            }
        }
    }
}

/// Matches without recursion into every `*`: only the last star ever needs to take more, so a hostile pattern
/// costs at most pattern times name.
fn glob(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(n) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some('?') => (p, n) = (p + 1, n + 1),
            Some(wanted) if wanted == c => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// A command was carried out: its lines for the client, in BIRD's codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    reply: Reply,
}

impl Outcome {
    /// An outcome of one line, such as `0007 Shutdown requested`.
    #[must_use]
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { reply: Reply::one(code, text) }
    }

    /// Appends a line; the last line ends the reply.
    #[must_use]
    pub fn then(mut self, code: u16, text: impl Into<String>) -> Self {
        self.reply.push(code, text);
        self
    }

    /// Appends the closing `0000`, as after a list of protocols.
    #[must_use]
    pub fn done(self) -> Self {
        Self { reply: self.reply.done() }
    }

    /// What the client gets.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        self.reply
    }
}

/// A command was refused, or broke off and left things as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    code: u16,
    text: String,
}

impl Failure {
    /// A failure with its code, 8000 to 9999; any other code becomes 8000, so that a client sees a failure.
    #[must_use]
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        let failed = (super::reply::FIRST_ERROR..=9999).contains(&code);
        Self { code: if failed { code } else { code::FAILED }, text: text.into() }
    }

    /// What the client gets.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        Reply::one(self.code, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let glob = |pattern: &str, name: &str| NamePattern::Glob(pattern.into()).matches(name);
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "tor1", true),
            ("tor?", "tor1", true),
            ("tor?", "tor12", false),
            ("tor?", "tor", false),
            ("*1", "tor1", true),
            ("*1*", "a1b1c", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "", true),
            ("", "x", false),
            ("tor1", "tor1", true),
        ] {
            assert_eq!(glob(pattern, name), expected, "{pattern} {name}");
        }
        assert!(NamePattern::All.matches("anything"));
        assert!(NamePattern::Name("a*".into()).matches("a*"));
        assert!(!NamePattern::Name("a*".into()).matches("ab"));
    }

    #[test]
    fn a_failure_never_looks_like_success() {
        assert_eq!(Failure::new(3, "x").into_reply().code(), code::FAILED);
        assert_eq!(Failure::new(8002, "x").into_reply().code(), code::CONFIG_ERROR);
    }
}
