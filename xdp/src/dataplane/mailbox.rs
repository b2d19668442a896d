//! How the owner hands things to the thread: a place for one newest state, and a bell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{Desired, OnStop};

/// What waits for the thread. Putting something in never blocks for longer than a swap.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) desired: Option<(u64, Desired)>,
    pub(super) stop: Option<OnStop>,
}

impl Mailbox {
    pub(super) fn put(&self, seq: u64, desired: Desired) {
        // The one it displaces is dropped after the lock is released.
        let _displaced = self.lock().desired.replace((seq, desired));
        self.bell.notify_one();
    }

    pub(super) fn stop(&self, on_stop: OnStop) {
        self.lock().stop = Some(on_stop);
        self.bell.notify_one();
    }

    /// Waits until there is something, and takes it.
    pub(super) async fn take(&self) -> Waiting {
        loop {
            let waiting = std::mem::take(&mut *self.lock());
            if waiting.desired.is_some() || waiting.stop.is_some() {
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
}
