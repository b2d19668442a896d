//! The demo: a VIP that lives and dies with its backends, told and checked step by step.

mod cast;
mod failover;
mod finale;
mod narrator;
mod one_backend;
mod opening;
mod outage;
mod traffic;

use std::path::PathBuf;

use anyhow::Result;

use self::cast::Cast;
use self::finale::Host;
use self::narrator::Narrator;
use crate::tool::load::Request;
use crate::tool::transfer::Progress;

/// One act of the story.
type Act = fn(&mut Cast, &mut Narrator) -> Result<()>;

const STORY: [Act; 9] = [
    opening::sessions,
    opening::announcement,
    traffic::spread,
    one_backend::stops,
    one_backend::returns,
    outage::begins,
    outage::ends,
    failover::node_dies,
    failover::orderly_stop,
];

/// Plays the story; true if all was as expected. With `keep` the lab stays up and is explained.
///
/// # Errors
/// When the lab cannot be built.
pub fn play(tool: PathBuf, keep: bool) -> Result<bool> {
    let mut narrator = Narrator::new();
    narrator.act("A lab of network namespaces is built");
    narrator.say(
        "client --- router (BIRD, ECMP) --- switch --- node1, node2 (vc5d); b1, b2, b3 (backends)",
    );
    let host = Host::look()?;
    let mut cast = Cast::new(tool)?;
    let mut pids = Vec::new();
    for act in STORY {
        if let Err(error) = act(&mut cast, &mut narrator) {
            narrator.expect(false, format!("the story breaks off: {error:#}"));
            logs(&cast);
            break;
        }
        pids.extend(cast.pids());
    }
    if let Err(error) = finale::show(&cast, &mut narrator) {
        narrator.expect(false, format!("{error:#}"));
    }
    if keep {
        if let Err(error) = explain(&mut cast) {
            narrator.expect(false, format!("{error:#}"));
        }
        std::mem::forget(cast);
        return Ok(narrator.close());
    }
    if let Err(error) = finale::detach(&cast, &mut narrator) {
        narrator.expect(false, format!("{error:#}"));
    }
    narrator.act("The lab is taken down");
    let prefix = cast.lab.prefix().to_owned();
    drop(cast);
    finale::nothing_left(&mut narrator, &prefix, &pids, &host);
    Ok(narrator.close())
}

/// The ends of the daemons' logs, for a story that broke off.
fn logs(cast: &Cast) {
    for node in &cast.nodes {
        let log = node.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        println!("--- log of {} ends:\n{}\n---", node.name(), tail.join("\n"));
    }
}

/// How to look around in a lab that stays.
fn explain(cast: &mut Cast) -> Result<()> {
    cast.lab.mark_kept()?;
    for node in &mut cast.nodes {
        if node.daemon()?.exited()?.is_some() {
            node.start()?;
        }
    }
    let prefix = cast.lab.prefix();
    println!("\nThe lab stays up. Look around:");
    println!("  birdc -s {} show route all", cast.router.socket().display());
    for node in &cast.nodes {
        println!("  target/debug/vc5c -s {} show vips", node.socket().display());
    }
    println!(
        "  ip netns exec {prefix}-client target/debug/demo get --target {}:80 --path /alive",
        cast::VIP
    );
    println!("  ip netns exec {prefix}-node1 ip -d link show eth0");
    println!("  logs: {}", cast.lab.dir().display());
    println!("Remove it:\n  target/debug/demo --clean");
    Ok(())
}

/// The first failure, as an addition to a line.
fn detail(request: Option<&Request>) -> String {
    match request.map(|request| &request.outcome) {
        Some(Err(cause)) => format!(" (first: {cause})"),
        _ => String::new(),
    }
}

/// A transfer in one line.
fn transferred(end: &Progress) -> String {
    let error = end.error.as_deref().map_or_else(String::new, |error| format!(", {error}"));
    format!(
        "{} of {} kB, longest gap {:.0} ms{error}",
        end.received / 1000,
        end.total / 1000,
        end.longest_gap * 1000.0
    )
}
