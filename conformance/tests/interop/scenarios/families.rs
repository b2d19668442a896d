//! Which families a session carries, over which, and who dials.

use anyhow::Result;
use vc5_conformance::lab::router::{Announcement, Session};

use crate::world::{Ours, THEIRS, THEIRS6, VIP, VIP6, World, over_ipv6, usual};

fn passive() -> Ours {
    Ours { keys: "passive = true".into(), ..Ours::default() }
}

pub(super) fn ipv6_alone() -> Session {
    Session { ipv4: false, ipv6: true, routes: vec![Announcement::to(THEIRS6)], ..over_ipv6() }
}

/// Also that a route goes away and comes back with its VIP, in one session.
pub(super) fn ipv4_we_dial(world: &mut World) -> Result<()> {
    let session = Session { passive: true, ..usual() };
    world.up(&session, &Ours::default())?;
    world.both_ways(&session, VIP, THEIRS)?;
    world.node.vc5c("disable four")?;
    world.await_withdrawn(VIP)?;
    world.node.vc5c("enable four")?;
    world.await_announced(VIP)?;
    crate::world::same("sessions", &world.counter("established")?, &1)
}

pub(super) fn ipv4_they_dial(world: &mut World) -> Result<()> {
    world.up(&usual(), &passive())?;
    world.both_ways(&usual(), VIP, THEIRS)
}

pub(super) fn both_over_ipv4(world: &mut World) -> Result<()> {
    let routes = vec![Announcement::to(THEIRS), Announcement::to(THEIRS6)];
    let session = Session { ipv6: true, routes, ..usual() };
    world.up(&session, &Ours::default())?;
    world.both_ways(&session, VIP, THEIRS)?;
    world.both_ways(&session, VIP6, THEIRS6)
}

pub(super) fn ipv6_we_dial(world: &mut World) -> Result<()> {
    let session = Session { passive: true, ..ipv6_alone() };
    world.up(&session, &Ours::default())?;
    world.both_ways(&session, VIP6, THEIRS6)
}

pub(super) fn ipv6_they_dial(world: &mut World) -> Result<()> {
    world.up(&ipv6_alone(), &passive())?;
    world.both_ways(&ipv6_alone(), VIP6, THEIRS6)
}

/// RFC 8950: the session is over IPv6 and so are the next hops, the routes are IPv4.
pub(super) fn ipv4_over_ipv6_next_hop(world: &mut World) -> Result<()> {
    let session = Session { extended_next_hop: true, ..over_ipv6() };
    let channel = ", extended-next-hop = true".into();
    world.up(&session, &Ours { channel, ..Ours::default() })?;
    world.both_ways(&session, VIP, THEIRS)
}
