//! What a machine boots with: busybox, programs with their libraries, modules, files, and an init script.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Machine, STATUS};
use crate::lab::command;

/// Packs all that a machine is to have, with an init script that runs these commands in turn.
pub(super) fn pack(
    work: &Path,
    machine: &Machine,
    modules: &[PathBuf],
    commands: &[&str],
) -> Result<PathBuf> {
    let root = work.join("root");
    for dir in ["bin", "bpf", "dev", "modules", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let busybox = command::find("busybox").context("busybox")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    add_programs(&root, &machine.programs)?;
    for (file, place) in &machine.files {
        copy(file, &root, place)?;
    }
    for module in modules {
        fs::copy(module, root.join("modules").join(name(module)?))?;
    }
    let init = root.join("init");
    fs::write(&init, init_script(modules, commands)?)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    archive(work, &root)
}

/// Puts programs in the search path, without what only a debugger reads, and their libraries where they were.
fn add_programs(root: &Path, programs: &[PathBuf]) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for program in programs {
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(root.join("bin").join(name(program)?)).arg(program);
        command::output(&mut strip)?;
        libraries.extend(libraries_of(program)?);
    }
    for library in libraries {
        copy(&library, root, &library)?;
    }
    // Programs ask for the shell by this name, and find what else they run by the search path.
    symlink("busybox", root.join("bin/sh"))?;
    Ok(())
}

fn copy(file: &Path, root: &Path, place: &Path) -> Result<()> {
    let place = root.join(place.strip_prefix("/")?);
    fs::create_dir_all(place.parent().context("a file without a directory")?)?;
    fs::copy(file, place).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

fn name(file: &Path) -> Result<&std::ffi::OsStr> {
    file.file_name().context("a file without a name")
}

/// The shared libraries of a program and its loader.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let text = command::output(Command::new("ldd").arg(program))?;
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|word| PathBuf::from(word.trim_end_matches(':')))
        .collect())
}

fn init_script(modules: &[PathBuf], commands: &[&str]) -> Result<String> {
    let mut script = String::from(
        "#!/bin/sh
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mount -t tmpfs tmpfs /run
busybox mount -t bpf bpf /sys/fs/bpf
busybox mount -t bpf bpf /bpf
busybox --install -s /tmp
export PATH=/bin:/tmp
busybox ip link set lo up
busybox uname -r
",
    );
    for module in modules {
        script.push_str(&format!("busybox insmod /modules/{}\n", name(module)?.display()));
    }
    for command in commands {
        script.push_str(&format!("{command}\necho \"{STATUS}$?\"\n"));
    }
    script.push_str("busybox reboot -f\n");
    Ok(script)
}

fn archive(work: &Path, root: &Path) -> Result<PathBuf> {
    let archive = work.join("initramfs");
    let listed = command::output(Command::new("find").arg(".").current_dir(root))?;
    let list = work.join("list");
    fs::write(&list, listed)?;
    let mut pack = Command::new("cpio");
    pack.args(["--quiet", "-o", "-H", "newc"]).current_dir(root);
    pack.stdin(fs::File::open(&list)?).stdout(fs::File::create(&archive)?);
    ensure!(pack.status()?.success(), "cpio failed");
    Ok(archive)
}
