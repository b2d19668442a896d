//! Every show command over the fixture, compared with the files in `tests/golden`, and read by the regular
//! expressions of scrapers. `BLESS=1 cargo test -p vc5d` writes the files anew, for `git diff` to judge.

use std::path::PathBuf;

use regex_lite::Regex;

use super::super::clock::Clock;
use super::super::fixture;
use super::super::grammar::{Line, parse};
use super::*;

fn answer(command: &str) -> String {
    let Ok(Line::Show { what, json: as_json }) = parse(command) else { panic!("{command}") };
    let clock = Clock { now: fixture::NOW, zone: |_| 0, format: None };
    let snapshot = fixture::snapshot();
    let reply = if as_json { json(&snapshot, &what) } else { text(&snapshot, &what, &clock) };
    String::from_utf8(reply.encode()).unwrap()
}

#[test]
fn golden() {
    let table = [
        ("status", "show status"),
        ("protocols", "show protocols"),
        ("protocols-all", "show protocols all"),
        ("protocols-pattern", "show protocols \"tor*\""),
        ("protocols-none", "show protocols nosuch"),
        ("route", "show route"),
        ("route-all", "show route all"),
        ("route-for", "show route for 203.0.113.9"),
        ("route-protocol", "show route protocol www"),
        ("route-export", "show route export tor1 all"),
        ("route-count", "show route count"),
        ("route-none", "show route 198.51.100.0/24"),
        ("vips", "show vips"),
        ("vip-name", "show vip www"),
        ("vip-address", "show vip 192.168.101.53"),
        ("vip-none", "show vip nosuch"),
        ("services", "show services"),
        ("backends", "show backends"),
        ("interfaces", "show interfaces"),
        ("symbols", "show symbols"),
        ("json-status", "json show status"),
        ("json-protocols", "json show protocols tor2"),
        ("json-route-count", "json show route count"),
        ("json-vip", "json show vip dns"),
        ("json-services", "json show services"),
        ("json-backends", "json show backends"),
        ("json-interfaces", "json show interfaces"),
        ("json-symbols", "json show symbols"),
        ("json-vip-none", "json show vip nosuch"),
    ];
    let bless = std::env::var_os("BLESS").is_some();
    for (name, command) in table {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name)
            .with_extension("txt");
        let got = answer(command);
        if bless {
            std::fs::write(&file, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(got, expected, "{command}, {}", file.display());
    }
}

/// The lines a scraper sees: framing off, text only.
fn plain(command: &str) -> Vec<String> {
    let strip = |line: &str| match line.strip_prefix(' ') {
        Some(text) => text.to_owned(),
        None => line.get(5..).unwrap_or_default().to_owned(),
    };
    answer(command).lines().map(strip).collect()
}

fn captures(pattern: &str, lines: &[String]) -> Vec<Vec<String>> {
    let regex = Regex::new(pattern).unwrap();
    let texts = |found: regex_lite::Captures<'_>| {
        let group = |m: Option<regex_lite::Match<'_>>| m.map_or("", |m| m.as_str()).to_owned();
        found.iter().skip(1).map(group).collect()
    };
    lines.iter().filter_map(|line| regex.captures(line)).map(texts).collect()
}

#[test]
fn exporters_find_protocols_with_state_and_time() {
    let row = r"^(?:1002-)?([^\s]+)\s+(MRT|BGP|BFD|OSPF|RPKI|RIP|RAdv|Pipe|Perf|Direct|Babel|Device|Kernel|Static)\s+([^\s]+)\s+([^\s]+)\s+(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}|[^\s]+)(?:\s+(.*?))?$";
    let rows = captures(row, &plain("show protocols"));
    let short: Vec<[&str; 5]> =
        rows.iter().map(|row| [&*row[0], &*row[1], &*row[2], &*row[3], &*row[4]]).collect();
    assert_eq!(
        short,
        [
            ["tor1", "BGP", "---", "up", "2026-11-24 08:00:00"],
            ["tor2", "BGP", "master4", "start", "2026-11-24 08:59:30"],
            ["tor3", "BGP", "master6", "down", "2026-11-24 08:59:30"],
            ["dns", "Static", "master4", "down", "2026-11-24 08:48:20"],
            ["www", "Static", "---", "start", "2026-11-24 08:48:20"],
        ]
    );
    assert_eq!(rows[1][5], "Active        Socket: Connection refused");
    // Rows of `all` are framed whole, since the line before them has another code.
    assert_eq!(captures(row, &plain("show protocols all")).len(), 5);
}

#[test]
fn exporters_find_channels_routes_changes_and_filters() {
    let lines = plain("show protocols all");
    let channels = captures(r"Channel ipv(4|6)", &lines);
    assert_eq!(channels.concat(), ["4", "6", "4", "6", "4", "4", "6"]);
    let routes = captures(
        r"^\s+Routes:\s+(\d+) imported, (?:(\d+) filtered, )?(\d+) exported(?:, (\d+) preferred)?",
        &lines,
    );
    assert_eq!(routes.len(), channels.len());
    assert_eq!(routes[0], ["2", "1", "1", "2"]);
    assert_eq!(routes[5], ["1", "", "0", "1"]);
    let changes = captures(
        r"(Import|Export) (updates|withdraws):\s+(\d+|---)\s+(\d+|---)\s+(\d+|---)\s+(\d+|---)\s+(\d+|---)\s*$",
        &lines,
    );
    assert_eq!(changes.len(), 4 * 4);
    assert_eq!(changes[0], ["Import", "updates", "5", "0", "1", "0", "4"]);
    assert_eq!(changes[1], ["Import", "withdraws", "2", "0", "---", "0", "2"]);
    assert_eq!(changes[2], ["Export", "updates", "7", "3", "0", "---", "4"]);
    assert_eq!(changes[3], ["Export", "withdraws", "3", "---", "---", "---", "3"]);
    let filters = captures(r"(Input|Output) filter:\s+(.*)", &lines);
    assert_eq!(filters[0], ["Input", "REJECT"]);
    assert_eq!(filters[1], ["Output", "anycast"]);
    assert_eq!(captures(r"Description:\s+(.*)", &lines), [["top of rack 1"]]);
    let blank = lines.iter().filter(|line| line.is_empty()).count();
    assert_eq!(blank, 5 + 1, "one ends each protocol, one is the reply's end");
}

#[test]
fn exporters_find_the_status() {
    let lines = plain("show status");
    let time = r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3})$";
    for (pattern, expected) in [
        (r"Router ID is (\S+)".to_owned(), "10.1.10.100"),
        (format!("Current server time is {time}"), "2026-11-24 09:00:00.000"),
        (format!("Last reboot on {time}"), "2026-11-24 07:00:00.000"),
        (format!("Last reconfiguration on {time}"), "2026-11-24 08:58:59.750"),
        (r"Daemon is (.*up.*)".to_owned(), "up and running"),
    ] {
        assert_eq!(captures(&pattern, &lines), [[expected]], "{pattern}");
    }
}

#[test]
fn looking_glasses_find_routes() {
    let lines = plain("show route all");
    let head = r"^([0-9a-f\.:/]+)?\s+unicast\s+\[([\w\.:]+)\s+([0-9\-:\s]+)(?:\s+from\s+([0-9a-f\.:/]+))?\]\s+(?:(\*)\s+)?\((\d+)(?:/\d+)?(?:/[^\)]*)?\).*$";
    let routes = captures(head, &lines);
    let since = "2026-11-24 08:50:00";
    assert_eq!(
        routes,
        [
            ["192.168.101.1/32", "www", since, "", "*", "200"],
            ["203.0.113.0/24", "tor1", since, "10.1.10.200", "*", "100"],
            ["", "tor1", since, "10.1.10.200", "", "100"],
            ["2001:db8:101::1/128", "www", since, "", "*", "200"],
        ]
    );
    let attributes = captures(r"^\s+BGP.(\w+):\s+(.+)\s*$", &lines);
    assert!(attributes.contains(&vec!["as_path".into(), "65000 64999".into()]));
    assert!(attributes.contains(&vec!["community".into(), "(65000,100) (65535,0)".into()]));
    let count = captures(r"^(\d+)\s+of\s+(\d+)\s+routes.*$", &plain("show route count"));
    assert_eq!(count, [["3", "3"], ["1", "1"]]);
}

#[test]
fn data_never_stands_in_lines_that_end_a_reply_for_simple_readers() {
    for command in ["show protocols all", "show route all", "show vips", "show vip www"] {
        let answer = answer(command);
        let before_last = answer.lines().rev().skip(1);
        assert!(
            before_last.clone().all(|line| !line.starts_with(['0', '8', '9'])),
            "{command}: {answer}"
        );
        assert!(before_last.count() > 1);
    }
}

#[test]
fn json_is_the_snapshot_itself_in_pieces() {
    let text: String =
        plain("json show vips").into_iter().filter(|line| !line.is_empty()).collect();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(parsed, serde_json::to_value(fixture::snapshot().vips).unwrap());
    assert!(answer("json show vips").lines().all(|line| line.len() <= 1005));
    assert!(answer("json show vips").lines().count() > 2);
}

#[test]
fn an_empty_daemon_answers_everything() {
    let clock = Clock { now: 0.0, zone: |_| 0, format: None };
    let snapshot = Snapshot::default();
    for command in ["show protocols", "show route", "show vips", "show interfaces"] {
        let Ok(Line::Show { what, .. }) = parse(command) else { panic!("{command}") };
        assert_eq!(text(&snapshot, &what, &clock).code(), code::OK, "{command}");
        assert_eq!(json(&snapshot, &what).code(), code::OK, "{command}");
    }
}

const DOCUMENTATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/control.md");

/// Names of all fields of a document; keys that are names of things are not fields.
fn fields(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                found.insert(name.clone());
                let by_name = ["checks", "channels", "events", "interfaces", "paths", "reasons"]
                    .contains(&&**name);
                let things = value.as_object().filter(|_| by_name);
                match things {
                    Some(things) => things.values().for_each(|value| fields(value, found)),
                    None => fields(value, found),
                }
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

#[test]
fn the_documentation_names_every_json_field() {
    let text = std::fs::read_to_string(DOCUMENTATION).unwrap();
    let mut found = std::collections::BTreeSet::new();
    for command in [
        "status",
        "protocols",
        "route",
        "route count",
        "vips",
        "services",
        "backends",
        "interfaces",
    ] {
        let document: String = plain(&format!("json show {command}")).concat();
        fields(&serde_json::from_str(&document).unwrap(), &mut found);
    }
    assert!(found.len() > 80, "{found:?}");
    for field in found {
        let named = [format!("`{field}`"), format!("\"{field}\"")].iter().any(|n| text.contains(n));
        assert!(named, "{field} is missing in docs/control.md");
    }
}

#[test]
fn the_documentation_names_every_command() {
    let text = std::fs::read_to_string(DOCUMENTATION).unwrap();
    for spec in super::super::grammar::COMMANDS {
        let command = format!("`{} {}", spec.words.join(" "), spec.arguments.replace('|', "\\|"));
        assert!(text.contains(command.trim_end()), "{command} is missing in docs/control.md");
    }
}
