//! What takes real files: `include`, key files, the examples, and the reference that has to name all keys.

use std::fs;
use std::path::{Path, PathBuf};

use super::BASE;
use crate::config::{load, read};

/// A directory of its own for each test, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vc5-config-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("conf.d")).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// What is said about a file, with the directory's name taken out.
    fn errors(&self, path: &Path) -> String {
        let text = load(path).unwrap_err().to_string();
        text.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const POOL: &str = "[pool.web]\nbackends = [\"192.0.2.10\"]\n";

#[test]
fn included_files_add_their_objects() {
    let directory = Directory::new("include");
    let main = directory
        .write("vc5.toml", &format!("include = [\"conf.d/*.toml\", \"more.toml\"]\n{BASE}"));
    directory.write("conf.d/a.toml", POOL);
    directory.write("conf.d/b.toml", "[pool.api]\nbackends = [\"192.0.2.11\"]\n");
    directory.write("conf.d/ignored.txt", "not = TOML");
    directory.write("more.toml", "include = [\"conf.d/c.inc\"]\n[check.a]\ntype = \"tcp\"\n");
    directory.write("conf.d/c.inc", "[check.b]\ntype = \"tcp\"\n");
    let config = load(&main).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.pools.keys().collect::<Vec<_>>(), ["api", "web"]);
    assert_eq!(config.checks.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn errors_name_the_included_file() {
    let directory = Directory::new("errors");
    let main = directory.write("vc5.toml", &format!("include = [\"conf.d/*.toml\"]\n{BASE}{POOL}"));
    directory.write("conf.d/a.toml", "\n[pool.web]\nbackends = []\n[router]\nas = 1\n");
    directory.write("conf.d/b.toml", "[check.a]\ntyp = \"tcp\"\n");
    assert_eq!(
        directory.errors(&main),
        "conf.d/a.toml:2:7: pool.web: defined twice; first at vc5.toml:7\n\
         conf.d/a.toml:4:2: router: defined twice; first at vc5.toml:2"
    );
    directory.write("conf.d/a.toml", "");
    assert_eq!(
        directory.errors(&main),
        "conf.d/b.toml:1:1: check.a.type: required key is missing\n\
         conf.d/b.toml:2:1: check.a: unknown key `typ`; did you mean `type`?"
    );
    directory.write("conf.d/b.toml", "[check.a\n");
    assert_eq!(
        directory.errors(&main),
        "conf.d/b.toml:1:9: TOML syntax: unclosed table, expected `]`"
    );
}

#[test]
fn includes_that_cannot_be() {
    let directory = Directory::new("cycle");
    let rows = [
        ("include = [\"b.toml\"]\n", "b.toml:1:12: include: vc5.toml: includes itself (a cycle)"),
        (
            "include = [\"vc5.toml\"]\n",
            "vc5.toml:1:12: include: vc5.toml: includes itself (a cycle)",
        ),
        (
            "include = [\"c.toml\", \"./c.toml\"]\n",
            "vc5.toml:1:22: include: ./c.toml: is included twice",
        ),
        ("include = [\"..\"]\n", "vc5.toml:1:12: include: `..` does not name a file"),
        (
            "include = [\"no.toml\"]\n",
            "vc5.toml:1:12: include: no.toml: cannot read: No such file or directory (os error 2)",
        ),
        (
            "include = [\"no/*.toml\"]\n",
            "vc5.toml:1:12: include: no: cannot read: No such file or directory (os error 2)",
        ),
        (
            "include = [\"*/a.toml\"]\n",
            "vc5.toml:1:12: include: */a.toml: cannot read: No such file or directory (os error 2)",
        ),
        (
            "include = [\"*/*.toml\"]\n",
            "vc5.toml:1:12: include: `*/*.toml`: * and ? may stand in the file name only",
        ),
        (
            "include = \"c.toml\"\n",
            "vc5.toml:1:11: include: expected an array of strings, found a string",
        ),
        (
            "include = [\"c.toml\", 1, \"\"]\n",
            "vc5.toml:1:22: include: expected a string, found an integer\nvc5.toml:1:25: include: the path is empty",
        ),
    ];
    directory.write("b.toml", "include = [\"vc5.toml\"]\n");
    directory.write("c.toml", "");
    for (include, expected) in rows {
        let main = directory.write("vc5.toml", &format!("{include}{BASE}"));
        assert_eq!(directory.errors(&main), expected, "{include}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let directory = Directory::new("unreadable");
    assert_eq!(
        directory.errors(&directory.0.join("vc5.toml")),
        "vc5.toml: cannot read: No such file or directory (os error 2)"
    );
    let path = directory.0.join("latin1.toml");
    fs::write(&path, b"# caf\xe9\n").unwrap();
    assert_eq!(directory.errors(&path), "latin1.toml:1:6: not valid UTF-8");
}

#[test]
fn the_hash_key_comes_from_its_file() {
    let directory = Directory::new("key");
    directory.write("key", "000102030405060708090a0b0c0d0e0f\n");
    directory.write("bad", "secret");
    let with = |name| directory.write("vc5.toml", &format!("{BASE}hash-key-file = \"{name}\"\n"));
    let key = load(&with("key")).unwrap().dataplane.hash_key.unwrap();
    assert_eq!(key, std::array::from_fn(|index| index as u8));
    assert_eq!(
        directory.errors(&with("bad")),
        "vc5.toml:6:17: dataplane.hash-key-file: bad: expected 32 hexadecimal digits"
    );
}

/// A file or directory of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn every_example_loads() {
    let mut names = Vec::new();
    for entry in fs::read_dir(repository("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            load(&path).unwrap_or_else(|errors| panic!("{errors}"));
            names.push(path.file_name().unwrap().to_owned());
        }
    }
    for name in ["minimal.toml", "anycast-announcer.toml", "two-tors.toml", "vlans.toml"] {
        assert!(names.iter().any(|found| found == name), "{name} is missing in {names:?}");
    }
}

/// The headings of the reference are the kinds of tables; below each stands a row for each key.
#[test]
fn the_reference_names_every_key() {
    let text = fs::read_to_string(repository("docs/config.md")).unwrap();
    let mut documented = std::collections::BTreeSet::new();
    let mut tables: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            tables = heading.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        } else if let Some(row) = line.strip_prefix("| `") {
            let key = row.split('`').next().unwrap_or_default();
            documented.extend(tables.iter().map(|table| (table.clone(), key.to_owned())));
        }
    }
    let (_, known) = read(include_bytes!("good.toml"), Path::new("vc5.toml"));
    let known: std::collections::BTreeSet<(String, String)> = known
        .into_iter()
        // Tables whose keys are the tables of objects have no rows of their own.
        .filter(|(table, _)| !matches!(*table, "" | "template" | "protocol"))
        .map(|(table, key)| (table.to_owned(), key.to_owned()))
        .collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty(), "not in docs/config.md: {missing:?}");
    assert!(unknown.is_empty(), "in docs/config.md but not read: {unknown:?}");
}
