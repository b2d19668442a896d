//! How the ring of a service is shared out.

use std::net::IpAddr;
use std::time::Duration;

use super::Witness;
use crate::forwarding::{Backend, Service, name, service_key};
use crate::maglev::{Member, Ring};
use crate::{Error, L4, MaglevMember, MaglevView, Ports, clock};

impl Witness<'_> {
    pub(super) fn maglev(
        &self,
        vip: IpAddr,
        ports: Ports,
        protocol: L4,
    ) -> Result<MaglevView, Error> {
        let key = service_key(vip, ports, protocol);
        let service = self.forwarding.services().get(&key).filter(|s| s.ports() == ports);
        let Some(service) = service else {
            return Err(Error::NotFound(format!("there is no service {} {ports}", name(key))));
        };
        let rings = self.forwarding.rings();
        let shares = service.ring().map(|ring| rings.shares(ring)).unwrap_or_default();
        let slots = |backend: &Backend| {
            let place = shares.binary_search_by_key(&backend.number, |(number, _)| *number);
            place.ok().and_then(|place| shares.get(place)).map_or(0, |(_, slots)| *slots)
        };
        let on_ring = service.backends().iter().filter(|b| slots(b) > 0);
        let total: u64 = on_ring.map(|b| u64::from(b.spec.weight)).sum();
        let member = |backend: &Backend| {
            let slots = slots(backend);
            let is_on_ring = slots > 0 && total > 0;
            let share = f64::from(backend.spec.weight) / total as f64;
            MaglevMember {
                address: backend.spec.address,
                member: backend.number,
                weight: backend.spec.weight,
                slots,
                share: if is_on_ring { share } else { 0.0 },
            }
        };
        let previous = service.previous().map(|(ring, until)| {
            (ring, Duration::from_nanos(until.saturating_sub(clock::coarse_ns())))
        });
        Ok(MaglevView {
            ring: service.ring(),
            shared_by: service.ring().map_or(0, |ring| self.shared_by(ring)),
            previous,
            digest: self.digest(service),
            members: service.backends().iter().map(member).collect(),
        })
    }

    fn shared_by(&self, ring: u32) -> usize {
        self.forwarding.services().values().filter(|s| s.ring() == Some(ring)).count()
    }

    /// Of the ring as it is on every node: the numbers of members are this node's own affair.
    fn digest(&self, service: &Service) -> Option<u64> {
        let ring = service.ring()?;
        let members = service.wanted();
        if !self.forwarding.rings().holds(ring, members) {
            return None;
        }
        let numbered: Vec<Member> =
            members.iter().zip(1..).map(|(member, id)| Member { id, ..*member }).collect();
        let ring = Ring::build(self.forwarding.hash_key(), &numbered).ok()?;
        Some(ring.digest())
    }
}
