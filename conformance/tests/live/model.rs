//! What is wanted of the dataplane, and changes of it that are drawn at random.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vc5_conformance::lab::live::frame::backend_mac;
use vc5_conformance::lab::live::{Rng, Standing, Target, Transport, Wire};
use vc5_xdp::{
    BackendSpec, Desired, L4, Mac, OnDown, Ports, RealState, ServiceSpec, Unknown, VipSpec, Way,
};

/// For how long backends that were left out drain.
pub(crate) const DRAIN: Duration = Duration::from_millis(700);
/// Backends that all stay in use, and so can change their MAC address at any time.
pub(crate) const ANCHORED: u16 = 300;
/// All backends.
pub(crate) const BACKENDS: u16 = 330;
/// Where backends are by turns: untagged, and in VLANs.
const VLANS: [u16; 5] = [0, 10, 11, 2047, 4094];
/// The VLAN that half of the clients are in: backends are there, too.
pub(crate) const CLIENTS: u16 = 11;
/// Stands for the links, where a number says which service is changed.
const LINKS: usize = usize::MAX;
/// Services with one VIP and fixed backends, that come and go.
const PASSING: usize = 24;
/// Backends of the smaller and of the larger pool.
const SIZES: (usize, usize) = (3, 300);
/// Live backends with a weight that a service keeps.
const LEAST: usize = 2;

/// What is done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: it keeps all backends in use.
    Anchor,
    /// Its backends change.
    Lasting,
    /// It changes between a small and a large pool.
    Sized,
    /// It comes and goes with its VIP.
    Passing,
}

/// Kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    VipAdded,
    VipRemoved,
    BackendAdded,
    BackendRemoved,
    Weight,
    Drained,
    Undrained,
    Down,
    Up,
    Mac,
    VlanMoved,
    Resized,
}

/// How many of each, at least.
pub(crate) const PLAN: [(Kind, u32); 12] = [
    (Kind::VipAdded, 650),
    (Kind::VipRemoved, 650),
    (Kind::BackendAdded, 950),
    (Kind::BackendRemoved, 950),
    (Kind::Weight, 1400),
    (Kind::Drained, 1100),
    (Kind::Undrained, 700),
    (Kind::Down, 1000),
    (Kind::Up, 700),
    (Kind::Mac, 700),
    (Kind::VlanMoved, 700),
    (Kind::Resized, 600),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    weight: u32,
    state: RealState,
}

impl Member {
    const NEW: Self = Self { weight: 1, state: RealState::Live };

    fn takes_new(self) -> bool {
        self.state == RealState::Live && self.weight > 0
    }

    fn standing(self) -> Standing {
        match self.state {
            RealState::Live if self.weight > 0 => Standing::Live,
            RealState::Live => Standing::Weightless,
            RealState::Draining => Standing::Draining,
            _ => Standing::Down,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) role: Role,
    vip: IpAddr,
    ports: Ports,
    transport: Transport,
    ttl: Option<u8>,
    sticky: bool,
    /// Backends that it can have.
    pool: Vec<u16>,
    pub(crate) members: BTreeMap<u16, Member>,
    pub(crate) in_force: bool,
}

/// One change, as far as it is told to others than the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A backend of a service stands otherwise.
    Backend(usize, u16, Standing),
    /// A service begins.
    Begin(usize),
    /// A service ends.
    End(usize),
    /// A backend has another MAC address, of this number.
    Mac(u16, u16),
    /// A backend is in another VLAN, 0 for none.
    Vlan(u16, u16),
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) services: Vec<Service>,
    /// The MAC address that each backend has, by number.
    macs: Vec<u16>,
    /// The VLAN that each is in, 0 for none.
    vlans: Vec<u16>,
    /// Backends whose address has not been followed yet.
    pub(crate) waiting: BTreeSet<u16>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut services = vec![service(Role::Anchor, 0, Ports::One(80), Transport::Tcp)];
        services[0].pool = (0..ANCHORED).collect();
        let lasting = [
            (2, Ports::One(80), Transport::Tcp),
            (2, Ports::One(53), Transport::Udp),
            (3, Ports::One(80), Transport::Tcp),
            (3, Ports::One(53), Transport::Udp),
            (4, Ports::Range(8000, 8099), Transport::Tcp),
            (5, Ports::All, Transport::Tcp),
            (6, Ports::All, Transport::Udp),
            (7, Ports::One(443), Transport::Tcp),
            (8, Ports::One(443), Transport::Tcp),
            (9, Ports::One(443), Transport::Udp),
        ];
        for (number, (vip, ports, transport)) in (0u16..).zip(lasting) {
            let mut lasting = service(Role::Lasting, vip, ports, transport);
            // The last ones are in no other service, so that they are forgotten when they leave.
            lasting.pool = (number * 7..number * 7 + 10).collect();
            lasting.pool.extend((0..3).map(|more| ANCHORED + number * 3 + more));
            lasting.sticky = number == 4;
            lasting.ttl = (number % 2 == 0).then_some(1);
            services.push(lasting);
        }
        for (vip, transport) in [(10, Transport::Tcp), (11, Transport::Tcp), (12, Transport::Udp)] {
            let mut sized = service(Role::Sized, vip, Ports::One(8443), transport);
            sized.pool = (0..ANCHORED).collect();
            services.push(sized);
        }
        for number in 0..PASSING as u16 {
            let transport = if number % 3 == 0 { Transport::Udp } else { Transport::Tcp };
            let mut passing = service(Role::Passing, 20 + number, Ports::One(80), transport);
            passing.pool = (number * 3..number * 3 + 3).collect();
            passing.in_force = false;
            services.push(passing);
        }
        for service in &mut services {
            let first = match service.role {
                Role::Anchor | Role::Passing => service.pool.len(),
                Role::Lasting => 8,
                Role::Sized => SIZES.0,
            };
            service.members =
                service.pool.iter().take(first).map(|at| (*at, Member::NEW)).collect();
        }
        let none = vec![0; usize::from(BACKENDS)];
        Self { services, macs: none.clone(), vlans: none, waiting: BTreeSet::new() }
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        let target = |service: &Service| Target {
            vip: service.vip,
            ports: match service.ports {
                Ports::One(port) => (port, port),
                Ports::Range(first, last) => (first, last),
                Ports::All => (1000, 60_000),
            },
            transport: service.transport,
            ttl: service.ttl.unwrap_or(63),
            connections: match service.role {
                Role::Anchor => 200,
                Role::Lasting => 240,
                Role::Sized => 200,
                Role::Passing => 32,
            },
        };
        self.services.iter().map(target).collect()
    }

    pub(crate) fn desired(&self) -> Desired {
        let mut vips: BTreeMap<IpAddr, VipSpec> = BTreeMap::new();
        for service in self.services.iter().filter(|service| service.in_force) {
            let (address, unknown) = (service.vip, Unknown::Drop);
            let new = VipSpec { address, up: true, unknown, services: Vec::new() };
            vips.entry(address).or_insert(new).services.push(service.spec());
        }
        Desired { vips: vips.into_values().collect() }
    }

    /// The ways to the backends that are in a VLAN.
    pub(crate) fn ways(&self) -> BTreeMap<IpAddr, Way> {
        let interfaces = Wire::interfaces();
        let way = |(backend, (vlan, mac)): (u16, (&u16, &u16))| {
            let interface = interfaces[usize::from(backend % 2)].clone();
            let way = Way { interface, vlan: *vlan, mac: Mac(backend_mac(backend, *mac)) };
            (*vlan != 0).then(|| (Wire::address(backend), way))
        };
        (0..).zip(self.vlans.iter().zip(&self.macs)).filter_map(way).collect()
    }

    /// How all of it stands.
    pub(crate) fn standings(&self) -> Vec<(usize, u16, Standing)> {
        let mut all = Vec::new();
        for (number, service) in self.services.iter().enumerate() {
            let members = service.members.iter();
            all.extend(members.map(|(backend, member)| (number, *backend, member.standing())));
        }
        all
    }

    /// Makes a change of a kind, if one is possible; none of what is in `touched`, to which it is
    /// added.
    pub(crate) fn draw(
        &mut self,
        kind: Kind,
        rng: &mut Rng,
        touched: &mut BTreeSet<(usize, u16)>,
    ) -> Option<Vec<Change>> {
        match kind {
            Kind::VipAdded | Kind::VipRemoved => {
                let at = self.pick(rng, |s| {
                    s.role == Role::Passing && s.in_force == (kind == Kind::VipRemoved)
                })?;
                touched.insert((at, u16::MAX)).then_some(())?;
                self.services[at].in_force = kind == Kind::VipAdded;
                Some(vec![if kind == Kind::VipAdded { Change::Begin(at) } else { Change::End(at) }])
            }
            Kind::Mac => {
                let backend = rng.below(usize::from(ANCHORED)) as u16;
                // In a VLAN it has not the address that the kernel knows.
                (self.vlans[usize::from(backend)] == 0).then_some(())?;
                touched.insert((LINKS, backend)).then_some(())?;
                self.waiting.insert(backend).then_some(())?;
                self.macs[usize::from(backend)] += 1;
                Some(vec![Change::Mac(backend, self.macs[usize::from(backend)])])
            }
            Kind::VlanMoved => {
                let backend = rng.below(usize::from(ANCHORED)) as u16;
                (!self.waiting.contains(&backend)).then_some(())?;
                touched.insert((LINKS, backend)).then_some(())?;
                let vlan = &mut self.vlans[usize::from(backend)];
                let others: Vec<u16> = VLANS.into_iter().filter(|other| other != vlan).collect();
                *vlan = others[rng.below(others.len())];
                Some(vec![Change::Vlan(backend, *vlan)])
            }
            Kind::Resized => {
                let at = self.pick(rng, |s| s.role == Role::Sized)?;
                touched.insert((at, u16::MAX)).then_some(())?;
                Some(self.resize(at))
            }
            _ => {
                let at = self.pick(rng, |s| s.role == Role::Lasting)?;
                let service = &mut self.services[at];
                let backend = service.pool[rng.below(service.pool.len())];
                (!touched.contains(&(at, backend))).then_some(())?;
                let standing = service.change(backend, kind, rng)?;
                touched.insert((at, backend));
                Some(vec![Change::Backend(at, backend, standing)])
            }
        }
    }

    fn pick(&self, rng: &mut Rng, wanted: impl Fn(&Service) -> bool) -> Option<usize> {
        let all = 0..self.services.len();
        let chosen: Vec<usize> = all.filter(|at| wanted(&self.services[*at])).collect();
        chosen.get(rng.below(chosen.len())).copied()
    }

    fn resize(&mut self, at: usize) -> Vec<Change> {
        let service = &mut self.services[at];
        let grows = service.members.len() == SIZES.0;
        let others: Vec<u16> = service.pool[SIZES.0..SIZES.1].to_vec();
        let mut changes = Vec::new();
        for backend in others {
            let standing = if grows {
                service.members.insert(backend, Member::NEW);
                Standing::Live
            } else {
                service.members.remove(&backend);
                absent()
            };
            changes.push(Change::Backend(at, backend, standing));
        }
        changes
    }
}

impl Service {
    fn spec(&self) -> ServiceSpec {
        let backend = |(number, member): (&u16, &Member)| BackendSpec {
            address: Wire::address(*number),
            weight: member.weight,
            state: member.state,
        };
        ServiceSpec {
            ports: self.ports,
            protocol: match self.transport {
                Transport::Tcp => L4::Tcp,
                Transport::Udp => L4::Udp,
            },
            ttl: self.ttl,
            on_down: OnDown::Reselect,
            sticky: self.sticky,
            serving: true,
            needed: true,
            backends: self.members.iter().map(backend).collect(),
        }
    }

    /// Changes how a backend stands, if it can be changed so.
    fn change(&mut self, backend: u16, kind: Kind, rng: &mut Rng) -> Option<Standing> {
        let before = self.members.get(&backend).copied();
        let others =
            self.members.iter().filter(|(at, member)| **at != backend && member.takes_new());
        let may_stop = others.count() >= LEAST;
        let is = |state: RealState| before.filter(|member| member.state == state);
        let with = |member: Member, state: RealState| Some(Member { state, ..member });
        let after = match kind {
            Kind::BackendAdded if before.is_none() => Some(Member::NEW),
            Kind::BackendRemoved if before.is_some() && may_stop => None,
            Kind::Weight => {
                let before = before?;
                let least = if may_stop { 0 } else { 1 };
                let weight = least + rng.below(6) as u32;
                (weight != before.weight).then_some(())?;
                Some(Member { weight, ..before })
            }
            Kind::Drained if may_stop => with(is(RealState::Live)?, RealState::Draining),
            Kind::Undrained => with(is(RealState::Draining)?, RealState::Live),
            Kind::Down if may_stop => {
                let before = before.filter(|member| member.state != RealState::Down)?;
                with(before, RealState::Down)
            }
            Kind::Up => with(is(RealState::Down)?, RealState::Live),
            _ => return None,
        };
        match after {
            Some(after) => self.members.insert(backend, after),
            None => self.members.remove(&backend),
        };
        Some(after.map_or_else(absent, Member::standing))
    }
}

fn service(role: Role, vip: u16, ports: Ports, transport: Transport) -> Service {
    let text = if vip.is_multiple_of(2) {
        format!("203.0.113.{vip}")
    } else {
        format!("2001:db8:1::{vip}")
    };
    Service {
        role,
        vip: text.parse().unwrap(),
        ports,
        transport,
        ttl: Some(1),
        sticky: false,
        pool: Vec::new(),
        members: BTreeMap::new(),
        in_force: true,
    }
}

fn absent() -> Standing {
    Standing::Absent { drain: DRAIN.as_nanos() as u64 }
}
