//! The control socket: BIRD's control protocol over a Unix socket, so that BIRD's clients and scrapers work
//! unchanged, and vc5's own commands beside.
//!
//! The pieces that decide do no input or output: [`grammar`] finds what a line means, [`show`] turns a snapshot into
//! a reply, [`reply`] frames it, [`session`] keeps what a client has set. [`server`] is the thin driver around
//! them. Readers are answered from the newest snapshot; only commands that change something reach the core.

pub mod clock;
pub mod command;
mod follow;
pub mod grammar;
pub mod lines;
pub mod question;
pub mod reply;
pub mod server;
pub mod session;
pub mod show;

pub use command::{Action, Command, Failure, NamePattern, Outcome, Request, Shared};
pub use question::{Answer, Answers, Question, ServiceName};
pub use server::{bind, serve};

#[cfg(test)]
use crate::snapshot;
#[cfg(test)]
#[path = "../../tests/common/fixture.rs"]
pub(crate) mod fixture;
