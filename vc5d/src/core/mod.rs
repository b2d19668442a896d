//! The owner task: configuration, verdicts and the dataplane's word go in; it decides.
//!
//! [`state`] is the decision as a pure machine, [`driver`] carries its effects out, [`view`] draws the picture that
//! readers get. No bpf() call, no netlink dump, no ring build, no file and no name look-up happens on this task.

mod advert;
mod backend;
mod drawn;
mod driver;
mod group;
mod history;
mod notes;
mod path;
mod service;
mod signals;
mod state;
#[cfg(test)]
mod tests;
mod view;
mod vip;

pub use advert::Advert;
pub use driver::{Core, Parts, Request as CoreRequest};
pub use notes::Event;
pub(crate) use service::label as service_label;
pub use state::{Effect, State};
pub use view::{Clock, View};
