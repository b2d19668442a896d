//! Community values of all kinds.

mod extended;
mod large;
mod standard;

pub use extended::{ExtendedCommunity, LinkBandwidth};
pub use large::LargeCommunity;
pub use standard::Community;

/// Text that is not a community.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseCommunityError {
    text: String,
    expected: &'static str,
}

/// A number by digits alone: the standard parser also takes a leading `+`.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}
