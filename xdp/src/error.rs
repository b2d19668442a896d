//! Why a dataplane could not be started or stopped.

use std::path::PathBuf;

/// An error of the dataplane. The text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No interface was named.
    #[error("no dataplane interface is configured; name at least one")]
    NoInterface,
    /// An interface does not exist.
    #[error("interface {0} does not exist; see `ip link` for those that do")]
    UnknownInterface(String),
    /// The path for pins is not usable.
    #[error("pin path {path}: {reason}", path = path.display())]
    PinPath {
        /// The path configured.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The kernel could not be asked or told something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the kernel answered.
        source: std::io::Error,
    },
    /// The dataplane's thread ended before its time.
    #[error("the dataplane thread has ended unexpectedly; see the log for the cause")]
    ThreadGone,
}
