//! What stands between verdicts and the route: words of the administrator, backup pools, panic, the node's own path,
//! signals beside the checks, what routers are told, and what a reload brings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod admin;
mod backends;
mod capacity;
mod choice;
#[path = "../common/mod.rs"]
mod common;
mod signals;
mod timing;
mod world;
