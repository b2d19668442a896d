//! The client's side: loads and transfers that run inside its namespace.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Lab, Netns, Process, wait};
use crate::tool::load::{self, Report};
use crate::tool::transfer::Progress;

/// Sends requests to one address from inside a namespace.
#[derive(Debug)]
pub struct Client<'a> {
    lab: &'a Lab,
    namespace: &'a Netns,
    target: SocketAddrV4,
}

/// Requests under way.
#[derive(Debug)]
pub struct RunningLoad {
    child: std::process::Child,
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transfer {
    process: Process,
}

impl<'a> Client<'a> {
    /// A client of port 80 of `vip`.
    #[must_use]
    pub fn new(lab: &'a Lab, namespace: &'a Netns, vip: Ipv4Addr) -> Self {
        Self { lab, namespace, target: SocketAddrV4::new(vip, 80) }
    }

    /// Requests with the defaults of the command line: as fast as they go, 16 at once.
    #[must_use]
    pub fn requests(&self, count: u32) -> load::Arguments {
        load::Arguments {
            target: self.target,
            requests: count,
            concurrency: 16,
            rate: 0,
            bytes: 64,
            timeout_ms: 5000,
        }
    }

    /// Begins sending requests.
    ///
    /// # Errors
    /// When the helper cannot be started.
    pub fn begin(&self, arguments: &load::Arguments) -> Result<RunningLoad> {
        let child = self
            .namespace
            .command(self.lab.tool())
            .args(arguments.words())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the client")?;
        Ok(RunningLoad { child })
    }

    /// Sends requests and waits for all answers.
    ///
    /// # Errors
    /// When the helper fails; requests that fail are in the report.
    pub fn run(&self, arguments: &load::Arguments) -> Result<Report> {
        self.begin(arguments)?.finish()
    }

    /// Begins a transfer that takes `seconds`, and waits for its first bytes.
    ///
    /// # Errors
    /// When it does not begin.
    pub fn transfer(&self, name: &str, seconds: u64) -> Result<Transfer> {
        let log: PathBuf = self.lab.dir().join(format!("{name}.log"));
        let mut command = self.namespace.command(self.lab.tool());
        command.args([
            "transfer".to_owned(),
            format!("--target={}", self.target),
            format!("--seconds={seconds}"),
        ]);
        let transfer = Transfer { process: Process::start(name, &mut command, &log)? };
        wait::until_true("transfer begins", Duration::from_secs(5), || {
            Ok(transfer.progress().is_some_and(|progress| progress.received > 0))
        })
        .with_context(|| transfer.process.tail())?;
        Ok(transfer)
    }
}

impl RunningLoad {
    /// Waits for all answers.
    ///
    /// # Errors
    /// When the helper fails.
    pub fn finish(self) -> Result<Report> {
        let done = self.child.wait_with_output()?;
        serde_json::from_slice(&done.stdout)
            .with_context(|| format!("the client ended with {} and no report", done.status))
    }
}

impl Transfer {
    /// How far it has come; none before the first bytes.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let log = self.process.log();
        log.lines().rev().find_map(|line| serde_json::from_str(line).ok())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `limit`, or never began.
    pub fn finish(mut self, limit: Duration) -> Result<Progress> {
        self.process.wait(limit)?;
        self.progress().context("the transfer left no report")
    }
}
