//! Good files against the model.

mod bgp;
mod checks;
mod daemon;
mod pools;
mod vips;

use std::net::IpAddr;
use std::time::Duration;

use super::super::model::*;
use super::{BASE, parse, with_base};

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

fn good() -> Config {
    parse(include_str!("../good.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn errors_are_counted_and_ordered() {
    let errors = parse(&format!("{BASE}b = 1\na = 1\n")).unwrap_err();
    let lines: Vec<_> = errors.iter().map(|error| error.at.unwrap().0).collect();
    assert_eq!((errors.count(), lines), (2, vec![6, 7]));
}
