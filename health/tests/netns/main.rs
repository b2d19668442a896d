//! The prober in real network namespaces: a balancer and two backends with the same VIP.
//!
//! Needs root and iproute2.

mod lab;
mod paths;
mod probes;
