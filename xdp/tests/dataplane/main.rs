//! The dataplane on a real kernel: native XDP between network namespaces. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests panic as tests do"
)]

mod attachment;
#[path = "../lab/mod.rs"]
mod lab;
mod questions;
mod refusal;
mod restart;
mod running;
mod servers;
mod traffic;

use std::net::IpAddr;
use std::time::Duration;

use lab::Lab;
use running::{Running, config, slots};
use servers::{Held, ask, lab_with_servers};
use vc5_xdp::{
    AttachMode, BackendSpec, Dataplane, DataplaneConfig, Desired, Error, Event, L4, NeighbourState,
    OnDown, OnStop, Ports, RealState, ServiceSpec, Snapshot, Unknown, VipSpec,
};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
const PORT: u16 = 8080;
const B1: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 11));
const B2: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 12));

/// Far longer than anything here takes: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for a change to settle and for what left to be forgotten, both of which take
/// [`running::config`]'s times.
const DRAIN: Duration = Duration::from_millis(500);

fn backend(address: IpAddr) -> BackendSpec {
    BackendSpec { address, weight: 1, state: RealState::Live }
}

fn draining(address: IpAddr) -> BackendSpec {
    BackendSpec { state: RealState::Draining, ..backend(address) }
}

fn service(backends: Vec<BackendSpec>) -> ServiceSpec {
    ServiceSpec {
        ports: Ports::One(PORT),
        protocol: L4::Tcp,
        ttl: Some(1),
        on_down: OnDown::Reselect,
        sticky: false,
        serving: true,
        needed: true,
        backends,
    }
}

fn vip(address: IpAddr, services: Vec<ServiceSpec>) -> VipSpec {
    VipSpec { address, up: true, unknown: Unknown::Drop, services }
}

fn desired(backends: Vec<BackendSpec>) -> Desired {
    Desired { vips: vec![vip(VIP, vec![service(backends)])] }
}
