//! UPDATE from octets, for keeping.

use ipnet::{IpNet, Ipv4Net};

use super::view::UpdateView;
use super::{MpReach, MpUnreach, Update};
use crate::wire::error::Action;
use crate::wire::{Family, Nlri};

impl UpdateView<'_> {
    /// What is left to act on.
    #[inline]
    pub(super) fn to_update(&self) -> Update {
        let mut update = Update {
            withdrawn: self.withdrawn.to_ipv4_vec(false),
            attributes: self.attributes().to_attributes(),
            nlri: self.nlri.to_ipv4_vec(true),
            mp_reach: self.reach().map(|reach| MpReach {
                family: reach.family,
                next_hop: reach.next_hop,
                nlri: reach.routes.to_vec(true),
            }),
            mp_unreach: self.unreach().map(|unreach| MpUnreach {
                family: unreach.family,
                nlri: unreach.routes.to_vec(false),
            }),
        };
        if self.action() == Action::TreatAsWithdraw {
            withdraw_all(&mut update);
        }
        if update.nlri.is_empty() {
            // RFC 4760 section 3: without NLRI, NEXT_HOP is to be ignored.
            update.attributes.next_hop = None;
        }
        prefer_announcements(&mut update);
        update
    }
}

/// Turns every announcement into a withdrawal (RFC 7606 section 2).
fn withdraw_all(update: &mut Update) {
    update.withdrawn.append(&mut update.nlri);
    let Some(reach) = update.mp_reach.take() else { return };
    if let Some(unreach) = &mut update.mp_unreach
        && unreach.family == reach.family
    {
        unreach.nlri.extend(reach.nlri);
        return;
    }
    // One message has one MP_UNREACH_NLRI: IPv4 routes give way to their own field.
    let reached = MpUnreach { family: reach.family, nlri: reach.nlri };
    let unreached = update.mp_unreach.take();
    for part in unreached.into_iter().chain([reached]) {
        match part.family {
            Family::IPV4_UNICAST => update.withdrawn.extend(part.nlri.iter().filter_map(v4)),
            _ => update.mp_unreach = Some(part),
        }
    }
}

fn v4(nlri: &Nlri) -> Option<Nlri<Ipv4Net>> {
    match nlri.prefix {
        IpNet::V4(prefix) => Some(Nlri { prefix, path_id: nlri.path_id }),
        IpNet::V6(_) => None,
    }
}

/// A prefix both withdrawn and announced counts as announced (RFC 4271 section 4.3).
fn prefer_announcements(update: &mut Update) {
    if update.withdrawn.is_empty() && update.mp_unreach.is_none() {
        return;
    }
    let mut announced: Vec<Nlri> = update.announcements().map(|(nlri, _)| nlri).collect();
    if announced.is_empty() {
        return;
    }
    announced.sort_unstable();
    let is_gone = |nlri: &Nlri| announced.binary_search(nlri).is_err();
    update.withdrawn.retain(|nlri| is_gone(&(*nlri).into()));
    if let Some(unreach) = &mut update.mp_unreach {
        unreach.nlri.retain(is_gone);
    }
}
