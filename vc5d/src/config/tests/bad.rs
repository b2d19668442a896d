//! Bad files and the exact text of what is said about them.
//!
//! The cases are in `bad/*.txt`: `==`, a configuration, `--`, the errors.

use super::{parse, with_base};
use crate::config::{Config, Errors};

/// Runs the cases of one file and returns how many there are.
fn check(cases: &str, load: fn(&str) -> Result<Config, Errors>) -> usize {
    let mut wrong = String::new();
    let mut count = 0;
    for case in cases.split("==\n").skip(1) {
        let (text, expected) = case.split_once("--\n").expect("a case has a -- line");
        let said = match load(text) {
            Ok(_) => "no error".to_owned(),
            Err(errors) => errors.to_string(),
        };
        count += 1;
        if said != expected.trim_end() {
            wrong += &format!("==\n{text}--\n{said}\n");
        }
    }
    assert!(wrong.is_empty(), "said something else:\n{wrong}");
    count
}

#[test]
fn whole_files() {
    assert!(check(include_str!("bad/whole.txt"), parse) > 10);
}

#[test]
fn daemon_tables() {
    assert!(check(include_str!("bad/daemon.txt"), with_base) > 10);
}

#[test]
fn filters() {
    assert!(check(include_str!("bad/filter.txt"), with_base) > 10);
}

#[test]
fn bgp() {
    assert!(check(include_str!("bad/bgp.txt"), with_base) > 20);
}

#[test]
fn pools_and_checks() {
    assert!(check(include_str!("bad/pool_and_check.txt"), with_base) > 10);
}

#[test]
fn vips() {
    assert!(check(include_str!("bad/vip.txt"), with_base) > 10);
}

#[test]
fn shutdown_message_length() {
    let text = |length: usize| {
        let message = "x".repeat(length);
        format!(
            "[protocol.bgp.a]\nneighbor = \"192.0.2.9\"\nneighbor-as = 65001\nipv4 = {{}}\nshutdown-message = \"{message}\"\n"
        )
    };
    assert!(with_base(&text(255)).is_ok());
    assert_eq!(
        with_base(&text(256)).unwrap_err().to_string(),
        "vc5.toml:10:20: protocol.bgp.a.shutdown-message: 256 bytes; RFC 9003 allows 255"
    );
}
