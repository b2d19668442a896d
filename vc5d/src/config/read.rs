//! Typed access to the tree: every read says what it expected, and a table knows which keys it has.
//!
//! A read that fails notes the error and answers `None`; the reader goes on with a default, so that one
//! load finds everything that is wrong. Whether there was an error is asked once, at the end.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::literal::{duration, not_a_host, show_duration};
use super::log::Log;
use super::nearest::nearest;
use super::tree::{Entries, Entry, Node, Place, Value};

/// A value together with where it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

static NO_ENTRIES: Entries = Entries::new();

/// A table being read.
pub(super) struct Table<'a> {
    pub(super) log: &'a Log,
    pub(super) place: Place,
    /// The key path, empty for the root.
    pub(super) path: String,
    entries: &'a Entries,
    /// The path with object names replaced by `NAME`: the same for all tables of a kind.
    kind: &'static str,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn root(entries: &'a Entries, log: &'a Log) -> Self {
        let place = Place { file: 0, offset: 0 };
        Self { log, place, path: String::new(), entries, kind: "", known: Vec::new() }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of an optional key.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        self.log.note_key(self.kind, key);
        let entry = self.entries.get(key)?;
        Some(Field { log: self.log, node: &entry.node, path: self.join(key) })
    }

    /// The value of a required key; its absence is an error.
    pub(super) fn need(&mut self, key: &'static str) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            let message = format!("{}: required key is missing", self.join(key));
            self.log.push(self.place, &message);
        }
        field
    }

    /// A table below this one; absent is the same as empty.
    pub(super) fn section(&mut self, key: &'static str, kind: &'static str) -> Table<'a> {
        self.get(key).and_then(|field| field.table(kind)).unwrap_or_else(|| Table {
            log: self.log,
            place: self.place,
            path: self.join(key),
            entries: &NO_ENTRIES,
            kind,
            known: Vec::new(),
        })
    }

    /// The objects of a table whose keys are names chosen by the user, in the order of their names.
    pub(super) fn objects(mut self, kind: &'static str) -> Vec<(String, Table<'a>)> {
        let mut objects = Vec::new();
        for (name, entry) in self.entries {
            let path = self.join(name);
            if !is_name(name) {
                let message = format!(
                    "{path}: a name has up to 63 letters, digits, `_`, `-` or `.`, and starts with a letter or `_`"
                );
                self.log.push(entry.key, &message);
            }
            let field = Field { log: self.log, node: &entry.node, path };
            objects.extend(field.table(kind).map(|table| (name.clone(), table)));
        }
        self.known.clear();
        objects
    }

    /// Keys that belong here but that this version cannot honour: an error, never silence.
    pub(super) fn not_yet(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.known.push(key);
            if let Some(entry) = self.entries.get(*key) {
                let message = format!("{}: not supported yet; remove it", self.join(key));
                self.log.push(entry.key, &message);
            }
        }
    }

    /// A key of an earlier release: an error that says what it has become.
    pub(super) fn renamed(&mut self, key: &'static str, message: &str) {
        if let Some(entry) = self.entries.get(key) {
            self.known.push(key);
            self.log.push(entry.key, &format!("{}: {message}", self.join(key)));
        }
    }

    /// An error for each of these keys that is there.
    pub(super) fn misplaced(&self, keys: &[&str], message: &str) {
        for key in keys {
            if let Some(entry) = self.entries.get(*key) {
                self.log.push(entry.key, &format!("{}: {message}", self.join(key)));
            }
        }
    }

    /// Whether there is no key.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the key is there at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Notes an error about the table as a whole.
    pub(super) fn fail(&self, message: &str) {
        self.log.push(self.place, &format!("{}: {message}", self.path));
    }

    /// Ends the reading of this table: whatever was never asked for is an unknown key.
    pub(super) fn end(self) {
        for (key, entry) in self.entries {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let place =
                if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
            self.log.push(entry.key, &format!("{place}unknown key `{key}`; {hint}"));
        }
    }
}

/// Whether a name can be used on the command line of the client without quotes.
fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    starts && name.len() <= 63 && name.chars().all(word)
}

/// The value of a key, or one element of an array.
pub(super) struct Field<'a> {
    log: &'a Log,
    node: &'a Node,
    path: String,
}

impl<'a> Field<'a> {
    pub(super) fn place(&self) -> Place {
        self.node.place
    }

    /// The directory of the file that this value is in.
    pub(super) fn directory(&self) -> PathBuf {
        self.log.directory(self.node.place)
    }

    /// Notes an error about this value.
    pub(super) fn fail<T>(&self, message: &str) -> Option<T> {
        self.log.push(self.node.place, &format!("{}: {message}", self.path));
        None
    }

    /// Notes an error about an element of this array.
    pub(super) fn fail_at(&self, place: Place, message: &str) {
        self.log.push(place, &format!("{}: {message}", self.path));
    }

    /// `file:line` of a place, for messages that point to a second one.
    pub(super) fn show(&self, place: Place) -> String {
        self.log.show(place)
    }

    /// The path of the table that this key is in.
    pub(super) fn parent(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        self.fail(&format!("expected {what}, found {}", self.node.value.kind()))
    }

    /// Adds the place to what a reading function answered.
    pub(super) fn at<T>(self, read: impl FnOnce(&Self) -> Option<T>) -> Option<At<T>> {
        let value = read(&self)?;
        Some(At { place: self.place(), value })
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        self.text_as("a string")
    }

    fn text_as(&self, what: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => self.expected(what),
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    /// The value if it is a string; no error if not.
    pub(super) fn text_or_none(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_boolean(&self) -> bool {
        matches!(self.node.value, Value::Boolean(_))
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.node.value, Value::Integer(_))
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Boolean(value) => Some(*value),
            _ => self.expected("true or false"),
        }
    }

    /// An integer within a range.
    pub(super) fn number<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + std::fmt::Display,
    {
        let Value::Integer(number) = &self.node.value else {
            return self.expected("an integer");
        };
        match T::try_from(*number) {
            Ok(value) if range.contains(&value) => Some(value),
            _ => {
                let message =
                    format!("{number} is out of range: {} to {}", range.start(), range.end());
                self.fail(&message)
            }
        }
    }

    /// A duration within a range.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        const WHAT: &str = "a duration with its unit such as \"250ms\", \"9s\" or \"5m\"";
        let text = self.text_as(WHAT)?;
        let Some(value) = duration(text) else {
            return self.fail(&format!("expected {WHAT}, found `{text}`"));
        };
        if range.contains(&value) {
            return Some(value);
        }
        let (min, max) = (show_duration(*range.start()), show_duration(*range.end()));
        self.fail(&format!("{text} is out of range: {min} to {max}"))
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let text = self.text_as(&format!("one of {}", quoted(&names)))?;
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let hint = nearest(text, names.iter().copied())
            .map(|near| format!("; did you mean \"{near}\"?"))
            .unwrap_or_default();
        self.fail(&format!("expected one of {}, found \"{text}\"{hint}", quoted(&names)))
    }

    /// A string that the standard library or a crate parses.
    pub(super) fn parsed<T: FromStr>(&self, what: &str) -> Option<T> {
        let text = self.text_as(what)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => self.fail(&format!("expected {what}, found `{text}`")),
        }
    }

    /// An address that a host can have.
    pub(super) fn host(&self) -> Option<IpAddr> {
        let address = self.parsed("an IP address such as \"192.0.2.1\" or \"2001:db8::1\"")?;
        match not_a_host(address) {
            Some(reason) => self.fail(&format!("{address} {reason}")),
            None => Some(address),
        }
    }

    /// A string that one of the functions of [`super::literal`] reads.
    pub(super) fn literal<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(self.text()?) {
            Ok(value) => Some(value),
            Err(message) => self.fail(&message),
        }
    }

    pub(super) fn absolute_path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.text()?);
        if path.is_absolute() {
            return Some(path);
        }
        self.fail(&format!("`{}` is not an absolute path", path.display()))
    }

    /// The elements of an array.
    pub(super) fn items(&self) -> Option<Vec<Field<'a>>> {
        let Value::Array(nodes) = &self.node.value else {
            return self.expected("an array");
        };
        Some(
            nodes
                .iter()
                .map(|node| Field { log: self.log, node, path: self.path.clone() })
                .collect(),
        )
    }

    /// The elements of an array, each read alike; those with errors are left out.
    pub(super) fn list<T>(&self, read: impl Fn(&Field<'a>) -> Option<T>) -> Option<Vec<At<T>>> {
        let items = self.items()?;
        Some(
            items
                .into_iter()
                .filter_map(|item| read(&item).map(|value| At { place: item.place(), value }))
                .collect(),
        )
    }

    /// As [`Self::list`], of at least one element.
    pub(super) fn some<T>(&self, read: impl Fn(&Field<'a>) -> Option<T>) -> Option<Vec<At<T>>> {
        if self.items()?.is_empty() {
            return self.fail("must not be empty");
        }
        self.list(read)
    }

    /// The entries of a table whose keys are no words of the language, with the place of each key.
    pub(super) fn entries(&self) -> Option<Vec<(&'a str, Place, Field<'a>)>> {
        let Value::Table(entries) = &self.node.value else {
            return self.expected("a table");
        };
        let field = |(key, entry): (&'a String, &'a Entry)| {
            let path = format!("{}.{key}", self.path);
            (key.as_str(), entry.key, Field { log: self.log, node: &entry.node, path })
        };
        Some(entries.iter().map(field).collect())
    }

    pub(super) fn table(&self, kind: &'static str) -> Option<Table<'a>> {
        let Value::Table(entries) = &self.node.value else {
            return self.expected("a table");
        };
        Some(Table {
            log: self.log,
            place: self.node.place,
            path: self.path.clone(),
            entries,
            kind,
            known: Vec::new(),
        })
    }

    /// The name of an object that must exist.
    pub(super) fn reference(&self, what: &str, names: &BTreeSet<String>) -> Option<String> {
        let name = self.text()?;
        if names.contains(name) {
            return Some(name.to_owned());
        }
        let hint = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if names.is_empty() => format!("; no {what} is defined"),
            None => String::new(),
        };
        self.fail(&format!("unknown {what} `{name}`{hint}"))
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}
