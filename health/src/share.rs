//! Which probes are one: those that would send the same to the same place by the same way.
//!
//! A backend and a check may stand under many services. Where all that the backend could see of
//! their probes is equal, one probe is made, and its outcome is the outcome of all of them. Each
//! key still has a verdict of its own, since its history may be another.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::check::{Check, Probe, ProbeKey, ProbePath};
use crate::schedule::Id;

/// A probe that is made, and the keys that its outcome is for.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    /// The first of those that are one.
    pub(crate) probe: Arc<Probe>,
    /// The keys of all of them, at least one.
    pub(crate) keys: Vec<ProbeKey>,
}

/// The probes of a set with equal ones taken together.
#[derive(Debug, Default)]
pub(crate) struct Units {
    units: BTreeMap<Id, Unit>,
    next: Id,
}

/// Where a probe goes, and by which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Way {
    path: ProbePath,
    /// Where the probe tells one VIP from another.
    vip: Option<IpAddr>,
    /// Where it tells one backend from another.
    backend: Option<IpAddr>,
    port: u16,
    ttl: Option<u8>,
}

impl Way {
    fn of(probe: &Probe) -> Self {
        let ProbeKey { vip, backend, port, .. } = probe.key;
        let kind = &probe.check.kind;
        let (to_vip, to_backend) = match probe.path {
            ProbePath::Dsr => (true, true),
            ProbePath::Direct => (false, true),
            ProbePath::Local => (true, false),
        };
        Self {
            path: probe.path,
            vip: (to_vip || kind.names_the_vip()).then_some(vip),
            backend: (to_backend || kind.names_the_backend()).then_some(backend),
            port,
            ttl: probe.ttl.filter(|_| probe.path == ProbePath::Dsr),
        }
    }
}

impl Units {
    /// Replaces the set. A unit that asks what one asked before keeps its number; no number is
    /// ever used for another one.
    pub(crate) fn set(&mut self, probes: &[Arc<Probe>]) {
        let mut known: HashMap<Way, Vec<(Id, Check)>> = HashMap::new();
        for (id, unit) in std::mem::take(&mut self.units) {
            let Probe { check, .. } = &*unit.probe;
            known.entry(Way::of(&unit.probe)).or_default().push((id, check.clone()));
        }
        for probe in probes {
            // Few checks go one way, so that looking at each of them is the quickest.
            let same_way = known.entry(Way::of(probe)).or_default();
            let id = match same_way.iter().find(|(_, check)| *check == probe.check) {
                Some((id, _)) => *id,
                None => {
                    let id = self.next;
                    self.next += 1;
                    same_way.push((id, probe.check.clone()));
                    id
                }
            };
            let fresh = || Unit { probe: probe.clone(), keys: Vec::new() };
            self.units.entry(id).or_insert_with(fresh).keys.push(probe.key.clone());
        }
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Unit> {
        self.units.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &Unit)> {
        self.units.iter().map(|(id, unit)| (*id, unit))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::check::{CheckKind, ExecCheck, HttpCheck};

    fn http(host: Option<&str>) -> CheckKind {
        CheckKind::Http(HttpCheck { host: host.map(Into::into), ..HttpCheck::default() })
    }

    fn probe(
        (path, vip, backend): (ProbePath, u8, u8),
        service: &str,
        kind: CheckKind,
    ) -> Arc<Probe> {
        Arc::new(Probe {
            key: ProbeKey {
                vip: IpAddr::from([192, 0, 2, vip]),
                backend: IpAddr::from([198, 51, 100, backend]),
                port: 80,
                service: service.into(),
                check: "alive".into(),
            },
            path,
            ttl: Some(1),
            check: Check::new(kind),
        })
    }

    fn count(probes: &[Arc<Probe>]) -> usize {
        let mut units = Units::default();
        units.set(probes);
        units.iter().count()
    }

    #[test]
    fn what_the_backend_cannot_tell_apart_is_one() {
        use ProbePath::{Direct, Dsr, Local};
        let ways = |path, kind: CheckKind| {
            let one = probe((path, 1, 1), "80/tcp", kind.clone());
            let with = |vip, backend, service| probe((path, vip, backend), service, kind.clone());
            [with(1, 1, "81/tcp"), with(2, 1, "80/tcp"), with(1, 2, "80/tcp")]
                .map(|other| count(&[one.clone(), other]) == 1)
        };
        // Another service, another VIP, another backend.
        assert_eq!(ways(Dsr, CheckKind::Tcp), [true, false, false]);
        assert_eq!(ways(Direct, CheckKind::Tcp), [true, true, false]);
        assert_eq!(ways(Local, CheckKind::Tcp), [true, false, true]);
        // The Host header is the VIP unless there is another.
        assert_eq!(ways(Direct, http(None)), [true, false, false]);
        assert_eq!(ways(Direct, http(Some("www.example"))), [true, true, false]);
        // A command is told both.
        let exec = CheckKind::Exec(ExecCheck {
            command: vec!["/bin/true".into()],
            environment: BTreeMap::new(),
            memory: None,
            cpu: None,
            user: None,
            group: None,
        });
        assert_eq!(ways(Direct, exec.clone()), [true, false, false]);
        assert_eq!(ways(Local, exec), [true, false, false]);
    }

    #[test]
    fn whatever_differs_in_the_check_or_the_way_is_another() {
        let one = probe((ProbePath::Dsr, 1, 1), "80/tcp", CheckKind::Tcp);
        let other = |change: fn(&mut Probe)| {
            let mut other = (*one).clone();
            other.key.service = "81/tcp".into();
            change(&mut other);
            count(&[one.clone(), Arc::new(other)])
        };
        assert_eq!(other(|_| ()), 1);
        assert_eq!(other(|p| p.key.check = "other".into()), 1, "a name is only a name");
        assert_eq!(other(|p| p.key.port = 81), 2);
        assert_eq!(other(|p| p.ttl = None), 2);
        assert_eq!(other(|p| p.check.rule.fall = 1), 2);
        assert_eq!(other(|p| p.check.timeout *= 2), 2);
        assert_eq!(other(|p| p.path = ProbePath::Direct), 2);
    }

    proptest! {
        /// Whatever comes and goes: each key is in one unit, with those that are equal to it and
        /// no others, and a unit keeps its number as long as it stands.
        #[test]
        fn every_key_has_one_unit_and_units_are_stable(
            sets in prop::collection::vec(prop::collection::btree_set((0u8..3, 0u8..3, 0u8..4), 0..20), 1..6)
        ) {
            let mut units = Units::default();
            let mut before = BTreeMap::new();
            let mut used = BTreeSet::new();
            for set in sets {
                let probes: Vec<_> = set.iter().map(|(backend, timeout, service)| {
                    let mut probe = (*probe(
                        (ProbePath::Dsr, 1, *backend), &service.to_string(), CheckKind::Tcp)).clone();
                    probe.key.check = timeout.to_string();
                    probe.check.timeout *= u32::from(*timeout) + 1;
                    Arc::new(probe)
                }).collect();
                units.set(&probes);
                let mut now = BTreeMap::new();
                for (id, unit) in units.iter() {
                    prop_assert!(!unit.keys.is_empty());
                    for key in &unit.keys {
                        let (backend, timeout) = (unit.probe.key.backend, &unit.probe.key.check);
                        prop_assert_eq!((key.backend, &key.check), (backend, timeout));
                        now.insert((backend, timeout.clone()), id);
                    }
                }
                let all: usize = units.iter().map(|(_, unit)| unit.keys.len()).sum();
                prop_assert_eq!(all, probes.len());
                prop_assert_eq!(now.len(), units.iter().count());
                for (what, id) in &now {
                    match before.get(what) {
                        Some(known) => prop_assert_eq!(known, id),
                        None => prop_assert!(used.insert(*id), "a number is used twice"),
                    }
                }
                before = now;
            }
        }
    }
}
