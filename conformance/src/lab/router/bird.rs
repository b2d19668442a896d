//! BIRD 2, asked by `birdc`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Announcement, HOLD, Place, Router, Seen, Session, running};
use crate::lab::bird::birdc;
use crate::lab::{Process, wait};

/// A BIRD with one neighbour, `node`.
#[derive(Debug, Default)]
pub struct BirdRouter {
    process: Option<Process>,
    config: PathBuf,
    socket: PathBuf,
}

impl BirdRouter {
    fn birdc(&self, words: &str) -> Result<String> {
        birdc(&self.socket, words)
    }
}

impl Router for BirdRouter {
    fn start(&mut self, place: &Place<'_>, session: &Session) -> Result<()> {
        self.process = None;
        (self.config, self.socket) = (place.file("bird.conf"), place.file("bird.ctl"));
        fs::write(&self.config, configuration(session))?;
        let log = place.file("bird.log");
        let _ = fs::remove_file(&log);
        let mut command = place.namespace.command("bird");
        command.arg("-f").arg("-c").arg(&self.config).arg("-s").arg(&self.socket);
        command.arg("-P").arg(place.file("bird.pid"));
        if session.restarted {
            command.arg("-R");
        }
        let process = self.process.insert(Process::start("bird", &mut command, &log)?);
        wait::until_true("BIRD answers", Duration::from_secs(10), || {
            process.check_running()?;
            Ok(birdc(&self.socket, "show status").is_ok())
        })?;
        Ok(())
    }

    fn change(&mut self, session: &Session) -> Result<()> {
        fs::write(&self.config, configuration(session))?;
        self.birdc("configure").map(drop)
    }

    fn established(&self) -> Result<bool> {
        Ok(self.birdc("show protocols node")?.contains("Established"))
    }

    fn route(&self, prefix: &str) -> Result<Option<Seen>> {
        let text = self.birdc("show route all protocol node")?;
        let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("{prefix} ")));
        if lines.next().is_none() {
            return Ok(None);
        }
        let of_route = lines.take_while(|line| line.starts_with(char::is_whitespace));
        let mut seen = Seen::default();
        for (name, value) in of_route.filter_map(|line| line.trim().split_once(':')) {
            let value = value.trim();
            match name {
                "BGP.next_hop" => {
                    seen.next_hop = value.split(' ').next().unwrap_or_default().to_owned();
                }
                "BGP.as_path" => seen.as_path = value.to_owned(),
                "BGP.med" => seen.med = Some(value.parse().context("MED")?),
                "BGP.local_pref" => {
                    seen.local_pref = Some(value.parse().context("LOCAL_PREF")?);
                }
                "BGP.community" => seen.communities = parts(value),
                "BGP.large_community" => seen.large_communities = parts(value),
                "BGP.ext_community" => seen.extended_communities = parts(value),
                _ => {}
            }
        }
        Ok(Some(seen))
    }

    fn updates_received(&self) -> Result<u64> {
        let text = self.birdc("show protocols all node")?;
        let rows = text.lines().filter_map(|line| line.trim().strip_prefix("Import updates:"));
        Ok(rows
            .filter_map(|row| row.split_whitespace().next())
            .filter_map(|received| received.parse::<u64>().ok())
            .sum())
    }

    fn ask_refresh(&self) -> Result<()> {
        self.birdc("reload in node").map(drop)
    }

    fn shut_down(&mut self, message: &str) -> Result<()> {
        let command = &mut std::process::Command::new("birdc");
        command.arg("-s").arg(&self.socket).arg(format!("disable node \"{message}\""));
        crate::lab::command::output(command).map(drop)
    }

    fn words(&self) -> String {
        let log = self.process.as_ref().map(Process::log).unwrap_or_default();
        log + &self.birdc("show protocols all node").unwrap_or_default()
    }

    fn process(&mut self) -> Result<&mut Process> {
        running(&mut self.process)
    }
}

/// `(a,b) (c, d, e)` as `a:b`, `c:d:e`.
fn parts(value: &str) -> Vec<String> {
    let inner = value.split(')').filter_map(|part| part.trim().strip_prefix('('));
    inner.map(|part| part.split(',').map(str::trim).collect::<Vec<_>>().join(":")).collect()
}

fn configuration(session: &Session) -> String {
    let mut text = format!(
        "log stderr all;\nrouter id {};\ntimeformat protocol iso short us;\nprotocol device {{}}\n",
        session.router_id
    );
    for (number, route) in session.routes.iter().enumerate() {
        statics(&mut text, number, route);
    }
    let Session { local, local_as, remote, remote_as, .. } = session;
    let _ = write!(
        text,
        "protocol bgp node {{
  local {local} as {local_as};
  neighbor {remote} as {remote_as};
  hold time {HOLD};
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 1;
  error forget time 1;
  debug {{ states, routes, events, packets }};
"
    );
    let mut option = |on: bool, words: &str| {
        if on {
            text.push_str(&format!("  {words};\n"));
        }
    };
    option(session.passive, "passive on");
    option(session.multihop, "multihop 4");
    option(session.ttl_security, "ttl security on");
    option(!session.four_octet_as, "enable as4 off");
    option(session.extended_messages, "enable extended messages on");
    if let Some(time) = session.graceful_restart {
        option(true, &format!("graceful restart on; graceful restart time {time}"));
    }
    if let Some(password) = &session.password {
        option(true, &format!("password \"{password}\""));
    }
    for (family, on) in [("ipv4", session.ipv4), ("ipv6", session.ipv6)] {
        if on {
            text.push_str(&channel(family, session));
        }
    }
    text + "}\n"
}

fn channel(family: &str, session: &Session) -> String {
    let mut text =
        format!("  {family} {{ import all; export where source = RTS_STATIC; next hop self;");
    if session.extended_next_hop && family == "ipv4" {
        text.push_str(" extended next hop on;");
    }
    if session.add_paths {
        text.push_str(" add paths tx;");
    }
    if let Some(limit) = session.prefix_limit {
        text.push_str(&format!(" receive limit {limit} action disable;"));
    }
    text + " };\n"
}

/// One protocol for each route, so that there can be several routes to a prefix.
fn statics(text: &mut String, number: usize, route: &Announcement) {
    let family = if route.is_ipv6() { "ipv6" } else { "ipv4" };
    let mut set = String::new();
    for (asn, value) in &route.communities {
        let _ = write!(set, " bgp_community.add(({asn},{value}));");
    }
    for (a, b, c) in &route.large_communities {
        let _ = write!(set, " bgp_large_community.add(({a},{b},{c}));");
    }
    for (asn, value) in &route.route_targets {
        let _ = write!(set, " bgp_ext_community.add((rt,{asn},{value}));");
    }
    let _ = writeln!(
        text,
        "protocol static s{number} {{ {family}; route {} blackhole {{{set} }}; }}",
        route.prefix
    );
}
