//! The directory on a bpffs in which an instance keeps its links and maps.
//!
//! ```text
//! PIN_PATH/links/IFINDEX    the link to an interface
//! PIN_PATH/maps-N/NAME      the maps of a program; SETTINGS is what it was loaded with
//! ```
//! Whoever uses the directory holds a lock on it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::programs::links::{FdLink, PinnedLink};

use vc5_ebpf_abi::{SETTINGS, Settings};

use super::earlier::{self, Earlier};
use super::link;
use crate::netlink::Requests;
use crate::{Error, neighbour};

/// Where a bpffs is usually mounted.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// How often, and how long after one another, it is tried to lock the directory.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// An instance's pins, locked. Until [`Pins::keep`] is called, dropping it removes what it made.
#[derive(Debug)]
pub(crate) struct Pins {
    directory: PathBuf,
    lock: Option<File>,
    maps: PathBuf,
    /// What dropping removes, in the order made.
    made: Vec<PathBuf>,
    mounted: bool,
}

impl Pins {
    /// Opens the directory, making it if need be.
    ///
    /// # Errors
    /// [`Error::PinPath`] if it is not on a bpffs, or another process uses it.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let mut pins = Self {
            directory: directory.into(),
            lock: None,
            maps: directory.join("maps-0"),
            made: Vec::new(),
            mounted: false,
        };
        pins.mounted = ensure_bpffs(directory).map_err(|reason| pins.error(reason))?;
        make_directories(&directory.join("links"), &mut pins.made)
            .map_err(|e| pins.error(format!("cannot be made: {e}")))?;
        pins.lock = Some(lock(directory).map_err(|reason| pins.error(reason))?);
        pins.use_new_maps();
        Ok(pins)
    }

    /// The link to an interface that an earlier run has left, if it is still in use.
    pub(crate) fn link(&self, index: u32) -> Option<PinnedLink> {
        PinnedLink::from_pin(self.link_path(index)).ok()
    }

    /// Pins a link to an interface, in place of a stale one.
    ///
    /// # Errors
    /// [`Error::PinPath`].
    pub(crate) fn pin_link(&mut self, index: u32, link: FdLink) -> Result<PinnedLink, Error> {
        let path = self.link_path(index);
        if path.exists() {
            fs::remove_file(&path).map_err(|e| self.error(format!("links/{index}: {e}")))?;
        }
        let pinned = link.pin(&path).map_err(|e| self.error(super::chain(&e)))?;
        self.made.push(path);
        Ok(pinned)
    }

    /// Removes the pin of a link; the link itself lasts as long as somebody holds it.
    pub(crate) fn unpin_link(&mut self, index: u32) {
        remove(&[self.link_path(index)]);
    }

    /// The directories of maps that earlier runs have left, the newest first.
    pub(super) fn earlier_maps(&self) -> Vec<PathBuf> {
        let mut directories = entries(&self.directory);
        directories.retain(|path| is_maps(path) && *path != self.maps);
        directories.sort_by_key(|path| std::cmp::Reverse(number_of(path)));
        directories
    }

    /// The links that earlier runs have left.
    pub(super) fn links(&self) -> Vec<PinnedLink> {
        let links = entries(&self.directory.join("links"));
        links.iter().filter_map(|path| PinnedLink::from_pin(path).ok()).collect()
    }

    /// Where the maps are pinned.
    pub(super) fn maps(&self) -> &Path {
        &self.maps
    }

    /// The maps of an earlier run are those of this one, under other settings perhaps.
    ///
    /// # Errors
    /// [`Error::PinPath`].
    pub(super) fn use_on(&mut self, earlier: &Earlier, settings: &Settings) -> Result<(), Error> {
        self.maps = earlier.directory().into();
        earlier.set_settings(settings).map_err(|e| self.error(super::chain(&e)))
    }

    /// The maps of an earlier run are not those of this one after all.
    pub(crate) fn use_new_maps(&mut self) {
        if let Some(unused) = unused_maps(&self.directory) {
            self.maps = unused;
        }
    }

    /// Pins the maps of a program, and what it was loaded with. To be called before the maps are
    /// taken out of it.
    ///
    /// # Errors
    /// [`Error::PinPath`].
    pub(super) fn pin_maps(&mut self, ebpf: &aya::Ebpf, settings: &Settings) -> Result<(), Error> {
        let mut made = Vec::new();
        make_directories(&self.maps, &mut made)
            .map_err(|e| self.error(format!("cannot be made: {e}")))?;
        self.made.append(&mut made);
        for (name, map) in ebpf.maps() {
            // Read-only data and the like have names that a bpffs does not allow.
            if name.contains('.') {
                continue;
            }
            let path = self.maps.join(name);
            map.pin(&path).map_err(|e| self.error(super::chain(&e)))?;
            self.made.push(path);
        }
        let path = self.maps.join(SETTINGS);
        earlier::pin_settings(&path, settings).map_err(|reason| self.error(reason))?;
        self.made.push(path);
        Ok(())
    }

    /// Removes what earlier runs have left beside the links to these interfaces.
    pub(crate) fn remove_older(&mut self, interfaces: &[u32]) {
        for path in entries(&self.directory.join("links")) {
            if !interfaces.iter().any(|index| self.link_path(*index) == path) {
                remove_link(&path);
            }
        }
        for path in entries(&self.directory) {
            if is_maps(&path) && path != self.maps {
                remove_maps(&path);
            }
        }
    }

    /// From now on, dropping this removes nothing.
    pub(crate) fn keep(&mut self) {
        self.made.clear();
        self.mounted = false;
    }

    /// Removes all pins and the directory.
    ///
    /// # Errors
    /// [`Error::PinPath`] when something cannot be removed.
    pub(crate) fn remove_all(self) -> Result<(), Error> {
        let result = remove_directory(&self.directory);
        result.map_err(|e| self.error(format!("cannot be removed: {e}")))
    }

    fn link_path(&self, index: u32) -> PathBuf {
        self.directory.join("links").join(index.to_string())
    }

    fn error(&self, reason: String) -> Error {
        Error::PinPath { path: self.directory.clone(), reason }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let links = self.directory.join("links");
        for path in self.made.iter().filter(|path| path.parent() == Some(&links)) {
            remove_link(path);
        }
        remove(&self.made);
        // The lock's descriptor would keep the filesystem busy.
        drop(self.lock.take());
        if self.mounted {
            unmount(Path::new(USUAL_MOUNT));
        }
    }
}

/// Removes whatever a dataplane with this pin path has left: the links, and with them the program
/// from the interfaces; the kernel's neighbour entries for its backends; the pinned maps and the
/// directory. That there is nothing is no error.
///
/// # Errors
/// [`Error::PinPath`] when the path is in use by a running process, cannot be read, or something
/// in it cannot be removed.
pub fn detach(pin_path: &Path) -> Result<(), Error> {
    let error = |reason: String| Error::PinPath { path: pin_path.into(), reason };
    if !pin_path.exists() {
        return Ok(());
    }
    if !is_bpffs(pin_path).map_err(|e| error(e.to_string()))? {
        return Err(error("is not on a bpffs, so it is not removed".into()));
    }
    let _lock = lock(pin_path).map_err(error)?;
    let links = entries(&pin_path.join("links"));
    let indices: BTreeSet<u32> =
        links.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect();
    let mut requests = Requests::open().map_err(Error::io("opening a netlink socket"))?;
    remove_directory(pin_path).map_err(|e| error(format!("cannot be removed: {e}")))?;
    neighbour::managed::remove_all(&mut requests, &indices)
        .map_err(Error::io("reading the neighbour table"))
}

fn remove_directory(directory: &Path) -> io::Result<()> {
    for path in entries(&directory.join("links")) {
        remove_link(&path);
    }
    for path in entries(directory) {
        if is_maps(&path) {
            remove_maps(&path);
        }
    }
    fs::remove_dir(directory.join("links")).or_else(not_found)?;
    fs::remove_dir(directory)
}

/// Takes the program off a link's interface and removes the link's pin.
fn remove_link(path: &Path) {
    if let Err(error) = link::detach(path) {
        // The interface may be gone, or the kernel older; the removal of the last pin does it too.
        tracing::debug!(path = %path.display(), %error, "a link could not be detached");
    }
    remove(&[path.into()]);
}

fn remove_maps(directory: &Path) {
    remove(&entries(directory));
    remove(&[directory.into()]);
}

fn is_maps(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("maps-"))
}

fn unused_maps(directory: &Path) -> Option<PathBuf> {
    (1u32..).map(|n| directory.join(format!("maps-{n}"))).find(|path| !path.exists())
}

fn number_of(maps: &Path) -> Option<u32> {
    maps.file_name()?.to_str()?.strip_prefix("maps-")?.parse().ok()
}

/// Removes files and empty directories, the last one first.
fn remove(paths: &[PathBuf]) {
    for path in paths.iter().rev() {
        let result = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        if let Err(error) = result.or_else(not_found) {
            tracing::warn!(path = %path.display(), %error, "a pin could not be removed");
        }
    }
}

fn not_found(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn make_directories(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.exists()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory)?;
        made.push(directory.into());
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, String> {
    let file = File::open(directory).map_err(|e| e.to_string())?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A process that its last owner has just forked holds it too, until it runs its own
            // program.
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(e)) => return Err(format!("cannot be locked: {e}")),
        }
    }
    Err("is in use by a running vc5d; stop that one, or give each its own".into())
}

/// Sees to it that a path is on a bpffs; whether one was mounted for it.
fn ensure_bpffs(path: &Path) -> Result<bool, String> {
    if is_bpffs(path).map_err(|e| e.to_string())? {
        return Ok(false);
    }
    if path.starts_with(USUAL_MOUNT) {
        mount(Path::new(USUAL_MOUNT))
            .map_err(|e| format!("no bpffs is mounted on {USUAL_MOUNT}, and mounting one: {e}"))?;
        return Ok(true);
    }
    Err(format!(
        "is not on a bpffs; use a directory below {USUAL_MOUNT}, or mount one: mount -t bpf bpf DIR"
    ))
}

/// Whether a path, or the nearest of its parents that exists, is on a bpffs.
fn is_bpffs(path: &Path) -> io::Result<bool> {
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let path = CString::new(existing.as_os_str().as_bytes())?;
    // SAFETY: statfs is plain data, for which zeros are a value.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte; the kernel fills the structure, which outlives it.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut status) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status.f_type == libc::BPF_FS_MAGIC)
}

fn mount(directory: &Path) -> io::Result<()> {
    let target = CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: all strings end with a zero byte and outlive the call.
    let result = unsafe {
        libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the filesystem away, even if a process just forked still has something of it open.
fn unmount(directory: &Path) {
    let Ok(target) = CString::new(directory.as_os_str().as_bytes()) else { return };
    // SAFETY: the string ends with a zero byte and outlives the call.
    if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } < 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(path = %directory.display(), %error, "could not unmount");
    }
}
