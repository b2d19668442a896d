//! Work of several milliseconds beside that of the probes.

use std::io;

use tokio::sync::oneshot;

use crate::error::Error;

/// Does work on a thread of its own that yields the CPU to whatever else has something to do. With
/// ten thousand backends a look at all paths takes 0.1 s, and a thread of equal rank on the same CPU
/// would halve the pace of the probes meanwhile.
pub(super) fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, Error> {
    let (done, receiver) = oneshot::channel();
    let started = std::thread::Builder::new().name("vc5-paths".into()).spawn(move || {
        if let Err(error) = give_way() {
            tracing::debug!(%error, "paths are looked at with the usual priority");
        }
        // An error means that nobody waits any more.
        let _ = done.send(work());
    });
    let failed = |source| Error::Netlink { action: "start a thread".into(), source };
    started.map(|_| receiver).map_err(failed)
}

/// Has this thread give way to all usual ones: batch scheduling at the lowest priority (sched(7)). It
/// keeps a share of one in 69 beside one thread that never sleeps, so it comes to an end.
fn give_way() -> io::Result<()> {
    const LOWEST: libc::c_int = 19;
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameters, which live through the call; 0 is the calling thread.
    let batch = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    // SAFETY: no memory is involved; 0 is the calling thread.
    let nice = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
    if batch == 0 && nice == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice() -> libc::c_int {
        // SAFETY: no memory is involved; 0 is the calling thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[tokio::test]
    async fn work_gives_way_and_its_caller_does_not() {
        let before = nice();
        // SAFETY: no memory is involved; 0 is the calling thread.
        let policy = || unsafe { libc::sched_getscheduler(0) };
        let seen = aside(move || (nice(), policy())).unwrap().await.unwrap();
        assert_eq!(seen, (19, libc::SCHED_BATCH));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn work_that_panics_is_lost_and_not_waited_for() {
        assert!(aside(|| panic!("on purpose")).unwrap().await.is_err());
    }
}
