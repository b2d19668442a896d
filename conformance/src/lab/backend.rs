//! A backend: the VIP on its loopback, and a service that can be stopped and started.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::{Fabric, Lab, Netns, Process, wait};

/// A backend with its service.
#[derive(Debug)]
pub struct Backend {
    name: String,
    address: Ipv4Addr,
    log: PathBuf,
    tool: PathBuf,
    service: Option<Process>,
    namespace: Netns,
}

impl Backend {
    /// A new backend on the shared subnet that holds `vip`; its service does not run yet.
    ///
    /// # Errors
    /// When `ip` or `ethtool` fails.
    pub fn new(
        lab: &Lab,
        fabric: &Fabric,
        name: &str,
        address: Ipv4Addr,
        vip: Ipv4Addr,
    ) -> Result<Self> {
        let namespace = fabric.host(lab, name, address)?;
        // The VIP must answer no ARP request: on the subnet, its owner is whoever the router chose.
        namespace.sysctl(&[
            ("net/ipv4/conf/all/arp_ignore", "1"),
            ("net/ipv4/conf/all/arp_announce", "2"),
        ])?;
        namespace.ip(&format!("address add {vip}/32 dev lo"))?;
        Ok(Self {
            name: name.to_owned(),
            address,
            log: lab.dir().join(format!("{name}.log")),
            tool: lab.tool().to_owned(),
            service: None,
            namespace,
        })
    }

    /// Its name, which its service puts into every answer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Netns {
        &self.namespace
    }

    /// Starts the HTTP service on port 80 and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&mut self) -> Result<()> {
        let mut command = self.namespace.command(&self.tool);
        command.args(["serve", "--name", &self.name, "--listen", "[::]:80"]);
        let mut service = Process::start(&self.name, &mut command, &self.log)?;
        wait::until_true("HTTP service listens", Duration::from_secs(5), || {
            service.check_running()?;
            Ok(!self.namespace.listeners(80)?.is_empty())
        })?;
        self.service = Some(service);
        Ok(())
    }

    /// Kills the service: its connections are reset and new ones refused.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        match self.service.take() {
            Some(mut service) => service.kill(),
            None => Ok(()),
        }
    }
}
