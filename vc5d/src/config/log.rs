//! The files that were read, and what was found wrong in them so far.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::{Error, Errors};
use super::tree::Place;

/// Pairs of a kind of table, such as `protocol.bgp.NAME`, and a key that it may have.
pub(super) type KnownKeys = BTreeSet<(&'static str, &'static str)>;

/// One file.
#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    text: Vec<u8>,
}

/// Collects errors while the reading goes on, so that one load reports all of them.
#[derive(Debug, Default)]
pub(super) struct Log {
    files: Vec<SourceFile>,
    problems: RefCell<BTreeSet<(Place, String)>>,
    known: RefCell<KnownKeys>,
}

impl Log {
    /// Adds a file and returns its index.
    pub(super) fn add_file(&mut self, path: &Path, text: &[u8]) -> usize {
        self.files.push(SourceFile { path: path.to_owned(), text: text.to_owned() });
        self.files.len() - 1
    }

    /// Notes an error. Control characters (a quoted key may hold any) are escaped, so that it stays one line.
    pub(super) fn push(&self, place: Place, message: &str) {
        let mut line = String::with_capacity(message.len());
        for c in message.chars() {
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        self.problems.borrow_mut().insert((place, line));
    }

    /// Whether nothing was found wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Notes that a table of this kind may have this key.
    pub(super) fn note_key(&self, table: &'static str, key: &'static str) {
        self.known.borrow_mut().insert((table, key));
    }

    /// Every pair of table and key that was asked for.
    pub(super) fn known_keys(&self) -> KnownKeys {
        self.known.borrow().clone()
    }

    /// `file:line` of a place, for messages that point to a second one.
    pub(super) fn show(&self, place: Place) -> String {
        let (file, (line, _)) = self.locate(place);
        format!("{}:{line}", file.display())
    }

    /// The directory of the file that a place is in.
    pub(super) fn directory(&self, place: Place) -> PathBuf {
        let (file, _) = self.locate(place);
        file.parent().map(Path::to_owned).unwrap_or_default()
    }

    fn locate(&self, place: Place) -> (PathBuf, (usize, usize)) {
        let Some(file) = self.files.get(place.file) else {
            return (PathBuf::new(), (1, 1));
        };
        let before = file.text.get(..place.offset).unwrap_or(&file.text);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        // UTF-8 continuation bytes do not start a character.
        let column = last.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        (file.path.clone(), (line, column))
    }

    /// All that was noted, in the order of files and lines.
    pub(super) fn into_errors(self) -> Errors {
        let problems = self.problems.take();
        let list = problems.into_iter().map(|(place, message)| {
            let (file, at) = self.locate(place);
            Error { file, at: Some(at), message }
        });
        Errors::from(list.collect::<Vec<_>>())
    }
}
