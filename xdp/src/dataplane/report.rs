//! The snapshot: what is in force and what was counted, put together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use vc5_ebpf_abi::ServiceKey;

use crate::forwarding::{Backend, Forwarding, Resolve, Service, protocol_of};
use crate::loader::Status;
use crate::maps::KernelTables;
use crate::neighbour::Network;
use crate::offload::Offloads;
use crate::stats::Stats;
use crate::{BackendStatus, InterfaceStatus, Mac, NotReady, ServiceStatus, Snapshot, VipStatus};

/// What was reported last, and still holds but for what is named as changed.
#[derive(Debug, Default)]
pub(super) struct Board {
    vips: BTreeMap<IpAddr, Arc<VipStatus>>,
    /// How backends are reached, in words.
    paths: HashMap<IpAddr, Arc<str>>,
}

/// Which VIPs have changed since the last report.
pub(super) enum Changed {
    All,
    These(BTreeSet<IpAddr>),
}

impl Board {
    /// Backends may be reached in other ways than before.
    pub(super) fn forget_paths(&mut self) {
        self.paths.clear();
    }

    fn path(&mut self, address: IpAddr, network: &Network) -> Arc<str> {
        let path = self.paths.entry(address).or_insert_with(|| network.explain(address).into());
        Arc::clone(path)
    }
}

/// What a snapshot is made of.
pub(super) struct Report<'a> {
    pub(super) forwarding: &'a Forwarding<KernelTables>,
    pub(super) network: &'a Network,
    pub(super) offloads: &'a Offloads,
    pub(super) interfaces: &'a [Status],
    /// In the order of the addresses.
    pub(super) not_ready: &'a [NotReady],
    pub(super) stats: &'a Stats,
    pub(super) applied_seq: u64,
}

impl Report<'_> {
    pub(super) fn snapshot(&self, board: &mut Board, changed: Changed) -> Snapshot {
        let present: BTreeSet<IpAddr> = self.forwarding.vips().collect();
        let changed = match changed {
            Changed::All => present.clone(),
            Changed::These(vips) => vips,
        };
        board.vips.retain(|vip, _| present.contains(vip));
        for vip in changed.intersection(&present) {
            let status = self.vip(*vip, board);
            board.vips.insert(*vip, Arc::new(status));
        }
        let tables = self.forwarding.tables();
        Snapshot {
            interfaces: self.interfaces.iter().map(|status| self.interface(status)).collect(),
            reasons: self.stats.reasons(),
            events: self.stats.events.clone(),
            vips: board.vips.values().cloned().collect(),
            flow_memory: tables.flow_memory(),
            flow_capacity: tables.flow_capacity(),
            applied_seq: self.applied_seq,
        }
    }

    fn interface(&self, status: &Status) -> InterfaceStatus {
        let topology = &self.network.topology;
        let ports = topology.ports();
        let port = ports.iter().find(|port| port.ifindex == status.index);
        InterfaceStatus {
            name: status.interface.clone(),
            index: status.index,
            mac: topology.by_index(status.index).map_or(Mac::default(), |l| l.mac),
            mode: mode(status),
            attached: status.problem.is_none(),
            note: self.note(status),
            reasons: port.map(|port| self.stats.reasons_of(port.number)).unwrap_or_default(),
        }
    }

    /// All that there is to say of an interface.
    fn note(&self, status: &Status) -> Option<String> {
        let attachment = status.problem.clone().or_else(|| status.fallback.clone());
        let offloads = self.offloads.problem(&status.interface).map(str::to_owned);
        let caveats = self.network.topology.caveats(status.index, status.native);
        let notes: Vec<String> = attachment.into_iter().chain(offloads).chain(caveats).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn vip(&self, address: IpAddr, board: &mut Board) -> VipStatus {
        let not_ready = self.not_ready.binary_search_by_key(&address, |(vip, _)| *vip).ok();
        let not_ready = not_ready.and_then(|place| self.not_ready.get(place));
        let services = self.forwarding.services_of(address);
        VipStatus {
            address,
            not_ready: not_ready.map(|(_, reason)| reason.clone()),
            services: services.map(|(key, service)| self.service(*key, service, board)).collect(),
        }
    }

    fn service(&self, key: ServiceKey, service: &Service, board: &mut Board) -> ServiceStatus {
        let shares =
            service.ring().map(|ring| self.forwarding.rings().shares(ring)).unwrap_or_default();
        let slots = |number: u16| {
            let place = shares.binary_search_by_key(&number, |(member, _)| *member).ok();
            place.and_then(|place| shares.get(place)).map_or(0, |(_, slots)| *slots)
        };
        let mut backend = |backend: &Backend| BackendStatus {
            address: backend.spec.address,
            state: backend.state(),
            leaving: backend.is_leaving(),
            path: board.path(backend.spec.address, self.network),
            mac: backend.mac(),
            ring_slots: slots(backend.number),
            counters: self.stats.real(backend.id),
        };
        ServiceStatus {
            ports: service.ports(),
            protocol: protocol_of(key),
            counters: self.stats.service(service),
            backends: service.backends().iter().map(&mut backend).collect(),
        }
    }
}

/// `native` or `generic`.
pub(super) fn mode(status: &Status) -> &'static str {
    if status.native { "native" } else { "generic" }
}
