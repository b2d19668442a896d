//! The configuration: TOML with BIRD's vocabulary, read strictly.
//!
//! ```text
//! files --source--> one tree with places --section/*--> model::Config    (errors collect in log)
//! ```
//!
//! Everything that is wrong is found in one load and reported as `file:line:column: key: what to do`.
//! What depends on the machine (interfaces, subnets, sockets) is asked by [`crate::preflight`].

pub mod diff;
mod error;
mod literal;
mod log;
pub mod model;
mod nearest;
mod read;
mod section;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

pub use error::{Error, Errors};
pub(crate) use literal::duration;
pub use model::Config;

/// Reads a configuration file and everything that it includes.
///
/// # Errors
/// All errors of all files; or that the file cannot be read.
pub fn load(path: &Path) -> Result<Config, Errors> {
    match std::fs::read(path) {
        Ok(text) => read(&text, path).0,
        Err(error) => {
            let message = format!("cannot read: {error}");
            Err(Errors::from(vec![Error { file: path.to_owned(), at: None, message }]))
        }
    }
}

/// Reads a configuration from text. `file` is its name in errors, and the files that it includes or names
/// are looked for relative to it.
///
/// # Errors
/// All errors of the text and of all included files.
pub fn parse(text: &str, file: &Path) -> Result<Config, Errors> {
    read(text.as_bytes(), file).0
}

/// The result, and every pair of table and key that was asked for.
fn read(text: &[u8], file: &Path) -> (Result<Config, Errors>, log::KnownKeys) {
    let mut log = log::Log::default();
    let tree = source::gather(file, text, &mut log);
    // A tree with syntax errors has holes, and every hole would look like an error of the user.
    if !log.is_clean() {
        return (Err(log.into_errors()), log::KnownKeys::new());
    }
    let config = section::read(&tree, file, &log);
    let known = log.known_keys();
    if log.is_clean() { (Ok(config), known) } else { (Err(log.into_errors()), known) }
}
