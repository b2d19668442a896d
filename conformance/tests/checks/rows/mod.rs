//! The scenarios, by type of check.

mod http;
mod https;
mod tcp;
mod tls;
mod udp;

use crate::row::{Row, Way};
use crate::world::World;

/// The types, in the order of the matrix.
pub(crate) const KINDS: [&str; 5] = ["tcp", "http", "https", "tls", "udp"];

const PLAIN: &[&str] = &["tcp", "http", "udp"];

/// What a type cannot meet, with the reason.
pub(crate) const CANNOT: &[(&[&str], Way, &str)] = &[
    (&["tcp"], Way::WrongAnswer, "it asks nothing"),
    (PLAIN, Way::WrongCertificate, "there is no certificate"),
    (&["tcp"], Way::Truncated, "it reads nothing"),
    (&["tcp"], Way::Endless, "it reads nothing"),
    (&["udp"], Way::Endless, "the first datagram is judged"),
    (&["udp"], Way::HalfClosed, "there is no connection"),
];

/// What a backend without the VIP answers over IPv6, where it has no other route to it. Over IPv4 it does so only if it
/// forwards. In a veth the answer comes while the kernel is still busy with the SYN, and only the one to the next SYN, a
/// second later, counts.
const NO_ROUTE: &str = "network is unreachable";

/// All scenarios.
pub(crate) fn all(world: &World) -> Vec<Row> {
    [
        tcp::rows(),
        http::rows(),
        https::rows(&world.certificates),
        tls::rows(&world.certificates),
        udp::rows(),
    ]
    .concat()
}
