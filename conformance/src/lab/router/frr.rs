//! FRR's bgpd with zebra, asked by `vtysh` in JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Announcement, HOLD, Place, Router, Seen, Session, running};
use crate::lab::{Process, command, wait};

const DAEMONS: &str = "/usr/lib/frr";
/// Communities in one line of the configuration: bgpd reads lines of up to 4096 characters.
const IN_A_LINE: usize = 200;

/// An FRR with one neighbour.
#[derive(Debug, Default)]
pub struct Frr {
    bgpd: Option<Process>,
    zebra: Option<Process>,
    dir: PathBuf,
    log: PathBuf,
    neighbor: String,
    session: Option<Session>,
}

impl Frr {
    fn vtysh(&self, lines: &[String]) -> Result<String> {
        let mut ask = Command::new("vtysh");
        ask.arg("--vty_socket").arg(&self.dir).args(["-d", "bgpd"]);
        for line in lines {
            ask.arg("-c").arg(line);
        }
        command::output(&mut ask)
    }

    fn show(&self, words: &str) -> Result<Value> {
        let text = self.vtysh(&[format!("show {words} json")])?;
        serde_json::from_str(&text).with_context(|| format!("show {words} json: {text:?}"))
    }

    /// What it knows of the neighbour.
    fn neighbor(&self) -> Result<Value> {
        let mut all = self.show(&format!("bgp neighbors {}", self.neighbor))?;
        Ok(all.get_mut(&self.neighbor).map(Value::take).unwrap_or_default())
    }

    /// Starts a daemon that gives up root for the user frr, who has to own its files.
    fn daemon(&self, place: &Place<'_>, name: &str, config: &str) -> Result<Process> {
        let file = self.dir.join(format!("{name}.conf"));
        fs::write(&file, config)?;
        owned_by_frr(&file)?;
        let mut command = place.namespace.command(Path::new(DAEMONS).join(name));
        command.arg("-f").arg(&file).arg("-i").arg(self.dir.join(format!("{name}.pid")));
        command.arg("--vty_socket").arg(&self.dir).args(["-P", "0"]);
        command.arg("-z").arg(self.dir.join("zserv.api")).args(["--log", "stdout"]);
        command.args(["--log-level", "debug"]);
        let socket = self.dir.join(format!("{name}.vty"));
        let _ = fs::remove_file(&socket);
        let mut process = Process::start(name, &mut command, &place.file(&format!("{name}.log")))?;
        wait::until_true(&format!("{name} answers"), Duration::from_secs(20), || {
            process.check_running()?;
            Ok(socket.exists())
        })?;
        Ok(process)
    }
}

impl Router for Frr {
    fn start(&mut self, place: &Place<'_>, session: &Session) -> Result<()> {
        self.bgpd = None;
        let dir = place.file("frr");
        if self.dir != dir {
            (self.zebra, self.dir) = (None, dir);
        }
        self.log = place.file("bgpd.log");
        let _ = fs::remove_file(&self.log);
        self.neighbor = session.remote.to_string();
        if self.zebra.is_none() {
            fs::create_dir_all(&self.dir)?;
            owned_by_frr(&self.dir)?;
            self.zebra = Some(self.daemon(place, "zebra", "hostname frr\n")?);
        }
        // The kernel's route to the same prefix is the second path that bgpd has to send.
        for route in session.routes.iter().filter(|_| session.add_paths) {
            place.namespace.ip(&format!("route replace blackhole {}", route.prefix))?;
        }
        self.bgpd = Some(self.daemon(place, "bgpd", &configuration(session))?);
        self.session = Some(session.clone());
        wait::until_true("bgpd knows its neighbour", Duration::from_secs(20), || {
            Ok(!self.neighbor()?.is_null())
        })?;
        Ok(())
    }

    fn change(&mut self, session: &Session) -> Result<()> {
        let password = match &session.password {
            Some(password) => format!("neighbor {} password {password}", self.neighbor),
            None => format!("no neighbor {} password", self.neighbor),
        };
        let router = format!("router bgp {}", session.local_as);
        self.vtysh(&["configure terminal".into(), router, password]).map(drop)
    }

    fn established(&self) -> Result<bool> {
        Ok(self.neighbor()?.get("bgpState").and_then(Value::as_str) == Some("Established"))
    }

    fn route(&self, prefix: &str) -> Result<Option<Seen>> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let table = self.show(&format!("bgp {family} unicast {prefix}"))?;
        let paths = table.get("paths").and_then(Value::as_array).cloned().unwrap_or_default();
        let from_node = paths.iter().find(|path| {
            path.pointer("/peer/peerId").and_then(Value::as_str) == Some(&self.neighbor)
        });
        Ok(from_node.map(seen))
    }

    fn updates_received(&self) -> Result<u64> {
        let neighbor = self.neighbor()?;
        neighbor.pointer("/messageStats/updatesRecv").and_then(Value::as_u64).context("updatesRecv")
    }

    fn ask_refresh(&self) -> Result<()> {
        self.vtysh(&[format!("clear bgp ipv4 unicast {} soft in", self.neighbor)]).map(drop)
    }

    fn shut_down(&mut self, message: &str) -> Result<()> {
        let local_as = self.session.as_ref().map_or(0, |session| session.local_as);
        self.vtysh(&[
            "configure terminal".into(),
            format!("router bgp {local_as}"),
            format!("neighbor {} shutdown message {message}", self.neighbor),
        ])
        .map(drop)
    }

    fn words(&self) -> String {
        let log = self.bgpd.as_ref().map(Process::log).unwrap_or_default();
        log + &self.neighbor().map(|value| value.to_string()).unwrap_or_default()
    }

    fn process(&mut self) -> Result<&mut Process> {
        running(&mut self.bgpd)
    }
}

fn owned_by_frr(path: &Path) -> Result<()> {
    command::output(Command::new("chown").arg("frr:frr").arg(path)).map(drop)
}

fn seen(path: &Value) -> Seen {
    let list = |pointer: &str| -> Vec<String> {
        let text = path.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let listed = |pointer: &str| -> Vec<String> {
        let items = path.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let number =
        |name: &str| path.get(name).and_then(Value::as_u64).and_then(|n| n.try_into().ok());
    let word = |pointer: &str| path.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Seen {
        next_hop: word("/nexthops/0/ip").to_owned(),
        as_path: word("/aspath/string").to_owned(),
        med: number("metric"),
        local_pref: number("locPrf"),
        communities: listed("/community/list"),
        large_communities: list("/largeCommunity/string"),
        extended_communities: list("/extendedCommunity/string"),
    }
}

fn configuration(session: &Session) -> String {
    let Session { router_id, local_as, remote, remote_as, .. } = session;
    let mut text = format!(
        "hostname frr
debug bgp neighbor-events
debug bgp updates in
bgp route-map delay-timer 1
router bgp {local_as}
 bgp router-id {router_id}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor {remote} remote-as {remote_as}
 neighbor {remote} timers 1 {HOLD}
 neighbor {remote} timers connect 1
 neighbor {remote} update-source {}
",
        session.local
    );
    if let Some(time) = session.graceful_restart {
        let _ = write!(
            text,
            " bgp graceful-restart
 bgp graceful-restart restart-time {time}
 bgp graceful-restart preserve-fw-state
 neighbor {remote} graceful-restart
"
        );
    }
    let mut option = |on: bool, words: &str| {
        if on {
            let _ = writeln!(text, " neighbor {remote} {words}");
        }
    };
    option(session.passive, "passive");
    option(!session.four_octet_as, "dont-capability-negotiate");
    option(session.multihop, "ebgp-multihop 4");
    option(session.ttl_security, "ttl-security hops 1");
    option(session.extended_next_hop, "capability extended-nexthop");
    if let Some(password) = &session.password {
        option(true, &format!("password {password}"));
    }
    for (family, on) in [("ipv4", session.ipv4), ("ipv6", session.ipv6)] {
        if on {
            text.push_str(&address_family(family, session));
        }
    }
    for (number, route) in session.routes.iter().enumerate().filter(|(_, route)| !route.is_plain())
    {
        text.push_str(&route_map(number, route));
    }
    text
}

fn address_family(family: &str, session: &Session) -> String {
    let remote = session.remote;
    let mut text = format!(" address-family {family} unicast\n  neighbor {remote} activate\n");
    for (number, route) in session.routes.iter().enumerate() {
        if route.is_ipv6() == (family == "ipv6") {
            let set = if route.is_plain() { "" } else { &format!(" route-map set{number}") };
            let _ = writeln!(text, "  network {}{set}", route.prefix);
        }
    }
    if session.add_paths {
        let _ = writeln!(text, "  redistribute kernel\n  neighbor {remote} addpath-tx-all-paths");
    }
    if let Some(limit) = session.prefix_limit {
        let _ = writeln!(text, "  neighbor {remote} maximum-prefix {limit}");
    }
    text + " exit-address-family\n"
}

/// A route map that sets the route's communities, over as many entries as they need.
fn route_map(number: usize, route: &Announcement) -> String {
    let mut sets: Vec<String> = Vec::new();
    for piece in route.communities.chunks(IN_A_LINE) {
        let words: Vec<_> = piece.iter().map(|(asn, value)| format!("{asn}:{value}")).collect();
        sets.push(format!("set community {} additive", words.join(" ")));
    }
    for piece in route.large_communities.chunks(IN_A_LINE) {
        let words: Vec<_> = piece.iter().map(|(a, b, c)| format!("{a}:{b}:{c}")).collect();
        sets.push(format!("set large-community {} additive", words.join(" ")));
    }
    if !route.route_targets.is_empty() {
        let words: Vec<_> =
            route.route_targets.iter().map(|(asn, value)| format!("{asn}:{value}")).collect();
        sets.push(format!("set extcommunity rt {}", words.join(" ")));
    }
    let mut text = String::new();
    for (entry, set) in (1..).zip(&sets) {
        let _ =
            writeln!(text, "route-map set{number} permit {entry}\n {set}\n on-match next\nexit");
    }
    let _ = writeln!(text, "route-map set{number} permit {}\nexit", sets.len() + 1);
    text
}
