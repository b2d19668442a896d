//! The demo's whole story, as `make demo` plays it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::process::Command;

#[test]
fn every_expectation_of_the_demo_is_met() {
    let done = Command::new(env!("CARGO_BIN_EXE_demo")).env_remove("KEEP").output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    println!("{told}");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(told.contains("expectations met, 0 failed"));
}
