//! The last changes, kept in memory up to a number, for readers that come later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::notes::Event;
use super::view::Clock;
use crate::snapshot;

/// A bounded list of changes, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    limit: usize,
    next: u64,
    /// Changes so far, by what changed.
    counts: BTreeMap<snapshot::Subject, u64>,
    events: VecDeque<Arc<snapshot::Event>>,
    /// What readers have, until something new happens.
    published: Option<snapshot::History>,
}

impl History {
    /// How many changes are kept from now on; the oldest go first.
    pub(crate) fn limit(&mut self, limit: usize) {
        self.limit = limit;
        self.trim();
    }

    /// Keeps a change. Its time becomes that of the wall clock now, so that a later step of that clock does not
    /// move what has been told already.
    pub(crate) fn push(&mut self, event: Event, clock: &Clock) {
        self.next += 1;
        *self.counts.entry(event.subject).or_default() += 1;
        self.events.push_back(Arc::new(snapshot::Event {
            number: self.next,
            at: clock.unix(event.at),
            subject: event.subject,
            vip: event.vip,
            vip_address: event.address,
            service: event.service,
            backend: event.backend,
            from: event.from,
            to: event.to,
            cause: event.cause,
        }));
        self.published = None;
        self.trim();
    }

    /// Changes so far, whether kept or not, by what changed.
    pub(crate) fn counts(&self) -> BTreeMap<snapshot::Subject, u64> {
        self.counts.clone()
    }

    fn trim(&mut self) {
        let excess = self.events.len().saturating_sub(self.limit);
        if excess > 0 {
            self.events.drain(..excess);
            self.published = None;
        }
    }

    /// The list as readers get it; costs nothing while nothing is new.
    pub(crate) fn publish(&mut self) -> snapshot::History {
        let events = &self.events;
        let published = self.published.get_or_insert_with(|| events.iter().cloned().collect());
        Arc::clone(published)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::snapshot::Subject;

    fn event(cause: &str) -> Event {
        Event {
            at: Instant::now(),
            subject: Subject::Route,
            vip: "www".into(),
            address: "192.0.2.1".parse().unwrap(),
            service: None,
            backend: None,
            from: "down",
            to: "waiting",
            cause: cause.into(),
        }
    }

    fn causes(history: &mut History) -> Vec<(u64, String)> {
        history.publish().iter().map(|event| (event.number, event.cause.clone())).collect()
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut history = History::default();
        history.push(event("lost"), &Clock::now());
        assert!(history.publish().is_empty(), "nothing is kept before a size is known");
        history.limit(2);
        for cause in ["a", "b", "c"] {
            history.push(event(cause), &Clock::now());
        }
        assert_eq!(causes(&mut history), [(3, "b".into()), (4, "c".into())]);
        assert_eq!(history.counts(), [(Subject::Route, 4)].into(), "kept or not");
        history.limit(1);
        assert_eq!(causes(&mut history), [(4, "c".into())]);
        history.limit(0);
        assert!(history.publish().is_empty());
    }

    #[test]
    fn what_readers_have_is_shared_until_something_happens() {
        let mut history = History::default();
        history.limit(8);
        history.push(event("a"), &Clock::now());
        let first = history.publish();
        assert!(Arc::ptr_eq(&first, &history.publish()));
        history.push(event("b"), &Clock::now());
        assert_eq!((first.len(), history.publish().len()), (1, 2));
    }
}
