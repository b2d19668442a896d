//! Routes and what is on them.

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use vc5_conformance::lab::router::{Announcement, Session};
use vc5_conformance::lab::wait;

use crate::world::{LIMIT, Ours, THEIRS, VIP, World, same, usual};

pub(super) fn refresh_they_ask(world: &mut World) -> Result<()> {
    world.up(&usual(), &Ours::default())?;
    world.await_announced(VIP)?;
    let (sent, received) = (world.counter("updates_out")?, world.router.updates_received()?);
    world.router.ask_refresh()?;
    wait::until_true("the route once more", LIMIT, || {
        Ok(world.counter("updates_out")? > sent && world.router.updates_received()? > received)
    })?;
    same("sessions", &world.counter("established")?, &1)?;
    world.await_announced(VIP).map(drop)
}

pub(super) fn communities_received(world: &mut World) -> Result<()> {
    let route = Announcement {
        communities: vec![(64512, 100), (64512, 200)],
        large_communities: vec![(64512, 1, 2), (4_200_000_001, 3, 4)],
        route_targets: vec![(64512, 7)],
        ..Announcement::to(THEIRS)
    };
    world.up(&Session { routes: vec![route], ..usual() }, &Ours::default())?;
    let route = world.await_received(THEIRS)?;
    let list = |words: &[&str]| Value::from(words.to_vec());
    same("communities", &route["communities"], &list(&["64512:100", "64512:200"]))?;
    let large = list(&["64512:1:2", "4200000001:3:4"]);
    same("large communities", &route["large_communities"], &large)?;
    same("extended communities", &route["extended_communities"], &list(&["rt:64512:7"]))
}

pub(super) fn communities_sent(world: &mut World) -> Result<()> {
    let more =
        "add-large-communities = [\"65000:1:2\"], add-extended-communities = [\"rt:65000:7\"]";
    world.up(&usual(), &Ours { set: format!(", {more}"), ..Ours::default() })?;
    let seen = world.await_announced(VIP)?;
    same("communities", &seen.communities, &vec!["65000:100".to_owned()])?;
    same("large communities", &seen.large_communities, &vec!["65000:1:2".to_owned()])?;
    // Each router has words of its own for a route target.
    let [target] = &seen.extended_communities[..] else {
        bail!("extended communities: {:?}", seen.extended_communities);
    };
    ensure!(target.contains("65000") && target.contains('7'), "extended community {target}");
    Ok(())
}
