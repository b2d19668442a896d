//! What is wrong with a configuration, one line for each thing.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file it is in.
    pub file: PathBuf,
    /// Line and column (in characters), both from 1; `None` when the file as a whole is meant.
    pub at: Option<(usize, usize)>,
    /// The key and what is wrong with it; always a single line.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => {
                write!(f, "{}:{line}:{column}: {}", self.file.display(), self.message)
            }
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// Everything that was found wrong in one go, in the order of the files and lines.
///
/// Its `Display` form is one line for each error: `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    list: Vec<Error>,
}

impl Errors {
    /// How many errors there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The errors in order.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.list.iter()
    }
}

impl From<Vec<Error>> for Errors {
    fn from(list: Vec<Error>) -> Self {
        Self { list }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
