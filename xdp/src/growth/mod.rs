//! The part of the flow table in use grows with the number of flows
//! ([`Active`](vc5_ebpf_abi::Active)).

mod double;
mod filling;
#[cfg(test)]
mod kernel_tests;
mod record;
#[cfg(test)]
mod tests;

use std::thread::JoinHandle;
use std::time::Duration;

use vc5_ebpf_abi::Active;

use crate::maps::{FlowTable, wait_for_readers};
use double::Doubling;

pub(crate) use filling::records_of;
pub(crate) use record::{put, records};

/// How often the table is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// Buckets that are looked at.
const SAMPLE: usize = 1024;

/// Watches one flow table, and lets it grow.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    /// The thread that doubles it: that takes as long as copying it several times does.
    doubling: Option<JoinHandle<()>>,
    /// The bucket to look at next.
    next: usize,
}

impl Growth {
    /// Looks how full the table is, and begins to double the part in use if it is full enough;
    /// whether it can still grow.
    pub(crate) fn look(&mut self, table: &FlowTable) -> bool {
        if let Some(doubling) = self.doubling.take_if(|doubling| doubling.is_finished()) {
            join(doubling);
        }
        let buckets = table.mask() as usize + 1;
        if buckets >= table.buckets() as usize {
            return self.doubling.is_some();
        }
        if self.doubling.is_none() {
            let period = period(table);
            let count = (SAMPLE * period / buckets).max(1);
            let filling = filling::of(table.words(), period, self.next, count);
            self.next = (self.next + count) % period;
            if filling.is_high() {
                self.begin(table.clone());
            }
        }
        true
    }

    fn begin(&mut self, table: FlowTable) {
        let thread = std::thread::Builder::new().name("vc5-flow-growth".into());
        match thread.spawn(move || double(&table)) {
            Ok(doubling) => self.doubling = Some(doubling),
            Err(error) => tracing::warn!(%error, "the flow table cannot grow; it is tried again"),
        }
    }
}

impl Drop for Growth {
    /// Who takes the table over may let it grow too.
    fn drop(&mut self) {
        if let Some(doubling) = self.doubling.take() {
            join(doubling);
        }
    }
}

fn join(doubling: JoinHandle<()>) {
    if doubling.join().is_err() {
        tracing::error!("the thread that doubles the flow table panicked");
    }
}

/// Number of buckets in use before the table grew for the first time: as many on, and again as many,
/// copies of a record can lie.
pub(crate) fn period(table: &FlowTable) -> usize {
    (table.mask() as usize + 1).min(Active::FIRST as usize)
}

/// Doubles the part of the table in use, if there is room.
fn double(table: &FlowTable) {
    let buckets = table.mask() + 1;
    if buckets < table.buckets() {
        table.set_in_use(buckets * 2, true);
        settle(table);
        tracing::info!(records = table.words().len(), "more of the flow table is in use");
    }
}

/// Copies what lies where fewer buckets had put it, if a doubling has come no further: that of a run
/// that was killed, among others.
pub(crate) fn settle(table: &FlowTable) {
    let Some(former) = table.former_mask() else { return };
    if let Some(mut doubling) = Doubling::new(table.all_words(), former as usize + 1) {
        let all = 0..doubling.buckets();
        let _before: usize = all.clone().map(|bucket| doubling.copy(bucket)).sum();
        // Runs of the program that know of the former number alone record flows by that.
        wait_for_readers();
        let lost: usize = all.clone().map(|bucket| doubling.copy(bucket)).sum();
        all.for_each(|bucket| doubling.retract(bucket));
        if lost > 0 {
            tracing::debug!(lost, "flow records found no room as the table grew");
        }
    }
    table.set_in_use(table.mask() + 1, false);
}
