//! What the traffic has shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A frame that did not do as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// It was sent and has not arrived.
    Lost,
    /// It arrived more than once.
    Twice,
    /// It went to a MAC address that no backend has.
    Nobody,
    /// It came from another MAC address than the balancer's, or on another interface than the backend's.
    WrongWay,
    /// It has another TTL than its service gives.
    WrongTtl,
    /// It went to a MAC address that the backend has no more, or not yet.
    WrongMac,
    /// It went in a VLAN that the backend is in no more, or not yet.
    WrongVlan,
    /// It went to a backend that takes no packets of the service.
    NotServing,
    /// It opened a connection to a backend that takes no new ones.
    NotOpen,
    /// It went to another backend than the packet before it, without cause.
    Moved,
}

/// Counts of one run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Frames sent.
    pub sent: u64,
    /// Frames that arrived.
    pub received: u64,
    /// Those of them that did so in a VLAN.
    pub tagged: u64,
    /// For how long.
    pub took: Duration,
    /// Connections begun, and UDP flows.
    pub connections: u64,
    /// Those of a 5-tuple that had been used before.
    pub reused: u64,
    /// TCP connections of which a change fell between SYN and ACK.
    pub straddled_syn: u64,
    /// The same, between ACK and first data.
    pub straddled_ack: u64,
    /// The same, between any other two packets.
    pub straddled_data: u64,
    /// Connections that went to another backend as theirs had gone.
    pub moves: u64,
    /// Frames for which the ring of the receiving end had no room.
    pub dropped: u64,
    /// What went wrong, how often, and the first of each in words.
    pub violations: BTreeMap<Violation, (u64, String)>,
}

impl Report {
    pub(super) fn note(&mut self, what: Violation, detail: impl FnOnce() -> String) {
        let (count, _) = self.violations.entry(what).or_insert_with(|| (0, detail()));
        *count += 1;
    }

    /// Packets a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} frames sent in {:.1} s ({:.0} a second), {} arrived, {} in a VLAN; {} connections, {} of them of a 5-tuple \
             used before",
            self.sent,
            self.took.as_secs_f64(),
            self.rate(),
            self.received,
            self.tagged,
            self.connections,
            self.reused,
        )?;
        writeln!(
            f,
            "changes fell between SYN and ACK of {} connections, ACK and first data of {}, later packets {} times; \
             {} times a connection moved as its backend had gone",
            self.straddled_syn, self.straddled_ack, self.straddled_data, self.moves,
        )?;
        for (what, (count, detail)) in &self.violations {
            writeln!(f, "{what:?}: {count}, the first: {detail}")?;
        }
        Ok(())
    }
}
