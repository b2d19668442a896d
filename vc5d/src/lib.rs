//! The parts of the daemon `vc5d` and of its client `vc5c`.
//!
//! Only this crate knows BGP, health checks and the dataplane at once. Configuration and verdicts go in; one owner
//! task, the core, holds the state and decides; routes go to `vc5-bgp`, forwarding state to `vc5-xdp`; immutable
//! snapshots go out to every reader.

pub mod admin;
pub mod agent;
pub mod client;
pub mod config;
pub mod control;
pub mod core;
pub mod gate;
pub mod http;
pub mod lifecycle;
pub mod preflight;
pub mod signal;
pub mod snapshot;
pub mod telemetry;
pub mod translate;
