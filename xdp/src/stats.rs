//! The program's counters, as read last.

use std::collections::BTreeSet;

use vc5_ebpf_abi::{Counter, Event, Reason, Traffic};

use crate::forwarding::{Forwarding, Service};
use crate::maps::{KernelTables, TableError};
use crate::{Counters, ReasonCount};

/// Real ids whose counters are read by one system call.
const CHUNK: u32 = 1024;

/// Sums over all CPUs.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// By the interface's number, 0 for unknown ones.
    interfaces: Vec<Vec<Counter>>,
    pub(crate) events: Vec<(&'static str, u64)>,
    /// By real id; empty where no service has any.
    reals: Vec<Vec<Traffic>>,
}

impl Stats {
    /// Reads the counters of all that is in force, and of interfaces up to this number.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub(crate) fn read(
        forwarding: &Forwarding<KernelTables>,
        interfaces: u8,
    ) -> Result<Self, TableError> {
        let tables = forwarding.tables();
        let mut stats = Self::default();
        for interface in 0..=interfaces {
            stats.interfaces.push(tables.reasons(interface)?);
        }
        let events = Event::ALL.iter().map(|event| event.label());
        stats.events = events.zip(tables.events()?).collect();
        let backends = forwarding.services().values().flat_map(Service::backends);
        let chunks: BTreeSet<u32> = backends.map(|backend| backend.id / CHUNK).collect();
        for chunk in chunks {
            stats.reals.resize_with(chunk as usize + 1, Vec::new);
            let first = chunk * CHUNK;
            let count = CHUNK.min(tables.max_reals().saturating_sub(first));
            if let Some(traffic) = stats.reals.get_mut(chunk as usize) {
                *traffic = tables.traffic_of(first, count)?;
            }
        }
        Ok(stats)
    }

    /// Real ids stand for other pairs than at the last reading.
    pub(crate) fn forget(&mut self, reals: &[u32]) {
        for id in reals {
            let chunk = self.reals.get_mut((id / CHUNK) as usize);
            if let Some(traffic) = chunk.and_then(|chunk| chunk.get_mut((id % CHUNK) as usize)) {
                *traffic = Traffic::default();
            }
        }
    }

    /// Packets by what became of them, from all interfaces.
    pub(crate) fn reasons(&self) -> Vec<ReasonCount> {
        let sum = |place: usize| {
            self.interfaces.iter().filter_map(|counters| counters.get(place)).fold(
                Counter::default(),
                |sum, counter| Counter {
                    packets: sum.packets.wrapping_add(counter.packets),
                    bytes: sum.bytes.wrapping_add(counter.bytes),
                },
            )
        };
        Reason::ALL.iter().enumerate().map(|(place, reason)| count(*reason, sum(place))).collect()
    }

    /// Packets that came in by the interface of this number.
    pub(crate) fn reasons_of(&self, interface: u8) -> Vec<ReasonCount> {
        let counters = self.interfaces.get(usize::from(interface)).into_iter().flatten();
        Reason::ALL.iter().zip(counters).map(|(reason, c)| count(*reason, *c)).collect()
    }

    /// Those of a service, that of backends which have left it included.
    pub(crate) fn service(&self, service: &Service) -> Counters {
        let mut sum = counters(service.departed());
        for backend in service.backends() {
            let Counters { packets, bytes, flows, syns, fins, rsts } = self.real(backend.id);
            sum.packets = sum.packets.wrapping_add(packets);
            sum.bytes = sum.bytes.wrapping_add(bytes);
            sum.flows = sum.flows.wrapping_add(flows);
            sum.syns = sum.syns.wrapping_add(syns);
            sum.fins = sum.fins.wrapping_add(fins);
            sum.rsts = sum.rsts.wrapping_add(rsts);
        }
        sum
    }

    /// Those of a backend of a service, zero if it was not there at the last reading.
    pub(crate) fn real(&self, id: u32) -> Counters {
        let chunk = self.reals.get((id / CHUNK) as usize);
        let traffic = chunk.and_then(|chunk| chunk.get((id % CHUNK) as usize));
        counters(traffic.copied().unwrap_or_default())
    }
}

fn count(reason: Reason, Counter { packets, bytes }: Counter) -> ReasonCount {
    ReasonCount { name: reason.label(), packets, bytes }
}

fn counters(traffic: Traffic) -> Counters {
    let Traffic { packets, bytes, flows, syns, fins, rsts } = traffic;
    Counters { packets, bytes, flows, syns, fins, rsts }
}
