//! The program's counters, as read last.

use std::collections::HashMap;

use vc5_ebpf_abi::Traffic;

use crate::forwarding::Forwarding;
use crate::maps::{KernelTables, TableError, Tables};
use crate::{Counters, ReasonCount};

/// Sums over all CPUs.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) reasons: Vec<ReasonCount>,
    services: HashMap<u32, Counters>,
    reals: HashMap<u16, Counters>,
}

impl Stats {
    /// Reads the counters of all that is in force: one system call each.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub(crate) fn read(forwarding: &Forwarding<KernelTables>) -> Result<Self, TableError> {
        let tables = forwarding.tables();
        let mut stats = Self::default();
        for (reason, counter) in tables.reasons()? {
            let (name, packets, bytes) = (reason.label(), counter.packets, counter.bytes);
            stats.reasons.push(ReasonCount { name, packets, bytes });
        }
        for service in forwarding.services().values() {
            let traffic = tables.service_traffic(service.stat())?;
            stats.services.insert(service.stat(), counters(traffic));
            for (_, backend) in service.backends() {
                let traffic = tables.real_traffic(backend.id)?;
                stats.reals.insert(backend.id, counters(traffic));
            }
        }
        Ok(stats)
    }

    /// Those of a service, zero if it was not there at the last reading.
    pub(crate) fn service(&self, stat: u32) -> Counters {
        self.services.get(&stat).copied().unwrap_or_default()
    }

    /// Those of a backend of a service, zero if it was not there at the last reading.
    pub(crate) fn real(&self, id: u16) -> Counters {
        self.reals.get(&id).copied().unwrap_or_default()
    }
}

fn counters(traffic: Traffic) -> Counters {
    let Traffic { packets, bytes, flows, syns } = traffic;
    Counters { packets, bytes, flows, syns }
}
