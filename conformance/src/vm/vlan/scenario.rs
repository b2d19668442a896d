//! What is done in the lab, and what must come of it.

use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::balancer::{Balancer, LIMIT, Mode};
use super::network::{
    ALL, BALANCER, MOVING, NATIVE, Network, TAGGED, UNTAGGED, Uplink, active_nic, addresses,
    backend, batch, ethtool, give_addresses, length_of, mover_in, moving, port_of, vlan_on,
};
use super::stream::{Stream, connect, serve};
use crate::lab::{command, wait};

/// Moves of the subnet from one VLAN to the other under traffic, and on one interface in the driver.
const MOVES: usize = 20;
const MANY_MOVES: usize = 200;
/// Changes of the configuration that replace a backend by its other address, in another VLAN.
const REPLACEMENTS: usize = 5;

/// Builds the lab, and runs the dataplane in it in each of these modes.
///
/// # Errors
/// When anything is not as it must be.
pub fn play(uplink: Uplink, modes: &[Mode]) -> Result<()> {
    let began = Instant::now();
    let network = Network::new(uplink)?;
    for backend in network.backends.iter().chain([&network.mover]) {
        serve(backend)?;
    }
    println!("{uplink:?}: the lab is up after {:.1} s", began.elapsed().as_secs_f64());
    for mode in modes {
        let began = Instant::now();
        play_mode(&network, *mode).with_context(|| format!("{uplink:?}, {mode:?}"))?;
        println!("{uplink:?}, {mode:?}: ok after {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

fn play_mode(network: &Network, mode: Mode) -> Result<()> {
    if mode == Mode::Native {
        network.prepare_native()?;
    }
    switch_offloads_on(network)?;
    let mut balancer = Balancer::start(network, mode)?;
    balancer.apply(&fixed(), &[moving()])?;
    balancer.wait_until_ready()?;
    balancer.check_attached(mode)?;
    check_offloads(network)?;
    check_paths(network, &balancer)?;
    let vips = forwarded(network, mode);
    let many = (network.uplink, mode) == (Uplink::Single, Mode::Native);
    let moves = if many { MANY_MOVES } else { MOVES };
    check_note(network, &balancer, mode)?;
    let done = check_traffic(network, vips)
        .and_then(|()| live_changes(network, &mut balancer, moves, vips))
        .and_then(|()| match network.uplink {
            Uplink::Single => vlan_comes_back(network, &balancer, vips),
            Uplink::Bond => failover(network, &mut balancer, mode, vips),
        });
    done.with_context(|| balancer.describe())?;
    println!("{}", balancer.describe());
    let drops = balancer.drops();
    ensure!(drops.is_empty(), "dropped or passed without need: {drops:?}");
    balancer.stop()?;
    for nic in network.uplink.nics().iter().chain([&network.uplink.interface()]) {
        let link = network.balancer.ip(&format!("link show {nic}"))?;
        ensure!(!link.contains("xdp"), "a program stays on {nic}: {link}");
    }
    Ok(())
}

/// The VIPs whose packets can be forwarded: in generic mode the program sees no tags on a bond.
fn forwarded(network: &Network, mode: Mode) -> &'static [IpAddr] {
    match (network.uplink, mode) {
        (Uplink::Bond, Mode::Generic) => &UNTAGGED,
        _ => &ALL,
    }
}

/// What cannot be forwarded is said.
fn check_note(network: &Network, balancer: &Balancer, mode: Mode) -> Result<()> {
    let note = balancer.note();
    let said = note.as_ref().is_some_and(|note| note.contains("takes the VLAN tags off"));
    ensure!(said == (forwarded(network, mode).len() < ALL.len()), "{note:?}");
    ensure!(said || note.is_none(), "{note:?}");
    Ok(())
}

fn fixed() -> [[IpAddr; 2]; 3] {
    [NATIVE, 10, 20].map(backend)
}

/// As an administrator who does not know better may leave them.
fn switch_offloads_on(network: &Network) -> Result<()> {
    for nic in network.uplink.nics() {
        ethtool(&network.balancer, nic, "rxvlan on")?;
    }
    Ok(())
}

fn check_offloads(network: &Network) -> Result<()> {
    for nic in network.uplink.nics() {
        let text = command::output(network.balancer.command("ethtool").args(["-k", nic]))?;
        let offload = text.lines().find(|line| line.starts_with("rx-vlan-offload:"));
        ensure!(offload == Some("rx-vlan-offload: off"), "{nic}: {offload:?}");
    }
    Ok(())
}

fn check_paths(network: &Network, balancer: &Balancer) -> Result<()> {
    let by = network.uplink.interface();
    for (vlan, backends) in
        [(NATIVE, backend(NATIVE)), (10, backend(10)), (20, backend(20)), (10, moving())]
    {
        for address in backends {
            let net = ipnet::IpNet::new(address, length_of(address))?.trunc();
            let tag =
                if vlan == NATIVE { String::new() } else { format!(" vlan {vlan} ({by}.{vlan})") };
            let wanted = format!("{by}{tag}, connected subnet {net}");
            let path = balancer.path_to(address)?;
            ensure!(path == wanted, "{address} is reached by \"{path}\", not \"{wanted}\"");
        }
    }
    Ok(())
}

/// Connections reach the backends of all VLANs, and echo is answered.
fn check_traffic(network: &Network, vips: &[IpAddr]) -> Result<()> {
    for vip in vips {
        let names = connect(&network.client, *vip, 24)?;
        println!("{vip}: {names:?}");
        ensure!(names.len() == 3, "not all backends of {vip} are reached: {names:?}");
        let ping = if vip.is_ipv4() { "ping" } else { "ping6" };
        let vip = vip.to_string();
        let mut ping = network.client.command(ping);
        command::output(ping.args(["-c", "2", "-W", "10", &vip])).context("no echo")?;
    }
    Ok(())
}

/// A backend changes its VLAN, by the kernel's addresses and by the configuration: no datagram is lost.
fn live_changes(
    network: &Network,
    balancer: &mut Balancer,
    moves: usize,
    vips: &[IpAddr],
) -> Result<()> {
    let stream = Stream::start(&network.client, vips);
    let began = Instant::now();
    for number in 0..moves {
        move_subnet(network, balancer, if number % 2 == 0 { 20 } else { 10 })?;
    }
    let moved = began.elapsed();
    for number in 0..REPLACEMENTS {
        let vlan = if number % 2 == 0 { 20 } else { 10 };
        balancer.apply(&fixed(), &[mover_in(vlan)])?;
        balancer.wait_until_ready()?;
    }
    balancer.apply(&fixed(), &[moving()])?;
    let all = began.elapsed();
    let ledger = stream.end()?;
    println!(
        "{moves} moves of a subnet to another VLAN in {:.1} s, {REPLACEMENTS} replacements of a backend in {:.1} s: \
         {} datagrams, {} lost, {} flows torn, {:?}",
        moved.as_secs_f64(),
        (all - moved).as_secs_f64(),
        ledger.sent,
        ledger.lost,
        ledger.torn,
        ledger.names
    );
    ensure!(ledger.torn == 0, "{} flows changed their backend", ledger.torn);
    ensure!(ledger.lost == 0, "lost: {:?}", ledger.lost_at);
    Ok(())
}

/// The balancer's addresses in the subnet that moves go to the other VLAN, the new ones first.
fn move_subnet(network: &Network, balancer: &Balancer, to: u8) -> Result<()> {
    let interface = network.uplink.interface();
    let mut lines = String::new();
    for (verb, vlan) in [("add", to), ("del", 30 - to)] {
        for address in addresses(MOVING, BALANCER) {
            let length = length_of(address);
            lines.push_str(&format!("address {verb} {address}/{length} dev {interface}.{vlan}\n"));
        }
    }
    batch(&network.balancer, &lines)?;
    let tag = format!(" vlan {to} ");
    for address in moving() {
        wait::until_true("the path by the other VLAN", LIMIT, || {
            Ok(balancer.path_to(address)?.contains(&tag))
        })?;
    }
    Ok(())
}

/// A sub-interface goes, with the way to its backends, and one of another name brings it back.
fn vlan_comes_back(network: &Network, balancer: &Balancer, vips: &[IpAddr]) -> Result<()> {
    let (node, interface) = (&network.balancer, network.uplink.interface());
    node.ip(&format!("link delete {interface}.20"))?;
    let [away, _] = backend(20);
    wait::until_true("no path to VLAN 20", LIMIT, || {
        Ok(balancer.path_to(away)?.starts_with("none: "))
    })?;
    for vip in TAGGED {
        let names = connect(&network.client, vip, 12)?;
        ensure!(names.keys().all(|name| !name.starts_with("b20")), "{vip}: {names:?}");
    }
    let addresses = give_addresses(&format!("{interface}.20"), 20, BALANCER);
    batch(node, &[vlan_on(interface, 20), addresses].concat())?;
    balancer.wait_until_ready()?;
    check_traffic(network, vips)
}

/// The bond's active NIC changes by command, then by a lost carrier: the program stays, and traffic goes on.
fn failover(network: &Network, balancer: &mut Balancer, mode: Mode, vips: &[IpAddr]) -> Result<()> {
    let bond = network.uplink.interface();
    balancer.attachment_news();
    let other = |active: &str| if active == "s0" { "s1" } else { "s0" };

    let to = other(&active_nic(&network.balancer, bond)?);
    let stream = Stream::start(&network.client, vips);
    network.balancer.ip(&format!("link set {bond} type bond active_slave {to}"))?;
    check_traffic(network, vips)?;
    let ledger = stream.end()?;
    println!("active NIC set to {to}: {} datagrams, {} lost", ledger.sent, ledger.lost);

    let lost = active_nic(&network.balancer, bond)?;
    ensure!(lost == to, "{lost} is active, not {to}");
    network.switch.ip(&format!("link set {} down", port_of(&lost)))?;
    wait::until_true("the bond by its other NIC", LIMIT, || {
        Ok(active_nic(&network.balancer, bond)? == other(&lost))
    })?;
    check_traffic(network, vips)?;
    network.switch.ip(&format!("link set {} up", port_of(&lost)))?;

    let news = balancer.attachment_news();
    ensure!(news.is_empty(), "the attachment was touched: {news:?}");
    balancer.check_attached(mode)
}
