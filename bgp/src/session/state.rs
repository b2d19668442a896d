//! The six states of RFC 4271 section 8.2.2, each with the data valid in it.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use bytes::BytesMut;
use ipnet::IpNet;

use super::established::Session;
use super::negotiation::Negotiated;
use super::timer::SessionTimers;

/// The states of RFC 4271 section 8.2.2, the more advanced the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum StateName {
    /// No connection, and none wanted for now.
    #[default]
    Idle,
    /// Waiting for the neighbour to dial, or to dial again.
    Active,
    /// Dialling.
    Connect,
    /// Waiting for the neighbour's OPEN.
    OpenSent,
    /// Waiting for the neighbour's KEEPALIVE.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A TCP connection that stands.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) local: IpAddr,
    pub(super) interface: Vec<IpNet>,
    /// Octets received that are not a whole message yet.
    pub(super) received: BytesMut,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Connect {
        retry: Instant,
    },
    /// Without `retry` only the neighbour can end it.
    Active {
        retry: Option<Instant>,
    },
    /// Connect or Active with a TCP connection and the DelayOpen timer running.
    Delayed {
        link: Link,
        open_at: Instant,
    },
    OpenSent {
        link: Link,
        hold: Instant,
    },
    OpenConfirm {
        link: Link,
        timers: SessionTimers,
        negotiated: Box<Negotiated>,
    },
    Established {
        link: Link,
        timers: SessionTimers,
        session: Box<Session>,
    },
}
