//! `[check.NAME]`.

mod dns;
mod exec;
mod grpc;
mod http;
mod icmp;
mod profile;
mod tls;
mod udp;
mod verdict;

use std::collections::BTreeMap;

use vc5_health::GrpcCheck;

use super::super::model::{Check, CheckKind};
use super::super::read::Table;
use super::{collect, port};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Syn,
    Http,
    Https,
    Grpc,
    Tls,
    Dns,
    Udp,
    Icmp,
    Exec,
}

const KINDS: [(&str, Kind); 10] = [
    ("tcp", Kind::Tcp),
    ("syn", Kind::Syn),
    ("http", Kind::Http),
    ("https", Kind::Https),
    ("grpc", Kind::Grpc),
    ("tls", Kind::Tls),
    ("dns", Kind::Dns),
    ("udp", Kind::Udp),
    ("icmp", Kind::Icmp),
    ("exec", Kind::Exec),
];

/// Keys that only some types have.
const OWNERS: [(&[&str], &[Kind], &str); 8] = [
    (&http::KEYS, &[Kind::Http, Kind::Https], "belongs to type = \"http\" or \"https\""),
    (
        &http::HOST_KEYS,
        &[Kind::Http, Kind::Https, Kind::Grpc],
        "belongs to type = \"http\", \"https\" or \"grpc\"",
    ),
    (
        &tls::KEYS,
        &[Kind::Https, Kind::Tls, Kind::Grpc],
        "belongs to type = \"https\", \"tls\" or \"grpc\"",
    ),
    (&grpc::KEYS, &[Kind::Grpc], "belongs to type = \"grpc\""),
    (&udp::KEYS, &[Kind::Udp], "belongs to type = \"udp\""),
    (&dns::KEYS, &[Kind::Dns], "belongs to type = \"dns\""),
    (&icmp::KEYS, &[Kind::Icmp], "belongs to type = \"icmp\""),
    (&exec::KEYS, &[Kind::Exec], "belongs to type = \"exec\""),
];

pub(super) fn checks(table: Table<'_>) -> BTreeMap<String, Check> {
    collect(table, "check.NAME", check)
}

fn check(name: &str, mut table: Table<'_>) -> Option<Check> {
    let kind = table.need("type").and_then(|field| field.word(&KINDS));
    // All keys are read whatever the type, so that each is known, and wrong where it is wrong.
    let http = http::read(&mut table);
    let tls = tls::read(&mut table);
    let grpc = grpc::read(&mut table);
    let udp = udp::read(&mut table);
    let profile = profile::read(&mut table);
    let dns = dns::read(&mut table, profile.dns());
    let icmp = icmp::read(&mut table);
    let exec = exec::read(&mut table, kind == Some(Kind::Exec));
    if let Some(kind) = kind {
        for (keys, _, message) in OWNERS.iter().filter(|(_, owners, _)| !owners.contains(&kind)) {
            table.misplaced(keys, message);
        }
    }
    if kind == Some(Kind::Icmp) {
        table.misplaced(&["port"], "there are no ports in ICMP");
    }
    if kind == Some(Kind::Grpc) && !grpc.tls {
        table.misplaced(&tls::KEYS, "needs tls = true");
    }
    let port = table.get("port").and_then(|field| port(&field));
    let transport = (kind == Some(Kind::Dns)).then_some(dns.transport);
    let pace = verdict::read(&mut table, profile.pace(transport));
    table.end();
    let kind = match kind? {
        Kind::Tcp => CheckKind::Tcp,
        Kind::Syn => CheckKind::Syn,
        Kind::Http => CheckKind::Http(http),
        Kind::Https => CheckKind::Https(http, tls?),
        Kind::Grpc => CheckKind::Grpc(GrpcCheck {
            service: grpc.service,
            host: http.host,
            tls: if grpc.tls { Some(tls?) } else { None },
        }),
        Kind::Tls => CheckKind::Tls(tls?),
        Kind::Udp => CheckKind::Udp(udp),
        Kind::Dns => CheckKind::Dns(dns),
        Kind::Icmp => CheckKind::Icmp(icmp),
        Kind::Exec => CheckKind::Exec(exec?),
    };
    Some(Check { name: name.to_owned(), port, check: vc5_health::Check { kind, ..pace } })
}
