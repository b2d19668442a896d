//! The dataplane in its namespace, and what is wanted of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc::UnboundedReceiver;
use vc5_xdp::{
    AttachMode, BackendSpec, BackendStatus, Dataplane, DataplaneConfig, Desired, Event, L4, OnDown,
    OnStop, Ports, RealState, ServiceSpec, Snapshot, Unknown, VipSpec,
};

use super::network::{ALL, Network, within};
use crate::lab::wait;

/// The service of the backends in fixed VLANs, by TCP and UDP.
pub(super) const FIXED: u16 = 8080;
/// The service of the backend that moves, by UDP.
pub(super) const MOVED: u16 = 8081;
/// How long anything may take: an emulated machine is slow, and its host may be busy.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the kernel's stack.
    Generic,
}

/// The running dataplane.
pub(super) struct Balancer {
    dataplane: Dataplane,
    events: UnboundedReceiver<Event>,
    applied: u64,
}

impl Balancer {
    pub(super) fn start(network: &Network, mode: Mode) -> Result<Self> {
        let config = DataplaneConfig {
            interfaces: vec![network.uplink.interface().to_owned()],
            vlans: BTreeMap::new(),
            mode: match mode {
                Mode::Native => AttachMode::Native,
                Mode::Generic => AttachMode::Generic,
            },
            pin_path: None,
            hash_key: [7; 16],
            flows: 65_536,
            max_reals: 1024,
            settle_time: Duration::from_secs(1),
            // Longer than an emulated machine takes to find out a neighbour's address.
            drain_time: Duration::from_secs(60),
            sample: None,
        };
        let started = within(&network.balancer, || Ok(Dataplane::start(config)?));
        let (dataplane, events) = started?;
        Ok(Self { dataplane, events, applied: 0 })
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.dataplane.snapshot()
    }

    /// Has these backends serve, and waits until the program knows.
    pub(super) fn apply(&mut self, fixed: &[[IpAddr; 2]], moved: &[[IpAddr; 2]]) -> Result<()> {
        self.applied += 1;
        self.dataplane.apply(self.applied, desired(fixed, moved));
        wait::until_true("a change in force", LIMIT, || {
            Ok(self.snapshot().applied_seq == self.applied)
        })?;
        Ok(())
    }

    /// Waits until all backends are in their rings.
    pub(super) fn wait_until_ready(&self) -> Result<()> {
        let ready = wait::until_true("all backends in their rings", LIMIT, || {
            let snapshot = self.snapshot();
            Ok(backends(&snapshot).all(|b| b.leaving || (b.mac.is_some() && b.ring_slots > 0)))
        });
        ready.map(drop).with_context(|| self.describe())
    }

    /// How a backend is reached, in words.
    pub(super) fn path_to(&self, address: IpAddr) -> Result<String> {
        let snapshot = self.snapshot();
        let status = backends(&snapshot).find(|status| status.address == address);
        Ok(status.with_context(|| format!("{address} is no backend"))?.path.to_string())
    }

    /// What has happened to attachments since this was asked last.
    pub(super) fn attachment_news(&mut self) -> Vec<Event> {
        let mut news = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if matches!(event, Event::Attached { .. } | Event::Detached { .. }) {
                news.push(event);
            }
        }
        news
    }

    /// That the program runs on the interface, in this mode.
    pub(super) fn check_attached(&self, mode: Mode) -> Result<()> {
        let snapshot = self.snapshot();
        let [interface] = &*snapshot.interfaces else {
            bail!("{} interfaces", snapshot.interfaces.len())
        };
        let wanted = match mode {
            Mode::Native => "native",
            Mode::Generic => "generic",
        };
        ensure!(interface.attached, "the program is not on {}", interface.name);
        ensure!(interface.mode == wanted, "attached in mode {}", interface.mode);
        Ok(())
    }

    /// What is said of the interface.
    pub(super) fn note(&self) -> Option<String> {
        self.snapshot().interfaces.first().and_then(|interface| interface.note.clone())
    }

    /// Interfaces and backends, to be read by a person.
    pub(super) fn describe(&self) -> String {
        let snapshot = self.snapshot();
        let mut lines = Vec::new();
        for interface in &snapshot.interfaces {
            let met = interface.reasons.iter().filter(|reason| reason.packets > 0);
            let met: Vec<_> = met.map(|r| format!("{} {}", r.name, r.packets)).collect();
            lines.push(format!(
                "{} ({}, attached: {}): {}; note: {:?}",
                interface.name,
                interface.mode,
                interface.attached,
                met.join(", "),
                interface.note
            ));
        }
        for status in backends(&snapshot) {
            let mac = status.mac.map_or("no MAC address".to_owned(), |mac| mac.to_string());
            let (address, path, slots) = (status.address, &status.path, status.ring_slots);
            lines.push(format!("{address} by {path}: {mac}, {slots} slots"));
        }
        let mut said = BTreeSet::new();
        lines.retain(|line| said.insert(line.clone()));
        lines.join("\n")
    }

    /// Packets that the program dropped, by reason.
    pub(super) fn drops(&self) -> Vec<(&'static str, u64)> {
        const FORWARDED: [&str; 4] = ["flow", "embryonic", "ring", "previous-ring"];
        const NOT_OURS: [&str; 3] = ["not-our-mac", "not-ip", "not-vip"];
        let snapshot = self.snapshot();
        let fine = |name| FORWARDED.contains(&name) || NOT_OURS.contains(&name) || name == "echo";
        let others = snapshot.reasons.iter().filter(|r| r.packets > 0 && !fine(r.name));
        others.map(|reason| (reason.name, reason.packets)).collect()
    }

    pub(super) fn stop(self) -> Result<()> {
        Ok(self.dataplane.stop(OnStop::Remove)?)
    }
}

fn backends(snapshot: &Snapshot) -> impl Iterator<Item = &BackendStatus> {
    snapshot.vips.iter().flat_map(|vip| &vip.services).flat_map(|service| &service.backends)
}

fn desired(fixed: &[[IpAddr; 2]], moved: &[[IpAddr; 2]]) -> Desired {
    let vip = |address: IpAddr| VipSpec {
        address,
        up: true,
        unknown: Unknown::Drop,
        services: vec![
            service(address, FIXED, L4::Tcp, fixed),
            service(address, FIXED, L4::Udp, fixed),
            service(address, MOVED, L4::Udp, moved),
        ],
    };
    Desired { vips: ALL.map(vip).into() }
}

fn service(vip: IpAddr, port: u16, protocol: L4, backends: &[[IpAddr; 2]]) -> ServiceSpec {
    let backend = |[v4, v6]: &[IpAddr; 2]| BackendSpec {
        address: if vip.is_ipv4() { *v4 } else { *v6 },
        weight: 1,
        state: RealState::Live,
    };
    ServiceSpec {
        ports: Ports::One(port),
        protocol,
        ttl: Some(1),
        on_down: OnDown::Reselect,
        sticky: false,
        serving: true,
        needed: true,
        backends: backends.iter().map(backend).collect(),
    }
}
