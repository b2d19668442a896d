//! GoBGP, asked by `gobgp` in JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Announcement, HOLD, Place, Router, Seen, Session, own_next_hop, running};
use crate::lab::{Process, command, wait};

/// `session_state` of an Established neighbour.
const ESTABLISHED: u64 = 6;

/// A gobgpd with one neighbour.
#[derive(Debug, Default)]
pub struct GoBgp {
    process: Option<Process>,
    config: PathBuf,
    namespace: String,
    neighbor: String,
}

impl GoBgp {
    fn gobgp(&self, words: &[&str]) -> Result<String> {
        let mut ask = Command::new("ip");
        ask.args(["netns", "exec", &self.namespace, "gobgp"]).args(words);
        command::output(&mut ask)
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.gobgp(&[words, &["-j"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("gobgp {words:?}: {text:?}"))
    }

    fn neighbor(&self) -> Result<Value> {
        self.json(&["neighbor", &self.neighbor])
    }

    fn announce(&self, session: &Session, number: usize, route: &Announcement) -> Result<()> {
        let next_hop = own_next_hop(session, route).to_string();
        let mut words: Vec<String> =
            ["global", "rib", "add", &route.prefix, "nexthop", &next_hop].map(str::to_owned).into();
        let mut list = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                words.extend([name.to_owned(), values.join(",")]);
            }
        };
        list("community", route.communities.iter().map(|(a, b)| format!("{a}:{b}")).collect());
        let large = route.large_communities.iter().map(|(a, b, c)| format!("{a}:{b}:{c}"));
        list("large-community", large.collect());
        for (asn, value) in &route.route_targets {
            words.extend(["rt".to_owned(), format!("{asn}:{value}")]);
        }
        if session.add_paths {
            words.extend(["identifier".to_owned(), (number + 1).to_string()]);
        }
        if route.is_ipv6() {
            words.extend(["-a".to_owned(), "ipv6".to_owned()]);
        }
        self.gobgp(&words.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }
}

impl Router for GoBgp {
    fn start(&mut self, place: &Place<'_>, session: &Session) -> Result<()> {
        self.process = None;
        place.namespace.name().clone_into(&mut self.namespace);
        self.neighbor = session.remote.to_string();
        let log = place.file("gobgp.log");
        self.config = place.file("gobgp.toml");
        fs::write(&self.config, configuration(session))?;
        let _ = fs::remove_file(&log);
        let mut command = place.namespace.command("gobgpd");
        command.arg("-f").arg(&self.config).args(["-l", "debug", "--pprof-disable"]);
        command.args(["--api-hosts", "127.0.0.1:50051"]);
        if session.restarted {
            command.arg("--graceful-restart");
        }
        self.process = Some(Process::start("gobgpd", &mut command, &log)?);
        wait::until_true("gobgpd answers", Duration::from_secs(20), || {
            self.process()?.check_running()?;
            Ok(self.neighbor().is_ok())
        })?;
        let mut routes = session.routes.iter().enumerate();
        routes.try_for_each(|(number, route)| self.announce(session, number, route))
    }

    fn change(&mut self, session: &Session) -> Result<()> {
        fs::write(&self.config, configuration(session))?;
        self.process()?.signal(libc::SIGHUP)
    }

    fn established(&self) -> Result<bool> {
        let state = self.neighbor()?.pointer("/state/session_state").and_then(Value::as_u64);
        Ok(state == Some(ESTABLISHED))
    }

    fn route(&self, prefix: &str) -> Result<Option<Seen>> {
        // It shows no Adj-RIB-In of a neighbour that is down.
        if !self.established()? {
            return Ok(None);
        }
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let table = self.json(&["neighbor", &self.neighbor, "adj-in", "-a", family])?;
        let paths = table.get(prefix).and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(paths.first().map(seen))
    }

    fn updates_received(&self) -> Result<u64> {
        let neighbor = self.neighbor()?;
        let count = neighbor.pointer("/state/messages/received/update");
        Ok(count.and_then(Value::as_u64).unwrap_or_default())
    }

    fn ask_refresh(&self) -> Result<()> {
        self.gobgp(&["neighbor", &self.neighbor, "softresetin"]).map(drop)
    }

    fn shut_down(&mut self, message: &str) -> Result<()> {
        self.gobgp(&["neighbor", &self.neighbor, "shutdown", "--reason", message]).map(drop)
    }

    fn words(&self) -> String {
        let log = self.process.as_ref().map(Process::log).unwrap_or_default();
        log + &self.gobgp(&["neighbor", &self.neighbor]).unwrap_or_default()
    }

    fn process(&mut self) -> Result<&mut Process> {
        running(&mut self.process)
    }
}

/// A path as in `gobgp -j`: attributes by their type codes.
fn seen(path: &Value) -> Seen {
    let mut seen = Seen::default();
    for attribute in path.get("attrs").and_then(Value::as_array).into_iter().flatten() {
        let value = |name: &str| attribute.get(name).cloned().unwrap_or_default();
        let kind = value("type").as_u64().unwrap_or_default();
        match kind {
            2 => seen.as_path = as_path(&value("as_paths")),
            3 | 14 => seen.next_hop = value("nexthop").as_str().unwrap_or_default().to_owned(),
            4 => seen.med = value("metric").as_u64().and_then(|med| u32::try_from(med).ok()),
            5 => {
                seen.local_pref = value("value").as_u64().and_then(|pref| u32::try_from(pref).ok());
            }
            8 => {
                let numbers = list(&value("communities"), Value::as_u64);
                seen.communities =
                    numbers.iter().map(|n| format!("{}:{}", n >> 16, n & 0xffff)).collect();
            }
            16 => seen.extended_communities = list(&value("value"), |item| Some(item.to_string())),
            32 => seen.large_communities = list(&value("value"), large_community),
            _ => {}
        }
    }
    seen
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().into_iter().flatten().filter_map(read).collect()
}

fn as_path(segments: &Value) -> String {
    let numbers = segments.as_array().into_iter().flatten().flat_map(|segment| {
        list(segment.get("asns").unwrap_or(&Value::Null), |asn| asn.as_u64().map(|n| n.to_string()))
    });
    numbers.collect::<Vec<_>>().join(" ")
}

fn large_community(item: &Value) -> Option<String> {
    let part = |name: &str| item.get(name).and_then(Value::as_u64);
    Some(format!("{}:{}:{}", part("ASN")?, part("LocalData1")?, part("LocalData2")?))
}

fn configuration(session: &Session) -> String {
    let Session { router_id, local, local_as, remote, remote_as, .. } = session;
    let listen = if local.is_ipv6() { "::" } else { "0.0.0.0" };
    let mut text = format!(
        "[global.config]
as = {local_as}
router-id = \"{router_id}\"
local-address-list = [\"{listen}\"]
[[neighbors]]
[neighbors.config]
neighbor-address = \"{remote}\"
peer-as = {remote_as}
"
    );
    if let Some(password) = &session.password {
        let _ = writeln!(text, "auth-password = \"{password}\"");
    }
    let _ = write!(
        text,
        "[neighbors.timers.config]
connect-retry = 1
hold-time = {HOLD}
keepalive-interval = 1
idle-hold-time-after-reset = 1
[neighbors.transport.config]
local-address = \"{local}\"
passive-mode = {}
",
        session.passive
    );
    if session.multihop {
        text.push_str("[neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = 4\n");
    }
    if session.ttl_security {
        text.push_str("[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n");
    }
    if let Some(time) = session.graceful_restart {
        let _ = write!(
            text,
            "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = {time}\n"
        );
    }
    if session.add_paths {
        text.push_str("[neighbors.add-paths.config]\nsend-max = 8\n");
    }
    for (family, on) in [("ipv4", session.ipv4), ("ipv6", session.ipv6)] {
        if !on {
            continue;
        }
        let _ = write!(
            text,
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}-unicast\"\n"
        );
        if session.graceful_restart.is_some() {
            text.push_str("[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n");
        }
        if let Some(limit) = session.prefix_limit {
            let _ =
                write!(text, "[neighbors.afi-safis.prefix-limit.config]\nmax-prefixes = {limit}\n");
        }
    }
    text
}
