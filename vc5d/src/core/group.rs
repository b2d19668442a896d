//! VIPs that move together: each is as healthy as the worst of its group, and as ready in the dataplane.

use std::collections::BTreeSet;
use std::time::Instant;

use super::drawn::Drawn;
use super::state::{Effect, State, effect};
use super::vip::VipEntry;
use crate::gate::{Admin, Health, Input, Ready, State as GateState};

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
        let members = self.with_group(at);
        self.regate_members(&members, now, cause)
    }

    /// A VIP with those of its group.
    fn with_group(&self, at: usize) -> Vec<usize> {
        match self.vips.get(at).filter(|vip| !vip.removed).and_then(|vip| vip.group.as_ref()) {
            Some(group) => self.members(group),
            None => vec![at],
        }
    }

    /// These VIPs with those of their groups, each group once.
    fn moving_together(&self, vips: &[usize]) -> Vec<Vec<usize>> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for at in vips {
            if !seen.contains(at) {
                let members = self.with_group(*at);
                seen.extend(members.iter().copied());
                all.push(members);
            }
        }
        all
    }

    /// Tells the gates how ready their VIPs are, after the dataplane's word on some has changed. When a route that
    /// stands loses its rings, those of its group go with it.
    pub(super) fn settle_readiness(&mut self, changed: &[usize], now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for members in self.moving_together(changed) {
            let lost = self.unready(&members, |vip| vip.gate.state() == GateState::Announced);
            let all = self.unready(&members, |_| true);
            for at in members {
                let Some(vip) = self.vips.get(at) else { continue };
                let stands = vip.gate.state() == GateState::Announced;
                let held = if stands { &lost } else { &all };
                let ready = together_with(vip, at, held);
                if let Some(vip) = self.vips.get_mut(at).filter(|vip| *vip.gate.ready() != ready) {
                    let vip = vip.change();
                    let action = vip.gate(now, Input::Ready(ready));
                    effects.extend(effect(vip, action, now, now));
                }
            }
        }
        effects
    }

    /// The first two members that the dataplane cannot carry, each with its words. One that is switched off holds up
    /// nobody.
    fn unready(
        &self,
        members: &[usize],
        which: impl Fn(&VipEntry) -> bool,
    ) -> Vec<(usize, String)> {
        let members = members.iter().filter_map(|at| Some((*at, self.vips.get(*at)?)));
        let words = members.filter_map(|(at, vip)| match &vip.ready {
            Ready::No(why) if vip.effective_admin() == Admin::Enabled && which(vip) => {
                Some((at, of_group(vip, why)))
            }
            _ => None,
        });
        words.take(2).collect()
    }

    /// Tells the gates of all VIPs of the configuration.
    pub(super) fn regate_all(&mut self, now: Instant) -> Vec<Effect> {
        let present = self.vips.iter().enumerate().filter(|(_, vip)| !vip.removed);
        let all: Vec<usize> = present.map(|(at, _)| at).collect();
        self.regate_each(&all, now)
    }

    /// Tells the gates of these VIPs, and those of their groups; each once.
    pub(super) fn regate_each(&mut self, changed: &[usize], now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for members in self.moving_together(changed) {
            effects.extend(self.regate_members(&members, now, now));
        }
        effects
    }

    fn regate_members(&mut self, members: &[usize], now: Instant, cause: Instant) -> Vec<Effect> {
        let own: Vec<(usize, Health)> =
            members.iter().filter_map(|at| Some((*at, self.vips.get(*at)?.health()))).collect();
        let together = self.together(&own);
        let unready = self.unready(members, |_| true);
        let mut effects = Vec::new();
        for (at, own) in own {
            let Some(vip) = self.vips.get_mut(at).map(Drawn::change) else { continue };
            let health = match own {
                Health::Up => together.health_of(at, vip.gate.state() == GateState::Announced),
                other => other,
            };
            if vip.gate.state() != GateState::Announced {
                let ready = together_with(vip, at, &unready);
                vip.gate.prepare(now, Input::Ready(ready));
            }
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
                    together.down.push((*at, of_group(vip, why)));
                }
                Health::Down(_) => {}
            }
        }
        together
    }
}

/// How ready a VIP is with others of its group that are not.
fn together_with(vip: &VipEntry, at: usize, unready: &[(usize, String)]) -> Ready {
    let other = unready.iter().find(|(other, _)| *other != at);
    match (&vip.ready, other) {
        (Ready::Yes, Some((_, why))) => Ready::No(why.clone()),
        (own, _) => own.clone(),
    }
}

/// What keeps a member from being announced, for the others.
fn of_group(vip: &VipEntry, why: &str) -> String {
    let group = vip.group.as_deref().unwrap_or_default();
    format!("{} {} of group {group}: {why}", vip.name, vip.address)
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
