//! A vc5d node: its namespace, its own bpffs, its configuration and its client.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Fabric, Lab, Netns, Process, command, pass, wait};

/// A vc5d node.
///
/// The bpffs is mounted outside the namespace's own view of `/sys`, so what the daemon pins outlives the daemon, as
/// it does on a real host, and goes with the lab.
#[derive(Debug)]
pub struct Node {
    name: String,
    address: Ipv4Addr,
    dir: PathBuf,
    daemon: Option<Process>,
    namespace: Netns,
}

impl Node {
    /// A new node on the shared subnet; its daemon does not run yet.
    ///
    /// # Errors
    /// When `ip`, `ethtool` or `mount` fails, or the kernel loads no XDP program.
    pub fn new(lab: &Lab, fabric: &Fabric, name: &str, address: Ipv4Addr) -> Result<Self> {
        let namespace = fabric.host(lab, name, address)?;
        let dir = lab.dir().join(name);
        let bpf = dir.join("bpf");
        fs::create_dir_all(&bpf)?;
        command::output(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&bpf))?;
        pass::attach(&fabric.bridge, name, &bpf.join("pass"))?;
        Ok(Self { name: name.to_owned(), address, dir, daemon: None, namespace })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Netns {
        &self.namespace
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("vc5.ctl")
    }

    /// Where the daemon pins its maps and links.
    #[must_use]
    pub fn pin_path(&self) -> PathBuf {
        self.dir.join("bpf").join("vc5")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("vc5.toml")
    }

    /// Writes the configuration: `[router]`, `[control]` and `[dataplane]` with the node's own paths, followed by
    /// `rest`, which may begin with more keys of `[dataplane]`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, local_as: u32, mode: &str, rest: &str) -> Result<()> {
        let interfaces = if mode == "off" { "" } else { "interfaces = [\"eth0\"]\n" };
        let text = format!(
            "[router]\nid = \"{}\"\nas = {local_as}\n\n[control]\nsocket = \"{}\"\n\
             state-directory = \"{}\"\n\n\
             [dataplane]\nmode = \"{mode}\"\n{interfaces}pin-path = \"{}\"\n{rest}",
            self.address,
            self.socket().display(),
            self.dir.join("state").display(),
            self.pin_path().display(),
        );
        fs::write(self.config_file(), text)
            .with_context(|| format!("cannot write {}", self.config_file().display()))
    }

    /// Starts the daemon and waits until its control socket answers.
    ///
    /// # Errors
    /// When it has not been built, ends, or does not answer.
    pub fn start(&mut self) -> Result<()> {
        let mut command = self.namespace.command(binary("vc5d")?);
        command.arg("-c").arg(self.config_file()).env("VC5_LOG", "info,dataplane=debug");
        let mut daemon = Process::start(&self.name, &mut command, &self.log_file())?;
        let answers = wait::until_true("vc5d answers", Duration::from_secs(15), || {
            daemon.check_running()?;
            Ok(self.vc5c("show status").is_ok())
        });
        let tail = daemon.tail();
        self.daemon = Some(daemon);
        answers.with_context(|| format!("{}: log ends:\n{tail}", self.name))?;
        Ok(())
    }

    /// Runs `vc5d` with other arguments to its end: `--check`, `--detach`, or a start that is expected to fail.
    ///
    /// # Errors
    /// When it cannot be started, or runs for longer than 20 s.
    pub fn run_vc5d(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.namespace.command("timeout");
        command.args(["--kill-after=1", "20"]).arg(binary("vc5d")?).args(arguments);
        command.arg("-c").arg(self.config_file());
        let done = command::finish(&mut command)?;
        if done.status.code() == Some(124) {
            bail!("vc5d {arguments:?} did not end: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(done)
    }

    /// The running daemon.
    ///
    /// # Errors
    /// When none was started.
    pub fn daemon(&mut self) -> Result<&mut Process> {
        self.daemon.as_mut().with_context(|| format!("{}: vc5d does not run", self.name))
    }

    /// The daemon's log so far, of all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What `vc5c` prints.
    ///
    /// # Errors
    /// When it exits non-zero.
    pub fn vc5c(&self, words: &str) -> Result<String> {
        command::output(&mut self.client(words)?)
    }

    /// What `vc5c -j` prints, parsed.
    ///
    /// # Errors
    /// When it exits non-zero or prints no JSON.
    pub fn vc5c_json(&self, words: &str) -> Result<Value> {
        let text = self.vc5c(&format!("-j {words}"))?;
        serde_json::from_str(&text).with_context(|| format!("vc5c -j {words} printed {text:?}"))
    }

    /// `vc5c` with its exit status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn vc5c_output(&self, words: &str) -> Result<Output> {
        command::finish(&mut self.client(words)?)
    }

    fn client(&self, words: &str) -> Result<Command> {
        let mut command = Command::new(binary("vc5c")?);
        command.arg("-s").arg(self.socket()).args(words.split_whitespace());
        Ok(command)
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("vc5d.log")
    }
}

/// A program of the daemon's crate, beside the running one in the target directory.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(3)
        .map(|dir: &Path| dir.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not built; build it with: cargo build -p vc5d"))
}
