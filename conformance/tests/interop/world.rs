//! One peer's lab: the node, the router in two places, and what both sides say.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use vc5_conformance::lab::router::{Announcement, Place, Router, Seen, Session};
use vc5_conformance::lab::{Fabric, Lab, Netns, Node, command, fabric, wait};

use crate::matrix::Cell;
use crate::peers::Peer;

pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 31);
pub(crate) const NODE_AS: u32 = 65001;
pub(crate) const ROUTER_AS: u32 = 64512;
/// The VIPs, as routes.
pub(crate) const VIP: &str = "203.0.113.10/32";
pub(crate) const VIP6: &str = "2001:db8:101::1/128";
/// What the router announces.
pub(crate) const THEIRS: &str = "198.18.1.0/24";
pub(crate) const THEIRS6: &str = "2001:db8:f00::/48";
/// For whatever has to happen at all.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// Longer than three attempts to connect of either side, for what must not happen.
pub(crate) const NOT_WITHIN: Duration = Duration::from_secs(4);

/// The node's side of a session, as far as it differs from the usual.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ours {
    /// More keys of `[protocol.bgp.peer]`, a line each.
    pub(crate) keys: String,
    /// More keys of both channels, each preceded by a comma.
    pub(crate) channel: String,
    /// More keys of `set` in the export filter, each preceded by a comma.
    pub(crate) set: String,
    /// What the export filter adds instead of the usual community.
    pub(crate) communities: String,
    /// More addresses of the VIP.
    pub(crate) more_vips: Vec<&'static str>,
}

/// The lab comes last, so that it goes last.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) router: Box<dyn Router + Send>,
    near: Netns,
    log_from: usize,
    fabric: Fabric,
    lab: Lab,
}

/// The usual session: IPv4 over IPv4, both sides dial.
pub(crate) fn usual() -> Session {
    let routes = vec![Announcement::to(THEIRS)];
    Session { routes, ..Session::plain((ROUTER, ROUTER_AS), (NODE, NODE_AS)) }
}

/// The usual session, but over IPv6.
pub(crate) fn over_ipv6() -> Session {
    let address = |v4| fabric::address6(v4).parse().unwrap();
    Session { local: address(ROUTER), remote: address(NODE), ..usual() }
}

impl World {
    pub(crate) fn new(peer: &Peer) -> Self {
        let lab = Lab::new(env!("CARGO_BIN_EXE_vc5-lab")).unwrap();
        let fabric = Fabric::new(&lab).unwrap();
        let node = Node::new(&lab, &fabric, "node1", NODE).unwrap();
        let near = fabric.host(&lab, "peer", ROUTER).unwrap();
        Self { node, router: (peer.new)(), near, log_from: 0, fabric, lab }
    }

    /// Plays a scenario; a failure has what both sides said at the end.
    pub(crate) fn run(&mut self, scenario: fn(&mut Self) -> Result<()>) -> Cell {
        let start = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| scenario(self)));
        match done {
            Ok(Ok(())) => Cell::Passed(start.elapsed()),
            Ok(Err(error)) => Cell::Failed(format!("{error:#}\n{}", self.testimony())),
            Err(_) => Cell::Failed(format!("panicked\n{}", self.testimony())),
        }
    }

    fn testimony(&self) -> String {
        let tail = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n    ")
        };
        let node = self.node.vc5c("show protocols all peer").unwrap_or_default();
        format!(
            "  vc5c:\n    {}\n  vc5d:\n    {}\n  router:\n    {}",
            node.lines().collect::<Vec<_>>().join("\n    "),
            tail(&self.node_log()),
            tail(&self.router.words())
        )
    }

    /// The node's log since it was last started.
    pub(crate) fn node_log(&self) -> String {
        self.node.log().get(self.log_from..).unwrap_or_default().to_owned()
    }

    /// Writes the node's configuration.
    pub(crate) fn configure(&self, session: &Session, ours: &Ours) -> Result<()> {
        let channel = |on: bool, family: &str| match on {
            true => {
                format!("{family} = {{ import = \"all\", export = \"out\"{} }}\n", ours.channel)
            }
            false => String::new(),
        };
        let mut vips = vec![VIP, VIP6];
        vips.extend(&ours.more_vips);
        let addresses = |ipv6: bool| -> String {
            let of_family = vips.iter().filter(|vip| vip.contains(':') == ipv6);
            let hosts = of_family.filter_map(|vip| vip.split('/').next());
            hosts.map(|host| format!("\"{host}\",")).collect()
        };
        let rest = format!(
            "
[filter.out]
[[filter.out.rule]]
match = {{ source = \"vip\" }}
set = {{ med = 10, add-communities = [{communities}]{set} }}
then = \"accept\"

[protocol.bgp.peer]
neighbor = \"{neighbor}\"
neighbor-as = {neighbor_as}
hold-time = \"3s\"
connect-retry-time = \"1s\"
error-wait-time = [\"200ms\", \"500ms\"]
{keys}
{ipv4}{ipv6}
[pool.four]
backends = [\"192.0.2.21\"]
probe = \"direct\"
[pool.six]
backends = [\"2001:db8:2::21\"]
probe = \"direct\"
{four}{six}",
            set = ours.set,
            communities = match ours.communities.as_str() {
                "" => "\"65000:100\"",
                list => list,
            },
            neighbor = session.local,
            neighbor_as = session.local_as,
            keys = ours.keys,
            ipv4 = channel(session.ipv4, "ipv4"),
            ipv6 = channel(session.ipv6, "ipv6"),
            four = vip("four", &addresses(false)),
            six = vip("six", &addresses(true)),
        );
        self.node.configure(session.remote_as, "off", &rest)
    }

    /// Starts both sides anew.
    pub(crate) fn start(&mut self, session: &Session, ours: &Ours) -> Result<()> {
        self.start_router(session)?;
        self.start_node(session, ours)
    }

    pub(crate) fn start_node(&mut self, session: &Session, ours: &Ours) -> Result<()> {
        if let Ok(daemon) = self.node.daemon() {
            daemon.kill()?;
        }
        self.log_from = self.node.log().len();
        self.configure(session, ours)?;
        self.node.start()
    }

    pub(crate) fn start_router(&mut self, session: &Session) -> Result<()> {
        let namespace = if session.multihop { &self.fabric.client } else { &self.near };
        self.router.start(&Place { lab: &self.lab, namespace }, session)
    }

    /// Starts both sides anew and waits until both have the session.
    pub(crate) fn up(&mut self, session: &Session, ours: &Ours) -> Result<()> {
        self.start(session, ours)?;
        self.await_session()
    }

    pub(crate) fn await_session(&self) -> Result<()> {
        wait::until_true("the node's session", LIMIT, || self.node_established())?;
        wait::until_true("the router's session", LIMIT, || self.router.established())?;
        Ok(())
    }

    /// That no session comes up for a while, on either side.
    pub(crate) fn stays_down(&self) -> Result<()> {
        let end = Instant::now() + NOT_WITHIN;
        while Instant::now() < end {
            ensure!(!self.router.established()?, "the router has a session");
            ensure!(!self.node_established()?, "the node has a session");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The neighbour as `vc5c -j` shows it.
    pub(crate) fn peer(&self) -> Result<Value> {
        let shown = self.node.vc5c_json("show protocols peer")?;
        shown.pointer("/peers/0").cloned().context("vc5c shows no neighbour")
    }

    pub(crate) fn node_established(&self) -> Result<bool> {
        Ok(self.peer()?["state"] == "Established")
    }

    /// A counter of the neighbour.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        self.peer()?["counters"][name].as_u64().with_context(|| format!("counter {name}"))
    }

    /// Waits until the node is no longer Established and its last error has these words.
    pub(crate) fn await_down(&self, words: &str) -> Result<()> {
        let down = wait::until_true("the node's session ends", LIMIT, || {
            let peer = self.peer()?;
            let told = peer["last_error"].as_str().unwrap_or_default().contains(words);
            Ok(peer["state"] != "Established" && told)
        });
        down.with_context(|| format!("waiting for {words:?} as the last error")).map(drop)
    }

    /// The router's connection to the node stands, accepted by its kernel if not by the daemon.
    pub(crate) fn they_are_connected(&self) -> Result<bool> {
        Ok(self.connections("sport")? > 0)
    }

    /// The node's own connection to the router stands.
    pub(crate) fn we_are_connected(&self) -> Result<bool> {
        Ok(self.connections("dport")? > 0)
    }

    fn connections(&self, port: &str) -> Result<usize> {
        let mut ask = self.node.namespace().command("ss");
        ask.args(["-Htn", "state", "established", &format!("{port} = :179")]);
        Ok(command::output(&mut ask)?.lines().count())
    }

    /// The router has logged that it met two connections, each kind of router in its own words, or the node has.
    pub(crate) fn saw_collision(&self) -> bool {
        const WORDS: [&str; 3] = [
            "ollision",
            "Closed an accepted connection",
            "closing incoming connection as we have an outgoing",
        ];
        let said = self.node_log() + &self.router.words();
        WORDS.iter().any(|words| said.contains(words))
    }

    /// The router has logged the Cease of a prefix limit, 6/1, each kind of router in its own words.
    pub(crate) fn saw_limit_cease(&self) -> bool {
        const GOBGP: [&str; 3] = ["received notification", "\"Code\":6", "\"Subcode\":1,"];
        const EXABGP: [&str; 2] = ["\"direction\": \"receive\"", "\"code\": 6, \"subcode\": 1,"];
        let has = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
        self.router.words().lines().any(|line| {
            line.to_lowercase().contains("maximum number of prefixes reached")
                || has(line, &GOBGP)
                || has(line, &EXABGP)
        })
    }

    /// The routes that the node has from the router.
    pub(crate) fn received(&self) -> Result<Vec<Value>> {
        let routes = self.node.vc5c_json("show route protocol peer")?;
        Ok(routes.as_array().cloned().unwrap_or_default())
    }

    /// The router's route to a prefix, once the node has it.
    pub(crate) fn await_received(&self, prefix: &str) -> Result<Value> {
        let found = wait::until(&format!("{prefix} at the node"), LIMIT, || {
            Ok(self.received()?.into_iter().find(|route| route["prefix"] == prefix))
        })?;
        Ok(found.0)
    }

    /// The node's route to a prefix, once the router has it.
    pub(crate) fn await_announced(&self, prefix: &str) -> Result<Seen> {
        let what = format!("{prefix} at the router");
        Ok(wait::until(&what, LIMIT, || self.router.route(prefix))?.0)
    }

    pub(crate) fn await_withdrawn(&self, prefix: &str) -> Result<()> {
        let what = format!("{prefix} gone from the router");
        wait::until_true(&what, LIMIT, || Ok(self.router.route(prefix)?.is_none()))?;
        Ok(())
    }

    /// Waits until the router has logged or shown this.
    pub(crate) fn await_words(&self, words: &str) -> Result<()> {
        let what = format!("{words:?} at the router");
        wait::until_true(&what, LIMIT, || Ok(self.router.words().contains(words)))?;
        Ok(())
    }

    /// Routes went both ways, with the right next hops and paths.
    pub(crate) fn both_ways(&self, session: &Session, ours: &str, theirs: &str) -> Result<()> {
        let address = |v4: Ipv4Addr, prefix: &str, transport: IpAddr| match prefix.contains(':')
            || transport.is_ipv6()
        {
            true => fabric::address6(v4),
            false => v4.to_string(),
        };
        let seen = self.await_announced(ours)?;
        same("next hop at the router", &seen.next_hop, &address(NODE, ours, session.remote))?;
        same("AS_PATH at the router", &seen.as_path, &session.remote_as.to_string())?;
        same("MED at the router", &seen.med, &Some(10))?;
        same("communities at the router", &seen.communities, &vec!["65000:100".to_owned()])?;

        let route = self.await_received(theirs)?;
        let router = match session.local {
            IpAddr::V4(local) if !theirs.contains(':') => local.to_string(),
            _ => fabric::address6(ROUTER),
        };
        same("next hop at the node", &route["next_hop"], &Value::from(router))?;
        same("AS_PATH at the node", &route["as_path"], &session.local_as.to_string().into())?;
        Ok(())
    }
}

fn vip(name: &str, addresses: &str) -> String {
    format!(
        "
[vip.{name}]
addresses = [{addresses}]
up-delay = \"0s\"
[[vip.{name}.service]]
port = 80
protocol = \"tcp\"
pool = \"{name}\"
"
    )
}

/// Two values are equal, or an error that shows both.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, want: &T) -> Result<()> {
    if is == want { Ok(()) } else { Err(anyhow!("{what}: {is:?}, not {want:?}")) }
}
