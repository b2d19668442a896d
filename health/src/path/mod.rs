//! Marks, rules and routes that lead a probe to its backend.
//!
//! Each backend has an id, which is carried in the mark of its probes' sockets and selects a
//! routing table of its own. That table holds a route by the backend for every VIP that is probed
//! on it, and no way out for anything else. A tree of policy rules finds the table.
//!
//! | file | is |
//! |---|---|
//! | `ids` | which backend has which mark |
//! | `tree` | the rules for a set of ids |
//! | `host` | interfaces and addresses; which leads to a backend |
//! | `plan` | rules and routes for the wanted paths |
//! | `rp_filter` | whether the helper route is needed |
//! | `message` | rules and routes as netlink messages |
//! | `kernel` | the netlink socket |
//! | `aside` | the thread on which all of it is looked at when nothing presses |

mod aside;
mod host;
mod ids;
mod kernel;
mod message;
mod plan;
mod rp_filter;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use tree::RULE_PRIORITIES;

use self::aside::aside;
use self::host::Host;
use self::ids::Ids;
use self::kernel::{Found, Kernel};
use self::plan::Plan;
use self::tree::Space;
use crate::check::{Probe, ProbePath};
use crate::error::Error;

pub(crate) use self::kernel::{Changes, changes};

/// What a clean-up removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Policy rules removed.
    pub rules: usize,
    /// Routes removed.
    pub routes: usize,
}

/// A VIP that is probed on a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) vip: IpAddr,
    pub(crate) backend: IpAddr,
}

/// The mark that leads to a backend, or why none does at present.
pub(crate) type PathState = Result<u32, String>;

/// The state of every path.
pub(crate) type PathStates = Arc<BTreeMap<Pair, PathState>>;

/// The paths of one prober, kept in the kernel.
#[derive(Debug)]
pub(crate) struct Paths {
    space: Space,
    kernel: Kernel,
    ids: Arc<Ids>,
    pairs: Arc<BTreeSet<Pair>>,
    states: PathStates,
    helper: bool,
}

/// A change whose additions are made and whose removals are still to come.
#[derive(Debug)]
pub(crate) struct Prepared {
    ids: Ids,
    pairs: BTreeSet<Pair>,
    plan: Plan,
    pub(crate) states: PathStates,
    found: Found,
}

impl Paths {
    /// Without any path; the kernel is left as it is.
    fn new(mark_mask: u32, table_base: u32, rule_priority: u32) -> Result<Self, Error> {
        Ok(Self {
            space: Space::new(mark_mask, table_base, rule_priority)?,
            kernel: Kernel::open()?,
            ids: Arc::default(),
            pairs: Arc::default(),
            states: PathStates::default(),
            helper: false,
        })
    }

    /// Without any path. What an earlier run left is removed, if that is allowed.
    pub(crate) async fn open(
        mark_mask: u32,
        table_base: u32,
        rule_priority: u32,
    ) -> Result<Self, Error> {
        let mut paths = Self::new(mark_mask, table_base, rule_priority)?;
        match paths.remove_all().await {
            Ok(Report { rules: 0, routes: 0 }) => {}
            Ok(Report { rules, routes }) => {
                tracing::info!(rules, routes, "removed probe paths of an earlier run");
            }
            // Without privilege there may still be probes that need no path.
            Err(Error::NoPermission) => {
                tracing::warn!("no permission to remove the probe paths of an earlier run");
            }
            Err(error) => return Err(error),
        }
        Ok(paths)
    }

    /// Adds what these pairs need, and removes nothing yet. On an error all is as it was.
    pub(crate) async fn prepare(&mut self, pairs: BTreeSet<Pair>) -> Result<Prepared, Error> {
        let host = self.kernel.host().await?;
        for pair in &pairs {
            host.next_hop(pair.vip, pair.backend)?;
        }
        let ids = self.ids.updated(&pairs.iter().map(|pair| pair.backend).collect())?;
        let (plan, states) = plan::build(self.space, &ids, &host, &pairs, rp_filter::enabled);
        let found = self.kernel.ours(self.space).await?;
        if let Err(error) = self.grow(&found, &plan).await {
            if let Err(error) = self.reconcile(&host).await {
                tracing::warn!(%error, "cannot restore the probe paths");
            }
            return Err(error);
        }
        Ok(Prepared { ids, pairs, plan, states: Arc::new(states), found })
    }

    /// Removes what is no longer needed.
    pub(crate) async fn commit(&mut self, prepared: Prepared) {
        let Prepared { ids, pairs, plan, states, found } = prepared;
        self.ids = Arc::new(ids);
        self.pairs = Arc::new(pairs);
        self.states = states;
        self.tell_helper(&plan);
        if let Err(error) = self.prune(found, &plan).await {
            tracing::warn!(%error, "cannot remove probe paths that are no longer needed");
        }
    }

    /// What is to be looked at, if there is anything: the look itself leaves these paths free.
    pub(crate) fn look(&self) -> Option<Look> {
        (!self.pairs.is_empty()).then(|| Look {
            space: self.space,
            ids: self.ids.clone(),
            pairs: self.pairs.clone(),
            known: self.states.clone(),
        })
    }

    /// Makes the kernel hold what was seen to be needed. Returns the states if any has changed.
    /// Does nothing where the pairs were replaced meanwhile: the host was looked at for that.
    pub(crate) async fn renew(&mut self, seen: Seen) -> Result<Option<PathStates>, Error> {
        let Seen { pairs, plan, states, found } = seen;
        if !Arc::ptr_eq(&pairs, &self.pairs) {
            return Ok(None);
        }
        self.tell_helper(&plan);
        self.grow(&found, &plan).await?;
        self.prune(found, &plan).await?;
        if states == *self.states {
            return Ok(None);
        }
        self.states = Arc::new(states);
        Ok(Some(self.states.clone()))
    }

    /// Removes everything that is ours.
    pub(crate) async fn remove_all(&mut self) -> Result<Report, Error> {
        self.ids = Arc::default();
        self.pairs = Arc::default();
        self.states = PathStates::default();
        let found = self.kernel.ours(self.space).await?;
        self.prune(found, &Plan::default()).await
    }

    /// Brings the kernel to what the current pairs need. Idempotent.
    async fn reconcile(&mut self, host: &Host) -> Result<BTreeMap<Pair, PathState>, Error> {
        let (plan, states) =
            plan::build(self.space, &self.ids, host, &self.pairs, rp_filter::enabled);
        let found = self.kernel.ours(self.space).await?;
        self.tell_helper(&plan);
        self.grow(&found, &plan).await?;
        self.prune(found, &plan).await?;
        Ok(states)
    }

    /// Adds what is planned and was not found: routes before the rules that lead to them.
    async fn grow(&self, found: &Found, plan: &Plan) -> Result<(), Error> {
        for (key, target) in &plan.routes {
            if found.plan.routes.get(key) != Some(target) {
                self.kernel.set_route(*key, target).await?;
            }
        }
        let mut missing: Vec<_> = plan.rules.difference(&found.plan.rules).collect();
        missing.sort_by_key(|(_, rule)| tree::build_order(self.space, rule));
        for &&(family, rule) in &missing {
            self.kernel.add_rule(family, rule).await?;
        }
        Ok(())
    }

    /// Removes what was found and is not planned: rules before the routes that they lead to. Goes
    /// on after an error, and gives the first.
    async fn prune(&self, found: Found, plan: &Plan) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut result = Ok(());
        let mut extra: Vec<_> = found.plan.rules.difference(&plan.rules).copied().collect();
        extra.sort_by_key(|(_, rule)| std::cmp::Reverse(tree::build_order(self.space, rule)));
        let extra = extra.into_iter().map(|(family, rule)| message::rule(family, rule));
        for rule in extra.chain(found.stray_rules) {
            let removed = self.kernel.delete_rule(rule).await;
            report.rules += usize::from(removed.is_ok());
            result = result.and(removed);
        }
        let routes = found.plan.routes.iter();
        let extra = routes.filter(|(key, _)| !plan.routes.contains_key(key));
        let extra = extra.map(|(key, target)| message::route(*key, target));
        for route in extra.chain(found.stray_routes) {
            let removed = self.kernel.delete_route(route).await;
            report.routes += usize::from(removed.is_ok());
            result = result.and(removed);
        }
        result.map(|()| report)
    }

    fn tell_helper(&mut self, plan: &Plan) {
        let helper = self.space.helper_table();
        let now = plan.routes.keys().any(|key| key.table == helper);
        if now && !self.helper {
            tracing::info!(
                table = helper,
                "rp_filter is on: added a rule and routes that let replies from the VIPs in"
            );
        }
        self.helper = now;
    }
}

/// A look at the host, for pairs and what is known of their paths.
pub(crate) struct Look {
    space: Space,
    ids: Arc<Ids>,
    pairs: Arc<BTreeSet<Pair>>,
    known: PathStates,
}

/// What pairs need on the host as it is, and what there is.
pub(crate) struct Seen {
    pairs: Arc<BTreeSet<Pair>>,
    plan: Plan,
    states: BTreeMap<Pair, PathState>,
    found: Found,
}

impl Look {
    /// Looks at once: probes may be failing. `None` if all is as it has to be, and as it is known
    /// to be.
    pub(crate) async fn now(self) -> Result<Option<Seen>, Error> {
        tokio::task::spawn_blocking(move || self.run()).await.map_err(lost)?
    }

    /// The same, but gives way to whatever else there is to do, for seconds on a busy host.
    pub(crate) async fn at_leisure(self) -> Result<Option<Seen>, Error> {
        aside(move || self.run())?.await.map_err(lost)?
    }

    /// By a netlink socket of its own: that of the driver's runtime would have the driver read the
    /// answer.
    fn run(self) -> Result<Option<Seen>, Error> {
        let Self { space, ids, pairs, known } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(lost)?.block_on(async {
            let kernel = Kernel::open()?;
            let host = kernel.host().await?;
            let (plan, states) = plan::build(space, &ids, &host, &pairs, rp_filter::enabled);
            let found = kernel.ours(space).await?;
            let same = found.plan == plan && found.is_clean() && states == *known;
            Ok((!same).then_some(Seen { pairs, plan, states, found }))
        })
    }
}

fn lost(error: impl std::fmt::Display) -> Error {
    let source = std::io::Error::other(error.to_string());
    Error::Netlink { action: "look at the probe paths".into(), source }
}

/// Removes what an earlier run left behind.
pub(crate) async fn cleanup(
    mark_mask: u32,
    table_base: u32,
    rule_priority: u32,
) -> Result<Report, Error> {
    Paths::new(mark_mask, table_base, rule_priority)?.remove_all().await
}

/// The pairs that need a path.
pub(crate) fn pairs(probes: &[Probe]) -> BTreeSet<Pair> {
    probes
        .iter()
        .filter(|probe| probe.path == ProbePath::Dsr)
        .map(|probe| Pair { vip: probe.key.vip, backend: probe.key.backend })
        .collect()
}

/// Checks, without changing anything, that these probes can be run here.
///
/// # Errors
/// What [`crate::Prober::set`] would fail with: a probe that cannot be used, a backend outside
/// every connected subnet, a VIP that is local, no CAP_NET_ADMIN.
pub async fn check_paths(probes: &[Probe]) -> Result<(), Error> {
    validate(probes)?;
    let pairs = pairs(probes);
    if pairs.is_empty() {
        return Ok(());
    }
    let host = Kernel::open()?.host().await?;
    for pair in &pairs {
        host.next_hop(pair.vip, pair.backend)?;
    }
    Ids::default().updated(&pairs.iter().map(|pair| pair.backend).collect())?;
    if net_admin() { Ok(()) } else { Err(Error::NoPermission) }
}

/// Each probe alone, and that none is given twice.
pub(crate) fn validate(probes: &[Probe]) -> Result<(), Error> {
    let mut keys = BTreeSet::new();
    for probe in probes {
        probe.validate()?;
        if !keys.insert(&probe.key) {
            return Err(Error::Duplicate(probe.key.to_string()));
        }
    }
    Ok(())
}

/// Whether this thread has CAP_NET_ADMIN. Where that cannot be read, the kernel will tell.
fn net_admin() -> bool {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else { return true };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_none_or(|set| set & CAP_NET_ADMIN != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_seen_for_pairs_that_are_replaced_by_now_changes_nothing() {
        // No backend has an id, so nothing is needed in the kernel; what is known is out of date.
        let mut paths = Paths::new(0xffff_0000, 7_900_000, 20_000).unwrap();
        assert!(paths.look().is_none());
        let pair =
            Pair { vip: "203.0.113.1".parse().unwrap(), backend: "192.0.2.1".parse().unwrap() };
        paths.pairs = Arc::new(BTreeSet::from([pair]));
        paths.states = Arc::new(BTreeMap::from([(pair, Err("as it was".into()))]));
        let known = paths.states.clone();
        let slow = paths.look().unwrap().at_leisure().await.unwrap().unwrap();
        paths.pairs = Arc::new((*paths.pairs).clone());
        assert_eq!(paths.renew(slow).await.unwrap(), None);
        assert_eq!(paths.states, known);

        let seen = paths.look().unwrap().now().await.unwrap().unwrap();
        assert_eq!(paths.renew(seen).await.unwrap(), Some(PathStates::default()));
        assert!(paths.look().unwrap().now().await.unwrap().is_none());
    }
}
