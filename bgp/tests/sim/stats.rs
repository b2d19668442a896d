//! What happened in a run, so that one sees that it did.

use std::collections::BTreeMap;
use std::fmt;

/// What the network, the administrator and the neighbour do to a speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Jitter,
    ByteWise,
    RandomChunks,
    Cut,
    HalfOpenReset,
    HalfOpenSilent,
    Refused,
    BlackHoledConnect,
    LateConnect,
    SilentAcceptor,
    SlowReader,
    StuckReader,
    Stall,
    HungProcess,
    HungReader,
    SimultaneousConnect,
    BitFlip,
    RandomOctets,
    BadHeader,
    BadOpen,
    BadUpdate,
    TreatAsWithdraw,
    WrongTime,
    ForeignNotification,
    Disable,
    Enable,
    AdminRestart,
    ConfigRestart,
    ConfigInPlace,
    ProcessRestart,
    Announce,
    Withdraw,
    Flood,
    WithdrawBesideStuck,
}

impl Fault {
    pub(crate) const ALL: [Self; 34] = [
        Self::Jitter,
        Self::ByteWise,
        Self::RandomChunks,
        Self::Cut,
        Self::HalfOpenReset,
        Self::HalfOpenSilent,
        Self::Refused,
        Self::BlackHoledConnect,
        Self::LateConnect,
        Self::SilentAcceptor,
        Self::SlowReader,
        Self::StuckReader,
        Self::Stall,
        Self::HungProcess,
        Self::HungReader,
        Self::SimultaneousConnect,
        Self::BitFlip,
        Self::RandomOctets,
        Self::BadHeader,
        Self::BadOpen,
        Self::BadUpdate,
        Self::TreatAsWithdraw,
        Self::WrongTime,
        Self::ForeignNotification,
        Self::Disable,
        Self::Enable,
        Self::AdminRestart,
        Self::ConfigRestart,
        Self::ConfigInPlace,
        Self::ProcessRestart,
        Self::Announce,
        Self::Withdraw,
        Self::Flood,
        Self::WithdrawBesideStuck,
    ];
}

/// Sums over one run or many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    pub(crate) seeds: u64,
    /// Events of the network and timers.
    pub(crate) events: u64,
    pub(crate) timeouts: u64,
    pub(crate) connections: u64,
    /// Transitions to Established, counted at each end.
    pub(crate) established: u64,
    pub(crate) messages: u64,
    /// Withdrawals whose time on the way was checked.
    pub(crate) withdrawals_timed: u64,
    /// Errors that were expected and answered as they had to be.
    pub(crate) errors_judged: u64,
    pub(crate) virtual_seconds: f64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// NOTIFICATIONs sent, by code and subcode.
    pub(crate) notifications: BTreeMap<(u8, u8), u64>,
}

impl Stats {
    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.timeouts += other.timeouts;
        self.connections += other.connections;
        self.established += other.established;
        self.messages += other.messages;
        self.withdrawals_timed += other.withdrawals_timed;
        self.errors_judged += other.errors_judged;
        self.virtual_seconds += other.virtual_seconds;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (notification, count) in &other.notifications {
            *self.notifications.entry(*notification).or_default() += count;
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {:.0} virtual hours: {} events, {} timeouts, {} TCP connections, {} messages,",
            self.seeds,
            self.virtual_seconds / 3600.0,
            self.events,
            self.timeouts,
            self.connections,
            self.messages,
        )?;
        writeln!(
            f,
            "{} times Established, {} errors judged, {} withdrawals timed",
            self.established, self.errors_judged, self.withdrawals_timed
        )?;
        write!(f, "faults:")?;
        for fault in Fault::ALL {
            write!(f, " {fault:?} {},", self.count(fault))?;
        }
        write!(f, "\nNOTIFICATIONs sent (code/subcode):")?;
        for ((code, subcode), count) in &self.notifications {
            write!(f, " {code}/{subcode} {count},")?;
        }
        Ok(())
    }
}
