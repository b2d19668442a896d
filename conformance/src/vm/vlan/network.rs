//! The namespaces, and what is between them.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};

use crate::lab::{Netns, command, pass};

/// VIPs whose packets reach the balancer in VLAN 30.
pub(super) const TAGGED: [IpAddr; 2] = vips(1);
/// VIPs whose packets reach it untagged.
pub(super) const UNTAGGED: [IpAddr; 2] = vips(2);
pub(super) const ALL: [IpAddr; 4] = [TAGGED[0], TAGGED[1], UNTAGGED[0], UNTAGGED[1]];
/// The number that stands for no tag in addresses.
pub(super) const NATIVE: u8 = 1;
/// The subnets that are always in one VLAN, by its number.
pub(super) const VLANS: [u8; 4] = [NATIVE, 10, 20, 30];
/// The subnet that is in VLAN 10 or 20, as the balancer's addresses say.
pub(super) const MOVING: u8 = 50;
/// Last octet of the balancer's addresses, the router's, and those of backends.
pub(super) const BALANCER: u8 = 1;
const ROUTER: u8 = 254;
const BACKEND: u8 = 9;
/// That of the further addresses that the mover has in VLANs 10 and 20.
const MOVER: u8 = 60;
const CLIENT_LINK: u8 = 100;

const fn vips(last: u8) -> [IpAddr; 2] {
    [
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, last as u16)),
    ]
}

/// By what the balancer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// One interface, `e0`.
    Single,
    /// `bond0`, active-backup over `s0` and `s1`.
    Bond,
}

impl Uplink {
    /// The interface that the dataplane is to be on.
    pub(super) const fn interface(self) -> &'static str {
        match self {
            Self::Single => "e0",
            Self::Bond => "bond0",
        }
    }

    /// The NICs of it.
    pub(super) const fn nics(self) -> &'static [&'static str] {
        match self {
            Self::Single => &["e0"],
            Self::Bond => &["s0", "s1"],
        }
    }
}

/// An address of a subnet in both families, by its last octet.
pub(super) fn addresses(subnet: u8, host: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, subnet.into(), 0, 0, 0, 0, host.into());
    [IpAddr::from([10, 1, subnet, host]), v6.into()]
}

/// The backend that is in one VLAN only.
pub(super) fn backend(vlan: u8) -> [IpAddr; 2] {
    addresses(vlan, BACKEND)
}

/// The mover, by its address in the subnet that moves.
pub(super) fn moving() -> [IpAddr; 2] {
    addresses(MOVING, BACKEND)
}

/// The mover, by its addresses in a VLAN.
pub(super) fn mover_in(vlan: u8) -> [IpAddr; 2] {
    addresses(vlan, MOVER)
}

/// The lab's namespaces.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) uplink: Uplink,
    pub(super) switch: Netns,
    pub(super) balancer: Netns,
    pub(super) router: Netns,
    pub(super) client: Netns,
    pub(super) backends: Vec<Netns>,
    pub(super) mover: Netns,
}

impl Network {
    pub(super) fn new(uplink: Uplink) -> Result<Self> {
        let add = |role: &str| Netns::add(&format!("{role}-{}", uplink.interface()));
        let switch = add("switch")?;
        switch.ip("link add br0 up type bridge vlan_filtering 1 mcast_snooping 0")?;
        let [b1, b10, b20] = [add("b1")?, add("b10")?, add("b20")?];
        let network = Self {
            uplink,
            switch,
            balancer: add("balancer")?,
            router: add("router")?,
            client: add("client")?,
            backends: vec![b1, b10, b20],
            mover: add("mover")?,
        };
        network.connect_balancer()?;
        network.connect_router()?;
        for (backend, vlan) in network.backends.iter().zip(VLANS) {
            network.plug(backend, "eth0", backend.name(), &[(vlan, true)])?;
            let addresses = give_addresses("eth0", vlan, BACKEND);
            batch(backend, &[addresses, hold_vips(), default_by_router(vlan)].concat())?;
        }
        network.connect_mover()?;
        Ok(network)
    }

    /// A port of the switch: the VLANs that it carries, and of each whether it is the untagged one.
    fn plug(&self, host: &Netns, nic: &str, port: &str, vlans: &[(u8, bool)]) -> Result<()> {
        host.veth(nic, &self.switch, port)?;
        // A tag that travels beside the frame, as veth does it for its own kind, is none that XDP could see.
        ethtool(&self.switch, port, "txvlan off")?;
        self.switch.ip(&format!("link set {port} master br0"))?;
        let mut lines = format!("vlan del dev {port} vid 1\n");
        for (vlan, untagged) in vlans {
            let kind = if *untagged { "pvid untagged" } else { "" };
            lines.push_str(&format!("vlan add dev {port} vid {vlan} {kind}\n"));
        }
        run_batch("bridge", &self.switch, &lines)
    }

    fn connect_balancer(&self) -> Result<()> {
        let trunk = VLANS.map(|vlan| (vlan, vlan == NATIVE));
        for nic in self.uplink.nics() {
            self.plug(&self.balancer, nic, &port_of(nic), &trunk)?;
        }
        let interface = self.uplink.interface();
        let mut lines = String::new();
        if self.uplink == Uplink::Bond {
            lines.push_str(&format!(
                "link add {interface} type bond mode active-backup miimon 20\n"
            ));
            for nic in self.uplink.nics() {
                lines
                    .push_str(&format!("link set {nic} down\nlink set {nic} master {interface}\n"));
            }
            lines.push_str(&format!("link set {interface} up\n"));
        }
        for vlan in VLANS {
            lines.push_str(&vlan_on(interface, vlan));
            lines.push_str(&give_addresses(&name_of(interface, vlan), vlan, BALANCER));
        }
        lines.push_str(&give_addresses(&name_of(interface, 10), MOVING, BALANCER));
        batch(&self.balancer, &lines)
    }

    fn connect_router(&self) -> Result<()> {
        let (router, client) = (&self.router, &self.client);
        router.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
        self.plug(router, "eth0", "router", &VLANS.map(|vlan| (vlan, vlan == NATIVE)))?;
        client.veth("eth0", router, "client")?;
        let mut lines = give_addresses("client", CLIENT_LINK, ROUTER);
        for vlan in VLANS {
            lines.push_str(&vlan_on("eth0", vlan));
            lines.push_str(&give_addresses(&name_of("eth0", vlan), vlan, ROUTER));
        }
        for (vips, by) in [(TAGGED, 30), (UNTAGGED, NATIVE)] {
            for (vip, by) in vips.into_iter().zip(addresses(by, BALANCER)) {
                lines.push_str(&format!("route add {vip} via {by}\n"));
            }
        }
        batch(router, &lines)?;
        let addresses = give_addresses("eth0", CLIENT_LINK, BACKEND);
        batch(client, &[addresses, default_by_router(CLIENT_LINK)].concat())
    }

    /// The mover has the address that moves in both VLANs, so it answers wherever it is asked for.
    fn connect_mover(&self) -> Result<()> {
        self.plug(&self.mover, "eth0", "mover", &[(10, false), (20, false)])?;
        let mut lines = hold_vips();
        for vlan in [20, 10] {
            let on = name_of("eth0", vlan);
            lines.push_str(&vlan_on("eth0", vlan));
            lines.push_str(&give_addresses(&on, MOVING, BACKEND));
            lines.push_str(&give_addresses(&on, vlan, MOVER));
        }
        lines.push_str(&default_by_router(10));
        batch(&self.mover, &lines)
    }

    /// What a NIC's driver does for a real one: the far end of a veth has to run a program too, else what XDP sends
    /// by it is dropped.
    pub(super) fn prepare_native(&self) -> Result<()> {
        for nic in self.uplink.nics() {
            // `ip` in a namespace has a /sys of its own, so the bpffs there is none that it would see.
            let pin = Path::new("/bpf").join(format!("pass-{nic}"));
            pass::attach(&self.switch, &port_of(nic), &pin)?;
        }
        Ok(())
    }
}

/// The switch's port for a NIC of the balancer.
pub(super) fn port_of(nic: &str) -> String {
    format!("p-{nic}")
}

/// The name of the interface of a VLAN on a trunk.
fn name_of(trunk: &str, vlan: u8) -> String {
    if vlan == NATIVE { trunk.to_owned() } else { format!("{trunk}.{vlan}") }
}

/// Lines for `ip` that add the interface of a VLAN to a trunk.
pub(super) fn vlan_on(trunk: &str, vlan: u8) -> String {
    if vlan == NATIVE {
        return String::new();
    }
    let name = name_of(trunk, vlan);
    format!("link add link {trunk} name {name} type vlan id {vlan}\nlink set {name} up\n")
}

/// Lines that give an interface its addresses in a subnet.
pub(super) fn give_addresses(on: &str, subnet: u8, octet: u8) -> String {
    let line = |address| format!("address add {address}/{} dev {on}\n", length_of(address));
    addresses(subnet, octet).map(line).concat()
}

/// Length of the prefix of all subnets of a family.
pub(super) fn length_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

fn hold_vips() -> String {
    ALL.into_iter().map(|vip| format!("address add {vip} dev lo\n")).collect()
}

fn default_by_router(subnet: u8) -> String {
    addresses(subnet, ROUTER).map(|by| format!("route add default via {by}\n")).concat()
}

/// Runs lines of `ip` in a namespace, by one process: to start one takes long in an emulated machine.
pub(super) fn batch(namespace: &Netns, lines: &str) -> Result<()> {
    run_batch("ip", namespace, lines)
}

fn run_batch(program: &str, namespace: &Netns, lines: &str) -> Result<()> {
    let file = std::env::temp_dir().join("batch");
    fs::write(&file, lines)?;
    let mut command = Command::new(program);
    command.args(["-n", namespace.name(), "-batch"]).arg(file);
    command::output(&mut command).map(drop).with_context(|| lines.to_owned())
}

pub(super) fn ethtool(namespace: &Netns, interface: &str, words: &str) -> Result<String> {
    let mut command = namespace.command("ethtool");
    command.args(["-K", interface]).args(words.split_whitespace());
    command::output(&mut command)
}

/// Runs something in a namespace, on a thread of its own.
pub(super) fn within<T: Send>(
    namespace: &Netns,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(namespace.name())?;
            work()
        });
        thread.join().map_err(|_| anyhow!("a thread in {} panicked", namespace.name()))?
    })
}

/// Takes the calling thread into a namespace for good.
pub(super) fn enter(name: &str) -> Result<()> {
    let path = Path::new("/run/netns").join(name);
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: the descriptor is open; only the calling thread changes its namespace.
    let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    ensure!(entered == 0, "setns: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Which NIC of a bond is in use.
pub(super) fn active_nic(balancer: &Netns, bond: &str) -> Result<String> {
    within(balancer, || {
        let text = fs::read_to_string(format!("/proc/thread-self/net/bonding/{bond}"))?;
        let line = text.lines().find_map(|l| l.strip_prefix("Currently Active Slave: "));
        Ok(line.context("no active NIC is named")?.to_owned())
    })
}
