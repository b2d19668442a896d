//! From a snapshot to samples: a pure function.

use std::collections::BTreeMap;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::table::{self, Def, Kind};
use crate::snapshot::{
    Backend, BackendState, Dataplane, Off, Peer, Service, Snapshot, Stand, Status, Subject,
    Traffic, Vip, VipState,
};

const PEER_STATES: [&str; 6] =
    ["Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"];

const VIP_STATES: [(&str, VipState); 5] = [
    ("down", VipState::Down),
    ("waiting", VipState::Waiting),
    ("up", VipState::Up),
    ("withdrawing", VipState::Withdrawing),
    ("disabled", VipState::Disabled),
];

const ADMIN_STATES: [(&str, Option<Off>); 3] =
    [("enabled", None), ("drain", Some(Off::Drain)), ("disabled", Some(Off::Disabled))];

const BACKEND_STATES: [(&str, BackendState); 5] = [
    ("unknown", BackendState::Unknown),
    ("up", BackendState::Up),
    ("down", BackendState::Down),
    ("draining", BackendState::Draining),
    ("disabled", BackendState::Disabled),
];

/// All samples of a snapshot at `now`, in Unix seconds.
#[must_use]
pub fn families(snapshot: &Snapshot, now: f64) -> Vec<MetricFamily> {
    let mut samples = Samples::default();
    status(&mut samples, &snapshot.status);
    snapshot.peers.values().for_each(|one| peer(&mut samples, one, now));
    routes(&mut samples, snapshot);
    history(&mut samples, snapshot);
    snapshot.vips.iter().for_each(|one| vip(&mut samples, one, now));
    if let Some(dataplane) = &snapshot.dataplane {
        self::dataplane(&mut samples, dataplane);
    }
    samples.families.into_values().collect()
}

/// Families under construction, by name.
#[derive(Default)]
struct Samples {
    families: BTreeMap<&'static str, MetricFamily>,
}

impl Samples {
    /// Adds a sample; `values` are those of the labels in their order.
    fn add(&mut self, def: &Def, values: &[&str], value: f64) {
        debug_assert_eq!(def.labels.len(), values.len(), "{}", def.name);
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let labels = def.labels.iter().zip(values).map(pair).collect();
        let mut metric = Metric::from_label(labels);
        let kind = if def.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
            MetricType::COUNTER
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
            MetricType::GAUGE
        };
        let family = self.families.entry(def.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(def.name.to_owned());
            family.set_help(def.help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    fn count(&mut self, def: &Def, values: &[&str], value: u64) {
        self.add(def, values, value as f64);
    }

    fn flag(&mut self, def: &Def, values: &[&str], value: bool) {
        self.add(def, values, f64::from(u8::from(value)));
    }

    /// A flag for each state that there is, so that no series comes and goes with the state.
    fn states<S: PartialEq>(&mut self, def: &Def, values: &[&str], all: &[(&str, S)], now: &S) {
        for (name, state) in all {
            let mut values = values.to_vec();
            values.push(name);
            self.flag(def, &values, state == now);
        }
    }

    /// Packets, bytes, flows, and segments by TCP flag.
    fn traffic(&mut self, defs: [&Def; 4], values: &[&str], traffic: Traffic) {
        let Traffic { packets, bytes, flows, syns, fins, rsts } = traffic;
        let [packets_def, bytes_def, flows_def, flags_def] = defs;
        self.count(packets_def, values, packets);
        self.count(bytes_def, values, bytes);
        self.count(flows_def, values, flows);
        for (flag, count) in [("syn", syns), ("fin", fins), ("rst", rsts)] {
            let mut values = values.to_vec();
            values.push(flag);
            self.count(flags_def, &values, count);
        }
    }
}

fn status(samples: &mut Samples, status: &Status) {
    samples.flag(&table::BUILD_INFO, &[&status.version], true);
    samples.add(&table::START_TIME, &[], status.started);
    samples.add(&table::CONFIG_TIME, &[], status.reconfigured);
    samples.count(&table::RELOADS, &["ok"], status.reloads_ok);
    samples.count(&table::RELOADS, &["failed"], status.reloads_failed);
}

fn peer(samples: &mut Samples, peer: &Peer, now: f64) {
    let name = peer.name.as_str();
    let established = peer.state == "Established";
    samples.flag(&table::PEER_ENABLED, &[name], peer.enabled);
    samples.flag(&table::PEER_ESTABLISHED, &[name], established);
    for state in PEER_STATES {
        samples.flag(&table::PEER_STATE, &[name, state], peer.state == state);
    }
    let uptime = if established { (now - peer.since).max(0.0) } else { 0.0 };
    samples.add(&table::PEER_UPTIME, &[name], uptime);
    let counters = &peer.counters;
    samples.count(&table::PEER_MESSAGES, &[name, "in"], counters.messages_in);
    samples.count(&table::PEER_MESSAGES, &[name, "out"], counters.messages_out);
    samples.count(&table::PEER_UPDATES, &[name, "in"], counters.updates_in);
    samples.count(&table::PEER_UPDATES, &[name, "out"], counters.updates_out);
    samples.count(&table::PEER_UPS, &[name], counters.established);
    samples.count(&table::PEER_DROPS, &[name], counters.dropped);
    for (family, channel) in &peer.channels {
        samples.count(&table::PEER_IMPORTED, &[name, family], channel.imported);
        samples.count(&table::PEER_FILTERED, &[name, family], channel.filtered);
        samples.count(&table::PEER_EXPORTED, &[name, family], channel.exported);
    }
}

fn routes(samples: &mut Samples, snapshot: &Snapshot) {
    for (family, ipv4) in [("ipv4", true), ("ipv6", false)] {
        let routes =
            || snapshot.routes.iter().filter(|route| route.prefix.addr().is_ipv4() == ipv4);
        for source in ["vip", "bgp"] {
            let known = routes().filter(|route| route.source == source).count();
            samples.count(&table::ROUTES, &[family, source], known as u64);
        }
        let announced =
            routes().filter(|route| route.source == "vip" && !route.exported_to.is_empty());
        samples.count(&table::ROUTES_ANNOUNCED, &[family], announced.count() as u64);
    }
}

fn history(samples: &mut Samples, snapshot: &Snapshot) {
    for subject in Subject::ALL {
        let count = snapshot.changes.get(&subject).copied().unwrap_or_default();
        samples.count(&table::CHANGES, &[subject.word()], count);
    }
    samples.count(&table::HISTORY, &[], snapshot.history.len() as u64);
}

/// What decides about the route of a VIP, and what goes out with it.
fn gate(samples: &mut Samples, labels: [&str; 2], vip: &Vip, now: f64) {
    samples.states(&table::VIP_ADMIN, &labels, &ADMIN_STATES, &vip.off);
    if let Some(until) = vip.admin.as_ref().and_then(|word| word.until) {
        samples.add(&table::VIP_ADMIN_UNTIL, &labels, until);
    }
    samples.count(&table::VIP_FLAPS, &labels, vip.flaps);
    if let Some(damping) = &vip.damping {
        samples.add(&table::VIP_PENALTY, &labels, damping.penalty_at(now));
        let suppressed = damping.suppressed_until.is_some_and(|until| until > now);
        samples.flag(&table::VIP_SUPPRESSED, &labels, suppressed);
    }
    samples.add(&table::VIP_CAPACITY, &labels, f64::from(vip.capacity.percent) / 100.0);
    let told = vip.told.as_ref();
    samples.flag(&table::VIP_DRAINING, &labels, told.is_some_and(|told| told.draining));
    if let Some(percent) = told.and_then(|told| told.percent) {
        samples.add(&table::VIP_TOLD, &labels, f64::from(percent) / 100.0);
    }
    if let Some(bandwidth) = told.and_then(|told| told.link_bandwidth) {
        samples.add(&table::VIP_BANDWIDTH, &labels, bandwidth.into());
    }
}

fn vip(samples: &mut Samples, vip: &Vip, now: f64) {
    let address = vip.address.to_string();
    let labels = [vip.name.as_str(), &address];
    samples.flag(&table::VIP_UP, &labels, vip.state == VipState::Up);
    samples.states(&table::VIP_STATE, &labels, &VIP_STATES, &vip.state);
    gate(samples, labels, vip, now);
    let defs = [&table::VIP_PACKETS, &table::VIP_BYTES, &table::VIP_FLOWS, &table::VIP_FLAGS];
    samples.traffic(defs, &labels, vip.traffic);
    for one in &vip.services {
        service(samples, labels, one);
    }
}

fn service(samples: &mut Samples, vip: [&str; 2], service: &Service) {
    let [name, address] = vip;
    let port = service.ports.to_string();
    let labels = [name, address, port.as_str(), service.protocol.as_str()];
    samples.flag(&table::SERVICE_UP, &labels, service.up);
    samples.flag(&table::SERVICE_PANIC, &labels, service.panic);
    samples.flag(&table::SERVICE_ON_BACKUP, &labels, service.on_backup);
    samples.add(&table::SERVICE_HEALTHY, &labels, service.healthy.into());
    samples.add(&table::SERVICE_NEED, &labels, service.need.into());
    let defs = [
        &table::SERVICE_PACKETS,
        &table::SERVICE_BYTES,
        &table::SERVICE_FLOWS,
        &table::SERVICE_FLAGS,
    ];
    samples.traffic(defs, &labels, service.traffic);
    for one in &service.backends {
        let used = !one.backup || service.on_backup;
        backend(samples, labels, one, used);
    }
}

fn backend(samples: &mut Samples, service: [&str; 4], backend: &Backend, used: bool) {
    let [name, address, port, protocol] = service;
    let own = backend.address.to_string();
    let labels = [name, address, port, protocol, own.as_str()];
    samples.flag(&table::BACKEND_UP, &labels, used && backend.state == BackendState::Up);
    samples.states(&table::BACKEND_STATE, &labels, &BACKEND_STATES, &backend.state);
    if let Some(until) = backend.admin.as_ref().and_then(|word| word.until) {
        samples.add(&table::BACKEND_ADMIN_UNTIL, &labels, until);
    }
    samples.add(&table::BACKEND_WEIGHT, &labels, backend.weight.into());
    samples.add(&table::BACKEND_SLOTS, &labels, backend.ring_slots.into());
    let defs = [
        &table::BACKEND_PACKETS,
        &table::BACKEND_BYTES,
        &table::BACKEND_FLOWS,
        &table::BACKEND_FLAGS,
    ];
    samples.traffic(defs, &labels, backend.traffic);
    samples.flag(&table::PATH_LOST, &labels, backend.path_lost.is_some());
    for report in &backend.reports {
        let source = report.source.to_string();
        let labels = [name, address, port, protocol, own.as_str(), source.as_str()];
        samples.flag(&table::REPORT, &labels, report.state == Stand::Up);
    }
    for (check, result) in &backend.checks {
        let labels = [name, address, port, protocol, own.as_str(), check];
        if let Some(up) = result.up {
            samples.flag(&table::CHECK_UP, &labels, up);
        }
        samples.add(&table::PROBE_DURATION, &labels, result.took_ms / 1000.0);
        for (outcome, count) in [("passed", result.passed), ("failed", result.failed)] {
            let labels = [name, address, port, protocol, own.as_str(), check, outcome];
            samples.count(&table::PROBES, &labels, count);
        }
    }
}

fn dataplane(samples: &mut Samples, dataplane: &Dataplane) {
    for (reason, packets) in &dataplane.reasons {
        samples.count(&table::DATAPLANE_PACKETS, &[reason], *packets);
    }
    for (event, count) in &dataplane.events {
        samples.count(&table::FLOW_EVENTS, &[event], *count);
    }
    samples.count(&table::FLOWS, &[], dataplane.flows);
    samples.count(&table::FLOW_CAPACITY, &[], dataplane.flow_capacity);
    samples.count(&table::FLOW_MEMORY, &[], dataplane.flow_memory);
    samples.count(&table::APPLIED, &[], dataplane.applied);
    samples.flag(&table::DATAPLANE_ERROR, &[], dataplane.error.is_some());
    for (name, interface) in &dataplane.interfaces {
        let labels = [name.as_str(), interface.mode.as_str()];
        samples.flag(&table::INTERFACE_ATTACHED, &labels, interface.attached);
        for (reason, packets) in &interface.reasons {
            samples.count(&table::INTERFACE_PACKETS, &[name, reason], *packets);
        }
    }
}
