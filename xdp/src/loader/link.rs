//! Detaching a pinned link at once, which aya cannot do.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// Of `enum bpf_cmd`.
const OBJ_GET: libc::c_long = 7;
const LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` that BPF_OBJ_GET reads.
#[repr(C)]
struct Get {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part that BPF_LINK_DETACH reads.
#[repr(C)]
struct Detach {
    fd: u32,
}

/// Takes the program off the interface of a pinned link, whoever else holds the link: closing the
/// last descriptor would do so too, but a process just forked may have it open a little longer.
///
/// # Errors
/// What the kernel answers; among it `ENOLINK` when the interface is gone.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut get = Get { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the path ends with a zero byte and outlives the call.
    let fd = unsafe { call(OBJ_GET, &mut get) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut detach = Detach { fd: link.as_raw_fd() as u32 };
    // SAFETY: the attributes point to nothing.
    unsafe { call(LINK_DETACH, &mut detach) }.map(|_| ())
}

/// # Safety
/// The attributes must be those of the command, and what they point to must outlive the call.
unsafe fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the structure is as long as said; the rest is promised.
    let result = unsafe {
        let attributes = std::ptr::from_mut(attributes);
        libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>())
    };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
