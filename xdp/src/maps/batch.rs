//! Writing several elements of a map by one system call, which aya cannot do yet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The part of `union bpf_attr` that BPF_MAP_UPDATE_BATCH reads (linux/bpf.h).
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// BPF_MAP_UPDATE_BATCH of `enum bpf_cmd`.
const MAP_UPDATE_BATCH: libc::c_long = 26;

/// Puts the maps `inner` at `indices` of an array of maps; one grace period for all of them.
pub(super) fn update(outer: BorrowedFd<'_>, indices: &[u32], inner: &[RawFd]) -> io::Result<()> {
    let count = indices.len().min(inner.len()) as u32;
    if count == 0 {
        return Ok(());
    }
    let mut attributes = Attributes {
        in_batch: 0,
        out_batch: 0,
        keys: indices.as_ptr() as u64,
        values: inner.as_ptr() as u64,
        count,
        map_fd: outer.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the structure is as long as said and of the kernel's layout; keys and values point
    // to at least `count` elements of 4 bytes each, which outlive the call; the kernel writes
    // nothing but `count`.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, MAP_UPDATE_BATCH, &raw mut attributes, size_of::<Attributes>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
