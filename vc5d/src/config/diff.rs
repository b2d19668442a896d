//! What a new configuration changes, in the terms of what has to be done about it.

use std::collections::BTreeMap;
use std::fmt;

use super::model::{BgpProtocol, Channel, Config};

/// What a changed BGP protocol needs, as BIRD classes its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reload {
    /// The session goes on: routes pass the filters anew.
    Reload,
    /// The session is closed and opened again.
    Restart,
}

/// The objects of one kind that differ, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectChanges {
    /// Only in the new configuration.
    pub added: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
    /// In both, with a difference.
    pub changed: Vec<String>,
}

/// The BGP protocols that differ, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerChanges {
    /// Only in the new configuration.
    pub added: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
    /// In both, with a difference, or with a filter that has one.
    pub changed: BTreeMap<String, Reload>,
}

/// All differences between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// `[protocol.bgp.NAME]`
    pub peers: PeerChanges,
    /// `[pool.NAME]`
    pub pools: ObjectChanges,
    /// `[check.NAME]`
    pub checks: ObjectChanges,
    /// `[vip.NAME]`
    pub vips: ObjectChanges,
    /// Changed settings of the daemon that take effect at once.
    pub settings: Vec<&'static str>,
    /// Changed settings that a running daemon cannot take over; if there are any, nothing is applied.
    pub needs_restart: Vec<&'static str>,
}

/// Why a configuration cannot be applied to the running daemon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes of {} take effect only after a restart of the daemon; nothing was changed", .settings.join(", "))]
pub struct NeedsRestart {
    /// The key paths, such as `router.id`.
    pub settings: Vec<&'static str>,
}

impl Changes {
    /// Whether the configurations mean the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the changes can be applied to the running daemon.
    ///
    /// # Errors
    /// Names the settings that take a restart.
    pub fn applicable(&self) -> Result<(), NeedsRestart> {
        if self.needs_restart.is_empty() {
            return Ok(());
        }
        Err(NeedsRestart { settings: self.needs_restart.clone() })
    }
}

/// One line for each object that changes, as it stands in the file.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, settings) in [("changed", &self.settings), ("restart", &self.needs_restart)] {
            for setting in settings {
                writeln!(f, "{setting}: {key}")?;
            }
        }
        let kinds = [("pool", &self.pools), ("check", &self.checks), ("vip", &self.vips)];
        for (kind, objects) in kinds {
            let classes = [
                ("added", &objects.added),
                ("removed", &objects.removed),
                ("changed", &objects.changed),
            ];
            for (class, names) in classes {
                for name in names {
                    writeln!(f, "{kind}.{name}: {class}")?;
                }
            }
        }
        for (class, names) in [("added", &self.peers.added), ("removed", &self.peers.removed)] {
            for name in names {
                writeln!(f, "protocol.bgp.{name}: {class}")?;
            }
        }
        for (name, class) in &self.peers.changed {
            let class = match class {
                Reload::Reload => "reload",
                Reload::Restart => "restart",
            };
            writeln!(f, "protocol.bgp.{name}: {class}")?;
        }
        Ok(())
    }
}

/// Compares two configurations.
pub fn diff(old: &Config, new: &Config) -> Changes {
    Changes {
        peers: peers(old, new),
        pools: objects(&old.pools, &new.pools),
        checks: objects(&old.checks, &new.checks),
        vips: objects(&old.vips, &new.vips),
        settings: settings(old, new),
        needs_restart: needs_restart(old, new),
    }
}

fn settings(old: &Config, new: &Config) -> Vec<&'static str> {
    names_of([
        ("router.learn-time", old.router.learn_time != new.router.learn_time),
        ("control.history", old.control.history != new.control.history),
        ("agent.token-file", old.agent.token != new.agent.token),
        ("agent.lifetime", old.agent.lifetime != new.agent.lifetime),
        ("agent.expired", old.agent.expired != new.agent.expired),
        ("probe.on-path-loss", old.probe.on_path_loss != new.probe.on_path_loss),
        ("dataplane.on-stop", old.dataplane.on_stop != new.dataplane.on_stop),
    ])
}

fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&old.dataplane, &new.dataplane);
    names_of([
        ("router.id", old.router.id != new.router.id),
        ("router.as", old.router.local_as != new.router.local_as),
        ("router.listen", old.router.listen != new.router.listen),
        ("control.socket", old.control.socket != new.control.socket),
        ("control.state-directory", old.control.state_directory != new.control.state_directory),
        ("metrics.listen", old.metrics != new.metrics),
        ("agent.socket", old.agent.socket != new.agent.socket),
        ("agent.listen", old.agent.listen != new.agent.listen),
        ("dataplane.mode", a.mode != b.mode),
        ("dataplane.interfaces", a.interfaces != b.interfaces),
        ("dataplane.pin-path", a.pin_path != b.pin_path),
        ("dataplane.hash-key-file", a.hash_key != b.hash_key),
        ("dataplane.vlans", a.vlans != b.vlans),
        ("dataplane.flows", a.flows != b.flows),
        ("dataplane.max-reals", a.max_reals != b.max_reals),
        ("dataplane.settle-time", a.settle_time != b.settle_time),
        ("dataplane.drain-time", a.drain_time != b.drain_time),
        ("dataplane.sample-new-flows", a.sample_new_flows != b.sample_new_flows),
        ("probe.mark-mask", old.probe.mark_mask != new.probe.mark_mask),
        ("probe.table-base", old.probe.table_base != new.probe.table_base),
        ("probe.rule-priority", old.probe.rule_priority != new.probe.rule_priority),
    ])
}

fn names_of<const N: usize>(settings: [(&'static str, bool); N]) -> Vec<&'static str> {
    settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn added<T>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<String> {
    new.keys().filter(|name| !old.contains_key(*name)).cloned().collect()
}

fn objects<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> ObjectChanges {
    let differs =
        |(name, object): &(&String, &T)| old.get(*name).is_some_and(|before| before != *object);
    ObjectChanges {
        added: added(old, new),
        removed: added(new, old),
        changed: new.iter().filter(differs).map(|(name, _)| name.clone()).collect(),
    }
}

fn peers(old: &Config, new: &Config) -> PeerChanges {
    let filters = objects(&old.filters, &new.filters).changed;
    let changed = new.bgp.iter().filter_map(|(name, peer)| {
        let class = class(old.bgp.get(name)?, peer, &filters)?;
        Some((name.clone(), class))
    });
    PeerChanges {
        added: added(&old.bgp, &new.bgp),
        removed: added(&new.bgp, &old.bgp),
        changed: changed.collect(),
    }
}

/// What has to be done about a peer, if anything.
fn class(old: &BgpProtocol, new: &BgpProtocol, filters: &[String]) -> Option<Reload> {
    if !same_session(old, new) {
        return Some(Reload::Restart);
    }
    let uses_changed_filter = [&new.ipv4, &new.ipv6].into_iter().flatten().any(|channel| {
        [&channel.import, &channel.export].into_iter().any(|name| filters.contains(name))
    });
    (old != new || uses_changed_filter).then_some(Reload::Reload)
}

/// Whether the two differ at most in what a session can take over while it is up: the filters, the next
/// hops, the limits, the waits before the next session, the key, and the texts.
fn same_session(old: &BgpProtocol, new: &BgpProtocol) -> bool {
    let mut like_new = old.clone();
    like_new.description.clone_from(&new.description);
    like_new.shutdown_message.clone_from(&new.shutdown_message);
    like_new.password.clone_from(&new.password);
    like_new.disable_after_error = new.disable_after_error;
    like_new.connect_retry_time = new.connect_retry_time;
    like_new.connect_delay_time = new.connect_delay_time;
    like_new.delay_open_time = new.delay_open_time;
    like_new.startup_hold_time = new.startup_hold_time;
    like_new.error_wait_time = new.error_wait_time;
    like_new.error_forget_time = new.error_forget_time;
    let channels = [(&mut like_new.ipv4, &new.ipv4), (&mut like_new.ipv6, &new.ipv6)];
    for (old, new) in channels {
        if let (Some(old), Some(new)) = (old.as_mut(), new) {
            let Channel { extended_next_hop, add_paths, .. } = *old;
            *old = Channel { extended_next_hop, add_paths, ..new.clone() };
        }
    }
    like_new == *new
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    const OLD: &str = include_str!("tests/good.toml");

    fn config(text: &str) -> Config {
        parse(text, Path::new("vc5.toml")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The differences after replacing a text of the good configuration.
    fn change(from: &str, to: &str) -> Changes {
        assert!(OLD.contains(from), "{from}");
        diff(&config(OLD), &config(&OLD.replacen(from, to, 1)))
    }

    #[test]
    fn nothing_changes_without_a_difference() {
        let changes = diff(&config(OLD), &config(&format!("# a comment\n{OLD}")));
        assert!(changes.is_empty());
        assert_eq!(changes.to_string(), "");
    }

    #[test]
    fn each_change_has_its_class() {
        let rows = [
            (
                "hold-time = \"12s\"",
                "hold-time = \"15s\"",
                "protocol.bgp.tor1: restart\nprotocol.bgp.tor2: restart\n",
            ),
            ("description = \"left\"", "", "protocol.bgp.tor1: reload\n"),
            ("shutdown-message = \"bye\"", "", "protocol.bgp.tor1: reload\n"),
            ("export = \"none\"", "export = \"anycast\"", "protocol.bgp.tor2: reload\n"),
            (
                "10.1.10.100\" }",
                "10.1.10.101\" }",
                "protocol.bgp.tor1: reload\nprotocol.bgp.tor2: reload\n",
            ),
            ("med = 10", "med = 20", "protocol.bgp.tor1: reload\n"),
            ("ipv6 = { import", "#", "protocol.bgp.tor2: restart\n"),
            (
                "neighbor = \"10.1.10.201\"",
                "neighbor = \"10.1.10.202\"",
                "protocol.bgp.tor2: restart\n",
            ),
            (
                "protocol.bgp.tor2",
                "protocol.bgp.tor3",
                "protocol.bgp.tor3: added\nprotocol.bgp.tor2: removed\n",
            ),
            ("weight = 2", "weight = 3", "pool.web: changed\n"),
            ("interval = \"1s\"", "interval = \"3s\"", "check.alive: changed\n"),
            ("up-delay = \"7s\"", "up-delay = \"8s\"", "vip.www: changed\n"),
            ("check.spare", "check.other", "check.other: added\ncheck.spare: removed\n"),
            ("on-stop = \"remove\"", "on-stop = \"keep\"", "dataplane.on-stop: changed\n"),
            ("history = 99", "history = 98", "control.history: changed\n"),
            ("learn-time = \"20s\"", "learn-time = \"30s\"", "router.learn-time: changed\n"),
        ];
        for (from, to, expected) in rows {
            let changes = change(from, to);
            assert_eq!(changes.to_string(), expected, "{from} -> {to}");
            assert_eq!(changes.applicable(), Ok(()));
        }
    }

    #[test]
    fn what_takes_a_restart_is_refused_by_name() {
        let rows = [
            ("id = \"10.1.10.100\"", "id = \"10.1.10.1\"", "router.id"),
            ("\nas = 65001", "\nas = 65002", "router.as"),
            ("listen = [\"10.1.10.100:179\"]", "listen = []", "router.listen"),
            ("vc5/a.ctl", "vc5/b.ctl", "control.socket"),
            ("127.0.0.1:9999", "127.0.0.1:9998", "metrics.listen"),
            ("mode = \"off\"", "mode = \"generic\"", "dataplane.mode"),
            ("interfaces = [\"eth1\"]", "interfaces = [\"eth2\"]", "dataplane.interfaces"),
            ("/sys/fs/bpf/a", "/sys/fs/bpf/b", "dataplane.pin-path"),
            ("settle-time = \"60s\"", "settle-time = \"61s\"", "dataplane.settle-time"),
            ("flows = 5000", "flows = 1024", "dataplane.flows"),
            ("max-reals = 2000", "max-reals = 1024", "dataplane.max-reals"),
            ("drain-time = \"30s\"", "drain-time = \"31s\"", "dataplane.drain-time"),
            ("sample-new-flows = 100", "sample-new-flows = \"off\"", "dataplane.sample-new-flows"),
            ("10 = [\"10.1.10.0/24\"", "11 = [\"10.1.10.0/24\"", "dataplane.vlans"),
            ("0x0ffff000", "0x0fffff00", "probe.mark-mask"),
            ("table-base = 1000", "table-base = 1001", "probe.table-base"),
            ("rule-priority = 100", "rule-priority = 101", "probe.rule-priority"),
        ];
        for (from, to, key) in rows {
            let error = change(from, to).applicable().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "changes of {key} take effect only after a restart of the daemon; nothing was changed"
                )
            );
        }
    }
}
