//! Whether a service can serve, and why not, in words.

use super::{Backend, Resolve};
use crate::RealState;
use crate::neighbour::Hop;

/// Why no backend of a service can take a new flow; none if one can.
pub(super) fn reason(backends: &[Backend], hops: &impl Resolve) -> Option<String> {
    if backends.iter().any(|b| b.is_wanted_in_ring() && b.answers()) {
        return None;
    }
    let wanted = backends.iter().filter(|b| !b.is_leaving());
    let best =
        wanted.map(|b| (rank(b), b)).max_by_key(|(rank, b)| (*rank, std::cmp::Reverse(b.number)));
    let Some((rank, backend)) = best else { return Some("it has no backends".into()) };
    let address = backend.spec.address;
    Some(match rank {
        Rank::Pending => format!("the MAC address of {address} is not known yet"),
        Rank::Failed if address.is_ipv4() => format!("{address} does not answer ARP requests"),
        Rank::Failed => format!("{address} does not answer neighbour solicitations"),
        Rank::NoPath => {
            let why = hops.explain(address);
            format!("{address} is not reached: {}", why.strip_prefix("none: ").unwrap_or(&why))
        }
        Rank::NoWeight => "no live backend has a weight above 0".into(),
        Rank::NotLive => "no backend is live".into(),
    })
}

/// What keeps a backend from taking new flows; the greatest of them is the nearest to serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    NotLive,
    NoWeight,
    NoPath,
    Failed,
    Pending,
}

fn rank(backend: &Backend) -> Rank {
    match (backend.spec.state, backend.spec.weight, backend.hop) {
        (RealState::Draining | RealState::Down | RealState::Undecided, ..) => Rank::NotLive,
        (RealState::Live, 0, _) => Rank::NoWeight,
        (RealState::Live, _, Hop::NoPath) => Rank::NoPath,
        (RealState::Live, _, Hop::Failed(_)) => Rank::Failed,
        (RealState::Live, _, Hop::Pending(_) | Hop::Resolved { .. }) => Rank::Pending,
    }
}
