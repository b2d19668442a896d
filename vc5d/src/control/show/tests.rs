//! Every show command over the fixture, compared with the files in `tests/golden`, and read by the regular
//! expressions of scrapers. `BLESS=1 cargo test -p vc5d` writes the files anew, for `git diff` to judge.

use std::path::PathBuf;
use std::time::Duration;

use regex_lite::Regex;
use vc5_xdp::{
    AgeClass, Departure, FlowRecord, FlowShare, FlowView, FlowsView, Mac, MaglevMember, MaglevView,
    TraceAnswer, Tuple,
};

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
        ("counters", "show counters"),
        ("symbols", "show symbols"),
        ("history", "show history"),
        ("history-vip", "show history www last 3"),
        ("history-backend", "show history 10.1.10.12"),
        ("history-none", "show history nosuch"),
        ("explain-up", "explain 192.168.101.1"),
        ("explain-down", "explain dns"),
        ("explain-waiting", "explain 2001:db8:101::1"),
        ("explain-none", "explain nosuch"),
        ("json-history", "json show history www"),
        ("json-explain", "json explain dns"),
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
    for (name, command) in table {
        compare(name, answer(command).into_bytes());
    }
}

/// Compares what would go on the wire with the golden file of this name.
fn compare(name: &str, got: Vec<u8>) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
        .with_extension("txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &got).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(String::from_utf8(got).unwrap(), expected, "{}", file.display());
}

fn tuple() -> Tuple {
    Tuple {
        source: "2001:db8:7::1".parse().unwrap(),
        source_port: 4000,
        destination: "2001:db8:101::1".parse().unwrap(),
        port: 8080,
        protocol: L4::Tcp,
    }
}

fn new_flow() -> NewFlow {
    NewFlow { tuple: tuple(), backend: "2001:db8:10::10".parse().ok(), reason: "ring" }
}

fn record() -> FlowRecord {
    FlowRecord {
        real: 17,
        backend: "10.1.10.10".parse().ok(),
        idle: Duration::from_secs(8),
        closing: true,
    }
}

fn traced() -> TraceAnswer {
    TraceAnswer {
        verdict: "sent",
        reason: "previous-ring",
        interface: "eth0".into(),
        hash: Some(0x0123_4567_89ab_cdef),
        service: Some(("192.168.101.1".parse().unwrap(), Ports::One(80), L4::Tcp)),
        ring: Some(3),
        is_previous_ring: true,
        slot: Some(0x0123),
        member: Some(2),
        backend: "10.1.10.11".parse().ok(),
        record: None,
        embryonic: Some(record()),
        departure: Some(Departure {
            interface: "eth1".into(),
            vlan: Some(10),
            destination: Mac([2, 0, 0, 0, 0, 10]),
        }),
        frame: (0..40).collect(),
    }
}

fn rings() -> Vec<(ServiceName, MaglevView)> {
    let member = |last, number, weight, slots, share| MaglevMember {
        address: format!("10.1.10.{last}").parse().unwrap(),
        member: number,
        weight,
        slots,
        share,
    };
    let view = MaglevView {
        ring: Some(3),
        shared_by: 2,
        previous: Some((2, Duration::from_secs(87))),
        digest: Some(0xfedc_ba98_7654_3210),
        members: vec![member(10, 1, 1, 21846, 1.0 / 3.0), member(11, 2, 2, 43690, 2.0 / 3.0)],
    };
    let empty =
        MaglevView { ring: None, shared_by: 1, previous: None, digest: None, members: vec![] };
    let name =
        |vip: &str, ports| ServiceName { vip: vip.parse().unwrap(), ports, protocol: L4::Tcp };
    vec![
        (name("192.168.101.1", Ports::One(80)), view),
        (name("2001:db8:101::1", Ports::Range(8000, 8099)), empty),
    ]
}

fn table() -> FlowsView {
    let share = |port, last, flows| FlowShare {
        vip: "192.168.101.1".parse().unwrap(),
        ports: Ports::One(port),
        protocol: L4::Tcp,
        backend: format!("10.1.10.{last}").parse().unwrap(),
        flows,
    };
    let age = |seconds, flows| AgeClass { below: Duration::from_secs(seconds), flows };
    FlowsView {
        capacity: 4096,
        used: 1024,
        closing: 7,
        stale: 24,
        embryonic: (3, 512),
        ages: vec![age(8, 900), age(64, 124)],
        shares: vec![share(443, 10, 600), share(80, 10, 200), share(443, 11, 200)],
    }
}

/// An answer of each kind, by the name of its golden file.
fn answers() -> Vec<(&'static str, Answer)> {
    let dropped = TraceAnswer {
        verdict: "drop",
        reason: "unknown-port",
        hash: None,
        service: None,
        ring: None,
        slot: None,
        member: None,
        backend: None,
        record: Some(record()),
        embryonic: None,
        departure: None,
        ..traced()
    };
    let flows = |all| Answer::Flows { view: table(), events: vec![("flow-inserted", 1100)], all };
    let flow = FlowView { hash: 0xabcd, bucket: 17, record: Some(record()), embryonic: None };
    vec![
        ("trace-sent", Answer::Trace(traced())),
        ("trace-dropped", Answer::Trace(dropped)),
        ("maglev", Answer::Maglev(rings())),
        ("flows", flows(false)),
        ("flows-all", flows(true)),
        ("flow", Answer::Flow(tuple(), flow)),
    ]
}

#[test]
fn golden_answers() {
    for (name, answer) in answers() {
        for (name, as_json) in [(name.to_owned(), false), (format!("json-{name}"), true)] {
            compare(&name, super::answer(&answer, as_json).encode());
        }
    }
    let mut follow = super::new_flow(&new_flow(), false).encode_part();
    follow.extend(super::lost_flows(9, false).encode_part());
    follow.extend(super::new_flow(&new_flow(), true).encode_part());
    follow.extend(super::lost_flows(9, true).encode_part());
    compare("new-flows", follow);
}

#[test]
fn services_are_found_by_name_address_and_port() {
    let mut snapshot = fixture::snapshot();
    let www = snapshot.vips.iter_mut().find(|vip| vip.address.is_ipv6()).unwrap();
    let mut rest = www.services[0].clone();
    rest.ports = Ports::All;
    www.services.push(rest);
    let found = |vip: &str, port, protocol| {
        let filter = ServiceFilter { port, protocol };
        let names = super::services_of(&snapshot, vip, filter).ok()?;
        let ports: Vec<String> = names.iter().map(|name| name.ports.to_string()).collect();
        Some(ports.join(" "))
    };
    for (vip, port, protocol, expected) in [
        ("www", None, None, Some("80 8000-8099 all")),
        ("www", Some(80), None, Some("80 all")),
        ("2001:db8:101::1", Some(8000), None, Some("8000-8099")),
        ("2001:db8:101::1", Some(8100), None, Some("all")),
        ("2001:db8:101::1", None, Some(L4::Udp), None),
        ("192.168.101.1", Some(81), None, None),
        ("nosuch", None, None, None),
    ] {
        assert_eq!(found(vip, port, protocol).as_deref(), expected, "{vip} {port:?}");
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

/// Why a backend was down is still told when it is up again.
#[test]
fn the_last_failure_outlives_the_recovery() {
    let clock = Clock { now: fixture::NOW, zone: |_| 0, format: None };
    let mut snapshot = fixture::snapshot();
    let backends =
        snapshot.vips.iter_mut().filter(|vip| vip.name == "www").flat_map(|vip| &mut vip.services);
    let checks = backends.flat_map(|s| &mut s.backends).flat_map(|b| b.checks.values_mut());
    let passing = checks.into_iter().find(|check| check.up == Some(true)).unwrap();
    let diagnostic = "connection refused".to_owned();
    passing.last_failure =
        Some(crate::snapshot::CheckFailure { at: fixture::NOW - 90.0, diagnostic });
    for (command, expected) in [
        ("show vip www", "(300 passed, 0 failed; last failure 1 m 30 s ago: connection refused)"),
        ("show backends", "alive: 200 OK (last failure 1 m 30 s ago: connection refused)"),
        ("explain www", ": check alive, last failure 1 m 30 s ago: connection refused"),
    ] {
        let Ok(Line::Show { what, .. }) = parse(command) else { panic!("{command}") };
        let said = String::from_utf8(text(&snapshot, &what, &clock).encode()).unwrap();
        assert_eq!(said.matches(expected).count(), 1, "{said}");
    }
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
        "history",
        "interfaces",
        "counters",
    ] {
        let document: String = plain(&format!("json show {command}")).concat();
        fields(&serde_json::from_str(&document).unwrap(), &mut found);
    }
    let document: String = plain("json explain www").concat();
    fields(&serde_json::from_str(&document).unwrap(), &mut found);
    for (_, answer) in answers() {
        fields(&super::answers_json::answer(&answer), &mut found);
    }
    fields(&super::answers_json::new_flow(&new_flow()), &mut found);
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
