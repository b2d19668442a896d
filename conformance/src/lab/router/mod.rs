//! Any BGP speaker as the neighbour of a vc5d node, behind one face.
//!
//! A [`Session`] says what a session should be like from the router's side; each router turns it into its own
//! configuration, and its own command line is the witness of what it sees. A router is started anew for each session,
//! so nothing of one scenario can leak into the next.

mod bird;
mod exabgp;
mod frr;
mod gobgp;

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;

use super::{Lab, Netns, Process, fabric};

pub use self::bird::BirdRouter;
pub use self::exabgp::ExaBgp;
pub use self::frr::Frr;
pub use self::gobgp::GoBgp;

/// Hold time of every session in seconds, the shortest that RFC 4271 allows.
pub const HOLD: u32 = 3;

/// A session from the router's side.
#[derive(Clone, Debug)]
pub struct Session {
    /// The router's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The router's address.
    pub local: IpAddr,
    /// The router's AS.
    pub local_as: u32,
    /// The node's address.
    pub remote: IpAddr,
    /// The node's AS.
    pub remote_as: u32,
    /// IPv4 unicast is carried.
    pub ipv4: bool,
    /// IPv6 unicast is carried.
    pub ipv6: bool,
    /// The router waits for the node's connection.
    pub passive: bool,
    /// The router is not on the node's subnet.
    pub multihop: bool,
    /// The key of TCP MD5 (RFC 2385).
    pub password: Option<String>,
    /// GTSM (RFC 5082).
    pub ttl_security: bool,
    /// Without it, the router offers no 4-octet AS numbers (RFC 6793).
    pub four_octet_as: bool,
    /// IPv4 over IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Messages of more than 4096 octets (RFC 8654).
    pub extended_messages: bool,
    /// The router sends several paths for a prefix (RFC 7911).
    pub add_paths: bool,
    /// How many prefixes of a family the router takes before it ends the session.
    pub prefix_limit: Option<u32>,
    /// The router forwards on while it restarts and will be back in so many seconds (RFC 4724).
    pub graceful_restart: Option<u16>,
    /// The router is back from such a restart.
    pub restarted: bool,
    /// What the router announces.
    pub routes: Vec<Announcement>,
}

impl Session {
    /// Both sides dial, over IPv4 and for IPv4, and nothing else is asked for. Its router id is the
    /// router's address.
    pub fn plain((local, local_as): (Ipv4Addr, u32), (remote, remote_as): (Ipv4Addr, u32)) -> Self {
        Self {
            router_id: local,
            local: local.into(),
            local_as,
            remote: remote.into(),
            remote_as,
            ipv4: true,
            ipv6: false,
            passive: false,
            multihop: false,
            password: None,
            ttl_security: false,
            four_octet_as: true,
            extended_next_hop: false,
            extended_messages: false,
            add_paths: false,
            prefix_limit: None,
            graceful_restart: None,
            restarted: false,
            routes: Vec::new(),
        }
    }
}

/// A route that a router announces.
#[derive(Clone, Debug, Default)]
pub struct Announcement {
    /// Destination.
    pub prefix: String,
    /// Standard communities.
    pub communities: Vec<(u16, u16)>,
    /// Large communities (RFC 8092).
    pub large_communities: Vec<(u32, u32, u32)>,
    /// Route targets, which are extended communities (RFC 4360).
    pub route_targets: Vec<(u16, u32)>,
}

impl Announcement {
    /// A route without communities.
    #[must_use]
    pub fn to(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// It has no communities.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.communities.is_empty()
            && self.large_communities.is_empty()
            && self.route_targets.is_empty()
    }

    /// The destination is an IPv6 prefix.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.prefix.contains(':')
    }
}

/// A route as a router's command line shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Next hop; the first one where there are a global and a link-local address.
    pub next_hop: String,
    /// AS numbers in order, separated by spaces.
    pub as_path: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// Standard communities as `AS:VALUE`.
    pub communities: Vec<String>,
    /// Large communities as `A:B:C`.
    pub large_communities: Vec<String>,
    /// Extended communities in the router's own words.
    pub extended_communities: Vec<String>,
}

/// A BGP speaker in a namespace.
pub trait Router: Debug {
    /// Ends what runs and starts anew with one session.
    ///
    /// # Errors
    /// When it does not come up.
    fn start(&mut self, place: &Place<'_>, session: &Session) -> Result<()>;

    /// Changes the running session in place, as its operator would.
    ///
    /// # Errors
    /// When it refuses.
    fn change(&mut self, session: &Session) -> Result<()>;

    /// The session is Established.
    ///
    /// # Errors
    /// When its command line fails.
    fn established(&self) -> Result<bool>;

    /// The route to a prefix that it has from the node.
    ///
    /// # Errors
    /// When its command line fails or says something unknown.
    fn route(&self, prefix: &str) -> Result<Option<Seen>>;

    /// How many UPDATEs, or routes in them, it has received in this session.
    ///
    /// # Errors
    /// When its command line fails.
    fn updates_received(&self) -> Result<u64>;

    /// Asks the node for all its IPv4 routes once more (RFC 2918).
    ///
    /// # Errors
    /// When its command line fails.
    fn ask_refresh(&self) -> Result<()>;

    /// Shuts the session down with a message (RFC 9003).
    ///
    /// # Errors
    /// When its command line fails.
    fn shut_down(&mut self, message: &str) -> Result<()>;

    /// All it has logged and says about the neighbour, to look for words in.
    fn words(&self) -> String;

    /// The process that speaks BGP.
    ///
    /// # Errors
    /// When it does not run.
    fn process(&mut self) -> Result<&mut Process>;
}

/// Where a router is started.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// For its files.
    pub lab: &'a Lab,
    /// For its sockets.
    pub namespace: &'a Netns,
}

impl Place<'_> {
    /// A file of its own in the lab's directory.
    #[must_use]
    pub fn file(&self, end: &str) -> std::path::PathBuf {
        self.lab.dir().join(format!("{}.{end}", self.namespace.name()))
    }
}

/// A router's own next hop for a route.
fn own_next_hop(session: &Session, route: &Announcement) -> IpAddr {
    match session.local {
        IpAddr::V4(local) if route.is_ipv6() => {
            fabric::address6(local).parse().unwrap_or(session.local)
        }
        local => local,
    }
}

fn running(process: &mut Option<Process>) -> Result<&mut Process> {
    process.as_mut().ok_or_else(|| anyhow::anyhow!("the router does not run"))
}
