//! The native client of the control socket, `vc5c`: one command and out, or a prompt.
//!
//! [`decode`] and [`words`] do no input or output; [`connection`] talks to the daemon, [`prompt`] to a person.

pub mod connection;
pub mod decode;
pub mod print;
pub mod prompt;
pub mod words;

pub use connection::{Connection, Error};
