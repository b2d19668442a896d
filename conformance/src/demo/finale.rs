//! What the tools show, and the end: nothing is left behind.

use std::path::Path;

use anyhow::{Context, Result};

use super::cast::{Cast, NAME};
use super::narrator::Narrator;
use crate::lab::{bird, command, fabric, leftover};

/// Ends with the daemon's own word, by both clients.
pub(super) fn show(cast: &Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("What the tools show");
    let node = cast.nodes.last().context("no node")?;
    let protocols = bird::birdc(&node.socket(), "show protocols");
    narrator.expect(
        protocols.as_ref().is_ok_and(|text| text.contains("Established") && text.contains(NAME)),
        format!("birdc -s {}.ctl show protocols", node.name()),
    );
    println!("{}", protocols.unwrap_or_else(|error| format!("{error:#}")));
    for words in [
        "show status",
        "show protocols",
        "show route",
        "show vips",
        "show vip www",
        "show backends",
    ] {
        println!("{}# vc5c {words}\n{}", node.name(), node.vc5c(words)?);
    }
    Ok(())
}

/// Takes the stopped node's dataplane off and looks for what it left on its host.
pub(super) fn detach(cast: &Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("vc5d --detach on the stopped node");
    let node = cast.nodes.first().context("no node")?;
    let done = node.run_vc5d(&["--detach"])?;
    narrator.expect(
        done.status.success(),
        format!("exit status {}{}", done.status, String::from_utf8_lossy(&done.stderr).trim()),
    );
    let link = node.namespace().ip(&format!("-d link show dev {}", fabric::INTERFACE))?;
    narrator.expect(!link.contains("prog/xdp"), "no XDP program on its interface");
    let pins = std::fs::read_dir(node.pin_path()).map_or(0, Iterator::count);
    narrator.expect(pins == 0, format!("{pins} pins left"));
    let rules = node.namespace().ip("rule show")?;
    narrator.expect(!rules.contains("fwmark"), "no rules of ours");
    let routes = node.namespace().ip("route show table all")?;
    narrator.expect(!routes.contains(&super::cast::VIP.to_string()), "no routes of ours");
    Ok(())
}

/// The state of this host that a lab must not change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host {
    rules: String,
    routes: String,
    links: String,
}

impl Host {
    pub(super) fn look() -> Result<Self> {
        Ok(Self {
            rules: command::ip("rule show")?,
            routes: command::ip("route show table all")?,
            links: command::ip("-br link show")?,
        })
    }
}

/// Checks that the lab is gone.
pub(super) fn nothing_left(narrator: &mut Narrator, prefix: &str, pids: &[u32], before: &Host) {
    let mut remains = leftover::remains(prefix);
    let alive = pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}/exe")).exists());
    remains.extend(alive.map(|pid| format!("process {pid}")));
    if !Host::look().is_ok_and(|after| after == *before) {
        remains.push("rules, routes or links of this host".to_owned());
    }
    narrator.expect(
        remains.is_empty(),
        match remains.as_slice() {
            [] => {
                "nothing is left behind: namespaces, processes, mounts, pins, rules, routes".into()
            }
            left => format!("left behind: {}", left.join(", ")),
        },
    );
}
