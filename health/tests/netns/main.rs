//! The prober in real network namespaces: a balancer and two backends with the same VIP.
//!
//! Needs root and iproute2.

// The exemption in clippy.toml reaches test functions, but not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod dns;
mod exec;
mod icmp;
mod kinds;
mod lab;
mod paths;
mod probes;
mod syn;
mod tls;
