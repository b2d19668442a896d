//! Why probes cannot be set up. The outcome of a probe is never an error: see [`crate::Outcome`].

use std::net::IpAddr;

/// Why a set of probes cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value of the prober's configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// A probe holds a value that cannot be used.
    #[error("{probe}: {what}")]
    Invalid {
        /// The probe, as text.
        probe: String,
        /// What is wrong with it.
        what: String,
    },
    /// Two probes have the same key.
    #[error("probe {0} is given twice")]
    Duplicate(String),
    /// No interface has a subnet that holds the backend.
    #[error(
        "backend {backend} (VIP {vip}) is outside every connected subnet: give this host an \
         address in its subnet, or use probe = \"direct\""
    )]
    NotConnected {
        /// The backend.
        backend: IpAddr,
        /// A VIP that is probed on it.
        vip: IpAddr,
    },
    /// The VIP is an address of this host, so that a probe would never leave it.
    #[error(
        "VIP {vip} is an address of this host on {interface}, so probes cannot reach backend \
         {backend}: remove it from {interface}, or use probe = \"local\""
    )]
    VipIsLocal {
        /// The VIP.
        vip: IpAddr,
        /// The interface that holds it.
        interface: String,
        /// The first backend that is probed through it.
        backend: IpAddr,
    },
    /// The backend is an address of this host.
    #[error(
        "backend {backend} (VIP {vip}) is this host's own address on {interface}: use probe = \
         \"local\" or \"direct\""
    )]
    BackendIsLocal {
        /// The backend.
        backend: IpAddr,
        /// A VIP that is probed on it.
        vip: IpAddr,
        /// The interface that holds the address.
        interface: String,
    },
    /// VIP and backend are of different address families.
    #[error("backend {backend} cannot serve VIP {vip}: their address families differ")]
    FamilyMismatch {
        /// The backend.
        backend: IpAddr,
        /// The VIP.
        vip: IpAddr,
    },
    /// More backends than marks.
    #[error("{backends} backends are more than the {limit} that can be probed at once")]
    TooManyBackends {
        /// Different backend addresses in the set.
        backends: usize,
        /// How many are possible.
        limit: usize,
    },
    /// The process may not set marks, routes and rules.
    #[error(
        "no permission to install probe routes and rules: run as root or with CAP_NET_ADMIN, or \
         use probe = \"direct\""
    )]
    NoPermission,
    /// The kernel refused a request.
    #[error("cannot {action}: {source}")]
    Netlink {
        /// What was asked, naming the rule or route.
        action: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The prober has been shut down.
    #[error("the prober has been shut down")]
    Stopped,
}
