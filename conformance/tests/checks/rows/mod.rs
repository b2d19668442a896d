//! The scenarios, by type of check.

mod dns;
mod exec;
mod grpc;
mod http;
mod http2;
mod https;
mod icmp;
mod syn;
mod tcp;
mod tls;
mod udp;

use crate::row::{Row, Way};
use crate::world::World;

/// The types, in the order of the matrix.
pub(crate) const KINDS: [&str; 13] = [
    "tcp", "syn", "http", "https", "h2c", "h2", "grpc", "tls", "dns-udp", "dns-tcp", "udp", "icmp",
    "exec",
];

const DATAGRAMS: &[&str] = &["dns-udp", "udp", "icmp"];
const WORDLESS: &[&str] = &["tcp", "syn", "icmp"];

/// What a type cannot meet, with the reason.
pub(crate) const CANNOT: &[(&[&str], Way, &str)] = &[
    (WORDLESS, Way::WrongAnswer, "there is nothing to say"),
    (
        &["tcp", "syn", "http", "h2c", "dns-udp", "dns-tcp", "udp", "icmp", "exec"],
        Way::WrongCertificate,
        "there is no certificate",
    ),
    (WORDLESS, Way::Truncated, "nothing is read"),
    (&["udp", "icmp"], Way::Endless, "the first datagram is the answer"),
    (DATAGRAMS, Way::HalfClosed, "there is no connection"),
];

/// What a backend without the VIP answers over IPv6, where it has no other route to it. Over IPv4 it does so only if it
/// forwards.
const NO_ROUTE: &str = "network is unreachable";

/// All scenarios.
pub(crate) fn all(world: &World) -> Vec<Row> {
    [
        tcp::rows(),
        syn::rows(),
        http::rows(),
        https::rows(&world.certificates),
        http2::in_the_clear(),
        http2::over_tls(&world.certificates),
        grpc::rows(&world.certificates),
        tls::rows(&world.certificates),
        dns::by_udp(),
        dns::by_tcp(),
        udp::rows(),
        icmp::rows(),
        exec::rows(),
    ]
    .concat()
}
