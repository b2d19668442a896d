//! Removing labs: one's own at its end, and those of processes that were killed.
//!
//! A name is `vc5-PID-NUMBER`, followed by `-ROLE` for a namespace. What belongs to a lab can therefore be found in
//! the kernel's own lists, without a record that could be lost: namespaces by name, processes by the namespace they
//! are in, mounts by the lab's directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::command;

/// What the names of all labs begin with.
pub const PREFIX: &str = "vc5-";
const KEEP_MARK: &str = "keep";
const NETNS_DIR: &str = "/run/netns";

/// Where the directories of labs are.
#[must_use]
pub fn root_dir() -> PathBuf {
    std::env::temp_dir()
}

/// Marks a lab to stay when its process ends.
pub(super) fn mark_kept(dir: &Path) -> Result<()> {
    fs::write(dir.join(KEEP_MARK), "")?;
    Ok(())
}

/// Removes everything of one lab: processes, namespaces, mounts, directory. Never fails: what is gone is gone.
pub fn remove_lab(prefix: &str) {
    for namespace in namespaces().iter().filter(|name| owner(name).is_some_and(|lab| lab == prefix))
    {
        remove_namespace(namespace);
    }
    let dir = root_dir().join(prefix);
    for mount in mounts_below(&dir) {
        unmount(&mount);
    }
    let _ = fs::remove_dir_all(&dir);
}

/// Kills what runs in a namespace and deletes it.
pub(super) fn remove_namespace(name: &str) {
    kill_all_in(name);
    let _ = command::ip(&format!("netns delete {name}"));
}

/// Removes the labs whose process is gone, unless they are marked to stay.
pub fn sweep_dead() {
    for lab in labs() {
        if !is_kept(&lab) && !pid_of(&lab).is_some_and(is_alive) {
            remove_lab(&lab);
        }
    }
}

/// Removes the labs of this process, for the end by a signal.
pub fn remove_own() {
    for lab in labs() {
        if pid_of(&lab) == Some(std::process::id()) {
            remove_lab(&lab);
        }
    }
}

/// Removes the labs that were marked to stay and all dead ones; returns their names.
pub fn remove_kept() -> Vec<String> {
    let gone: Vec<String> = labs()
        .into_iter()
        .filter(|lab| is_kept(lab) || !pid_of(lab).is_some_and(is_alive))
        .collect();
    gone.iter().for_each(|lab| remove_lab(lab));
    gone
}

/// What still exists of a lab, each as one line: namespaces, mounts, directory.
#[must_use]
pub fn remains(prefix: &str) -> Vec<String> {
    let dir = root_dir().join(prefix);
    let mut found: Vec<String> = namespaces()
        .into_iter()
        .filter(|name| owner(name).is_some_and(|lab| lab == prefix))
        .map(|name| format!("namespace {name}"))
        .collect();
    found.extend(mounts_below(&dir).iter().map(|mount| format!("mount {}", mount.display())));
    if dir.exists() {
        found.push(format!("directory {}", dir.display()));
    }
    found
}

fn labs() -> Vec<String> {
    let mut found: Vec<String> = namespaces().iter().filter_map(|name| owner(name)).collect();
    found.extend(names_in(&root_dir()).into_iter().filter(|name| pid_of(name).is_some()));
    found.sort();
    found.dedup();
    found
}

fn namespaces() -> Vec<String> {
    names_in(Path::new(NETNS_DIR))
}

/// The lab a namespace belongs to: `vc5-12-0` for `vc5-12-0-router`.
fn owner(namespace: &str) -> Option<String> {
    let mut parts = namespace.strip_prefix(PREFIX)?.splitn(3, '-');
    let pid: u32 = parts.next()?.parse().ok()?;
    let number: u32 = parts.next()?.parse().ok()?;
    parts.next()?;
    Some(format!("{PREFIX}{pid}-{number}"))
}

fn pid_of(lab: &str) -> Option<u32> {
    lab.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    // A process that has ended but was not waited for has no program any more.
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

fn is_kept(lab: &str) -> bool {
    root_dir().join(lab).join(KEEP_MARK).exists()
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The processes inside a namespace.
#[must_use]
pub fn pids_in(namespace: &str) -> Vec<u32> {
    let listed = command::ip(&format!("netns pids {namespace}")).unwrap_or_default();
    listed.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn kill_all_in(namespace: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let pids = pids_in(namespace);
        if pids.is_empty() || Instant::now() > deadline {
            return;
        }
        pids.iter().for_each(|pid| kill(*pid, libc::SIGKILL));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kill(pid: u32, signal: i32) {
    if let Ok(pid) = i32::try_from(pid) {
        // SAFETY: kill takes two integers; the process is one found inside a namespace of a lab.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Mount points below a directory, innermost first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(dir))
        .collect();
    found.reverse();
    found
}

fn unmount(mount: &Path) {
    let _ = command::finish(std::process::Command::new("umount").arg("--lazy").arg(mount));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_lab_and_process() {
        assert_eq!(owner("vc5-12-0-router").as_deref(), Some("vc5-12-0"));
        assert_eq!(owner("vc5-12-0-node-1").as_deref(), Some("vc5-12-0"));
        assert_eq!(owner("vc5-12-0"), None);
        assert_eq!(owner("vc5-x-0-router"), None);
        assert_eq!(owner("other-12-0-router"), None);
        assert_eq!(pid_of("vc5-12-0"), Some(12));
    }
}
