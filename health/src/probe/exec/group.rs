//! A command with all the processes that it starts.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::{Child, Command, ExitStatus};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process group whose leader has not been waited for: until then nobody else can have its
/// number. Killed when dropped.
#[derive(Debug)]
pub(super) struct Group {
    /// `None` once it has been waited for.
    leader: Option<Child>,
    id: libc::pid_t,
    /// Readable when the leader has ended.
    end: AsyncFd<OwnedFd>,
}

impl Group {
    /// Starts a command that makes a group of its own. Blocks, and needs the context of a runtime.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let mut leader = command.spawn()?;
        let id = libc::pid_t::try_from(leader.id()).unwrap_or(0);
        match pidfd(id).and_then(register) {
            Ok(end) => Ok(Self { leader: Some(leader), id, end }),
            Err(error) => {
                leader.kill()?;
                leader.wait()?;
                Err(error)
            }
        }
    }

    /// Waits until the leader has ended.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.end.readable().await.map(drop)
    }

    /// Kills every process of the group.
    pub(super) fn kill(&self) {
        if self.leader.is_some() && self.id > 1 {
            // Failure means that none is left.
            // SAFETY: a system call with two numbers.
            unsafe { libc::killpg(self.id, libc::SIGKILL) };
        }
    }

    /// How the leader ended, to be asked when it has. Kills whatever is left of the group.
    pub(super) fn finish(mut self) -> io::Result<ExitStatus> {
        self.kill();
        match self.leader.take() {
            Some(mut leader) => leader.wait(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let Some(mut leader) = self.leader.take() else { return };
        if !matches!(leader.try_wait(), Ok(None)) {
            return;
        }
        // A killed process may take its time to go, and none is to be left as a zombie.
        std::thread::spawn(move || drop(leader.wait()));
    }
}

fn register(end: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, and the same descriptor as long as it lives.
    let registered = unsafe { AsyncFd::register_with_interest(end, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// A descriptor of a process (Linux 5.3).
fn pidfd(id: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: a system call with two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us, with close-on-exec.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
