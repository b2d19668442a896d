//! The TCP connection under a session.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use vc5_conformance::lab::router::{HOLD, Session};
use vc5_conformance::lab::{fabric, wait};

use super::families::ipv6_alone;
use crate::world::{LIMIT, Ours, THEIRS, THEIRS6, VIP, VIP6, World, usual};

/// How often two connections are made to meet before a scenario gives up.
const ATTEMPTS: u32 = 5;

pub(super) fn collision_theirs_stays(world: &mut World) -> Result<()> {
    collide(world, Ipv4Addr::new(203, 0, 113, 250), "theirs")
}

pub(super) fn collision_ours_stays(world: &mut World) -> Result<()> {
    collide(world, Ipv4Addr::new(10, 0, 0, 1), "ours")
}

/// Both sides dial at once. The node is stopped while the router dials, so that the router's connection is complete
/// and its OPEN sent when the node wakes, and its own time to dial has come as well. One connection has to stay, and
/// it has to be that of the speaker with the greater identifier.
fn collide(world: &mut World, router_id: Ipv4Addr, stays: &str) -> Result<()> {
    let session = Session { router_id, ..usual() };
    let ours = Ours { keys: "connect-delay-time = \"1s\"".into(), ..Ours::default() };
    for _ in 0..ATTEMPTS {
        world.start_node(&session, &ours)?;
        world.node.daemon()?.signal(libc::SIGSTOP)?;
        world.start_router(&session)?;
        let waiting =
            wait::until_true("the router's connection", LIMIT, || world.they_are_connected());
        // The router's connection waits; past its delay, the node dials as soon as it may.
        std::thread::sleep(Duration::from_millis(1200));
        world.node.daemon()?.signal(libc::SIGCONT)?;
        waiting?;
        world.await_session()?;
        if world.saw_collision() {
            world.await_announced(VIP)?;
            world.await_received(THEIRS)?;
            // Whatever is wrong with the other connection would end the session within its hold time.
            std::thread::sleep(Duration::from_secs(u64::from(HOLD) + 1));
            ensure!(world.node_established()?, "the session that stayed has ended");
            ensure!(world.counter("established")? == 1, "more than one session");
            let survivor = match (world.we_are_connected()?, world.they_are_connected()?) {
                (true, false) => "ours",
                (false, true) => "theirs",
                (ours, theirs) => bail!("connections: ours {ours}, theirs {theirs}"),
            };
            // A session that was Established when the other connection came stays whatever the identifiers say (RFC
            // 4271 section 6.8): that was no race, so there is another one.
            if survivor == stays {
                return Ok(());
            }
        }
    }
    bail!("no collision in {ATTEMPTS} attempts that left {stays}")
}

/// The router is two hops away, where a TTL of 1 does not reach.
pub(super) fn multihop(world: &mut World) -> Result<()> {
    let session = Session { multihop: true, local: fabric::CLIENT.into(), ..usual() };
    world.up(&session, &Ours { keys: "multihop = true".into(), ..Ours::default() })?;
    world.both_ways(&session, VIP, THEIRS)
}

const KEY: &str = "correct-horse";
const OTHER_KEY: &str = "battery-staple";

fn with_key(key: &str) -> Session {
    Session { password: Some(key.into()), ..usual() }
}

fn our_key(key: &str) -> Ours {
    Ours { keys: format!("password = \"{key}\""), ..Ours::default() }
}

pub(super) fn md5_we_dial(world: &mut World) -> Result<()> {
    let session = Session { passive: true, ..with_key(KEY) };
    world.up(&session, &our_key(KEY))?;
    world.both_ways(&session, VIP, THEIRS)
}

pub(super) fn md5_they_dial(world: &mut World) -> Result<()> {
    let ours = Ours { keys: format!("{}\npassive = true", our_key(KEY).keys), ..Ours::default() };
    world.up(&with_key(KEY), &ours)?;
    world.both_ways(&usual(), VIP, THEIRS)
}

pub(super) fn md5_over_ipv6(world: &mut World) -> Result<()> {
    let session = Session { password: Some(KEY.into()), ..ipv6_alone() };
    world.up(&session, &our_key(KEY))?;
    world.both_ways(&session, VIP6, THEIRS6)
}

pub(super) fn md5_wrong_key(world: &mut World) -> Result<()> {
    world.start(&with_key(KEY), &our_key(OTHER_KEY))?;
    world.stays_down()
}

/// The node takes the new key without ending the session; the router may end it when it takes its own.
pub(super) fn md5_key_changes(world: &mut World) -> Result<()> {
    world.up(&with_key(KEY), &our_key(KEY))?;
    world.await_announced(VIP)?;
    world.configure(&usual(), &our_key(OTHER_KEY))?;
    world.node.vc5c("configure")?;
    ensure!(world.node_established()?, "the node has ended the session over a new key");
    world.router.change(&with_key(OTHER_KEY))?;
    // A session on the old key would not outlast its hold time from here.
    std::thread::sleep(Duration::from_secs(u64::from(HOLD) + 1));
    world.await_session()?;
    world.both_ways(&usual(), VIP, THEIRS)?;
    world.node.vc5c("disable four")?;
    world.await_withdrawn(VIP)
}

fn our_ttl_security() -> Ours {
    Ours { keys: "ttl-security = true".into(), ..Ours::default() }
}

pub(super) fn gtsm(world: &mut World) -> Result<()> {
    world.up(&Session { ttl_security: true, ..usual() }, &our_ttl_security())?;
    world.both_ways(&usual(), VIP, THEIRS)
}

pub(super) fn gtsm_over_ipv6(world: &mut World) -> Result<()> {
    let session = Session { ttl_security: true, ..ipv6_alone() };
    world.up(&session, &our_ttl_security())?;
    world.both_ways(&session, VIP6, THEIRS6)
}

/// The router's packets come with a lower TTL than 255, as from farther away: not one of them is heard.
pub(super) fn gtsm_here_alone(world: &mut World) -> Result<()> {
    world.start(&usual(), &our_ttl_security())?;
    world.stays_down()
}
