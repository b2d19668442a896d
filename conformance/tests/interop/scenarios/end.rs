//! How sessions end, and what the other side learns of it.

use anyhow::Result;
use vc5_conformance::lab::router::{Announcement, Session};
use vc5_conformance::lab::wait;

use crate::world::{LIMIT, Ours, THEIRS, VIP, World, usual};

const MESSAGE: &str = "moving rack 7 until 14:00";

fn both(world: &mut World) -> Result<()> {
    world.up(&usual(), &Ours::default())?;
    world.await_announced(VIP)?;
    world.await_received(THEIRS).map(drop)
}

pub(super) fn they_stop(world: &mut World) -> Result<()> {
    both(world)?;
    world.router.process()?.signal(libc::SIGSTOP)?;
    let down = world.await_down("Hold timer expired");
    let routes = world.received();
    world.router.process()?.signal(libc::SIGCONT)?;
    down?;
    anyhow::ensure!(routes?.is_empty(), "the node still has the routes of a dead session");
    world.await_session()
}

pub(super) fn we_stop(world: &mut World) -> Result<()> {
    both(world)?;
    world.node.daemon()?.signal(libc::SIGSTOP)?;
    let gone = world.await_withdrawn(VIP);
    world.node.daemon()?.signal(libc::SIGCONT)?;
    gone?;
    world.await_session()?;
    world.await_announced(VIP).map(drop)
}

pub(super) fn they_are_killed(world: &mut World) -> Result<()> {
    both(world)?;
    world.router.process()?.kill()?;
    world.await_down("")?;
    anyhow::ensure!(world.received()?.is_empty(), "the node still has the routes");
    world.start_router(&usual())?;
    world.await_session()?;
    world.await_announced(VIP).map(drop)
}

pub(super) fn we_are_killed(world: &mut World) -> Result<()> {
    both(world)?;
    world.node.daemon()?.kill()?;
    world.await_withdrawn(VIP)?;
    world.start_node(&usual(), &Ours::default())?;
    world.await_session()?;
    world.await_announced(VIP).map(drop)
}

/// A route that is not announced any more after the restart.
const LEFT_OUT: &str = "198.18.2.0/24";

/// The router is killed, after it announced two routes and said that it would forward on; the node keeps both.
fn killed_while_forwarding(world: &mut World, time: u16) -> Result<Session> {
    let routes = [THEIRS, LEFT_OUT].map(Announcement::to).into();
    let session = Session { graceful_restart: Some(time), routes, ..usual() };
    world.up(&session, &Ours::default())?;
    world.await_announced(VIP)?;
    world.await_received(THEIRS)?;
    world.await_received(LEFT_OUT)?;
    world.router.process()?.kill()?;
    wait::until_true("both routes stale at the node", LIMIT, || {
        let routes = world.received()?;
        anyhow::ensure!(routes.len() == 2, "a route of the router that restarts is gone");
        Ok(routes.iter().all(|route| route["stale"] == true))
    })?;
    Ok(session)
}

/// The routes stay until each is announced anew, or the router says that that was all.
pub(super) fn they_come_back(world: &mut World) -> Result<()> {
    let session = killed_while_forwarding(world, 60)?;
    let routes = vec![Announcement::to(THEIRS)];
    world.start_router(&Session { restarted: true, routes, ..session })?;
    wait::until_true("no route stale at the node", LIMIT, || {
        let routes = world.received()?;
        anyhow::ensure!(routes.iter().any(|route| route["prefix"] == THEIRS), "the route was gone");
        Ok(routes.len() == 1 && routes[0]["stale"] == false)
    })?;
    world.await_session()?;
    world.await_announced(VIP).map(drop)
}

/// The routes go when the time is over that the router said.
pub(super) fn they_do_not_come_back(world: &mut World) -> Result<()> {
    killed_while_forwarding(world, 5)?;
    wait::until_true("the routes gone from the node", LIMIT, || Ok(world.received()?.is_empty()))?;
    Ok(())
}

pub(super) fn our_message(world: &mut World) -> Result<()> {
    both(world)?;
    world.node.vc5c(&format!("disable peer \"{MESSAGE}\""))?;
    world.await_withdrawn(VIP)?;
    world.await_words(MESSAGE)
}

pub(super) fn their_message(world: &mut World) -> Result<()> {
    both(world)?;
    world.router.shut_down(MESSAGE)?;
    wait::until_true("the message in the node's log", LIMIT, || {
        Ok(world.node_log().contains(MESSAGE) && !world.node_established()?)
    })?;
    Ok(())
}

/// The router takes one prefix and then gets two more.
pub(super) fn their_limit(world: &mut World) -> Result<()> {
    let session = Session { prefix_limit: Some(1), ..usual() };
    world.up(&session, &Ours::default())?;
    world.await_announced(VIP)?;
    let more_vips = vec!["203.0.113.11/32", "203.0.113.12/32"];
    world.configure(&session, &Ours { more_vips, ..Ours::default() })?;
    world.node.vc5c("configure")?;
    wait::until_true("the router's Cease", LIMIT, || {
        Ok(world.node_log().contains("Maximum number of prefixes reached"))
    })?;
    Ok(())
}

/// The node takes two prefixes and gets three.
pub(super) fn our_limit(world: &mut World) -> Result<()> {
    let prefixes = [THEIRS, "198.18.2.0/24", "198.18.3.0/24"];
    let session = Session { routes: prefixes.map(Announcement::to).into(), ..usual() };
    let channel = ", import-limit = { max = 2, action = \"disable\" }".into();
    world.start(&session, &Ours { channel, ..Ours::default() })?;
    wait::until_true("the node's limit", LIMIT, || {
        Ok(world.counter("established")? == 1 && world.peer()?["state"] == "Idle")
    })?;
    wait::until_true("the Cease at the router", LIMIT, || Ok(world.saw_limit_cease()))?;
    world.stays_down()
}
