//! The balancer's namespace, and that in which clients and backends are.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::frame::backend_mac;
use crate::lab::netns::Entry;
use crate::lab::{Lab, Netns, command, pass};

/// The two interfaces of each side.
const PAIRS: [(&str, &str); 2] = [("g0", "e0"), ("g1", "e1")];

/// The namespaces and the veth pairs between them.
#[derive(Debug)]
pub struct Wire {
    neighbours: Option<(Child, ChildStdin)>,
    ends: Netns,
    balancer: Netns,
    lab: Lab,
}

impl Wire {
    /// Builds it, with a bpffs of its own.
    ///
    /// # Errors
    /// When `ip`, `ethtool` or `mount` fails, or the kernel loads no XDP program.
    pub fn new(lab: Lab) -> Result<Self> {
        let (ends, balancer) = (lab.netns("wire")?, lab.netns("lb")?);
        let off =
            [("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1")];
        ends.sysctl(&off)?;
        let bpf = lab.dir().join("bpf");
        std::fs::create_dir_all(&bpf)?;
        command::output(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&bpf))?;
        for (number, (end, own)) in (1..).zip(PAIRS) {
            ends.veth(end, &balancer, own)?;
            pass::attach(&ends, end, &bpf.join("pass"))?;
            balancer.ip(&format!("address add 10.{number}.0.1/16 dev {own}"))?;
            balancer.ip(&format!("address add fd00:{number}::1/64 dev {own} nodad"))?;
        }
        let mut batch = Command::new("ip");
        batch.args(["-n", balancer.name(), "-batch", "-"]).stdin(Stdio::piped());
        let mut batch = batch.spawn().context("cannot run ip -batch")?;
        let input = batch.stdin.take().context("ip -batch has no input")?;
        Ok(Self { neighbours: Some((batch, input)), ends, balancer, lab })
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The balancer's namespace.
    #[must_use]
    pub fn balancer(&self) -> &Netns {
        &self.balancer
    }

    /// The namespace of clients and backends.
    #[must_use]
    pub fn far_end(&self) -> &Netns {
        &self.ends
    }

    /// Names of the balancer's interfaces.
    #[must_use]
    pub fn interfaces() -> Vec<String> {
        PAIRS.iter().map(|(_, own)| (*own).to_owned()).collect()
    }

    /// Names of the interfaces at the other ends, in the same order.
    #[must_use]
    pub fn ends() -> [&'static str; 2] {
        PAIRS.map(|(end, _)| end)
    }

    /// Where a dataplane can be pinned.
    #[must_use]
    pub fn pin_path(&self) -> PathBuf {
        self.lab.dir().join("bpf").join("vc5")
    }

    /// The address of a backend: by turns behind one interface and the other, two of IPv4 and two of IPv6.
    #[must_use]
    pub fn address(backend: u16) -> IpAddr {
        let (pair, host) = (backend % 2 + 1, backend + 10);
        if backend & 2 == 0 {
            let [hi, lo] = host.to_be_bytes();
            Ipv4Addr::new(10, pair.to_be_bytes()[1], hi, lo).into()
        } else {
            Ipv6Addr::new(0xfd00, pair, 0, 0, 0, 0, 0, host).into()
        }
    }

    /// Tells the balancer's kernel the MAC address of a backend. It is done a moment later.
    ///
    /// # Errors
    /// When `ip` has ended.
    pub fn set_neighbour(&mut self, backend: u16, address: u16) -> Result<()> {
        let (_, input) = self.neighbours.as_mut().context("ip -batch was ended")?;
        let [a, b, c, d, e, f] = backend_mac(backend, address);
        let port = PAIRS.get(usize::from(backend % 2)).map_or("", |(_, own)| own);
        let line = format!(
            "neigh replace {} lladdr {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} dev {port} nud permanent\n",
            Self::address(backend)
        );
        input.write_all(line.as_bytes()).context("ip -batch has ended")
    }

    /// Waits until the neighbour table is as it was told. There can be no changes after that.
    ///
    /// # Errors
    /// When `ip` failed.
    pub fn finish_neighbours(&mut self) -> Result<()> {
        let Some((mut batch, input)) = self.neighbours.take() else { return Ok(()) };
        drop(input);
        let status = batch.wait()?;
        ensure!(status.success(), "ip -batch: {status}");
        Ok(())
    }

    /// Waits until the balancer's neighbour table has so many entries set by us.
    ///
    /// # Errors
    /// When it does not within 20 s.
    pub fn wait_neighbours(&self, count: usize) -> Result<()> {
        crate::lab::wait::until_true("neighbours", std::time::Duration::from_secs(20), || {
            let count_of = |family: &str| -> Result<usize> {
                Ok(self.balancer.ip(&format!("{family} neigh show nud permanent"))?.lines().count())
            };
            Ok(count_of("-4")? + count_of("-6")? >= count)
        })
        .map(drop)
    }

    /// The MAC addresses of the balancer's interfaces.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn macs(&self) -> Result<[[u8; 6]; 2]> {
        let mut macs = [[0; 6]; 2];
        for (mac, (_, own)) in macs.iter_mut().zip(PAIRS) {
            let line = self.balancer.ip(&format!("-br link show {own}"))?;
            let text = line.split_whitespace().nth(2).context("no MAC address")?;
            for (byte, digits) in mac.iter_mut().zip(text.split(':')) {
                *byte = u8::from_str_radix(digits, 16)?;
            }
        }
        Ok(macs)
    }

    /// Runs something in the balancer's namespace, on a thread of its own.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the thread panicked.
    pub fn at_balancer<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.balancer.entry()?.run(work)
    }

    /// The way into the namespace of clients and backends.
    ///
    /// # Errors
    /// When it is not there.
    pub fn ends_entry(&self) -> Result<Entry> {
        self.ends.entry()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some((mut batch, input)) = self.neighbours.take() {
            drop(input);
            let _ended = batch.wait();
        }
    }
}
