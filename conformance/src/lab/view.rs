//! What the lab reads of `vc5c -j`: a part of the documented schema.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Node;

/// One VIP address.
#[derive(Clone, Debug, Deserialize)]
pub struct Vip {
    /// `[vip.NAME]`
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// Its gate: `down`, `waiting`, `up`, `withdrawing` or `disabled`.
    pub state: String,
    /// When that state was entered, Unix seconds.
    pub since: f64,
    /// Why it is or is not announced.
    pub reason: String,
    /// Its services.
    pub services: Vec<Service>,
    /// Packets through the dataplane.
    pub traffic: Traffic,
}

/// One service of a VIP.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Enough backends are healthy.
    pub up: bool,
    /// Healthy backends.
    pub healthy: u32,
    /// Its backends.
    pub backends: Vec<Backend>,
}

/// One backend of a service.
#[derive(Clone, Debug, Deserialize)]
pub struct Backend {
    /// Its own address.
    pub address: IpAddr,
    /// `unknown`, `up`, `down`, `draining` or `disabled`.
    pub state: String,
    /// When that state was entered, Unix seconds.
    pub since: f64,
    /// Slots of the ring it holds.
    pub ring_slots: u32,
    /// Packets through the dataplane.
    pub traffic: Traffic,
}

/// Dataplane counters.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// New flows.
    pub flows: u64,
}

impl Node {
    /// The VIPs as `vc5c -j show vips` has them.
    ///
    /// # Errors
    /// When `vc5c` fails or prints something else.
    pub fn vips(&self) -> Result<Vec<Vip>> {
        let mut value = self.vc5c_json("show vips")?;
        if let Some(inner) = value.get_mut("vips") {
            value = Value::take(inner);
        }
        serde_json::from_value(value).context("vc5c -j show vips")
    }

    /// The first address of a VIP.
    ///
    /// # Errors
    /// When `vc5c` fails or there is no such VIP.
    pub fn vip(&self, name: &str) -> Result<Vip> {
        let found = self.vips()?.into_iter().find(|vip| vip.name == name);
        found.with_context(|| format!("{} has no VIP {name}", self.name()))
    }
}

impl Vip {
    /// A backend of the first service.
    ///
    /// # Errors
    /// When it has none with that address.
    pub fn backend(&self, address: impl Into<IpAddr>) -> Result<&Backend> {
        let address = address.into();
        self.services
            .first()
            .and_then(|service| service.backends.iter().find(|backend| backend.address == address))
            .with_context(|| format!("VIP {} has no backend {address}", self.name))
    }
}
