//! One network namespace.

use std::os::fd::AsRawFd;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use super::{command, leftover};

/// A network namespace; deleted on drop, with everything in it, after its processes are killed.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

/// Counters of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

impl Counters {
    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            rx_packets: self.rx_packets.saturating_sub(earlier.rx_packets),
            rx_bytes: self.rx_bytes.saturating_sub(earlier.rx_bytes),
            tx_packets: self.tx_packets.saturating_sub(earlier.tx_packets),
            tx_bytes: self.tx_bytes.saturating_sub(earlier.tx_bytes),
        }
    }
}

impl Netns {
    pub(crate) fn add(name: &str) -> Result<Self> {
        command::ip(&format!("netns add {name}"))?;
        let namespace = Self { name: name.to_owned() };
        namespace.ip("link set lo up")?;
        // Duplicate address detection would keep IPv6 addresses unusable for the first second or two.
        namespace.sysctl(&[
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
        ])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` inside it.
    ///
    /// # Errors
    /// When it exits non-zero.
    pub fn ip(&self, words: &str) -> Result<String> {
        command::ip(&format!("-n {} {words}", self.name))
    }

    /// The way into it, for code of this process.
    ///
    /// # Errors
    /// When it is not there.
    pub fn entry(&self) -> Result<Entry> {
        Ok(Entry(std::fs::File::open(format!("/run/netns/{}", self.name))?))
    }

    /// A command that will run inside it. The process keeps its id: `ip netns exec` replaces itself.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Sets values below `/proc/sys`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn sysctl(&self, values: &[(&str, &str)]) -> Result<()> {
        let script: Vec<String> =
            values.iter().map(|(key, value)| format!("echo {value} > /proc/sys/{key}")).collect();
        command::output(self.command("sh").args(["-ec", &script.join("\n")]))?;
        Ok(())
    }

    /// A veth pair between an interface here and one in another namespace, both up. Checksums are computed by the
    /// sender, since a frame that XDP sends on leaves as it is.
    ///
    /// # Errors
    /// When `ip` or `ethtool` fails.
    pub fn veth(&self, interface: &str, peer: &Netns, peer_interface: &str) -> Result<()> {
        self.ip(&format!(
            "link add {interface} type veth peer name {peer_interface} netns {}",
            peer.name
        ))?;
        for (namespace, interface) in [(self, interface), (peer, peer_interface)] {
            command::output(namespace.command("ethtool").args(["-K", interface, "tx", "off"]))?;
            namespace.ip(&format!("link set {interface} up"))?;
        }
        Ok(())
    }

    /// Local addresses of TCP sockets that listen on a port, as the kernel's table has them.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn listeners(&self, port: u16) -> Result<Vec<String>> {
        let table = command::output(self.command("cat").args(["/proc/net/tcp", "/proc/net/tcp6"]))?;
        let end = format!(":{port:04X}");
        Ok(table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|columns| columns.get(3) == Some(&"0A"))
            .filter_map(|columns| columns.get(1).map(|local| (*local).to_owned()))
            .filter(|local| local.ends_with(&end))
            .collect())
    }

    /// Counters of an interface.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn counters(&self, interface: &str) -> Result<Counters> {
        #[derive(Deserialize)]
        struct Link {
            stats64: Stats,
        }
        #[derive(Deserialize)]
        struct Stats {
            rx: Direction,
            tx: Direction,
        }
        #[derive(Deserialize)]
        struct Direction {
            packets: u64,
            bytes: u64,
        }
        let text = self.ip(&format!("-j -s link show dev {interface}"))?;
        let links: Vec<Link> = serde_json::from_str(&text).context("ip -j -s link")?;
        let stats = &links.first().context("ip named no interface")?.stats64;
        Ok(Counters {
            rx_packets: stats.rx.packets,
            rx_bytes: stats.rx.bytes,
            tx_packets: stats.tx.packets,
            tx_bytes: stats.tx.bytes,
        })
    }
}

/// The way into a namespace.
#[derive(Debug)]
pub struct Entry(std::fs::File);

impl Entry {
    /// Runs something there, on a thread of its own.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the thread panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: the descriptor is open; only this thread changes its namespace.
                let entered = unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) };
                ensure!(entered == 0, "setns: {}", std::io::Error::last_os_error());
                Ok(work())
            });
            thread.join().map_err(|_| anyhow!("a thread in a namespace panicked"))?
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        leftover::remove_namespace(&self.name);
    }
}
