//! VIPs that move together: each is as healthy as the worst of its group.

use std::time::Instant;

use super::state::{Effect, State, effect};
use super::vip::VipEntry;
use crate::gate::{Admin, Health, Input, State as GateState};

impl State {
    /// Tells the gate of a VIP, and those of its group, how healthy they are now.
    pub(super) fn regate(&mut self, at: usize, now: Instant, cause: Instant) -> Vec<Effect> {
        let Some(vip) = self.vips.get(at) else { return Vec::new() };
        let members: Vec<usize> = match &vip.group {
            Some(group) if !vip.removed => self.members(group),
            _ => vec![at],
        };
        let own: Vec<(usize, Health)> =
            members.iter().filter_map(|at| Some((*at, self.vips.get(*at)?.health()))).collect();
        let mut effects = Vec::new();
        for (at, health) in &own {
            let health = match health {
                Health::Up => self.with_the_others(*at, &own),
                other => other.clone(),
            };
            if let Some(vip) = self.vips.get_mut(*at) {
                let action = vip.gate(now, Input::Health(health));
                effects.extend(effect(vip, action, now, cause));
            }
        }
        effects
    }

    fn members(&self, group: &str) -> Vec<usize> {
        let member = |vip: &VipEntry| vip.group.as_deref() == Some(group) && !vip.removed;
        let all = self.vips.iter().enumerate().filter(|(_, vip)| member(vip));
        all.map(|(at, _)| at).collect()
    }

    /// The health of a VIP that is up by itself. A member that is switched off holds nobody down, and one that is
    /// undecided only those that are not announced yet.
    fn with_the_others(&self, at: usize, own: &[(usize, Health)]) -> Health {
        let standing =
            self.vips.get(at).is_some_and(|vip| vip.gate.state() == GateState::Announced);
        let others = own.iter().filter_map(|(other, health)| {
            let vip = self.vips.get(*other).filter(|_| *other != at)?;
            (vip.effective_admin() == Admin::Enabled).then_some((vip, health))
        });
        let mut together = Health::Up;
        for (vip, health) in others {
            match health {
                Health::Up => {}
                Health::Unknown if standing => {}
                Health::Unknown => together = Health::Unknown,
                Health::Down(why) => {
                    let group = vip.group.as_deref().unwrap_or_default();
                    let (name, address) = (&vip.name, vip.address);
                    return Health::Down(format!("{name} {address} of group {group}: {why}"));
                }
            }
        }
        together
    }
}
