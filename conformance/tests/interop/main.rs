//! vc5d beside BIRD 2, FRR 8, GoBGP 3 and ExaBGP 4: every scenario with every peer, each side's own client as the
//! witness of what that side sees.
//!
//! One test runs all of it, the peers side by side, prints the matrix and fails if a cell does. To run a part while
//! working: `VC5_INTEROP=frr` or `VC5_INTEROP=frr:md5`, part of a peer's name and part of a scenario's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod matrix;
mod peers;
mod scenarios;
mod world;

use std::io::Write as _;

use matrix::{Cell, Column};

#[test]
fn vc5d_and_its_peers() {
    let (only_peer, only_scenario) = matrix::selection();
    let columns: Vec<Column> = std::thread::scope(|scope| {
        let threads: Vec<_> = peers::all()
            .into_iter()
            .filter(|peer| peer.name.to_lowercase().contains(&only_peer))
            .map(|peer| scope.spawn(|| column(peer, &only_scenario)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let text = matrix::render(&columns);
    // Not by a print macro: their output is shown only when a test fails.
    writeln!(std::io::stderr(), "\n{text}").unwrap();
    if only_peer.is_empty() && only_scenario.is_empty() {
        matrix::keep(&text).unwrap();
    }
    let failed = columns.iter().flat_map(|column| &column.cells);
    let failed = failed.filter(|(_, cell)| matches!(cell, Cell::Failed(_))).count();
    assert_eq!(failed, 0, "cells failed; the reasons are below the matrix");
}

/// All scenarios with one peer, in one lab.
fn column(peer: peers::Peer, only: &str) -> Column {
    let start = std::time::Instant::now();
    let mut world = world::World::new(&peer);
    let mut cells = Vec::new();
    for (name, scenario) in scenarios::ALL {
        if !name.to_lowercase().contains(only) {
            continue;
        }
        let cannot = peer.cannot.iter().find(|(row, _)| row == name);
        let cell = match cannot {
            Some((_, reason)) => Cell::Cannot(reason),
            None => world.run(*scenario),
        };
        cells.push((*name, cell));
    }
    Column { peer: peer.name, cells, took: start.elapsed() }
}
