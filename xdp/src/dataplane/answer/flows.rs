//! How the flow table is filled, and what it has of one flow.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry, NO_REAL, bucket_index};

use super::Witness;
use crate::forwarding::{address_of, octets, protocol_of};
use crate::growth;
use crate::maps::FlowTable;
use crate::{AgeClass, Error, FlowShare, FlowView, FlowsView, Tuple};

/// Ends of the classes of age, in units of 4 to 8 s.
const CLASSES: [u8; 5] = [2, 8, 15, 60, 128];

/// The flow tables, and whose the records in them are. It can be counted on any thread.
#[derive(Debug)]
pub(in crate::dataplane) struct Filling {
    flows: FlowTable,
    embryonic: FlowTable,
    /// By real id: its generation, and whose it is.
    users: HashMap<u32, (u8, FlowShare)>,
    age: u8,
    unit: Duration,
}

impl Filling {
    /// Counts all flows.
    pub(in crate::dataplane) fn count(&self) -> FlowsView {
        let mut view = FlowsView {
            capacity: self.flows.capacity(),
            embryonic: (records(&self.embryonic).count() as u64, self.embryonic.capacity()),
            ..FlowsView::default()
        };
        let mut classes =
            CLASSES.map(|end| AgeClass { below: self.unit * u32::from(end), flows: 0 });
        let mut flows: HashMap<u32, u64> = HashMap::new();
        let (period, mut found) = (growth::period(&self.flows), Vec::new());
        for bucket in 0..period {
            growth::records_of(self.flows.words(), period, bucket, self.age, &mut found);
            for entry in &found {
                self.add(*entry, &mut view, &mut classes, &mut flows);
            }
        }
        view.ages = classes.into();
        view.shares = flows
            .into_iter()
            .filter_map(|(real, flows)| Some(FlowShare { flows, ..self.users.get(&real)?.1 }))
            .collect();
        view.shares
            .sort_by_key(|share| (Reverse(share.flows), share.vip, share.ports, share.backend));
        view
    }

    /// Counts one flow.
    fn add(
        &self,
        entry: FlowEntry,
        view: &mut FlowsView,
        classes: &mut [AgeClass],
        flows: &mut HashMap<u32, u64>,
    ) {
        view.used += 1;
        view.closing += u64::from(entry.closing());
        let idle = entry.idle(self.age);
        let class = CLASSES.iter().zip(classes).find(|(end, _)| idle < **end);
        if let Some((_, class)) = class {
            class.flows += 1;
        }
        match self.users.get(&entry.real()) {
            Some((generation, _)) if entry.is_of(*generation) => {
                *flows.entry(entry.real()).or_default() += 1;
            }
            _ => view.stale += 1,
        }
    }
}

impl Witness<'_> {
    pub(super) fn filling(&self) -> Filling {
        let mut users = HashMap::new();
        for (key, service) in self.forwarding.services() {
            for backend in service.backends() {
                let share = FlowShare {
                    vip: address_of(key.addr),
                    ports: service.ports(),
                    protocol: protocol_of(*key),
                    backend: backend.spec.address,
                    flows: 0,
                };
                users.insert(backend.id, (backend.real.generation, share));
            }
        }
        let tables = self.forwarding.tables();
        Filling {
            flows: tables.flows().clone(),
            embryonic: tables.embryonic().clone(),
            users,
            age: self.age(),
            unit: self.unit(),
        }
    }

    pub(super) fn flow(&self, tuple: &Tuple) -> Result<FlowView, Error> {
        let hash = hash(self.loaded.settings().hash_key, tuple)?;
        let tables = self.forwarding.tables();
        let former = tables.flows().former();
        let found = |table: &FlowTable| {
            let record = bucket(table, hash).find(|entry| entry.matches(hash))?;
            self.record(record.0)
        };
        Ok(FlowView {
            hash,
            bucket: bucket_index(hash, tables.flows().mask()),
            record: [Some(tables.flows()), former.as_ref(), tables.before()]
                .into_iter()
                .flatten()
                .find_map(found),
            embryonic: found(tables.embryonic()),
        })
    }
}

fn hash(key: [u64; 2], tuple: &Tuple) -> Result<u64, Error> {
    let Tuple { source, source_port, destination, port, protocol } = *tuple;
    super::frame::check_families(source, destination)?;
    let ([a, b], [c, d]) = (source_port.to_be_bytes(), port.to_be_bytes());
    let [source, destination] = [source, destination].map(|a: IpAddr| octets(a));
    Ok(vc5_ebpf_path::flow_hash(key, &source, &destination, [a, b, c, d], protocol.number()))
}

fn records(table: &FlowTable) -> impl Iterator<Item = FlowEntry> {
    table.words().iter().map(entry).filter(|entry| entry.real() != NO_REAL)
}

fn bucket(table: &FlowTable, hash: u64) -> impl Iterator<Item = FlowEntry> {
    let start = bucket_index(hash, table.mask()) as usize * BUCKET_WAYS;
    table.words().iter().skip(start).take(BUCKET_WAYS).map(entry)
}

fn entry(way: &AtomicU64) -> FlowEntry {
    FlowEntry(way.load(Ordering::Relaxed))
}
