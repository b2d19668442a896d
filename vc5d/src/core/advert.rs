//! What goes out with the route of a VIP.

use vc5_bgp::wire::{ExtendedCommunity, LinkBandwidth};

use super::vip::VipEntry;
use crate::config::model::{Capacity, CapacityLevel, Vip};
use crate::gate::Level;

/// AS number that stands for one of more than 16 bits (RFC 6793 section 3).
const AS_TRANS: u16 = 23456;

/// The attributes that a route has by its VIP's state, beside those that filters set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advert {
    /// Name of the `[vip.NAME]`, for filters that ask for it.
    pub name: String,
    /// Routers shall prefer others (RFC 8326).
    pub draining: bool,
    /// MULTI_EXIT_DISC, over that of filters.
    pub med: Option<u32>,
    /// LOCAL_PREF, over that of filters.
    pub local_pref: Option<u32>,
    /// Communities, besides GRACEFUL_SHUTDOWN of a route that is drained.
    pub communities: Vec<u32>,
    /// How much traffic the node can take.
    pub link_bandwidth: Option<LinkBandwidth>,
}

impl Advert {
    /// The community that says the link bandwidth.
    #[must_use]
    pub fn bandwidth_community(&self) -> Option<ExtendedCommunity> {
        self.link_bandwidth.map(ExtendedCommunity::link_bandwidth)
    }
}

/// What the configuration says of the route of a VIP.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    drain_local_pref: u32,
    capacity: Option<Capacity>,
    asn: u32,
}

impl Plan {
    pub(crate) fn new(vip: &Vip, asn: u32) -> Self {
        Self { drain_local_pref: vip.drain_local_pref, capacity: vip.capacity.clone(), asn }
    }

    /// Whether routers are told of the capacity at all.
    pub(crate) fn tells_capacity(&self) -> bool {
        self.capacity.is_some()
    }

    /// How many of the marks are above this share.
    pub(crate) fn marks(&self, share: u8) -> u8 {
        let levels = self.capacity.iter().flat_map(|capacity| &capacity.levels);
        let below = levels.filter(|level| share < level.below).count();
        u8::try_from(below).unwrap_or(u8::MAX)
    }

    fn link_bandwidth(&self, told: Level) -> Option<LinkBandwidth> {
        let capacity = self.capacity.as_ref()?;
        let unit = capacity.link_bandwidth?;
        Some(LinkBandwidth {
            transitive: capacity.transitive,
            asn: u16::try_from(self.asn).unwrap_or(AS_TRANS),
            bytes_per_second: told.weight.saturating_mul(unit) as f32,
        })
    }
}

impl VipEntry {
    /// What goes out with its route now.
    pub(crate) fn advert(&self) -> Advert {
        let told = self.gate.told();
        let draining = self.gate.is_draining();
        let capacity = self.plan.capacity.as_ref();
        let level = capacity.and_then(|capacity| capacity.level(told.share));
        let drained = draining.then_some(self.plan.drain_local_pref);
        let lowered = level.and_then(|level| level.local_pref);
        Advert {
            name: self.name.clone(),
            draining,
            med: level.and_then(|level| level.med),
            local_pref: drained
                .map_or(lowered, |drained| Some(lowered.unwrap_or(drained).min(drained))),
            communities: level.map(communities).unwrap_or_default(),
            link_bandwidth: self.plan.link_bandwidth(told),
        }
    }
}

fn communities(level: &CapacityLevel) -> Vec<u32> {
    level.add_communities.clone()
}
