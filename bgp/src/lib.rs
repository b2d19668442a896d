//! An embeddable BGP-4 speaker: codec, sans-IO session machine, RIBs, policy and a thin tokio driver.
//!
//! Most users need [`speaker`] alone: start a [`Speaker`](speaker::Speaker), give it neighbours, announce
//! and withdraw; `examples/announce.rs` is a whole announcer. Under it, and usable without it:
//!
//! - [`wire`]: octets to messages and back, without state;
//! - [`session`]: one neighbour's state machine without sockets, clock or tasks, for drivers of another
//!   kind, simulations and tests;
//! - [`rib`]: Adj-RIB-In, Loc-RIB with its decision process, Adj-RIB-Out;
//! - [`policy`]: what passes, and what changes on the way.
//!
//! The crate knows routes, not why they exist. It never panics on what a neighbour sends, and nothing a
//! neighbour does or leaves undone holds up another one.

pub mod policy;
pub mod rib;
pub mod session;
pub mod speaker;
pub mod wire;
