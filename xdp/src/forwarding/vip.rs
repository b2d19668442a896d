//! VIPs as such: their flags, port ranges, and the filter of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vc5_ebpf_abi::{RangeKey, RangeValue, ServiceKey, VipKey, VipValue};

use super::{Change, Failures, Forwarding, ForwardingError, octets, ranges, service_key};
use crate::maps::{TableError, Tables, filter_of};
use crate::{Desired, ServiceSpec, Unknown, VipSpec};

/// A VIP, wanted or in the table.
#[derive(Debug, Default)]
pub(super) struct Vip {
    /// As last wanted; one of an earlier run is not yet.
    spec: Option<VipSpec>,
    /// All of it could be put in force.
    settled: bool,
    /// What stands in the table.
    written: Option<VipValue>,
    ranges: BTreeMap<RangeKey, RangeValue>,
}

impl Vip {
    /// One that an earlier run has left.
    pub(super) fn adopt(written: Option<VipValue>, ranges: BTreeMap<RangeKey, RangeValue>) -> Self {
        Self { spec: None, settled: false, written, ranges }
    }

    /// Whether it stands in the table.
    pub(super) fn is_in_force(&self) -> bool {
        self.written.is_some()
    }

    /// Whether some desired state had it.
    pub(super) fn is_specified(&self) -> bool {
        self.spec.is_some()
    }

    /// Whether just that is in force.
    pub(super) fn is_as(&self, spec: &VipSpec) -> bool {
        self.settled && self.spec.as_ref() == Some(spec)
    }

    /// One of its services as last wanted.
    pub(super) fn service(&self, key: ServiceKey) -> Option<&ServiceSpec> {
        let spec = self.spec.as_ref()?;
        spec.services
            .iter()
            .find(|service| service_key(spec.address, service.ports, service.protocol) == key)
    }

    /// Adds port ranges, then writes the flags, then removes the ranges that are wanted no more, so
    /// that ports which change hands are always somebody's.
    fn write(
        &mut self,
        address: IpAddr,
        value: VipValue,
        wanted: &BTreeMap<RangeKey, RangeValue>,
        tables: &mut impl Tables,
    ) -> Result<(), TableError> {
        for (key, range) in wanted {
            if self.ranges.get(key) != Some(range) {
                tables.set_range(*key, *range)?;
                self.ranges.insert(*key, *range);
            }
        }
        if self.written != Some(value) {
            tables.set_vip(VipKey(octets(address)), value)?;
            self.written = Some(value);
        }
        let gone: Vec<RangeKey> =
            self.ranges.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        self.remove_ranges(gone, tables)
    }

    fn remove(&mut self, address: IpAddr, tables: &mut impl Tables) -> Result<(), TableError> {
        if self.written.is_some() {
            tables.remove_vip(VipKey(octets(address)))?;
            self.written = None;
        }
        let ranges = self.ranges.keys().copied().collect();
        self.remove_ranges(ranges, tables)
    }

    fn remove_ranges(
        &mut self,
        gone: Vec<RangeKey>,
        tables: &mut impl Tables,
    ) -> Result<(), TableError> {
        for key in gone {
            tables.remove_range(key)?;
            self.ranges.remove(&key);
        }
        Ok(())
    }
}

impl<T: Tables> Forwarding<T> {
    /// Takes VIPs that are not wanted out of force, with all that belongs to them.
    pub(super) fn remove_vips(&mut self, desired: &Desired, now: u64, failures: &mut Failures) {
        // Mostly they are all there, and in order.
        if self.vips.keys().eq(desired.vips.iter().map(|vip| &vip.address)) {
            return;
        }
        let stay: BTreeSet<IpAddr> = desired.vips.iter().map(|vip| vip.address).collect();
        let gone: Vec<IpAddr> =
            self.vips.keys().filter(|vip| !stay.contains(vip)).copied().collect();
        if gone.is_empty() {
            return;
        }
        let present: BTreeSet<IpAddr> = self.vips().filter(|vip| stay.contains(vip)).collect();
        // While the filter lets packets through, the VIP has to be known.
        if let Err(error) = self.set_filter(present) {
            return failures.note(Err(error));
        }
        for address in gone {
            let removed = self.remove_vip(address, now);
            failures.note(removed);
        }
    }

    fn remove_vip(&mut self, address: IpAddr, now: u64) -> Result<(), ForwardingError> {
        let Some(vip) = self.vips.get_mut(&address) else { return Ok(()) };
        vip.settled = false;
        vip.spec = None;
        vip.remove(address, &mut self.tables)
            .map_err(|e| ForwardingError::table(address.to_string(), e))?;
        let keys: Vec<ServiceKey> = self.services_of(address).map(|(key, _)| *key).collect();
        let mut failures = Failures::default();
        for key in keys {
            failures.note(self.remove_service(key, now));
        }
        failures.first()?;
        self.vips.remove(&address);
        Ok(())
    }

    /// Puts a VIP in force whose services are, and takes services out of force that it has no more.
    /// Returns whether that was done as a whole.
    pub(super) fn put_vip(
        &mut self,
        change: &Change<'_>,
        now: u64,
        failures: &mut Failures,
    ) -> bool {
        let address = change.vip.address;
        self.shared.news.vips.insert(address);
        // A service that could not be put in force must not be looked for.
        let in_force = change.vip.services.iter().filter(|spec| {
            let key = service_key(address, spec.ports, spec.protocol);
            self.services.get(&key).is_some_and(super::Service::is_in_force)
        });
        let wanted = ranges::entries(address, in_force);
        let vip = self.vips.entry(address).or_default();
        vip.spec = Some(change.vip.clone());
        vip.settled = false;
        let value = VipValue { flags: flags(change.vip, !wanted.is_empty()) };
        if let Err(error) = vip.write(address, value, &wanted, &mut self.tables) {
            failures.note(Err(ForwardingError::table(address.to_string(), error)));
            return false;
        }
        let mut removed = Failures::default();
        for key in &change.gone {
            removed.note(self.remove_service(*key, now));
        }
        let is_removed = removed.0.is_none();
        failures.note(removed.first());
        is_removed
    }

    /// After [`Forwarding::put_vip`], notes that nothing of a VIP is left to do.
    pub(super) fn settle_vip(&mut self, change: &Change<'_>) {
        let is_settled = |key| self.services.get(key).is_some_and(super::Service::is_settled);
        let is_put = change.put.iter().all(|(key, _)| is_settled(key));
        if let Some(vip) = self.vips.get_mut(&change.vip.address) {
            vip.settled = is_put;
        }
    }

    /// Lets packets for the VIPs in the table through the filter.
    pub(super) fn filter_vips(&mut self) -> Result<(), ForwardingError> {
        if self.filtered.as_ref().is_some_and(|filtered| self.vips().eq(filtered.iter().copied())) {
            return Ok(());
        }
        let present = self.vips().collect();
        self.set_filter(present)
    }

    fn set_filter(&mut self, vips: BTreeSet<IpAddr>) -> Result<(), ForwardingError> {
        if self.filtered.as_ref() != Some(&vips) {
            let filter = filter_of(vips.iter().copied());
            self.tables.set_filter(&filter).map_err(|e| ForwardingError::table("VIP filter", e))?;
            self.filtered = Some(vips);
        }
        Ok(())
    }
}

fn flags(vip: &VipSpec, has_ranges: bool) -> u32 {
    let unknown = match vip.unknown {
        Unknown::Drop => 0,
        Unknown::Pass => VipValue::UNKNOWN_PASS,
        Unknown::Reject => VipValue::UNKNOWN_REJECT,
    };
    let when = |is: bool, flag: u32| if is { flag } else { 0 };
    unknown | when(vip.up, VipValue::UP) | when(has_ranges, VipValue::RANGES)
}
