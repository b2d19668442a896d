//! Running other programs to their end.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Runs a command and returns its standard output.
///
/// # Errors
/// When it cannot be started or exits non-zero; the message has the command line and its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let done = finish(command)?;
    if !done.status.success() {
        bail!("{}: {}", line(command), failure(&done));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a command to its end, whatever its exit status.
///
/// # Errors
/// When it cannot be started.
pub fn finish(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot run {}", line(command)))
}

/// `ip` with these words.
///
/// # Errors
/// As [`output`].
pub fn ip(words: &str) -> Result<String> {
    output(Command::new("ip").args(words.split_whitespace()))
}

/// Says which of these programs is missing and which Debian package has it.
///
/// # Errors
/// When one is not found in `PATH` or in the system directories.
pub fn require(programs: &[(&str, &str)]) -> Result<()> {
    for (program, package) in programs {
        if find(program).is_none() {
            bail!("{program} is not installed; install it with: apt-get install {package}");
        }
    }
    Ok(())
}

/// Where a program is.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Says that the lab needs root.
///
/// # Errors
/// When the effective user is another.
pub fn require_root() -> Result<()> {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("labs need root for network namespaces; run this as root or with sudo");
    }
    Ok(())
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn failure(done: &Output) -> String {
    let text = String::from_utf8_lossy(&done.stderr);
    match text.trim() {
        "" => done.status.to_string(),
        said => format!("{said} ({})", done.status),
    }
}
