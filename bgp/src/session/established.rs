//! What an Established session holds: the RIBs of the neighbour and their counters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ipnet::IpNet;

use super::config::PeerConfig;
use super::import::Importer;
use super::negotiation::Negotiated;
use crate::rib::{AdjRibIn, AdjRibOut, Batch, Interner, LearnedFrom};
use crate::wire::{
    Attributes, EncodeContext, EncodeError, Family, Message, NextHop, RefreshSubtype, RouteRefresh,
    Update, encode, encode_announce, encode_withdraw,
};

/// An Established session.
#[derive(Debug)]
pub struct Session {
    /// What was agreed on.
    pub negotiated: Negotiated,
    /// Our end of the TCP connection.
    pub local: IpAddr,
    /// The addresses of its interface, each with the length of its subnet; empty if not known.
    pub interface: Vec<IpNet>,
    /// The negotiated families.
    // Boxed: a node of the map has room for eleven of what is in it, and most sessions have one.
    pub channels: BTreeMap<Family, Box<Channel>>,
    pub(super) from: Arc<LearnedFrom>,
    pub(super) sets: Interner<Attributes>,
    /// The neighbour was told all routes once.
    pub(super) dumped: bool,
    /// How long routes of the session before stay that are not announced anew.
    pub(super) stale_until: Option<Instant>,
}

/// One family of a session.
#[derive(Debug)]
pub struct Channel {
    /// What the neighbour announced.
    pub adj_in: AdjRibIn,
    /// What the neighbour is to know.
    pub adj_out: AdjRibOut,
    /// The next hop of our routes, or why there is none and nothing is exported.
    pub next_hop: Result<NextHop, String>,
    /// The neighbour sent its End-of-RIB marker.
    pub end_of_rib_received: bool,
    /// The import limit was reached, and the routes have not become fewer since.
    pub import_limit_hit: bool,
    /// The neighbour restarted and has not announced everything anew: some routes may be stale (RFC
    /// 4724 section 4.2).
    pub restarting: bool,
    /// Route changes in this session.
    pub counters: ChannelCounters,
}

/// Route changes of one family, each way, as BIRD counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelCounters {
    /// Announcements from the neighbour.
    pub import_updates: RouteChanges,
    /// Withdrawals from the neighbour.
    pub import_withdraws: RouteChanges,
    /// Announcements to the neighbour.
    pub export_updates: RouteChanges,
    /// Withdrawals to the neighbour.
    pub export_withdraws: RouteChanges,
}

/// What became of the changes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteChanges {
    /// All of them.
    pub received: u64,
    /// Not usable: malformed, a loop, or not to be passed on.
    pub rejected: u64,
    /// Refused by the policy.
    pub filtered: u64,
    /// Nothing new.
    pub ignored: u64,
    /// Taken.
    pub accepted: u64,
}

/// The most prefixes encoded at once are about one full message of IPv4 host routes, of so many octets.
const HOST_ROUTE: usize = 5;

impl Session {
    pub(super) fn new(
        negotiated: Negotiated,
        (local, interface): (IpAddr, Vec<IpNet>),
        config: &PeerConfig,
    ) -> Self {
        let from = LearnedFrom {
            peer: config.name.as_str().into(),
            address: config.neighbor,
            router_id: negotiated.peer_id,
            external: negotiated.external,
        };
        let mut session = Self {
            channels: BTreeMap::new(),
            negotiated,
            local,
            interface,
            from: Arc::new(from),
            sets: Interner::default(),
            dumped: false,
            stale_until: None,
        };
        for family in session.negotiated.families.clone() {
            let channel = Channel {
                adj_in: AdjRibIn::default(),
                adj_out: AdjRibOut::default(),
                next_hop: session.next_hop(family, config),
                end_of_rib_received: false,
                import_limit_hit: false,
                restarting: false,
                counters: ChannelCounters::default(),
            };
            session.channels.insert(family, Box::new(channel));
        }
        session
    }

    /// Takes over what of a configuration applies to a standing session.
    pub(super) fn reconfigure(&mut self, config: &PeerConfig) {
        let next_hops: Vec<_> =
            self.channels.keys().map(|family| (*family, self.next_hop(*family, config))).collect();
        for (family, next_hop) in next_hops {
            if let Some(channel) = self.channels.get_mut(&family) {
                channel.next_hop = next_hop;
            }
        }
    }

    /// Whether withdrawals wait to be sent.
    #[must_use]
    pub fn withdrawals_pending(&self) -> bool {
        self.channels.values().any(|channel| channel.adj_out.withdrawals_pending())
    }

    /// Who the neighbour is, as its routes say.
    #[must_use]
    pub fn learned_from(&self) -> &LearnedFrom {
        &self.from
    }

    /// Acts on a ROUTE-REFRESH message (RFC 2918, RFC 7313 section 4).
    pub(super) fn refresh(&mut self, message: RouteRefresh, importer: &mut Importer<'_>) {
        let enhanced = self.negotiated.enhanced_route_refresh;
        let Some(channel) = self.channels.get_mut(&message.family) else { return };
        match message.subtype {
            RefreshSubtype::Request if enhanced => channel.adj_out.marked_refresh(),
            RefreshSubtype::Request => channel.adj_out.refresh(),
            RefreshSubtype::BeginningOfRefresh if enhanced => channel.adj_in.begin_refresh(),
            RefreshSubtype::EndOfRefresh if enhanced => self.end_refresh(message.family, importer),
            _ => {}
        }
    }

    /// Appends the next UPDATEs to `out`, withdrawals of all families first; false if there are none.
    pub(super) fn transmit(&mut self, out: &mut Vec<Bytes>) -> bool {
        let ctx = self.negotiated.encode_context();
        let batch = ctx.max_len / HOST_ROUTE;
        for (family, channel) in &mut self.channels {
            if let Some(next) = channel.adj_out.next_withdrawal(batch) {
                channel.encode(*family, next, &ctx, out);
                return true;
            }
        }
        for (family, channel) in &mut self.channels {
            if let Some(next) = channel.adj_out.next(batch) {
                channel.encode(*family, next, &ctx, out);
                return true;
            }
        }
        false
    }
}

impl Channel {
    fn encode(&mut self, family: Family, batch: Batch, ctx: &EncodeContext, out: &mut Vec<Bytes>) {
        let mark = |subtype| Message::RouteRefresh(RouteRefresh { family, subtype });
        let message = match batch {
            Batch::Withdraw(prefixes) => {
                return self.note(encode_withdraw(family, &prefixes, ctx, out), &[]);
            }
            Batch::Announce(set, prefixes) => {
                let (attributes, next_hop) = (&set.attributes, set.next_hop);
                let result = encode_announce(attributes, family, next_hop, &prefixes, ctx, out);
                return self.note(result, &prefixes);
            }
            Batch::EndOfRib => Message::Update(Update::end_of_rib(family)),
            Batch::BeginRefresh => mark(RefreshSubtype::BeginningOfRefresh),
            Batch::EndRefresh => mark(RefreshSubtype::EndOfRefresh),
        };
        let result = encode(&message, ctx).map(|bytes| out.push(bytes));
        self.note(result, &[]);
    }

    fn note(&mut self, result: Result<(), EncodeError>, prefixes: &[IpNet]) {
        if let Err(error) = result {
            tracing::error!(target: "bgp", %error, ?prefixes, "routes cannot be sent");
            self.adj_out.unsendable(prefixes);
        }
    }
}
