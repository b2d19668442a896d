//! Health probes, rise/fall verdicts and the aggregation from backend to service to VIP.
//!
//! A probe is addressed to the VIP but must reach one chosen backend. This crate gets it there with
//! ordinary sockets: each backend has a firewall mark, and policy routing sends a marked packet for
//! the VIP to that backend ([`path`]). Nothing is translated, so the probe travels the way a
//! client's packet does after the balancer, and a backend that lacks the VIP fails.
//!
//! | module | is |
//! |---|---|
//! | [`check`] | what to probe, how often, and by which path |
//! | [`verdict`] | outcomes to `Up` and `Down` by rise, fall and window (sans-IO) |
//! | [`schedule`] | when each probe starts (sans-IO) |
//! | [`aggregate`] | checks to backend to service to VIP (pure) |
//! | [`probe`] | one probe of any kind over one fresh socket |
//! | [`path`] | marks, rules and routes that lead a probe to its backend |
//! | [`prober`] | the driver that joins them: the public handle |

pub mod aggregate;
pub mod check;
pub mod error;
pub mod path;
pub mod probe;
pub mod prober;
pub mod schedule;
mod share;
pub mod verdict;

pub use aggregate::Join;
pub use check::{
    Check, CheckKind, DnsCheck, ExecCheck, GrpcCheck, HttpCheck, HttpVersion, IcmpCheck, Identity,
    Pattern, Probe, ProbeKey, ProbePath, Tls, TlsSettings, UdpCheck, Verify,
};
pub use error::Error;
pub use path::{Report, check_paths};
pub use probe::Outcome;
pub use prober::{Delays, ProbeEvent, Prober, ProberConfig, ProberStats, cleanup};
pub use verdict::{Rule, Verdict};
