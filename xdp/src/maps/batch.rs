//! Reading and writing several elements of a map by one system call, which aya cannot do yet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use vc5_ebpf_abi::RING_SLOTS;

/// The part of `union bpf_attr` that the batch commands read (linux/bpf.h).
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

/// BPF_MAP_LOOKUP_BATCH of `enum bpf_cmd`.
const MAP_LOOKUP_BATCH: libc::c_long = 24;
/// BPF_MAP_UPDATE_BATCH of `enum bpf_cmd`.
const MAP_UPDATE_BATCH: libc::c_long = 26;

/// Puts the maps `inner` at `indices` of an array of maps; one grace period for all of them.
pub(super) fn install(outer: BorrowedFd<'_>, indices: &[u32], inner: &[RawFd]) -> io::Result<()> {
    let count = indices.len().min(inner.len());
    // SAFETY: `inner` has at least `count` values of 4 bytes, the size of those of such a map.
    unsafe { update(outer, indices, inner.as_ptr().cast(), count as u32) }
}

/// Sets the one element of a ring's map.
pub(super) fn fill(map: BorrowedFd<'_>, slots: &[u16; RING_SLOTS]) -> io::Result<()> {
    // SAFETY: the value is as long as a ring's map takes it.
    unsafe { update(map, &[0], slots.as_ptr().cast(), 1) }
}

/// Reads the one element of a ring's map. By value it would be too large for the stack.
pub(super) fn ring(map: BorrowedFd<'_>) -> io::Result<Box<[u16; RING_SLOTS]>> {
    let mut slots = vec![0u16; RING_SLOTS].into_boxed_slice();
    // SAFETY: there is room for one element.
    unsafe { lookup(map, 0, 1, slots.as_mut_ptr().cast()) }?;
    slots.try_into().map_err(|_| io::Error::other("a ring of another size"))
}

/// Sets elements of a per-CPU array to zero, for all CPUs. `words` is the size of an element.
pub(super) fn clear(
    map: BorrowedFd<'_>,
    first: u32,
    count: u32,
    words: usize,
    cpus: usize,
) -> io::Result<()> {
    let keys: Vec<u32> = (first..first.saturating_add(count)).collect();
    let zeros = vec![0u64; keys.len() * words * cpus];
    // SAFETY: `zeros` has for each key one element for each possible CPU.
    unsafe { update(map, &keys, zeros.as_ptr().cast(), keys.len() as u32) }
}

/// Reads `count` elements of a per-CPU array from `first` on and adds them up over the CPUs, word by
/// word. `words` is the size of an element.
pub(super) fn sums(
    map: BorrowedFd<'_>,
    first: u32,
    count: u32,
    words: usize,
    cpus: usize,
) -> io::Result<Vec<u64>> {
    let mut values = vec![0u64; count as usize * words * cpus];
    // SAFETY: the values have room for `count` elements, for each possible CPU.
    unsafe { lookup(map, first, count, values.as_mut_ptr().cast()) }?;
    let mut sums = vec![0u64; count as usize * words];
    for (sum, element) in sums.chunks_exact_mut(words).zip(values.chunks_exact(words * cpus)) {
        for cpu in element.chunks_exact(words) {
            sum.iter_mut().zip(cpu).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
        }
    }
    Ok(sums)
}

/// Reads `count` elements of an array from `first` on.
///
/// # Safety
/// `values` must point to room for `count` values as the map gives them.
unsafe fn lookup(map: BorrowedFd<'_>, first: u32, count: u32, values: *mut u8) -> io::Result<()> {
    let mut keys = vec![0u32; count as usize];
    // Elements are read from the one after this on.
    let before = first.checked_sub(1);
    let mut last = 0u32;
    let mut attributes = Attributes {
        in_batch: before.as_ref().map_or(0, |before| std::ptr::from_ref(before) as u64),
        out_batch: &raw mut last as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values as u64,
        count,
        map_fd: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the keys and, as the caller promises, the values have room for `count` elements, the
    // positions for a key each.
    match unsafe { call(MAP_LOOKUP_BATCH, &mut attributes) } {
        // Told when the last element of the map is among them.
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ if attributes.count != count => Err(io::Error::other("the map is smaller")),
        _ => Ok(()),
    }
}

/// # Safety
/// `values` must point to `count` values as the map takes them.
unsafe fn update(
    map: BorrowedFd<'_>,
    keys: &[u32],
    values: *const u8,
    count: u32,
) -> io::Result<()> {
    if count == 0 || keys.len() < count as usize {
        return Ok(());
    }
    let mut attributes = Attributes {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values as u64,
        count,
        map_fd: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: there are `count` keys, checked above, and values, as the caller promises.
    unsafe { call(MAP_UPDATE_BATCH, &mut attributes) }
}

/// # Safety
/// What the attributes point to must be as large as the command needs and outlive the call.
unsafe fn call(command: libc::c_long, attributes: &mut Attributes) -> io::Result<()> {
    // SAFETY: the structure is as long as said and of the kernel's layout; the rest is promised.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<Attributes>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
