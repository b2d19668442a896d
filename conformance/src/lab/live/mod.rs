//! Live traffic through a dataplane that is changed meanwhile: many connections at once, every frame stamped, and a
//! ledger of where each may arrive.
//!
//! ```text
//!   wire: g0 --- e0 :lb     clients send by g0 and g1, and all backends are behind them:
//!         g1 --- e1         a backend is a MAC address, and what the balancer sends to it is read there
//! ```
//! One thread sends and reads ([`Machine`]). It never has more frames under way than the queues on their way hold, so
//! a frame that does not arrive was lost by the dataplane.

pub mod frame;
mod ledger;
mod machine;
pub mod owner;
mod packet;
mod report;
mod rng;
mod wire;

pub use self::ledger::{Backend, Ledger, MacRule, Standing, VlanRule};
pub use self::machine::{Machine, Pace};
pub use self::report::{Report, Violation};
pub use self::rng::Rng;
pub use self::wire::Wire;
pub use super::netns::Entry;

use std::net::IpAddr;

/// The transport of a service's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SYN, ACK, data, FIN; then the 5-tuple is used again.
    Tcp,
    /// Datagrams; the 5-tuple is one flow as long as its service is there.
    Udp,
}

/// A service that connections are played to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The VIP.
    pub vip: IpAddr,
    /// Ports of which connections take one, the first and the last.
    pub ports: (u16, u16),
    /// Transport.
    pub transport: Transport,
    /// TTL or hop limit that its packets have when they reach a backend.
    pub ttl: u8,
    /// Number of connections at a time.
    pub connections: u16,
}

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is written to by the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
