//! A router, a node and two backends that serve; a second router of another make where it is asked for.

use std::net::Ipv4Addr;

use serde_json::Value;
use vc5_conformance::lab::router::{Frr, Place, Router, Seen, Session};
use vc5_conformance::lab::view::Vip;
use vc5_conformance::lab::{Backend, Netns, wait};

use crate::common::{BACKEND, LIMIT, NODE, NODE_AS, ROUTE, ROUTER, VIP, World};

/// The second backend.
pub(crate) const B2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 22);
/// The second router, of the node's own AS.
const INNER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The session with it.
pub(crate) const INNER_SESSION: &str = r#"
[protocol.bgp.inner]
neighbor = "192.0.2.2"
neighbor-as = 65001
hold-time = "3s"
connect-retry-time = "1s"
ipv4 = { import = "none", export = "all" }
"#;
pub(crate) const CHECK: &str = r#"
[check.alive]
type = "http"
path = "/alive"
interval = "100ms"
rise = 2
fall = 2
"#;

/// A world with a second backend; both serve.
pub(crate) struct Gating {
    pub(crate) b2: Backend,
    pub(crate) world: World,
}

impl Gating {
    /// With this configuration besides the session and the check, without a dataplane, and the route in the router.
    /// `{lab}` stands for the lab's directory.
    pub(crate) fn new(rest: &str) -> Self {
        Self::with_mode("off", rest)
    }

    /// The same with the dataplane in this mode.
    pub(crate) fn with_mode(mode: &str, rest: &str) -> Self {
        let mut world = World::new(false);
        let mut b2 = Backend::new(&world.lab, &world.fabric, "b2", B2, VIP).unwrap();
        world.backend.start().unwrap();
        b2.start().unwrap();
        let rest = rest.replace("{lab}", &world.lab.dir().display().to_string());
        world.node.configure(NODE_AS, mode, &format!("{ROUTER}{CHECK}{rest}")).unwrap();
        world.start();
        world.await_route(ROUTE, 1);
        Self { b2, world }
    }

    /// Another configuration without a dataplane, not read yet.
    pub(crate) fn configure(&self, rest: &str) {
        self.world.configure(&format!("{ROUTER}{CHECK}{rest}"));
    }

    /// Another configuration, in force.
    pub(crate) fn reconfigure(&self, mode: &str, rest: &str) {
        let node = &self.world.node;
        node.configure(NODE_AS, mode, &format!("{ROUTER}{CHECK}{rest}")).unwrap();
        node.vc5c("configure").unwrap();
    }

    /// Waits until `explain` of the VIP has all these words.
    pub(crate) fn explains(&self, words: &[&str]) {
        let mut said = String::new();
        let found = wait::until_true("explanation", LIMIT, || {
            said = self.world.node.vc5c("explain www")?;
            Ok(words.iter().all(|word| said.contains(word)))
        });
        found.unwrap_or_else(|error| panic!("{error:#}: {words:?} in\n{said}"));
    }

    /// Waits until the VIP is so.
    pub(crate) fn awaits(&self, what: &str, mut so: impl FnMut(&Vip) -> bool) {
        let found = wait::until_true(what, LIMIT, || Ok(so(&self.world.node.vip("www")?)));
        found.unwrap_or_else(|error| panic!("{error:#}\n{}", self.world.node.log()));
    }

    /// Waits until the two backends have so many slots of the ring.
    pub(crate) fn awaits_slots(&self, slots: [u32; 2]) {
        self.awaits(&format!("{slots:?} slots"), |vip| {
            [BACKEND, B2].map(|address| vip.backend(address).map_or(0, |one| one.ring_slots))
                == slots
        });
    }

    /// Waits until the check of a backend is so.
    pub(crate) fn awaits_check(&self, backend: Ipv4Addr, so: impl Fn(&Value) -> bool) {
        let mut backends = Value::Null;
        let found = wait::until_true("check", LIMIT, || {
            backends = self.world.node.vc5c_json("show backends")?;
            let all = backends.as_array().into_iter().flatten();
            let mut of_it = all.filter(|one| one["address"] == backend.to_string());
            Ok(of_it.any(|one| so(&one["checks"]["alive"])))
        });
        found.unwrap_or_else(|error| panic!("{error:#}\n{backends:#}"));
    }

    /// The VIP is in the router's table.
    pub(crate) fn announced(&self) -> bool {
        !self.world.router.next_hops(ROUTE).unwrap().is_empty()
    }

    /// The VIP's route in the router, with all its attributes.
    pub(crate) fn route(&self) -> String {
        self.world.router.birdc(&format!("show route {ROUTE} all")).unwrap()
    }

    /// Waits until the route in the router has all these words.
    pub(crate) fn routed_with(&self, words: &[&str]) {
        let found = wait::until_true("attributes", LIMIT, || {
            let route = self.route();
            Ok(words.iter().all(|word| route.contains(word)))
        });
        found.unwrap_or_else(|error| panic!("{error:#}: {words:?} in\n{}", self.route()));
    }

    /// How often the route of the VIP has been withdrawn, as the daemon remembers it.
    pub(crate) fn withdrawals(&self) -> usize {
        let history = self.world.node.vc5c_json("show history www").unwrap();
        let events = history.as_array().unwrap().iter();
        events.filter(|event| event["subject"] == "route" && event["to"] == "withdrawing").count()
    }

    /// Changes in the daemon's memory that have all these words.
    pub(crate) fn changes(&self, words: &[&str]) -> usize {
        let history = self.world.node.vc5c("show history").unwrap();
        history.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

/// A pool of both backends, and a VIP with one service and more keys of it.
pub(crate) fn both(keys: &str) -> String {
    format!(
        "[pool.web]\nbackends = [\"192.0.2.21\", \"192.0.2.22\"]\nprobe = \"direct\"\n\
         [vip.www]\naddresses = [\"203.0.113.10\"]\nup-delay = \"0s\"\ndrain-time = \"1s\"\n\
         [[vip.www.service]]\nport = 80\npool = \"web\"\nchecks = [\"alive\"]\n{keys}\n"
    )
}

/// FRR on the shared subnet, as an internal neighbour of the node.
pub(crate) struct Inner {
    frr: Frr,
    _host: Netns,
}

impl Inner {
    pub(crate) fn start(world: &World) -> Self {
        let host = world.fabric.host(&world.lab, "inner", INNER).unwrap();
        let mut frr = Frr::default();
        let session = Session::plain((INNER, NODE_AS), (NODE, NODE_AS));
        frr.start(&Place { lab: &world.lab, namespace: &host }, &session).unwrap();
        Self { frr, _host: host }
    }

    /// Waits until the VIP's route there is so.
    pub(crate) fn awaits(&self, what: &str, so: impl Fn(&Seen) -> bool) {
        let mut seen = None;
        let found = wait::until_true(what, LIMIT, || {
            seen = self.frr.route(ROUTE)?;
            Ok(seen.as_ref().is_some_and(&so))
        });
        found.unwrap_or_else(|error| panic!("{error:#}: {seen:?}\n{}", self.frr.words()));
    }
}
