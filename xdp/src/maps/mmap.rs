//! Array maps of the kernel's, mapped into memory: a read or write of an element without a system
//! call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The elements of an array map, each a whole number of 64-bit words.
///
/// The program reads and writes the same words at the same time, so they are accessed as atomics.
#[derive(Debug)]
pub(crate) struct Mapped {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is only reached through atomics, and is unmapped by the last owner alone.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps an array map made with BPF_F_MMAPABLE that has so many elements of so many words.
    ///
    /// # Errors
    /// What the kernel answers, among it `EINVAL` or `ENOTSUPP` when the map cannot be mapped or is
    /// smaller.
    pub(crate) fn new(map: BorrowedFd<'_>, elements: u32, words: usize) -> io::Result<Self> {
        let words = elements as usize * words;
        let null = std::ptr::null_mut();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, of a place of the kernel's choice; the kernel refuses a length
        // beyond that of the map.
        let start = unsafe {
            libc::mmap(null, words * 8, protection, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { start, words })
    }

    /// All words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is as long, page-aligned, and lives as long as this; any bits are a
        // value of an atomic word.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// An element of `N` words.
    pub(crate) fn read<const N: usize>(&self, index: usize) -> Option<[u64; N]> {
        let words = self.words().get(index * N..(index + 1) * N)?;
        let mut element = [0; N];
        for (copy, word) in element.iter_mut().zip(words) {
            *copy = word.load(Ordering::Relaxed);
        }
        Some(element)
    }

    /// Writes those words of an element that change, the last ones first; whether it exists.
    pub(super) fn write<const N: usize>(&self, index: usize, element: [u64; N]) -> bool {
        let Some(words) = self.words().get(index * N..(index + 1) * N) else { return false };
        for (word, new) in words.iter().zip(element).rev() {
            if word.load(Ordering::Relaxed) != new {
                word.store(new, Ordering::Release);
            }
        }
        true
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `new`, which nobody can reach any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}
