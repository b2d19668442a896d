//! The key of an echo request.

use vc5_health::IcmpCheck;
use vc5_health::check::icmp::{SIZE_MAX, SIZE_MIN};

use super::super::super::read::Table;

pub(super) const KEYS: [&str; 1] = ["size"];

pub(super) fn read(table: &mut Table<'_>) -> IcmpCheck {
    let size = table.get("size").and_then(|field| field.number(SIZE_MIN..=SIZE_MAX));
    IcmpCheck { size: size.unwrap_or(IcmpCheck::default().size) }
}
