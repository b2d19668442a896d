//! From files to one tree: TOML syntax, `include`, and the merging of what several files say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::log::Log;
use super::tree::{self, Entries, Node, Place, Value};

/// Tables that several files may each add objects to. Everything else is written in one place only.
const SHARED: [&str; 8] =
    ["filter", "template", "template.bgp", "protocol", "protocol.bgp", "pool", "check", "vip"];

/// Parses `text`, reads all that it includes, and merges everything into one tree.
pub(super) fn gather(path: &Path, text: &[u8], log: &mut Log) -> Entries {
    let mut loader = Loader { log, open: Vec::new(), seen: BTreeSet::new(), roots: Vec::new() };
    loader.add(path, text);
    let roots = loader.roots;
    let mut merged = Entries::new();
    for root in roots {
        merge(&mut merged, root, "", log);
    }
    merged
}

struct Loader<'a> {
    log: &'a mut Log,
    /// The chain of files that include each other down to the one being read.
    open: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
    roots: Vec<Entries>,
}

impl Loader<'_> {
    fn add(&mut self, path: &Path, text: &[u8]) {
        let file = self.log.add_file(path, text);
        let Some(mut root) = self.parse(file, text) else { return };
        let include = root.remove("include");
        self.roots.push(root);
        let identity = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.seen.insert(identity.clone());
        self.open.push(identity);
        if let Some(include) = include {
            self.include(path, &include.node);
        }
        self.open.pop();
    }

    fn parse(&self, file: usize, text: &[u8]) -> Option<Entries> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                self.log.push(Place { file, offset: error.valid_up_to() }, "not valid UTF-8");
                return None;
            }
        };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            let message = format!("TOML syntax: {}", error.message());
            self.log.push(Place { file, offset }, &message);
        }
        Some(tree::entries(root.get_ref(), file))
    }

    fn include(&mut self, from: &Path, list: &Node) {
        let Value::Array(items) = &list.value else {
            let message =
                format!("include: expected an array of strings, found {}", list.value.kind());
            return self.log.push(list.place, &message);
        };
        let directory = from.parent().unwrap_or(Path::new(""));
        for item in items {
            match &item.value {
                Value::Text(pattern) => self.include_pattern(directory, pattern, item.place),
                other => {
                    let message = format!("include: expected a string, found {}", other.kind());
                    self.log.push(item.place, &message);
                }
            }
        }
    }

    fn include_pattern(&mut self, directory: &Path, pattern: &str, place: Place) {
        match expand(directory, pattern) {
            Ok(paths) => {
                for path in paths {
                    self.include_file(&path, place);
                }
            }
            Err(message) => self.log.push(place, &format!("include: {message}")),
        }
    }

    fn include_file(&mut self, path: &Path, place: Place) {
        let fail = |log: &Log, what: &str| {
            log.push(place, &format!("include: {}: {what}", path.display()));
        };
        let identity = match std::fs::canonicalize(path) {
            Ok(identity) => identity,
            Err(error) => return fail(self.log, &format!("cannot read: {error}")),
        };
        if self.open.contains(&identity) {
            return fail(self.log, "includes itself (a cycle)");
        }
        if self.seen.contains(&identity) {
            return fail(self.log, "is included twice");
        }
        match std::fs::read(path) {
            Ok(text) => self.add(path, &text),
            Err(error) => fail(self.log, &format!("cannot read: {error}")),
        }
    }
}

/// The files that a pattern names, sorted by name. `*` and `?` count in the last component only.
fn expand(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if pattern.is_empty() {
        return Err("the path is empty".to_owned());
    }
    let path = directory.join(pattern);
    let is_pattern = |text: &str| text.contains(['*', '?']);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(format!("`{pattern}` does not name a file"));
    };
    if !is_pattern(name) {
        return Ok(vec![path]);
    }
    if is_pattern(&parent.to_string_lossy()) {
        return Err(format!("`{pattern}`: * and ? may stand in the file name only"));
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let entries = std::fs::read_dir(parent)
        .map_err(|error| format!("{}: cannot read: {error}", parent.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: cannot read: {error}", parent.display()))?;
        let found = entry.file_name();
        if found.to_str().is_some_and(|found| matches(name.as_bytes(), found.as_bytes())) {
            paths.push(parent.join(found));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Shell matching with `*` and `?`; as in a shell, they do not match a leading dot.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.starts_with(b".") && !pattern.starts_with(b".") {
        return false;
    }
    // Each cell says whether the pattern so far matches that many bytes of the name.
    let mut reach: Vec<bool> = (0..=name.len()).map(|length| length == 0).collect();
    for wanted in pattern {
        let mut next = Vec::with_capacity(reach.len());
        let mut any = false;
        let mut diagonal = false;
        for (index, &here) in reach.iter().enumerate() {
            any |= here;
            let same = index
                .checked_sub(1)
                .and_then(|before| name.get(before))
                .is_some_and(|byte| *wanted == b'?' || byte == wanted);
            next.push(if *wanted == b'*' { any } else { diagonal && same });
            diagonal = here;
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}

fn merge(into: &mut Entries, from: Entries, parent: &str, log: &Log) {
    for (name, entry) in from {
        let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
        let Some(first) = into.get_mut(&name) else {
            into.insert(name, entry);
            continue;
        };
        match (&mut first.node.value, entry.node.value) {
            (Value::Table(into), Value::Table(from)) if SHARED.contains(&path.as_str()) => {
                merge(into, from, &path, log);
            }
            _ => {
                let message = format!("{path}: defined twice; first at {}", log.show(first.key));
                log.push(entry.key, &message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", false),
            ("*.toml", "a.toml.bak", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("abc", "abc", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
