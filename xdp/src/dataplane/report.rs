//! The snapshot: what is in force and what was counted, put together.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use vc5_ebpf_abi::ServiceKey;

use crate::forwarding::{Backend, Forwarding, Resolve, Service, protocol_number};
use crate::loader::Status;
use crate::maps::KernelTables;
use crate::neighbour::Network;
use crate::offload::Offloads;
use crate::stats::Stats;
use crate::{
    BackendStatus, InterfaceStatus, L4, Mac, NotReady, ServiceStatus, Snapshot, VipStatus,
};

/// What a snapshot is made of.
pub(super) struct Report<'a> {
    pub(super) forwarding: &'a Forwarding<KernelTables>,
    pub(super) network: &'a Network,
    pub(super) offloads: &'a Offloads,
    pub(super) interfaces: &'a [Status],
    pub(super) not_ready: &'a [NotReady],
    pub(super) stats: &'a Stats,
    pub(super) applied_seq: u64,
}

impl Report<'_> {
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut vips: BTreeMap<Ipv4Addr, Vec<ServiceStatus>> =
            self.forwarding.vips().iter().map(|vip| (*vip, Vec::new())).collect();
        for (key, service) in self.forwarding.services() {
            vips.entry(Ipv4Addr::from(key.addr)).or_default().push(self.service(*key, service));
        }
        let vip = |(address, services)| VipStatus {
            address,
            not_ready: self.not_ready.iter().find(|n| n.0 == address).map(|n| n.1.clone()),
            services,
        };
        Snapshot {
            interfaces: self.interfaces.iter().map(|status| self.interface(status)).collect(),
            reasons: self.stats.reasons.clone(),
            vips: vips.into_iter().map(vip).collect(),
            flow_memory: self.forwarding.tables().flow_memory(),
            applied_seq: self.applied_seq,
        }
    }

    fn interface(&self, status: &Status) -> InterfaceStatus {
        InterfaceStatus {
            name: status.interface.clone(),
            index: status.index,
            mac: self.network.topology.by_index(status.index).map_or(Mac::default(), |l| l.mac),
            mode: mode(status),
            attached: status.problem.is_none(),
            note: self.note(status),
        }
    }

    /// All that there is to say of an interface.
    fn note(&self, status: &Status) -> Option<String> {
        let attachment = status.problem.clone().or_else(|| status.fallback.clone());
        let offloads = self.offloads.problem(&status.interface).map(str::to_owned);
        let caveats = self.network.topology.caveats(status.index);
        let notes: Vec<String> = attachment.into_iter().chain(offloads).chain(caveats).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn service(&self, key: ServiceKey, service: &Service) -> ServiceStatus {
        let udp = key.protocol == protocol_number(L4::Udp);
        ServiceStatus {
            port: u16::from_be_bytes(key.port),
            protocol: if udp { L4::Udp } else { L4::Tcp },
            counters: self.stats.service(service.stat()),
            backends: service.backends().map(|(a, b)| self.backend(*a, b)).collect(),
        }
    }

    fn backend(&self, address: Ipv4Addr, backend: &Backend) -> BackendStatus {
        BackendStatus {
            address,
            state: backend.spec.state,
            path: self.network.explain(address),
            mac: backend.mac(),
            ring_slots: backend.slots,
            counters: self.stats.real(backend.id),
        }
    }
}

/// `native` or `generic`.
pub(super) fn mode(status: &Status) -> &'static str {
    if status.native { "native" } else { "generic" }
}
