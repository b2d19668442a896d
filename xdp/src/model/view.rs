//! The model's tables as a program sees them at one moment.

use std::cell::Cell;

use vc5_ebpf_abi::{
    BUCKET_WAYS, Event, Iface, NO_MEMBER, RangeKey, RangeValue, Real, Reason, Sample, ServiceKey,
    ServiceValue, Settings, Trace, Traffic, VipKey, VipValue, bucket_index, stats_index,
};
use vc5_ebpf_path::{Tables, Way};

use super::{Model, Now};

pub(super) struct View<'m> {
    pub(super) model: &'m Model,
    pub(super) now: Now,
}

impl View<'_> {
    fn settings(&self) -> &Settings {
        &self.model.settings
    }
}

impl Tables for View<'_> {
    fn hash_key(&self) -> [u64; 2] {
        self.settings().hash_key
    }

    fn udp_idle(&self) -> u8 {
        self.settings().udp_idle
    }

    fn closing_idle(&self) -> u8 {
        self.settings().closing_idle
    }

    fn embryonic_idle(&self) -> u8 {
        self.settings().embryonic_idle
    }

    fn fragment_idle(&self) -> u8 {
        self.settings().fragment_idle
    }

    fn sample_shift(&self) -> u32 {
        self.settings().sample_shift
    }

    fn tracing(&self) -> bool {
        self.settings().trace != 0
    }

    fn age(&self) -> u8 {
        (self.now.jiffies >> (self.settings().age_shift & 63)) as u8
    }

    fn coarse_ns(&self) -> u64 {
        self.now.coarse_ns
    }

    fn iface(&self, slot: u32) -> Option<&Iface> {
        self.model.ifaces.get(slot as usize)
    }

    fn may_be_vip(&self, bit: u16) -> bool {
        self.model.filter.contains(&bit)
    }

    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        self.model.vips.get(key).copied()
    }

    fn service(&self, key: &ServiceKey) -> Option<&ServiceValue> {
        self.model.services.get(key)
    }

    fn range(&self, key: &RangeKey) -> Option<RangeValue> {
        self.model.range(key)
    }

    fn ring_slot(&self, ring: u32, slot: u16) -> u16 {
        self.model
            .rings
            .get(&ring)
            .and_then(|ring| ring.0.get(usize::from(slot)).copied())
            .unwrap_or(NO_MEMBER)
    }

    fn real(&self, id: u32) -> Option<&Real> {
        let known = || self.model.reals.get(&id).unwrap_or(&self.model.no_real);
        ((id as usize) < super::REALS).then(known)
    }

    fn flows(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        self.model.flows.get(bucket_index(hash, self.settings().flow_mask) as usize)
    }

    fn embryonic(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        self.model.embryonic.get(bucket_index(hash, self.settings().embryonic_mask) as usize)
    }

    fn fragments(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        self.model.fragments.get(bucket_index(hash, self.settings().fragment_mask) as usize)
    }

    fn can_send(&self, tx: u8) -> bool {
        self.model.tx_ports.contains_key(&tx)
    }

    fn count(&self, iface: u8, reason: Reason, bytes: u64) {
        if let Some(counter) = self.model.reasons.get(stats_index(iface, reason) as usize) {
            let mut sum = counter.get();
            sum.packets += 1;
            sum.bytes += bytes;
            counter.set(sum);
        }
    }

    fn event(&self, event: Event) {
        if let Some(counter) = self.model.events.get(event as usize) {
            Cell::set(counter, counter.get() + 1);
        }
    }

    fn count_traffic(&self, real: u32, traffic: &Traffic) {
        let mut totals = self.model.traffic.borrow_mut();
        let total = totals.entry(real).or_default();
        total.packets += traffic.packets;
        total.bytes += traffic.bytes;
        total.flows += traffic.flows;
        total.syns += traffic.syns;
        total.fins += traffic.fins;
        total.rsts += traffic.rsts;
    }

    fn sample(&self, sample: &Sample) -> bool {
        let mut samples = self.model.samples.borrow_mut();
        let room = samples.len() < self.model.samples_max;
        if room {
            samples.push(*sample);
        }
        room
    }

    fn trace(&self, note: impl FnOnce(&mut Trace)) {
        if self.tracing() {
            let mut trace = self.model.trace.get();
            note(&mut trace);
            self.model.trace.set(trace);
        }
    }
}
