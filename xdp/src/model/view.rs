//! The model's tables as one CPU sees them at one moment.

use std::{cell::Cell, collections::HashMap, hash::Hash};

use vc5_ebpf_abi::{
    BUCKET_WAYS, Event, Iface, NO_REAL, Real, Reason, ServiceKey, ServiceValue, Traffic, VipKey,
    bucket_index,
};
use vc5_ebpf_path::{Tables, Way};

use super::{Model, Now};

pub(super) struct View<'m> {
    pub(super) model: &'m Model,
    pub(super) cpu: u32,
    pub(super) now: Now,
}

impl Tables for View<'_> {
    fn hash_key(&self) -> [u64; 2] {
        self.model.config.settings.hash_key
    }

    fn udp_idle(&self) -> u8 {
        self.model.config.settings.udp_idle
    }

    fn closing_idle(&self) -> u8 {
        self.model.config.settings.closing_idle
    }

    fn embryonic_idle(&self) -> u8 {
        self.model.config.settings.embryonic_idle
    }

    fn age(&self) -> u8 {
        (self.now.jiffies >> (self.model.config.settings.age_shift & 63)) as u8
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

    fn is_vip(&self, key: &VipKey) -> bool {
        self.model.vips.contains(key)
    }

    fn service(&self, key: &ServiceKey) -> Option<&ServiceValue> {
        self.model.services.get(key)
    }

    fn ring_slot(&self, ring: u32, slot: u16) -> u16 {
        self.model
            .rings
            .get(&ring)
            .and_then(|ring| ring.0.get(usize::from(slot)).copied())
            .unwrap_or(NO_REAL)
    }

    fn real(&self, id: u16) -> Option<&Real> {
        self.model.reals.get(usize::from(id))
    }

    fn flows(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        let index = bucket_index(hash, self.cpu, self.model.config.settings.flow_mask);
        self.model.flows.get(index as usize)
    }

    fn embryonic(&self, hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        let index = bucket_index(hash, self.cpu, self.model.config.settings.embryonic_mask);
        self.model.embryonic.get(index as usize)
    }

    fn count(&self, reason: Reason, bytes: u64) {
        if let Some(counter) = self.model.reasons.get(reason as usize) {
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

    fn count_traffic(&self, real: u16, service_stat: u32, traffic: &Traffic) {
        add(&mut self.model.real_traffic.borrow_mut(), real, traffic);
        add(&mut self.model.service_traffic.borrow_mut(), service_stat, traffic);
    }
}

fn add<K: Eq + Hash>(totals: &mut HashMap<K, Traffic>, key: K, traffic: &Traffic) {
    let total = totals.entry(key).or_default();
    total.packets += traffic.packets;
    total.bytes += traffic.bytes;
    total.flows += traffic.flows;
    total.syns += traffic.syns;
}
