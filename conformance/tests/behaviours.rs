//! The table of the predecessor's behaviours names the test that shows each, and all of these tests exist where it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = "docs/vc5-behaviours.md";
/// Where there are tests.
const CRATES: [&str; 6] = ["bgp", "conformance", "ebpf", "health", "vc5d", "xdp"];

#[test]
fn every_behaviour_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut tests = BTreeMap::new();
    for name in CRATES {
        collect(root, &root.join(name), &mut tests);
    }
    let table = fs::read_to_string(root.join(TABLE)).unwrap();
    let rows: Vec<(usize, &str)> = rows(&table).collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .flat_map(|(line, shown_by)| {
            problems(shown_by, &tests)
                .into_iter()
                .map(move |what| format!("{TABLE}:{line}: {what}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The last cells of all rows but the headings, with their lines.
fn rows(table: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = table.lines().zip(1..).filter(|(text, _)| text.starts_with('|'));
    lines
        .filter(|(text, _)| !text.starts_with("|---") && !text.ends_with("| shown by |"))
        .map(|(text, line)| (line, text.trim_end_matches('|').rsplit('|').next().unwrap()))
}

/// What is wrong with a cell such as "`PATH`: `NAME`, `NAME`; `PATH`: `NAME` (in words)".
fn problems(shown_by: &str, tests: &BTreeMap<String, Vec<PathBuf>>) -> Vec<String> {
    let mut path = None;
    let mut names = 0;
    let mut wrong = Vec::new();
    for code in shown_by.split('`').skip(1).step_by(2).filter(|code| !code.contains(' ')) {
        if code.contains('/') {
            path = Some(code);
            continue;
        }
        names += 1;
        let known = tests.get(code).map(Vec::as_slice).unwrap_or_default();
        match path {
            None => wrong.push(format!("no path before {code}")),
            Some(path) if !known.iter().any(|file| file.starts_with(path)) => {
                wrong.push(format!("no test {code} in {path}, but in {known:?}"));
            }
            Some(_) => {}
        }
    }
    if names == 0 {
        wrong.push("no test is named".to_owned());
    }
    wrong
}

/// All test functions below a directory, with the files they are in.
fn collect(root: &Path, dir: &Path, tests: &mut BTreeMap<String, Vec<PathBuf>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(root, &path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root).unwrap();
            for name in test_functions(&fs::read_to_string(&path).unwrap()) {
                tests.entry(name).or_default().push(file.to_owned());
            }
        }
    }
}

/// Functions that have `#[test]` or an attribute like it.
fn test_functions(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line.trim_start_matches("async ").strip_prefix("fn ");
        if let Some(name) = function.and_then(|rest| rest.split('(').next()).filter(|_| marked) {
            names.push(name.to_owned());
        }
        marked &= line.starts_with("//");
    }
    names
}

#[test]
fn a_name_without_a_test_is_found() {
    let tests = BTreeMap::from([("some_test".to_owned(), vec![PathBuf::from("health/src/a.rs")])]);
    let told = |cell: &str| problems(cell, &tests).len();
    assert_eq!(told("`health/src/a.rs`: `some_test`; `make bench`"), 0);
    assert_eq!(told("`health/src`: `some_test` (in words)"), 0);
    assert_eq!(told("`health/src/a.rs`: `some_test`, `other_test`"), 1);
    assert_eq!(told("`vc5d/src`: `some_test`"), 1);
    assert_eq!(told("`some_test`"), 1);
    assert_eq!(told("`health/src/a.rs`"), 1);
    assert_eq!(told("checks: http"), 1);
}

#[test]
fn only_what_is_marked_is_a_test() {
    let text = "#[test]\nfn one() {}\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\n/// Said of it.\nasync fn two() {}\n";
    assert_eq!(test_functions(text), ["one", "two"]);
}
