//! Whether the process may do what a dataplane needs.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::Error;

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Checks the capabilities, so that a lack of them is said in their names.
///
/// # Errors
/// [`Error::Permission`].
pub(crate) fn check() -> Result<(), Error> {
    missing().map_or(Ok(()), |missing| Err(Error::Permission(missing)))
}

/// The capabilities that the process, or rather this thread of it, lacks.
pub(super) fn missing() -> Option<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    missing_in(&status)
}

fn missing_in(status: &str) -> Option<String> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    let has = |capability: u32| effective >> capability & 1 == 1;
    let missing: Vec<&str> =
        [(has(CAP_BPF) || has(CAP_SYS_ADMIN), "CAP_BPF"), (has(CAP_NET_ADMIN), "CAP_NET_ADMIN")]
            .iter()
            .filter(|(present, _)| !present)
            .map(|(_, name)| *name)
            .collect();
    (!missing.is_empty()).then(|| missing.join(" and "))
}

/// Whether the kernel refused for lack of permission.
pub(super) fn denied(error: &EbpfError) -> bool {
    let io = match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => io_error,
        EbpfError::MapError(MapError::SyscallError(e)) => &e.io_error,
        EbpfError::ProgramError(ProgramError::LoadError { io_error, verifier_log }) => {
            // The verifier refuses programs by EPERM too, and then says why.
            if !verifier_log.to_string().trim().is_empty() {
                return false;
            }
            io_error
        }
        EbpfError::ProgramError(ProgramError::SyscallError(e)) => &e.io_error,
        _ => return false,
    };
    io.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(capabilities: u64) -> String {
        format!("Name:\tx\nCapEff:\t{capabilities:016x}\nCapBnd:\t000001ffffffffff\n")
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing_in(&status(u64::MAX)), None);
        assert_eq!(missing_in(&status(1 << CAP_BPF | 1 << CAP_NET_ADMIN)), None);
        assert_eq!(missing_in(&status(1 << CAP_SYS_ADMIN | 1 << CAP_NET_ADMIN)), None);
        assert_eq!(missing_in(&status(1 << CAP_BPF)).unwrap(), "CAP_NET_ADMIN");
        assert_eq!(missing_in(&status(0)).unwrap(), "CAP_BPF and CAP_NET_ADMIN");
        assert_eq!(missing_in("nothing of the kind"), None);
    }
}
