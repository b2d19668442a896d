//! What is worth knowing about an interface, as it keeps packets or backends from being reached.

use super::{Known, Link, Topology};

impl Topology {
    /// What to know about one of the dataplane's interfaces, in words. `native` is how the program
    /// runs on it: in the driver, not in the kernel's stack.
    pub(crate) fn caveats(&self, index: u32, native: bool) -> Vec<String> {
        let Some(port) = self.links.get(&index) else { return Vec::new() };
        let mut caveats = Vec::new();
        if let Some(controller) = port.link.controller {
            caveats.push(match self.by_index(controller) {
                Some(Link { name, .. }) => format!("it is a port of {name}; name that one instead"),
                None => format!(
                    "it is a port of a bond or bridge, interface {controller}; name that one instead"
                ),
            });
        }
        let is_bond = self.links.values().any(|known| known.link.controller == Some(index));
        if is_bond && !native && self.is_trunk(index) {
            caveats.push(
                "in generic mode the kernel takes the VLAN tags off what comes in by a bond before \
                 the program sees them, so tagged packets are not forwarded; use mode = \"native\""
                    .into(),
            );
        }
        for child in self.children(index) {
            let Link { name, mac, vlan, .. } = &child.link;
            if vlan.is_some_and(|vlan| vlan.service_tag) {
                caveats.push(format!(
                    "{name} is a service VLAN (802.1ad), where no backend is reached"
                ));
            } else if *mac != port.link.mac {
                caveats.push(format!(
                    "frames to the MAC address that {name} has of its own are passed"
                ));
            }
            for inner in self.children(child.link.index) {
                let inner = &inner.link.name;
                caveats.push(format!("{inner} is a VLAN in a VLAN, where no backend is reached"));
            }
        }
        caveats
    }

    fn children(&self, index: u32) -> impl Iterator<Item = &Known> {
        let is_child =
            move |known: &&Known| known.link.vlan.is_some_and(|v| v.parent == Some(index));
        self.links.values().filter(is_child)
    }
}
