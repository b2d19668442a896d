//! Why a dataplane could not be started, asked or stopped.

use std::path::PathBuf;

/// An error of the dataplane. The text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No interface was named.
    #[error("no dataplane interface is configured; name at least one")]
    NoInterface,
    /// An interface does not exist.
    #[error("interface {0} does not exist, or is no Ethernet interface; `ip link` lists them")]
    UnknownInterface(String),
    /// The program could not be attached to an interface.
    #[error("interface {interface}: {reason}")]
    Attach {
        /// Name of the interface.
        interface: String,
        /// What the kernel said and what to do.
        reason: String,
    },
    /// The process may not use BPF.
    #[error(
        "no permission to load the XDP program: the process lacks {0}; run as root, or grant it \
         (systemd: AmbientCapabilities=)"
    )]
    Permission(String),
    /// The program or its maps could not be loaded.
    #[error("the XDP program could not be loaded: {0}")]
    Load(String),
    /// The object in this build and this code do not fit together.
    #[error("the XDP object is not of this release: {0}; rebuild it (make ebpf)")]
    Object(String),
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
    /// A question named something that the dataplane does not have.
    #[error("{0}")]
    NotFound(String),
    /// A question could not be answered.
    #[error("{0}")]
    Question(String),
    /// The dataplane's thread ended before its time.
    #[error("the dataplane thread has ended unexpectedly; see the log for the cause")]
    ThreadGone,
}

impl Error {
    pub(crate) fn io(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
