//! What tells the state of a backend besides its probes: reports of services and files, traffic, and whether this
//! node's own path to it stands.
//!
//! Each source is a pure machine with a thin driver; what they find out goes to the core as [`Signal`]s.

pub mod file;
pub mod passive;
pub mod path;
mod report;

use std::fmt;
use std::net::IpAddr;

pub use report::{MAX_WEIGHT, Report, Source, Stand};

/// A backend of a pool, in all services that use the pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolBackend {
    /// `[pool.NAME]`
    pub pool: String,
    /// Its address.
    pub address: IpAddr,
}

/// A backend of one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceBackend {
    /// The VIP's address.
    pub vip: IpAddr,
    /// `80/tcp`
    pub service: String,
    /// The backend's address.
    pub backend: IpAddr,
}

/// Something new about a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// What a source says of it; `None`: nothing any more.
    Report {
        /// The backend.
        at: PoolBackend,
        /// Who says it.
        source: Source,
        /// What it says.
        report: Option<Report>,
    },
    /// Its traffic says that it fails, and why; `None`: not any more.
    Traffic {
        /// The backend.
        at: ServiceBackend,
        /// Why it is to be left out.
        failing: Option<String>,
    },
    /// This node's own path to it is lost, and why; `None`: it stands.
    Path {
        /// The backend.
        at: PoolBackend,
        /// Why.
        lost: Option<String>,
    },
}

/// As it is logged.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Report { at, source, report: Some(report) } => {
                write!(f, "{}/{}: {source} says {report}", at.pool, at.address)
            }
            Self::Report { at, source, report: None } => {
                write!(f, "{}/{}: {source} says nothing any more", at.pool, at.address)
            }
            Self::Traffic { at, failing } => {
                let ServiceBackend { vip, service, backend } = at;
                let why = failing.as_deref().unwrap_or("given another chance");
                write!(f, "{backend} of {vip} {service}: {why}")
            }
            Self::Path { at, lost } => {
                let why = lost.as_deref().unwrap_or("back");
                write!(f, "the path to {}/{}: {why}", at.pool, at.address)
            }
        }
    }
}
