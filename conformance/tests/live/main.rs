//! Live traffic through the dataplane while it is changed, killed and started anew. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests panic as tests do"
)]

mod changes;
mod model;
mod restart;

use std::sync::{Mutex, MutexGuard, PoisonError};

use vc5_conformance::lab::Lab;
use vc5_conformance::lab::live::{Ledger, Wire};

const TOOL: &str = env!("CARGO_BIN_EXE_vc5-lab");

/// The tests take turns: each has use for all CPUs.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the traffic when the test does, however it does.
struct Stopping<'l>(&'l Ledger);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The wire, with a neighbour entry for each of so many backends.
fn wire(backends: u16) -> Wire {
    let mut wire = Wire::new(Lab::new(TOOL).unwrap()).unwrap();
    for backend in 0..backends {
        wire.set_neighbour(backend, 0).unwrap();
    }
    wire.wait_neighbours(usize::from(backends)).unwrap();
    wire
}

/// The seed of a run: that of `VC5_SEED`, or a new one.
fn seed() -> u64 {
    let given = std::env::var("VC5_SEED").ok();
    let seed = given.map_or_else(vc5_conformance::lab::live::now, |text| text.parse().unwrap());
    println!("VC5_SEED={seed}");
    seed
}
