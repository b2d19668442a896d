//! Debian's stable kernel, from its package: never installed, but unpacked beside what is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::command;

/// The package that depends on Debian's newest stable kernel.
const PACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What boots.
    pub(super) image: PathBuf,
    /// Below it lie the modules for networks; the others are not kept.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// From `cache`, where it is downloaded to and unpacked once.
    pub(super) fn get(cache: &Path) -> Result<Self> {
        if let Some(kernel) = Self::below(cache) {
            return Ok(kernel);
        }
        let packages = cache.join("packages");
        for old in [&packages, &cache.join("root")] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        fs::create_dir_all(&packages)?;
        let package = newest().context(
            "no Debian kernel is known; bring the package lists up to date with: apt-get update",
        )?;
        download(&package, &packages)?;
        let file = find(&packages, |name| name.ends_with(".deb"))
            .with_context(|| format!("apt-get download {package} left no package"))?;
        // Renamed at the end, so that what was broken off half-way is never taken for whole.
        let unpacked = packages.join("root");
        command::output(Command::new("dpkg-deb").arg("-x").arg(file).arg(&unpacked))?;
        drop_other_modules(&unpacked)?;
        fs::rename(unpacked, cache.join("root"))?;
        fs::remove_dir_all(&packages)?;
        Self::below(cache).with_context(|| format!("{package} has no kernel with modules"))
    }

    fn below(cache: &Path) -> Option<Self> {
        let image = find(&cache.join("root/boot"), |name| name.starts_with("vmlinuz"))?;
        let modules = modules_of(&cache.join("root"))?;
        Some(Self { image, modules })
    }
}

/// The versioned package behind [`PACKAGE`].
fn newest() -> Result<String> {
    let text =
        command::output(Command::new("apt-cache").args(["depends", "--important", PACKAGE]))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .with_context(|| format!("{PACKAGE} depends on no kernel"))
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

fn modules_of(root: &Path) -> Option<PathBuf> {
    let kernel = find(&root.join("lib/modules"), |_| true)?.join("kernel");
    kernel.is_dir().then_some(kernel)
}

/// All modules take 300 MB, those for networks a tenth.
fn drop_other_modules(root: &Path) -> Result<()> {
    let modules = modules_of(root).context("the package has no modules")?;
    for (dir, kept) in [(&modules, &["net", "drivers"][..]), (&modules.join("drivers"), &["net"])] {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !kept.iter().any(|name| entry.file_name() == *name) {
                fs::remove_dir_all(entry.path())?;
            }
        }
    }
    Ok(())
}

fn find(dir: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    let named = |path: &PathBuf| path.file_name().is_some_and(|n| wanted(&n.to_string_lossy()));
    entries.flatten().map(|entry| entry.path()).find(named)
}
