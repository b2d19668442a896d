//! Every type of check against real servers, through the VIP on the backend, over IPv4 and IPv6: good, and in every
//! way in which a server or the network between can fail.
//!
//! One test runs all of it in one prober, prints the matrix and fails if a cell does. To run a part while working:
//! `VC5_CHECKS=https` or `VC5_CHECKS=https:slow`, a type and part of a way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod certificates;
mod fresh;
mod matrix;
mod row;
mod rows;
mod servers;
mod world;

use std::io::Write as _;

use row::Row;

#[test]
fn every_check_tells_good_from_bad() {
    let selection = std::env::var("VC5_CHECKS").unwrap_or_default();
    let (kind, way) = selection.split_once(':').unwrap_or((&selection, ""));
    let world = world::World::new();
    let rows: Vec<Row> = rows::all(&world)
        .into_iter()
        .filter(|row| kind.is_empty() || row.kind == kind)
        .filter(|row| row.way.name().contains(way))
        .collect();
    let findings = world.run(&rows);
    let text = matrix::render(&rows, &findings);
    // Not by a print macro: their output is shown only when a test fails.
    writeln!(std::io::stderr(), "\n{text}").unwrap();
    if selection.is_empty() {
        matrix::keep(&text).unwrap();
        assert_eq!(matrix::gaps(&rows), Vec::<String>::new(), "neither a scenario nor a reason");
    }
    let wrong: Vec<_> = findings.iter().filter_map(|finding| finding.wrong(&rows)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world.time_wait(), Vec::<String>::new(), "probes leave no TIME_WAIT");
}
