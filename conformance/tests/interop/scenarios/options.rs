//! What the OPEN messages agree on.

use anyhow::{Result, ensure};
use vc5_conformance::lab::router::{Announcement, Session};
use vc5_conformance::lab::wait;

use crate::world::{LIMIT, Ours, THEIRS, VIP, World, same, usual};

const LARGE: u32 = 4_200_000_001;

pub(super) fn four_octet_as(world: &mut World) -> Result<()> {
    let session = Session { local_as: LARGE, remote_as: LARGE + 1, ..usual() };
    world.up(&session, &Ours::default())?;
    world.both_ways(&session, VIP, THEIRS)
}

pub(super) fn two_octet_as(world: &mut World) -> Result<()> {
    let session = Session { four_octet_as: false, ..usual() };
    world.up(&session, &Ours::default())?;
    world.both_ways(&session, VIP, THEIRS)?;
    same("4-octet AS numbers", &world.peer()?["session"]["as4"], &false.into())
}

/// AS_TRANS stands for our AS in the OPEN and in AS_PATH, and AS4_PATH has the real one, which a router that knows of it
/// puts back (RFC 6793).
pub(super) fn as_trans(world: &mut World) -> Result<()> {
    let session = Session { remote_as: LARGE, four_octet_as: false, ..usual() };
    world.up(&session, &Ours::default())?;
    let path = world.await_announced(VIP)?.as_path;
    ensure!(path == "23456" || path == LARGE.to_string(), "AS_PATH at the router: {path}");
    let route = world.await_received(THEIRS)?;
    same("AS_PATH at the node", &route["as_path"], &"64512".into())
}

/// As many communities as do not fit into a message of 4096 octets, both ways (RFC 8654).
pub(super) fn extended_messages(world: &mut World) -> Result<()> {
    const MANY: u16 = 1100;
    let communities = (1..=MANY).map(|value| (64512, value)).collect();
    let route = Announcement { communities, ..Announcement::to(THEIRS) };
    let session = Session { extended_messages: true, routes: vec![route], ..usual() };
    let added: Vec<String> = (1..=MANY).map(|value| format!("\"65001:{value}\"")).collect();
    let ours = Ours {
        keys: "extended-messages = true".into(),
        communities: added.join(","),
        ..Ours::default()
    };
    world.up(&session, &ours)?;
    let route = world.await_received(THEIRS)?;
    let received = route["communities"].as_array().map(Vec::len);
    same("communities at the node", &received, &Some(usize::from(MANY)))?;
    // birdc shows no more than the first of them.
    let seen = world.await_announced(VIP)?.communities;
    let expected: Vec<String> =
        (1..=MANY).map(|value| format!("65001:{value}")).take(seen.len()).collect();
    same("communities at the router", &seen, &expected)?;
    ensure!(seen.len() >= 40, "only {} communities at the router", seen.len());
    Ok(())
}

/// The router has two routes to one prefix and sends both (RFC 7911).
pub(super) fn add_path_receive(world: &mut World) -> Result<()> {
    let routes = vec![Announcement::to(THEIRS), Announcement::to(THEIRS)];
    let session = Session { add_paths: true, routes, ..usual() };
    let ours = Ours { channel: ", add-paths = \"rx\"".into(), ..Ours::default() };
    world.up(&session, &ours)?;
    wait::until_true("both routes at the node", LIMIT, || {
        let routes = world.received()?;
        Ok(routes.iter().filter(|route| route["prefix"] == THEIRS).count() == 2)
    })?;
    world.await_announced(VIP).map(drop)
}
