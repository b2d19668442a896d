//! The parsed TOML of all files in one tree, in which every key and value knows its place.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Where something stands: which file, and the byte offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index into the list of files of [`super::log::Log`].
    pub(super) file: usize,
    /// Byte offset from the start of the file.
    pub(super) offset: usize,
}

/// A value and where it starts.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A TOML value.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Entries),
    /// A type that no key takes, by its name with an article.
    Other(&'static str),
}

impl Value {
    /// The type with its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Boolean(_) => "a boolean",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// A key's place and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Place,
    pub(super) node: Node,
}

/// The keys of a table.
pub(super) type Entries = BTreeMap<String, Entry>;

/// Takes over a parsed table of the file with this index.
pub(super) fn entries(table: &DeTable<'_>, file: usize) -> Entries {
    table
        .iter()
        .map(|(key, value)| {
            let place = Place { file, offset: key.span().start };
            let start = Place { file, offset: value.span().start };
            let node = Node { place: start, value: convert(value.get_ref(), file) };
            (key.get_ref().to_string(), Entry { key: place, node })
        })
        .collect()
}

fn convert(value: &DeValue<'_>, file: usize) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            // Only a number of more than 127 bits fails here; no key has a range that wide.
            Value::Integer(
                i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX),
            )
        }
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| Node {
                    place: Place { file, offset: item.span().start },
                    value: convert(item.get_ref(), file),
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(table, file)),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Datetime(_) => Value::Other("a date"),
    }
}
