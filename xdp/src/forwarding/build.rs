//! Building rings on all processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use crate::maglev::{Member, Ring, RingError};

/// Rings that are built at the same time, at most: more threads than that gain nothing, as the
/// tables take the finished rings one by one.
const THREADS: usize = 8;

/// Builds the ring of each of these lists of members, and hands over each as it is finished.
pub(super) fn rings(
    key: &[u8; 16],
    wanted: &[Arc<[Member]>],
    mut finished: impl FnMut(&Arc<[Member]>, Result<Ring, RingError>),
) {
    if let [members] = wanted {
        return finished(members, Ring::build(key, members));
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.clamp(1, THREADS).min(wanted.len());
    let next = AtomicUsize::new(0);
    // Few wait to be taken: each is 128 KiB.
    let (done, results) = sync_channel(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while let Some(members) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if done.send((members, Ring::build(key, members))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (members, ring) in results {
            finished(members, ring);
        }
    });
}
