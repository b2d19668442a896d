//! Offloads of the NIC that keep the program from seeing packets as they were on the wire. They are
//! switched off where the driver lets us, and reported where it does not.

mod ethtool;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

pub(crate) use ethtool::Ethtool;

use crate::topology::Topology;

/// An offload that must be off.
struct Breaking {
    /// Its name in the kernel.
    feature: &'static str,
    /// Its name for `ethtool -K`.
    option: &'static str,
    /// Only where VLANs come tagged.
    trunk_only: bool,
    /// What it does to the program.
    harm: &'static str,
}

const BREAKING: [Breaking; 4] = [
    Breaking {
        feature: "rx-vlan-hw-parse",
        option: "rxvlan",
        trunk_only: true,
        harm: "the NIC takes VLAN tags off before the program sees them",
    },
    Breaking {
        feature: "rx-vlan-stag-hw-parse",
        option: "rx-vlan-stag-hw-parse",
        trunk_only: true,
        harm: "the NIC takes service VLAN tags off before the program sees them",
    },
    Breaking {
        feature: "rx-lro",
        option: "lro",
        trunk_only: false,
        harm: "the NIC merges packets into ones that are too long to be sent on",
    },
    Breaking {
        feature: "rx-gro-hw",
        option: "rx-gro-hw",
        trunk_only: false,
        harm: "the NIC merges packets into ones that are too long to be sent on",
    },
];

/// State of an offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) on: bool,
    /// It can be switched.
    pub(crate) changeable: bool,
}

/// Who knows and switches offloads.
pub(crate) trait Switches {
    /// The offloads of an interface, by their names in the kernel.
    fn features(&self, interface: &str) -> io::Result<BTreeMap<String, Feature>>;
    /// Asks for an offload to be off, which the driver may still refuse to do.
    fn switch_off(&self, interface: &str, feature: &str) -> io::Result<()>;
}

/// What is wrong with the offloads of the dataplane's interfaces.
#[derive(Debug, Default)]
pub(crate) struct Offloads {
    problems: BTreeMap<String, String>,
}

impl Offloads {
    /// Switches off what must be off on the dataplane's interfaces, or on the ports of those that
    /// are bonds. They stay off when the dataplane ends.
    pub(crate) fn enforce(&mut self, topology: &Topology, switches: &impl Switches) {
        let mut problems = BTreeMap::new();
        for port in topology.ports() {
            let devices = topology.devices(port.ifindex);
            let found: Vec<String> = devices
                .iter()
                .flat_map(|device| enforce_on(device, port.trunk, switches))
                .collect();
            if let Some(link) = topology.by_index(port.ifindex).filter(|_| !found.is_empty()) {
                problems.insert(link.name.clone(), found.join("; "));
            }
        }
        for (interface, problem) in &problems {
            if self.problems.get(interface) != Some(problem) {
                tracing::warn!(interface, "{problem}");
            }
        }
        self.problems = problems;
    }

    /// What is wrong with those of an interface.
    pub(crate) fn problem(&self, interface: &str) -> Option<&str> {
        self.problems.get(interface).map(String::as_str)
    }
}

/// The problems that remain on one NIC.
fn enforce_on(device: &str, trunk: bool, switches: &impl Switches) -> Vec<String> {
    let features = match switches.features(device) {
        Ok(features) => features,
        Err(error) => return vec![format!("the offloads of {device} cannot be read: {error}")],
    };
    let due = |b: &&Breaking| {
        (trunk || !b.trunk_only) && features.get(b.feature).is_some_and(|feature| feature.on)
    };
    let mut problems = Vec::new();
    for breaking in BREAKING.iter().filter(due) {
        let Breaking { feature, option, harm, .. } = breaking;
        let changeable = features.get(*feature).is_some_and(|f| f.changeable);
        match switch_off(device, feature, changeable, switches) {
            Ok(()) => tracing::info!(
                device,
                "switched off {feature}, as {harm}; it stays off when the dataplane ends \
                 (`ethtool -K {device} {option} on` restores it)"
            ),
            Err(reason) => {
                problems.push(format!("{feature} of {device} is on and {reason}: {harm}"));
            }
        }
    }
    problems
}

fn switch_off(
    device: &str,
    feature: &str,
    changeable: bool,
    switches: &impl Switches,
) -> Result<(), String> {
    if !changeable {
        return Err("its driver does not let it be switched off".into());
    }
    let cannot = |error: io::Error| format!("cannot be switched off ({error})");
    switches.switch_off(device, feature).map_err(cannot)?;
    match switches.features(device).map_err(cannot)?.get(feature) {
        Some(Feature { on: true, .. }) => Err("its driver has not switched it off".into()),
        _ => Ok(()),
    }
}
