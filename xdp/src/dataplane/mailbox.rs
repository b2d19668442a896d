//! How the owner hands things to the thread: a place for one newest state, and a bell.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::answer::{Question, Reply};
use crate::{Desired, OnStop, Way};

/// What waits for the thread. Putting something in never blocks for longer than a swap.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

/// Ways to backends, and where to say that they are in force.
#[derive(Debug)]
pub(super) struct Directions {
    pub(super) ways: BTreeMap<IpAddr, Way>,
    pub(super) reply: Reply<()>,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) directions: Vec<Directions>,
    pub(super) desired: Option<(u64, Desired)>,
    pub(super) questions: Vec<Question>,
    pub(super) stop: Option<OnStop>,
    closed: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let Self { directions, desired, questions, stop, .. } = self;
        directions.is_empty() && desired.is_none() && questions.is_empty() && stop.is_none()
    }
}

impl Mailbox {
    pub(super) fn put(&self, seq: u64, desired: Desired) {
        // The one it displaces is dropped after the lock is released.
        let _displaced = self.lock().desired.replace((seq, desired));
        self.bell.notify_one();
    }

    /// Asks something. A question that finds nobody is dropped, and with it the way to answer it.
    pub(super) fn ask(&self, question: Question) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.questions.push(question);
            self.bell.notify_one();
        }
    }

    /// Gives directions. Those that find nobody are dropped, and with them the way to answer.
    pub(super) fn direct(&self, directions: Directions) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.directions.push(directions);
            self.bell.notify_one();
        }
    }

    /// Nobody will take anything any more.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.questions.clear();
        waiting.directions.clear();
    }

    pub(super) fn stop(&self, on_stop: OnStop) {
        self.lock().stop = Some(on_stop);
        self.bell.notify_one();
    }

    /// Waits until there is something, and takes it.
    pub(super) async fn take(&self) -> Waiting {
        loop {
            let waiting = std::mem::take(&mut *self.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.bell.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_newest_state_wins() {
        let mailbox = Arc::new(Mailbox::default());
        mailbox.put(1, Desired::default());
        mailbox.put(2, Desired::default());
        let waiting = mailbox.take().await;
        assert_eq!(waiting.desired, Some((2, Desired::default())));
        assert_eq!(waiting.stop, None);

        let theirs = Arc::clone(&mailbox);
        let taker = tokio::spawn(async move { theirs.take().await });
        tokio::task::yield_now().await;
        mailbox.stop(OnStop::Keep);
        let waiting = taker.await.unwrap();
        assert_eq!((waiting.desired, waiting.stop), (None, Some(OnStop::Keep)));
    }

    #[test]
    fn a_question_to_nobody_is_dropped() {
        let mailbox = Mailbox::default();
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        mailbox.ask(Question::Flows(reply.clone()));
        mailbox.close();
        mailbox.ask(Question::Flows(reply));
        assert!(answer.recv().is_err());
    }
}
