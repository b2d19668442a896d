use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use vc5_health::{Outcome, ProbeKey, Verdict};

use super::super::table::{ALL, Def, Kind};
use super::*;
use crate::control::fixture;

/// A sample: its name with suffix, its labels in order, its value.
type Sample = (String, Vec<(String, String)>, f64);

/// What an exposition holds, by family.
#[derive(Default)]
struct Exposition {
    kinds: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

/// Reads the text format strictly: HELP and TYPE once before the samples of a family, families in one piece,
/// valid names, escaped label values, no sample twice, numbers that are numbers.
fn read(text: &str) -> Exposition {
    let mut all = Exposition::default();
    let mut helped = BTreeSet::new();
    let mut family = String::new();
    let mut seen = BTreeSet::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, family, "{line}");
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            assert!(all.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
        } else {
            let sample = sample(line);
            let kind = &all.kinds[&family];
            let suffix = sample.0.strip_prefix(family.as_str()).expect(line);
            let suffixes: &[&str] =
                if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line} in {family}");
            assert!(kind != "counter" || family.ends_with("_total"), "{line}");
            assert!(seen.insert((sample.0.clone(), sample.1.clone())), "twice: {line}");
            all.samples.push(sample);
        }
    }
    all
}

fn name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect(line);
    let (metric, mut rest) = line.split_at(end);
    assert!(name(metric), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, tail) = rest.split_once("=\"").expect(line);
            assert!(name(label), "{line}");
            let mut value = String::new();
            let mut chars = tail.chars();
            loop {
                match chars.next().expect(line) {
                    '"' => break,
                    '\\' => value.push(match chars.next().expect(line) {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        other => panic!("\\{other} in {line}"),
                    }),
                    c => value.push(c),
                }
            }
            labels.push((label.to_owned(), value));
            rest = chars.as_str();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect(line);
    }
    let value = rest.strip_prefix(' ').expect(line).parse().expect(line);
    (metric.to_owned(), labels, value)
}

fn metrics() -> Metrics {
    Metrics::new().unwrap()
}

fn render(metrics: &Metrics, snapshot: &Snapshot) -> Exposition {
    read(std::str::from_utf8(&metrics.render(snapshot).unwrap()).unwrap())
}

fn probe(check: &str, took: Duration) -> ProbeEvent {
    let key = ProbeKey {
        vip: "192.168.101.1".parse().unwrap(),
        backend: "10.1.10.10".parse().unwrap(),
        port: 80,
        service: "80/tcp".into(),
        check: check.into(),
    };
    let outcome = Outcome { ok: true, diagnostic: "200 OK".into(), took };
    let (verdict, at) = (Verdict::Up, Instant::now());
    ProbeEvent { key, verdict, changed: false, outcome, at, passed: 1, failed: 0 }
}

fn value(all: &Exposition, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted = |sample: &&Sample| {
        sample.0 == name
            && sample.1.len() == labels.len()
            && labels.iter().all(|(name, value)| {
                sample.1.iter().any(|label| label.0 == *name && label.1 == *value)
            })
    };
    all.samples.iter().find(wanted).map(|sample| sample.2)
}

#[test]
fn a_scrape_is_valid_and_holds_every_metric_with_its_labels() {
    let metrics = metrics();
    metrics.observe_withdraw(Duration::from_micros(700));
    metrics.observe_probe(&probe("alive", Duration::from_millis(3)));
    let all = render(&metrics, &fixture::snapshot());
    for Def { name, kind, labels, .. } in ALL {
        let written = all.kinds.get(*name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(written, &format!("{kind:?}").to_lowercase(), "{name}");
        let own = all.samples.iter().filter(|sample| {
            sample.0 == *name || (*kind == Kind::Histogram && sample.0.starts_with(name))
        });
        let mut count = 0;
        for sample in own {
            count += 1;
            let own = sample.1.iter().map(|label| label.0.as_str()).filter(|name| *name != "le");
            assert_eq!(own.collect::<Vec<_>>(), *labels, "{name}");
        }
        assert!(count > 0, "{name}");
    }
    assert_eq!(all.kinds.len(), ALL.len());
}

#[test]
fn values_are_those_of_the_snapshot() {
    let metrics = metrics();
    let all = render(&metrics, &fixture::snapshot());
    let web = [("vip", "www"), ("address", "192.168.101.1"), ("port", "80"), ("protocol", "tcp")];
    let backend = |own: &'static str, more: &[(&'static str, &'static str)]| {
        let mut labels = web.to_vec();
        labels.push(("backend", own));
        labels.extend(more);
        labels
    };
    let bad = "10.1.10.12";
    let table = [
        ("vc5_build_info", vec![("version", "0.1.0")], 1.0),
        ("vc5_start_time_seconds", vec![], fixture::NOW - 7200.0),
        ("vc5_reloads_total", vec![("result", "failed")], 1.0),
        ("vc5_peer_established", vec![("peer", "tor1")], 1.0),
        ("vc5_peer_established", vec![("peer", "tor2")], 0.0),
        ("vc5_peer_enabled", vec![("peer", "tor3")], 0.0),
        ("vc5_peer_state", vec![("peer", "tor2"), ("state", "Active")], 1.0),
        ("vc5_peer_state", vec![("peer", "tor2"), ("state", "Idle")], 0.0),
        ("vc5_peer_session_uptime_seconds", vec![("peer", "tor2")], 0.0),
        ("vc5_peer_messages_total", vec![("peer", "tor1"), ("direction", "out")], 1215.0),
        ("vc5_peer_updates_total", vec![("peer", "tor1"), ("direction", "in")], 7.0),
        ("vc5_peer_dropped_total", vec![("peer", "tor2")], 4.0),
        ("vc5_peer_routes_imported", vec![("peer", "tor1"), ("family", "ipv4")], 2.0),
        ("vc5_routes", vec![("family", "ipv4"), ("source", "bgp")], 2.0),
        ("vc5_routes_announced", vec![("family", "ipv4")], 1.0),
        ("vc5_routes_announced", vec![("family", "ipv6")], 0.0),
        ("vc5_vip_up", web[..2].to_vec(), 1.0),
        ("vc5_vip_state", vec![web[0], ("address", "2001:db8:101::1"), ("state", "waiting")], 1.0),
        ("vc5_service_healthy", web.to_vec(), 2.0),
        ("vc5_service_bytes_total", web.to_vec(), 192_000.0),
        ("vc5_backend_up", backend(bad, &[]), 0.0),
        ("vc5_backend_state", backend(bad, &[("state", "down")]), 1.0),
        ("vc5_backend_check_up", backend(bad, &[("check", "alive")]), 0.0),
        ("vc5_backend_probe_duration_seconds", backend(bad, &[("check", "alive")]), 0.012_345),
        (
            "vc5_backend_probes_total",
            backend(bad, &[("check", "alive"), ("result", "failed")]),
            42.0,
        ),
        ("vc5_dataplane_packets_total", vec![("reason", "not-vip")], 17.0),
        ("vc5_dataplane_flow_events_total", vec![("event", "flow-inserted")], 300.0),
        ("vc5_dataplane_flows", vec![], 260.0),
        ("vc5_interface_packets_total", vec![("interface", "eth1"), ("reason", "not-vip")], 8.0),
        ("vc5_vip_tcp_flags_total", vec![web[0], web[1], ("flag", "fin")], 270.0),
        ("vc5_backend_tcp_flags_total", backend(bad, &[("flag", "rst")]), 5.0),
        ("vc5_dataplane_error", vec![], 1.0),
        ("vc5_interface_attached", vec![("interface", "eth0"), ("mode", "native")], 1.0),
    ];
    for (name, labels, expected) in table {
        assert_eq!(value(&all, name, &labels), Some(expected), "{name} {labels:?}");
    }
}

#[test]
fn observations_land_in_their_buckets() {
    let metrics = metrics();
    metrics.observe_withdraw(Duration::from_micros(700));
    metrics.observe_withdraw(Duration::from_secs(2));
    metrics.observe_probe(&probe("alive", Duration::from_millis(3)));
    let all = render(&metrics, &fixture::snapshot());
    for (name, labels, expected) in [
        ("vc5_withdraw_seconds_bucket", vec![("le", "0.0005")], 0.0),
        ("vc5_withdraw_seconds_bucket", vec![("le", "0.001")], 1.0),
        ("vc5_withdraw_seconds_bucket", vec![("le", "+Inf")], 2.0),
        ("vc5_withdraw_seconds_count", vec![], 2.0),
        ("vc5_probe_seconds_bucket", vec![("check", "alive"), ("le", "0.005")], 1.0),
    ] {
        assert_eq!(value(&all, name, &labels), Some(expected), "{name} {labels:?}");
    }
}

#[test]
fn series_end_with_what_they_describe() {
    let metrics = metrics();
    let all = render(&metrics, &fixture::snapshot());
    assert!(value(&all, "vc5_peer_enabled", &[("peer", "tor1")]).is_some());
    let all = render(&metrics, &Snapshot::default());
    assert_eq!(value(&all, "vc5_peer_enabled", &[("peer", "tor1")]), None);
    assert!(!all.kinds.contains_key("vc5_dataplane_error"));
}

#[test]
fn awkward_names_are_escaped() {
    let mut snapshot = fixture::snapshot();
    snapshot.vips[0].name = "a\"b\\c\nd".to_owned();
    let all = render(&metrics(), &snapshot);
    let labels = [("vip", "a\"b\\c\nd"), ("address", "192.168.101.53")];
    assert_eq!(value(&all, "vc5_vip_up", &labels), Some(0.0));
}

#[test]
fn the_documentation_names_every_metric_with_type_and_labels() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let text = std::fs::read_to_string(file).unwrap();
    for Def { name, kind, labels, help } in ALL {
        let kind = format!("{kind:?}").to_lowercase();
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        assert!(text.contains(&row), "missing in docs/metrics.md:\n{row}");
    }
    let rows = text.lines().filter(|line| line.starts_with("| `vc5_")).count();
    assert_eq!(rows, ALL.len(), "docs/metrics.md lists a metric that is gone");
}
