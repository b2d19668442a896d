//! The agent's input: a service says itself what state or weight a backend has, over a Unix socket or HTTP.
//!
//! [`line`] and [`json`] read what is said, [`desk`] keeps what stands and for how long; neither does input or output.
//! [`socket`] and [`http`] are the two doors, [`driver`] carries what they bring to the desk and from there to the
//! core. A report that is refused changes nothing, and costs neither the connection nor the reports before it.

mod desk;
mod driver;
mod http;
mod json;
mod line;
mod socket;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use driver::{Doors, serve};

use crate::signal::{PoolBackend, Report};

/// `[agent]`
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `socket`: path of the Unix socket; `None` for none.
    pub socket: Option<PathBuf>,
    /// `listen`: where HTTP is served; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// The first line of `token-file`: what an HTTP client has to know.
    pub token: Option<String>,
    /// `lifetime`: how long a report stands that does not say it itself; default 30 s.
    pub lifetime: Duration,
    /// `expired`: what a report is worth afterwards; default `ignore`.
    pub expired: Expired,
}

/// The token stays out of logs.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { socket, listen, token: _, lifetime, expired } = self;
        f.debug_struct("Settings")
            .field("socket", socket)
            .field("listen", listen)
            .field("lifetime", lifetime)
            .field("expired", expired)
            .finish_non_exhaustive()
    }
}

/// What a report is worth whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Nothing: the checks decide.
    Ignore,
    /// The backend is down until it reports again.
    Down,
}

/// The longest time that a report can stand.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Longest reason in bytes.
const MAX_REASON: usize = 255;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ask {
    at: PoolBackend,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Says something.
    Say {
        report: Report,
        /// For so long, instead of `lifetime`.
        lasts: Option<Duration>,
    },
    /// Takes back what it said.
    Clear,
    /// Wants to know what stands.
    Look,
}

/// Why a report was refused; the text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    /// It cannot be understood.
    #[error("{0}")]
    Bad(String),
    /// There is no such backend.
    #[error("backend: there is no {0} in the configuration")]
    Unknown(String),
    /// It has said nothing that still stands.
    #[error("no report on {0} stands")]
    Silent(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// What a client is answered.
type Answer = Result<Option<Standing>, Refused>;

/// A report that stands, and how long yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    report: Report,
    left: Duration,
}

fn name(at: &PoolBackend) -> String {
    format!("{}/{}", at.pool, at.address)
}

/// Keeps a reason to one printable line of bounded length.
fn reason(text: &str) -> Result<String, Refused> {
    if text.len() > MAX_REASON {
        return Err(Refused::Bad(format!("reason: longer than {MAX_REASON} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Refused::Bad("reason: has control characters".to_owned()));
    }
    Ok(text.to_owned())
}

/// Reads how long a report stands.
fn lasts(text: &str) -> Result<Duration, Refused> {
    let time = crate::config::duration(text);
    let valid = time.filter(|time| *time > Duration::ZERO && *time <= MAX_LIFETIME);
    valid.ok_or_else(|| Refused::Bad(format!("for: `{text}` is not a time such as 30s, up to 24h")))
}

/// Checks a weight.
fn weight(number: Option<u64>, text: &str) -> Result<u32, Refused> {
    let max = crate::signal::MAX_WEIGHT;
    let valid =
        number.and_then(|number| u32::try_from(number).ok()).filter(|w| (1..=max).contains(w));
    valid.ok_or_else(|| Refused::Bad(format!("weight: `{text}` is not a number from 1 to {max}")))
}
