//! What a dataplane tells its owner.

use std::net::IpAddr;
use std::time::Duration;

/// A VIP that cannot serve all its services, and why, in words.
pub type NotReady = (IpAddr, String);

/// Something that happened in the dataplane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The desired state handed over with this sequence number is in force. It stands for all
    /// lower numbers too: of several waiting ones only the newest is applied.
    Applied {
        /// The number given to [`crate::Dataplane::apply`].
        seq: u64,
        /// From the moment it was taken up until the last map was written.
        took: Duration,
        /// VIPs with a service that has no usable backend; all of them while the program of an
        /// earlier run still forwards.
        not_ready: Vec<NotReady>,
    },
    /// The desired state could not be put in force; what was in force before still is, as far as
    /// the error says nothing else. It is tried again about every second until it succeeds, which
    /// is [`Event::Applied`], or another state is handed over; the same error is not told twice.
    ApplyFailed {
        /// The number given to [`crate::Dataplane::apply`].
        seq: u64,
        /// What went wrong and what to do about it.
        error: String,
    },
    /// The set of VIPs that are not ready changed without a new desired state: a neighbour came
    /// or went, or the program has taken over from that of an earlier run.
    ReadinessChanged {
        /// All VIPs that are not ready now.
        not_ready: Vec<NotReady>,
    },
    /// The link-layer state of a backend changed.
    Neighbour {
        /// The backend's address.
        address: IpAddr,
        /// What is known of it now.
        state: NeighbourState,
    },
    /// The program no longer runs on an interface, or the interface is down or gone.
    Detached {
        /// Name of the interface.
        interface: String,
        /// Why, in words.
        reason: String,
    },
    /// The program runs on an interface.
    Attached {
        /// Name of the interface.
        interface: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// Why native mode was not possible, when generic mode was fallen back to.
        fallback: Option<String>,
    },
}

/// What is known of a backend on the link layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeighbourState {
    /// No answer yet.
    Unknown,
    /// The MAC address is known.
    Resolved(crate::Mac),
    /// The kernel asked and got no answer.
    Failed,
}
