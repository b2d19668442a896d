//! An XDP program that passes everything, for the far end of a node's veth.
//!
//! A veth drops what XDP on it transmits unless its peer runs an XDP program as well. A real switch port has no
//! such need.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::Netns;

const BPF_PROG_LOAD: i64 = 5;
const BPF_OBJ_PIN: i64 = 6;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// `r0 = 2; exit`: XDP_PASS.
const PROGRAM: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];

/// The beginning of the kernel's `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct LoadAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The beginning of the kernel's `union bpf_attr` for BPF_OBJ_PIN.
#[repr(C)]
struct PinAttributes {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// Attaches it to an interface in native mode, where it stays as long as the interface. `pin` is a path on a bpffs
/// that is used on the way.
pub(crate) fn attach(namespace: &Netns, interface: &str, pin: &Path) -> Result<()> {
    let program = load().context("cannot load an XDP program")?;
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = PinAttributes {
        path: path.as_ptr() as u64,
        descriptor: u32::try_from(program.as_raw_fd())?,
        flags: 0,
    };
    bpf(BPF_OBJ_PIN, &attributes).with_context(|| format!("cannot pin to {}", pin.display()))?;
    let attached =
        namespace.ip(&format!("link set dev {interface} xdpdrv pinned {}", pin.display()));
    fs::remove_file(pin)?;
    attached.map(drop)
}

fn load() -> Result<OwnedFd> {
    let license = c"GPL";
    let attributes = LoadAttributes {
        kind: BPF_PROG_TYPE_XDP,
        instruction_count: u32::try_from(PROGRAM.len())?,
        instructions: PROGRAM.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    let descriptor = bpf(BPF_PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just returned this descriptor; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn bpf<T>(command: i64, attributes: &T) -> Result<i32> {
    // SAFETY: the attributes are a whole number of the fields the command reads, and what they point to outlives
    // the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(i32::try_from(result)?)
}
