use std::cell::{Cell, RefCell};

use super::*;
use crate::Mac;
use crate::netlink::namespace::Namespace;
use crate::netlink::{NetEvent, Requests};
use crate::topology::{Link, Update, Vlan};

const TAGS: &str = "rx-vlan-hw-parse";
const LRO: &str = "rx-lro";

fn link(index: u32, name: &str) -> Link {
    let (mac, name) = (Mac([2, 0, 0, 0, 0, index as u8]), name.into());
    Link { index, name, mac, up: true, xdp: None, vlan: None, controller: None }
}

fn topology(trunk: bool) -> Topology {
    let mut topology = Topology::new(vec!["e0".into()], BTreeMap::new());
    assert_eq!(topology.update(link(2, "e0")), Update::New);
    if trunk {
        let vlan = Some(Vlan { parent: Some(2), id: 10, service_tag: false });
        assert_eq!(topology.update(Link { vlan, ..link(3, "e0.10") }), Update::New);
    }
    topology
}

/// NICs whose offloads are all on.
struct Nics {
    changeable: bool,
    /// Whether the driver does what it says that it can.
    obeys: bool,
    gone: Cell<bool>,
    off: RefCell<Vec<(String, String)>>,
}

impl Nics {
    fn new(changeable: bool, obeys: bool) -> Self {
        Self { changeable, obeys, gone: Cell::new(false), off: RefCell::default() }
    }

    fn switched_off(&self) -> Vec<String> {
        self.off.borrow().iter().map(|(nic, feature)| format!("{nic} {feature}")).collect()
    }
}

impl Switches for Nics {
    fn features(&self, interface: &str) -> io::Result<BTreeMap<String, Feature>> {
        if self.gone.get() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let feature = |name: &str| {
            let is_off = self.off.borrow().contains(&(interface.to_owned(), name.to_owned()));
            let on = !(is_off && self.obeys);
            (name.to_owned(), Feature { on, changeable: self.changeable })
        };
        Ok(BTreeMap::from([TAGS, LRO, "rx-checksum"].map(feature)))
    }

    fn switch_off(&self, interface: &str, feature: &str) -> io::Result<()> {
        assert!(self.changeable);
        self.off.borrow_mut().push((interface.to_owned(), feature.to_owned()));
        Ok(())
    }
}

#[test]
fn what_can_be_switched_off_is_once() {
    let (nics, mut offloads) = (Nics::new(true, true), Offloads::default());
    offloads.enforce(&topology(false), &nics);
    assert_eq!(nics.switched_off(), ["e0 rx-lro"], "tags are of no interest without VLANs");
    for _ in 0..2 {
        offloads.enforce(&topology(true), &nics);
        assert_eq!(nics.switched_off(), ["e0 rx-lro", "e0 rx-vlan-hw-parse"]);
        assert_eq!(offloads.problem("e0"), None);
    }
}

#[test]
fn what_cannot_be_switched_off_is_reported() {
    let mut offloads = Offloads::default();
    offloads.enforce(&topology(true), &Nics::new(false, false));
    assert_eq!(
        offloads.problem("e0"),
        Some(
            "rx-vlan-hw-parse of e0 is on and its driver does not let it be switched off: the NIC \
             takes VLAN tags off before the program sees them; rx-lro of e0 is on and its driver \
             does not let it be switched off: the NIC merges packets into ones that are too long \
             to be sent on"
        )
    );
    offloads.enforce(&topology(false), &Nics::new(true, false));
    let problem = offloads.problem("e0").unwrap();
    assert!(problem.starts_with("rx-lro of e0 is on and its driver has not"), "{problem}");
    assert!(!problem.contains(TAGS));

    let nics = Nics::new(true, true);
    nics.gone.set(true);
    offloads.enforce(&topology(true), &nics);
    assert!(offloads.problem("e0").unwrap().contains("cannot be read"));
    offloads.enforce(&topology(true), &Nics::new(true, true));
    assert_eq!(offloads.problem("e0"), None);
}

#[test]
fn of_a_bond_the_ports_count() {
    let mut topology = topology(true);
    for (index, name) in [(5, "eth0"), (6, "eth1")] {
        topology.update(Link { controller: Some(2), ..link(index, name) });
    }
    let nics = Nics::new(true, true);
    Offloads::default().enforce(&topology, &nics);
    assert_eq!(
        nics.switched_off(),
        ["eth0 rx-vlan-hw-parse", "eth0 rx-lro", "eth1 rx-vlan-hw-parse", "eth1 rx-lro"]
    );
}

/// Needs root, for a network namespace.
#[test]
fn a_real_interface_loses_its_offload() {
    let namespace = Namespace::new();
    namespace.ip("link add e0 type veth peer name p0");
    namespace.within(|| {
        let switches = Ethtool::open().unwrap();
        let tags = |name| switches.features(name).unwrap().get(TAGS).copied().unwrap();
        assert_eq!(tags("e0"), Feature { on: true, changeable: true });
        let fixed = switches.features("e0").unwrap().get(LRO).copied().unwrap();
        assert_eq!(fixed, Feature { on: false, changeable: false });

        let mut topology = Topology::new(vec!["e0".into()], BTreeMap::from([(10, Vec::new())]));
        for event in Requests::open().unwrap().links().unwrap() {
            if let NetEvent::Link(link) = event {
                topology.update(link);
            }
        }
        let mut offloads = Offloads::default();
        offloads.enforce(&topology, &switches);
        assert_eq!(offloads.problem("e0"), None);
        assert_eq!(tags("e0"), Feature { on: false, changeable: true });
        assert_eq!(tags("p0"), Feature { on: true, changeable: true });

        let error = switches.features("nothing").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let error = switches.features("a name that no interface can have").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let error = switches.switch_off("e0", "no such offload").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    });
}
