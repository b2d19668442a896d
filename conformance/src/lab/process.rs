//! A long-running process of a lab.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::wait::POLL;

/// Lines of a log shown with a failure.
const TAIL: usize = 25;

/// A child process whose output goes to a log file; killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    exit: Option<ExitStatus>,
}

impl Process {
    /// Starts it with both outputs appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), exit: None })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its whole log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n")
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    /// When the kernel does not know the process.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait()?;
        }
        Ok(self.exit)
    }

    /// That it is still running.
    ///
    /// # Errors
    /// When it has ended, with the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} has ended ({status}); its log ends:\n{}", self.name, self.tail())
            }
        }
    }

    /// Sends a signal, unless it has ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&mut self, signal: i32) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id())?;
        // SAFETY: kill takes two integers; the child has not been waited for, so the id is still its own.
        if unsafe { libc::kill(pid, signal) } != 0 {
            bail!("kill {}: {}", self.name, std::io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is still running after `limit`, with the end of its log.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} still runs after {limit:?}; its log ends:\n{}", self.name, self.tail());
            }
            std::thread::sleep(POLL);
        }
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// As [`Process::signal`] and [`Process::wait`].
    pub fn kill(&mut self) -> Result<()> {
        self.signal(libc::SIGKILL)?;
        self.wait(Duration::from_secs(5))?;
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it does not end within `limit` or ends with another exit code than 0.
    pub fn terminate(&mut self, limit: Duration) -> Result<()> {
        self.signal(libc::SIGTERM)?;
        let status = self.wait(limit)?;
        if !status.success() {
            bail!("{} ended with {status}; its log ends:\n{}", self.name, self.tail());
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} log ends:\n{}\n---", self.name, self.tail());
        }
        let _ = self.kill();
    }
}
