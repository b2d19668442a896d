//! A virtual machine with Debian's stable kernel, for what depends on the kernel: its verifier, and the modules that
//! the host may lack (VLANs, bonds, bridges).
//!
//! The kernel comes from Debian's package, unpacked into the target directory and never installed. The machine runs
//! its commands from an initramfs and stops. Emulation (`tcg`) is asked for by name: it works where no `/dev/kvm`
//! does.

mod initramfs;
mod kernel;
mod module;
pub mod vlan;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::kernel::Kernel;
use crate::lab::{Process, command};

/// Programs that a machine needs, with the Debian package each comes from.
const PROGRAMS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("strip", "binutils"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
];
/// What init prints before the exit status of each command.
const STATUS: &str = "vm: exit status ";

/// Only one of this process fetches the kernel, and the others wait for it.
static FETCHING: std::sync::Mutex<()> = std::sync::Mutex::new(());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a machine left.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Everything on its console.
    pub console: String,
    /// Exit status of each command.
    pub statuses: Vec<i32>,
}

/// A machine to be: what it will have.
#[derive(Clone, Debug)]
pub struct Machine {
    cache: PathBuf,
    limit: Duration,
    programs: Vec<PathBuf>,
    files: Vec<(PathBuf, PathBuf)>,
    modules: Vec<&'static str>,
}

impl Machine {
    /// One that has busybox alone, with its kernel in the directory `cache`. It may run for as long as `limit`; it
    /// boots in about 5 s of an idle core.
    #[must_use]
    pub fn new(cache: &Path, limit: Duration) -> Self {
        let (programs, files, modules) = (Vec::new(), Vec::new(), Vec::new());
        Self { cache: cache.to_owned(), limit, programs, files, modules }
    }

    /// With a program and its libraries, in the search path under its own name.
    #[must_use]
    pub fn program(mut self, path: &Path) -> Self {
        self.programs.push(path.to_owned());
        self
    }

    /// With a program of the host.
    ///
    /// # Errors
    /// When the host has none of this name; the message names the Debian package to install.
    pub fn tool(self, name: &str, package: &str) -> Result<Self> {
        command::require(&[(name, package)])?;
        let path = command::find(name).context("it was there a moment ago")?;
        Ok(self.program(&path))
    }

    /// With a file of the host at a place of its own.
    #[must_use]
    pub fn file(mut self, file: &Path, place: &Path) -> Self {
        self.files.push((file.to_owned(), place.to_owned()));
        self
    }

    /// With these kernel modules, and those that they need, loaded at its start.
    #[must_use]
    pub fn modules(mut self, names: &[&'static str]) -> Self {
        self.modules.extend(names);
        self
    }

    /// Boots it and has it run these commands of the shell one after the other, each whatever became of those before.
    ///
    /// # Errors
    /// When a needed program is missing, when the kernel cannot be had, or when the machine does not come to its end.
    pub fn run(&self, commands: &[&str]) -> Result<Outcome> {
        command::require(&PROGRAMS)?;
        let kernel = {
            let _alone = FETCHING.lock();
            Kernel::get(&self.cache)?
        };
        let modules = module::in_order(&kernel.modules, &self.modules)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let work = self.cache.join(format!("run-{}-{number}", std::process::id()));
        fs::create_dir_all(&work)?;
        let outcome = initramfs::pack(&work, self, &modules, commands)
            .and_then(|initramfs| self.boot(&work, &kernel.image, &initramfs));
        fs::remove_dir_all(&work)?;
        let outcome = outcome?;
        ensure!(
            outcome.statuses.len() == commands.len(),
            "the machine stopped before its commands did:\n{}",
            outcome.console
        );
        Ok(outcome)
    }

    fn boot(&self, work: &Path, kernel: &Path, initramfs: &Path) -> Result<Outcome> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1536", "-no-reboot"]);
        qemu.args(["-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
        qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]).stdin(Stdio::null());
        let log = work.join("console");
        let mut machine = Process::start("qemu", &mut qemu, &log)?;
        machine.wait(self.limit).with_context(|| console_of(&log))?;
        let console = console_of(&log);
        let statuses = console.lines().filter_map(|line| line.trim().strip_prefix(STATUS));
        let statuses = statuses.filter_map(|status| status.parse().ok()).collect();
        Ok(Outcome { console, statuses })
    }
}

fn console_of(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}
