//! A virtual machine with Debian's stable kernel, for what depends on the kernel's version: above all its verifier.
//!
//! The kernel comes from Debian's package, unpacked into the target directory and never installed. The machine runs
//! one program from an initramfs and stops. Emulation (`tcg`) is asked for by name: it works where no `/dev/kvm`
//! does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Process, command};

/// Programs that a machine needs, with the Debian package each comes from.
const PROGRAMS: [(&str, &str); 5] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
];
/// The package that depends on Debian's newest stable kernel.
const KERNEL: &str = "linux-image-amd64";
/// What init prints before the program's exit status.
const STATUS: &str = "vm: exit status ";
/// How long a machine may run. It boots in about 5 s of an idle core.
const LIMIT: Duration = Duration::from_secs(120);

/// What a machine left.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Everything on its console.
    pub console: String,
    /// Exit status of the program.
    pub status: i32,
}

/// Boots a machine that runs `program` with `arguments`, beside which `files` lie in the root directory under their
/// own names.
///
/// # Errors
/// When a needed program is missing, when the kernel cannot be had, or when the machine does not come to its end.
pub fn run(cache: &Path, program: &Path, files: &[&Path], arguments: &str) -> Result<Outcome> {
    command::require(&PROGRAMS)?;
    let kernel = kernel(cache)?;
    let work = cache.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let outcome = initramfs(&work, program, files, arguments)
        .and_then(|initramfs| boot(&work, &kernel, &initramfs));
    fs::remove_dir_all(&work)?;
    outcome
}

/// The kernel image, downloaded and unpacked once.
fn kernel(cache: &Path) -> Result<PathBuf> {
    let boot = cache.join("root/boot");
    if let Some(found) = image_in(&boot) {
        return Ok(found);
    }
    let packages = cache.join("packages");
    if packages.exists() {
        fs::remove_dir_all(&packages)?;
    }
    fs::create_dir_all(&packages)?;
    let package = kernel_package().context(
        "no Debian kernel is known; bring the package lists up to date with: apt-get update",
    )?;
    download(&package, &packages)?;
    let file = fs::read_dir(&packages)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("apt-get download {package} left no package"))?;
    // Renamed at the end, so that what was broken off half-way is never taken for whole.
    let unpacked = packages.join("root");
    command::output(Command::new("dpkg-deb").arg("-x").arg(file).arg(&unpacked))?;
    fs::remove_dir_all(unpacked.join("lib"))?;
    fs::rename(unpacked, cache.join("root"))?;
    fs::remove_dir_all(&packages)?;
    image_in(&boot).with_context(|| format!("{package} has no kernel image"))
}

/// Fetches a package; lists that are out of date name files that are gone, so they are renewed once.
fn download(package: &str, to: &Path) -> Result<()> {
    let fetch =
        || command::output(Command::new("apt-get").arg("download").arg(package).current_dir(to));
    if fetch().is_err() {
        command::output(Command::new("apt-get").arg("update"))?;
        fetch()?;
    }
    Ok(())
}

fn image_in(boot: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(boot).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
    })
}

/// The versioned package behind [`KERNEL`].
fn kernel_package() -> Result<String> {
    let text = command::output(Command::new("apt-cache").args(["depends", "--important", KERNEL]))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .with_context(|| format!("{KERNEL} depends on no kernel"))
}

/// Packs busybox, the program with its libraries, the files and an init script.
fn initramfs(work: &Path, program: &Path, files: &[&Path], arguments: &str) -> Result<PathBuf> {
    let root = work.join("root");
    for dir in ["bin", "dev", "proc", "sys"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let busybox = command::find("busybox").context("busybox")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/sh"))?;
    fs::copy(program, root.join("program"))?;
    for library in libraries(program)? {
        let place = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(place.parent().context("library without a directory")?)?;
        fs::copy(&library, place)?;
    }
    for file in files {
        fs::copy(file, root.join(file.file_name().context("file without a name")?))?;
    }
    let init = root.join("init");
    fs::write(&init, init_script(arguments))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;

    let archive = work.join("initramfs");
    let listed = command::output(Command::new("find").arg(".").current_dir(&root))?;
    let list = work.join("list");
    fs::write(&list, listed)?;
    let mut pack = Command::new("cpio");
    pack.args(["--quiet", "-o", "-H", "newc"]).current_dir(&root);
    pack.stdin(fs::File::open(&list)?).stdout(fs::File::create(&archive)?);
    ensure!(pack.status()?.success(), "cpio failed");
    Ok(archive)
}

/// The shared libraries of a program and its loader.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = command::output(Command::new("ldd").arg(program))?;
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|word| PathBuf::from(word.trim_end_matches(':')))
        .collect())
}

fn init_script(arguments: &str) -> String {
    format!(
        "#!/bin/sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mount -t bpf bpf /sys/fs/bpf
busybox ip link set lo up
busybox uname -r
/program {arguments}
echo \"{STATUS}$?\"
busybox reboot -f
"
    )
}

fn boot(work: &Path, kernel: &Path, initramfs: &Path) -> Result<Outcome> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "1536", "-no-reboot", "-nic", "none"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]).stdin(Stdio::null());
    let mut machine = Process::start("qemu", &mut qemu, &work.join("console"))?;
    machine.wait(LIMIT)?;
    let console = machine.log();
    let status = console
        .lines()
        .find_map(|line| line.trim().strip_prefix(STATUS))
        .and_then(|status| status.parse().ok());
    match status {
        Some(status) => Ok(Outcome { console, status }),
        None => bail!("the machine stopped before its program did:\n{console}"),
    }
}
