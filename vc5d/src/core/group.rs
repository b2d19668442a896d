//! VIPs that move together: each is as healthy as the worst of its group.

use std::collections::BTreeSet;
use std::time::Instant;

use super::drawn::Drawn;
use super::state::{Effect, State, effect};
use crate::gate::{Admin, Health, Input, State as GateState};

/// What the members of a group say together. One that is switched off holds nobody down.
struct Together {
    /// The first two that are down, each with its words: one of them is not the VIP that asks.
    down: Vec<(usize, String)>,
    /// Members that are undecided.
    undecided: BTreeSet<usize>,
}

impl State {
    /// Tells the gate of a VIP, and those of its group, how healthy they are now.
    pub(super) fn regate(&mut self, at: usize, now: Instant, cause: Instant) -> Vec<Effect> {
        let Some(vip) = self.vips.get(at) else { return Vec::new() };
        let members: Vec<usize> = match &vip.group {
            Some(group) if !vip.removed => self.members(group),
            _ => vec![at],
        };
        self.regate_members(&members, now, cause)
    }

    /// Tells the gates of all VIPs of the configuration; those of a group once.
    pub(super) fn regate_all(&mut self, now: Instant) -> Vec<Effect> {
        let mut seen = BTreeSet::new();
        let mut effects = Vec::new();
        for at in 0..self.vips.len() {
            let Some(vip) = self.vips.get(at).filter(|vip| !vip.removed) else { continue };
            let members = match vip.group.clone() {
                None => vec![at],
                Some(group) if seen.contains(&group) => continue,
                Some(group) => {
                    let members = self.members(&group);
                    seen.insert(group);
                    members
                }
            };
            effects.extend(self.regate_members(&members, now, now));
        }
        effects
    }

    fn regate_members(&mut self, members: &[usize], now: Instant, cause: Instant) -> Vec<Effect> {
        let own: Vec<(usize, Health)> =
            members.iter().filter_map(|at| Some((*at, self.vips.get(*at)?.health()))).collect();
        let together = self.together(&own);
        let mut effects = Vec::new();
        for (at, own) in own {
            let Some(vip) = self.vips.get_mut(at).map(Drawn::change) else { continue };
            let health = match own {
                Health::Up => together.health_of(at, vip.gate.state() == GateState::Announced),
                other => other,
            };
            let level = vip.level();
            vip.gate.set_level(now, level);
            let action = vip.gate(now, Input::Health(health));
            effects.extend(effect(vip, action, now, cause));
        }
        effects
    }

    fn members(&self, group: &str) -> Vec<usize> {
        let member = |vip: &Drawn| vip.group.as_deref() == Some(group) && !vip.removed;
        let all = self.vips.iter().enumerate().filter(|(_, vip)| member(vip));
        all.map(|(at, _)| at).collect()
    }

    fn together(&self, own: &[(usize, Health)]) -> Together {
        let mut together = Together { down: Vec::new(), undecided: BTreeSet::new() };
        for (at, health) in own {
            let Some(vip) = self.vips.get(*at) else { continue };
            match health {
                _ if vip.effective_admin() != Admin::Enabled => {}
                Health::Up => {}
                Health::Unknown => {
                    together.undecided.insert(*at);
                }
                Health::Down(why) if together.down.len() < 2 => {
                    let group = vip.group.as_deref().unwrap_or_default();
                    let text = format!("{} {} of group {group}: {why}", vip.name, vip.address);
                    together.down.push((*at, text));
                }
                Health::Down(_) => {}
            }
        }
        together
    }
}

impl Together {
    /// The health of a member that is up by itself. One that is undecided holds down only those that are not announced
    /// yet.
    fn health_of(&self, at: usize, standing: bool) -> Health {
        if let Some((_, why)) = self.down.iter().find(|(other, _)| *other != at) {
            return Health::Down(why.clone());
        }
        match self.undecided.iter().any(|other| *other != at) && !standing {
            true => Health::Unknown,
            false => Health::Up,
        }
    }
}
