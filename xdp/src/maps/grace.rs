//! Grace periods of the kernel's.

use std::time::Duration;

/// Waits until no run of the program goes on that began before.
pub(crate) fn wait_for_readers() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: a system call that touches no memory. The kernel waits for a grace period, in which
    // runs of XDP programs end.
    let waited = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if waited != 0 {
        // Refused where CPUs are kept free of the kernel's ticks; a run takes microseconds.
        std::thread::sleep(Duration::from_millis(100));
    }
}
