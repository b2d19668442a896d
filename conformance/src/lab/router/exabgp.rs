//! ExaBGP, whose witness is its API: one process that is told everything in JSON, one that gives commands.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Announcement, HOLD, Place, Router, Seen, Session, own_next_hop, running};
use crate::lab::{Process, wait};

/// What stands for an AS number that does not fit into two octets (RFC 6793).
const AS_TRANS: u32 = 23456;

/// An ExaBGP with one neighbour.
#[derive(Debug, Default)]
pub struct ExaBgp {
    process: Option<Process>,
    config: PathBuf,
    commands: PathBuf,
    told: PathBuf,
    listener: PathBuf,
    neighbor: String,
    run: u32,
}

impl ExaBgp {
    fn command(&self, words: &str) -> Result<()> {
        let mut file = File::options().append(true).open(&self.commands)?;
        writeln!(file, "neighbor {} {words}", self.neighbor)?;
        Ok(())
    }

    /// What its API has told so far, in order. The last line may be half written.
    fn told(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.told).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What was told of the present session: everything since it last came up.
    fn of_session(&self) -> Vec<Value> {
        let told = self.told();
        let up = told.iter().rposition(|event| state(event) == Some("up"));
        told.into_iter().skip(up.unwrap_or(usize::MAX)).collect()
    }
}

impl Router for ExaBgp {
    fn start(&mut self, place: &Place<'_>, session: &Session) -> Result<()> {
        self.process = None;
        self.config = place.file("exabgp.conf");
        self.commands = place.file("exabgp.commands");
        // The listener of a run that was killed may still be writing.
        self.run += 1;
        self.told = place.file(&format!("exabgp.told{}", self.run));
        self.listener = place.file("exabgp.sh");
        self.neighbor = session.remote.to_string();
        File::create(&self.commands)?;
        File::create(&self.told)?;
        // ExaBGP takes a closed standard output for the end of the process, so it is kept open as 3.
        fs::write(&self.listener, format!("exec 3>&1; exec cat >> {}\n", self.told.display()))?;
        fs::write(&self.config, self.configuration(session))?;
        let log = place.file("exabgp.log");
        let _ = fs::remove_file(&log);
        let mut command = place.namespace.command("exabgp");
        command.env("exabgp.daemon.user", "root").env("exabgp.daemon.drop", "false");
        command.env("exabgp.tcp.bind", session.local.to_string()).env("exabgp.tcp.port", "179");
        command.env("exabgp.api.cli", "false").env("exabgp.log.level", "DEBUG");
        command.env("exabgp.reactor.speed", "0.1").arg(&self.config);
        let process = self.process.insert(Process::start("exabgp", &mut command, &log)?);
        wait::until_true("ExaBGP listens", Duration::from_secs(20), || {
            process.check_running()?;
            Ok(!place.namespace.listeners(179)?.is_empty())
        })?;
        Ok(())
    }

    fn change(&mut self, session: &Session) -> Result<()> {
        fs::write(&self.config, self.configuration(session))?;
        self.process()?.signal(libc::SIGUSR1)
    }

    fn established(&self) -> Result<bool> {
        let told = self.told();
        Ok(told.iter().rev().find_map(state) == Some("up"))
    }

    fn route(&self, prefix: &str) -> Result<Option<Seen>> {
        if !self.established()? {
            return Ok(None);
        }
        let mut present = None;
        for event in self.of_session() {
            let Some(update) = event.pointer("/neighbor/message/update") else { continue };
            for (next_hop, routes) in families(update.get("announce")).flat_map(|(_, hops)| hops) {
                if names(&routes, prefix) {
                    present = Some(seen(update, &next_hop));
                }
            }
            if update
                .get("withdraw")
                .and_then(Value::as_object)
                .is_some_and(|withdrawn| withdrawn.values().any(|routes| names(routes, prefix)))
            {
                present = None;
            }
        }
        Ok(present)
    }

    fn updates_received(&self) -> Result<u64> {
        let told = self.of_session();
        let updates = told
            .iter()
            .filter(|event| event.pointer("/neighbor/message/update/announce").is_some());
        u64::try_from(updates.count()).context("count")
    }

    fn ask_refresh(&self) -> Result<()> {
        self.command("announce route-refresh ipv4 unicast")
    }

    fn shut_down(&mut self, _: &str) -> Result<()> {
        self.command("teardown 2")
    }

    fn words(&self) -> String {
        let log = self.process.as_ref().map(Process::log).unwrap_or_default();
        log + &fs::read_to_string(&self.told).unwrap_or_default()
    }

    fn process(&mut self) -> Result<&mut Process> {
        running(&mut self.process)
    }
}

fn state(event: &Value) -> Option<&str> {
    event.pointer("/neighbor/state").and_then(Value::as_str)
}

type Hops = Vec<(String, Value)>;

/// `{"ipv4 unicast": {"192.0.2.11": [{"nlri": "203.0.113.10/32"}]}}`
fn families(announce: Option<&Value>) -> impl Iterator<Item = (String, Hops)> {
    let families = announce.and_then(Value::as_object).cloned().unwrap_or_default();
    families.into_iter().map(|(family, hops)| {
        let hops = hops.as_object().cloned().unwrap_or_default();
        (family, hops.into_iter().collect())
    })
}

fn names(routes: &Value, prefix: &str) -> bool {
    let routes = routes.as_array().into_iter().flatten();
    routes.filter_map(|route| route.get("nlri").and_then(Value::as_str)).any(|nlri| nlri == prefix)
}

fn seen(update: &Value, next_hop: &str) -> Seen {
    let attribute = |name: &str| update.pointer(&format!("/attribute/{name}"));
    let words = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .map(|item| match item {
                Value::Array(parts) => {
                    parts.iter().map(Value::to_string).collect::<Vec<_>>().join(":")
                }
                Value::Object(fields) => {
                    fields.get("string").and_then(Value::as_str).unwrap_or_default().to_owned()
                }
                other => other.to_string(),
            })
            .collect()
    };
    let list = |name: &str| attribute(name).map(&words).unwrap_or_default();
    let number = |name: &str| {
        attribute(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
    };
    Seen {
        next_hop: next_hop.to_owned(),
        as_path: list("as-path").join(" "),
        med: number("med"),
        local_pref: number("local-preference"),
        communities: list("community"),
        large_communities: list("large-community"),
        extended_communities: list("extended-community"),
    }
}

impl ExaBgp {
    fn configuration(&self, session: &Session) -> String {
        let Session { router_id, local, local_as, remote, .. } = session;
        // Without 4-octet AS numbers it goes by what the OPEN says in its two octets.
        let remote_as = match u16::try_from(session.remote_as) {
            Err(_) if !session.four_octet_as => AS_TRANS,
            _ => session.remote_as,
        };
        let on = |on: bool| if on { "enable" } else { "disable" };
        let mut text = format!(
            "process told {{ run /bin/sh {}; encoder json; }}
process commands {{ run /usr/bin/tail -n +1 -f {}; encoder json; }}
neighbor {remote} {{
  router-id {router_id};
  local-address {local};
  local-as {local_as};
  peer-as {remote_as};
  hold-time {HOLD};
  passive {};
  group-updates false;
",
            self.listener.display(),
            self.commands.display(),
            session.passive,
        );
        if let Some(password) = &session.password {
            let _ = writeln!(text, "  md5-password \"{password}\";");
        }
        if session.ttl_security {
            text.push_str("  outgoing-ttl 255;\n  incoming-ttl 255;\n");
        }
        let _ = write!(
            text,
            "  capability {{ asn4 {}; route-refresh enable; nexthop {}; extended-message {}; add-path {}; graceful-restart {}; }}
  api {{ processes [ told, commands ]; neighbor-changes; receive {{ parsed; update; notification; open; refresh; }} }}
",
            on(session.four_octet_as),
            on(session.extended_next_hop),
            on(session.extended_messages),
            if session.add_paths { "send" } else { "disable" },
            session.graceful_restart.map_or("disable".to_owned(), |time| time.to_string()),
        );
        // It offers IPv6 next hops only with the family IPv6 beside.
        let ipv6 = session.ipv6 || session.extended_next_hop;
        let families: String = [("ipv4", session.ipv4), ("ipv6", ipv6)]
            .iter()
            .filter(|(_, on)| *on)
            .map(|(family, _)| format!(" {family} unicast;"))
            .collect();
        let _ = writeln!(text, "  family {{{families} }}");
        if session.add_paths {
            let _ = writeln!(text, "  add-path {{{families} }}");
        }
        if session.extended_next_hop {
            text.push_str("  nexthop { ipv4 unicast ipv6; }\n");
        }
        text.push_str("  static {\n");
        for (number, route) in session.routes.iter().enumerate() {
            text.push_str(&line(session, number, route));
        }
        text + "  }\n}\n"
    }
}

fn line(session: &Session, number: usize, route: &Announcement) -> String {
    let mut text = format!("    route {}", route.prefix);
    if session.add_paths {
        let _ = write!(text, " path-information 0.0.0.{}", number + 1);
    }
    let _ = write!(text, " next-hop {}", own_next_hop(session, route));
    let mut list = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            let _ = write!(text, " {name} [ {} ]", values.join(" "));
        }
    };
    list("community", route.communities.iter().map(|(a, b)| format!("{a}:{b}")).collect());
    let large = route.large_communities.iter().map(|(a, b, c)| format!("{a}:{b}:{c}"));
    list("large-community", large.collect());
    let targets = route.route_targets.iter().map(|(a, b)| format!("target:{a}:{b}"));
    list("extended-community", targets.collect());
    text + ";\n"
}
