//! A process that owns a dataplane, for one that shall be killed: it puts numbered states in force as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc::UnboundedReceiver;
use vc5_xdp::{
    AttachMode, BackendSpec, Dataplane, DataplaneConfig, Desired, Event, L4, OnDown, Ports,
    RealState, ServiceSpec, Unknown, VipSpec,
};

use super::{Rng, Target, Transport, Wire};

/// Backends of each service.
pub const BACKENDS: u16 = 40;
/// What the process says once its dataplane is there.
const STARTED: &str = "started";

/// How to own one.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Interfaces.
    #[arg(long)]
    interface: Vec<String>,
    /// Where to pin.
    #[arg(long)]
    pin_path: PathBuf,
    /// Flows to remember.
    #[arg(long)]
    flows: u32,
}

/// The services of all states: TCP and UDP on a VIP of each family.
#[must_use]
pub fn targets(connections: u16) -> Vec<Target> {
    let vips = [[203, 0, 113, 1].into(), [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1].into()];
    let target = |(vip, transport)| Target { vip, ports: (80, 80), transport, ttl: 1, connections };
    let both = |vip| [(vip, Transport::Tcp), (vip, Transport::Udp)];
    vips.into_iter().flat_map(both).map(target).collect()
}

/// A state. From one to any other, backends come, and change their weights; a few drain; none goes.
#[must_use]
pub fn state(number: u32) -> Desired {
    let mut vips: BTreeMap<_, VipSpec> = BTreeMap::new();
    for target in targets(0) {
        let mut rng = Rng::new(u64::from(number));
        let backend = |backend: u16| BackendSpec {
            address: Wire::address(backend),
            weight: rng.below(4) as u32 + 1,
            state: if rng.below(4) == 0 { RealState::Draining } else { RealState::Live },
        };
        let there = (20 + number * 2).min(u32::from(BACKENDS)) as u16;
        let service = ServiceSpec {
            ports: Ports::One(80),
            protocol: match target.transport {
                Transport::Tcp => L4::Tcp,
                Transport::Udp => L4::Udp,
            },
            ttl: Some(1),
            on_down: OnDown::Reselect,
            sticky: false,
            serving: true,
            needed: true,
            backends: (0..there).map(backend).collect(),
        };
        let (address, unknown) = (target.vip, Unknown::Drop);
        let vip = VipSpec { address, up: true, unknown, services: Vec::new() };
        vips.entry(address).or_insert(vip).services.push(service);
    }
    Desired { vips: vips.into_values().collect() }
}

/// The process: owns a dataplane until its input ends.
///
/// # Errors
/// When the dataplane cannot be started, or a state cannot be put in force.
pub fn run(arguments: Arguments) -> Result<()> {
    let config = DataplaneConfig {
        interfaces: arguments.interface,
        vlans: BTreeMap::new(),
        mode: AttachMode::Native,
        pin_path: Some(arguments.pin_path),
        hash_key: *b"a key of the lab",
        flows: arguments.flows,
        max_reals: 1 << 14,
        settle_time: Duration::from_secs(1),
        drain_time: Duration::from_secs(60),
        sample: None,
    };
    let (dataplane, mut events) = Dataplane::start(config)?;
    println!("{STARTED}");
    for line in std::io::stdin().lines() {
        let number: u32 = line?.parse()?;
        dataplane.apply(u64::from(number) + 1, state(number));
        let ready = wait_applied(&mut events, u64::from(number) + 1)?;
        println!("{number} {ready}");
    }
    Ok(())
}

fn wait_applied(events: &mut UnboundedReceiver<Event>, wanted: u64) -> Result<bool> {
    loop {
        match events.blocking_recv().context("the dataplane has ended")? {
            Event::Applied { seq, not_ready, .. } if seq == wanted => {
                return Ok(not_ready.is_empty());
            }
            Event::ApplyFailed { error, .. } => bail!("{error}"),
            _ => {}
        }
    }
}

/// The process as seen by who started it; killed on drop.
#[derive(Debug)]
pub struct Owner {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Owner {
    /// Starts it. `tool` is a program that calls [`crate::tool::dispatch`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(wire: &Wire, tool: &str, flows: u32) -> Result<Self> {
        let mut command = wire.balancer().command(tool);
        command.arg("own-dataplane").arg("--pin-path").arg(wire.pin_path());
        command.arg("--flows").arg(flows.to_string());
        for interface in Wire::interfaces() {
            command.arg("--interface").arg(interface);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the owner")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let input = child.stdin.take();
        Ok(Self { child, input, output })
    }

    /// Waits until its dataplane is there.
    ///
    /// # Errors
    /// When it has ended instead.
    pub fn wait_started(&mut self) -> Result<()> {
        let said = self.line()?;
        ensure!(said == STARTED, "the owner said {said:?}");
        Ok(())
    }

    /// Tells it to put a state in force.
    ///
    /// # Errors
    /// When it has ended.
    pub fn begin(&mut self, number: u32) -> Result<()> {
        let input = self.input.as_mut().context("no input")?;
        writeln!(input, "{number}").context("the owner has ended")
    }

    /// Puts a state in force.
    ///
    /// # Errors
    /// When it has ended, or not all VIPs are ready.
    pub fn apply(&mut self, number: u32) -> Result<()> {
        self.begin(number)?;
        let said = self.line()?;
        ensure!(said == format!("{number} true"), "the owner said {said:?} to {number}");
        Ok(())
    }

    /// Kills it, as it is.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it end in order.
    ///
    /// # Errors
    /// When it fails.
    pub fn end(mut self) -> Result<()> {
        self.input = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "the owner: {status}");
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
