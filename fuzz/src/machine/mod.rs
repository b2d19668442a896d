//! One neighbour's state machine, the driver that it needs, and a clock that only the fuzzer moves.

mod check;
mod neighbour;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use ipnet::IpNet;
use vc5_bgp::policy::{Policy, Rule, Then};
use vc5_bgp::rib::{Origin, Route};
use vc5_bgp::session::{
    Event, FamilyConfig, LimitAction, LocalSpeaker, Peer, PeerConfig, PeerEvent, PrefixLimit, Role,
    StateName, StopCause,
};
use vc5_bgp::wire::{Attributes, Family};

const US: LocalSpeaker = LocalSpeaker { router_id: Ipv4Addr::new(192, 0, 2, 1), local_as: 65001 };
const OUR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const THEIR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// More than the longest timer: twice the longest hold time, with jitter.
const HORIZON: Duration = Duration::from_secs(200_000);

/// The peer and what its driver knows.
#[derive(Debug)]
pub struct Machine {
    peer: Peer,
    now: Instant,
    external: bool,
    /// Asked to dial, and neither connected nor given up.
    dialling: bool,
    /// TCP connections that stand, ours and theirs.
    connected: [bool; 2],
    state: StateName,
    established: bool,
    learned: BTreeSet<(IpNet, u32)>,
}

impl Machine {
    /// A stopped peer, its configuration chosen by `u`.
    ///
    /// # Errors
    /// The octets are used up.
    pub fn new(u: &mut Unstructured<'_>) -> Result<Self> {
        let now = Instant::now();
        let config = config(u)?;
        let external = config.neighbor_as != US.local_as;
        Ok(Self {
            peer: Peer::new(now, US, Arc::new(config), u.arbitrary()?),
            now,
            external,
            dialling: false,
            connected: [false; 2],
            state: StateName::Idle,
            established: false,
            learned: BTreeSet::new(),
        })
    }

    /// Lets one thing happen, and checks that the machine stays what it has to be.
    ///
    /// # Errors
    /// The octets are used up.
    pub fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=27)? {
            0 | 1 => self.handle(Event::Start),
            2 => {
                let causes = [
                    StopCause::Shutdown,
                    StopCause::Deconfigured,
                    StopCause::Reset,
                    StopCause::ConfigChange,
                ];
                let message = u.arbitrary::<bool>()?.then_some("so long");
                self.handle(Event::Stop { cause: *u.choose(&causes)?, message });
            }
            3..=5 => self.connect(role(u)?),
            6 => self.fail(role(u)?),
            7..=13 => {
                let octets = neighbour::octets(u, &self.peer, self.external)?;
                self.receive(role(u)?, &octets);
            }
            14 => self.handle(Event::Sent { role: role(u)? }),
            15 => self.transmit(role(u)?),
            16 => self.wait(Duration::from_millis(u.int_in_range(0..=30_000)?)),
            17 => self.fire(),
            18 => self.export(u)?,
            20.. => self.advance(u)?,
            _ => {
                let config =
                    PeerConfig { neighbor_as: self.peer.config().neighbor_as, ..config(u)? };
                self.peer.reconfigure(self.now, Arc::new(config));
            }
        }
        self.collect();
        self.check();
        Ok(())
    }

    /// What a good neighbour would let happen next.
    fn advance(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if !self.peer.is_running() {
            self.handle(Event::Start);
            return Ok(());
        }
        let role = if self.connected[0] { Role::Outgoing } else { Role::Incoming };
        match self.state {
            StateName::Idle => self.fire(),
            StateName::Active | StateName::Connect if self.dialling => self.connect(Role::Outgoing),
            StateName::Active | StateName::Connect if self.connected == [false; 2] => {
                self.connect(Role::Incoming);
            }
            StateName::Active | StateName::Connect | StateName::OpenSent => {
                let octets = neighbour::good_open(u, &self.peer)?;
                self.receive(role, &octets);
            }
            StateName::OpenConfirm => self.receive(role, &neighbour::keepalive()),
            StateName::Established => {
                let octets = neighbour::update(u, &self.peer, self.external)?;
                self.receive(self.peer.session_role().unwrap_or(role), &octets);
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event<'_>) {
        self.peer.handle(self.now, event);
    }

    /// Only a connection that was asked for; of the neighbour's a second one only where the peer
    /// takes it in place of the first.
    fn connect(&mut self, role: Role) {
        let possible = match role {
            Role::Outgoing => self.dialling,
            Role::Incoming => !self.connected[1] || self.peer.accepts_incoming(),
        };
        if possible {
            self.dialling &= role != Role::Outgoing;
            self.connected[role as usize] = true;
            self.handle(Event::TcpConnected { role, local: OUR_ADDRESS, interface: &[] });
        }
    }

    fn fail(&mut self, role: Role) {
        let dialling = role == Role::Outgoing && self.dialling;
        if dialling || self.connected[role as usize] {
            self.dialling &= !dialling;
            self.connected[role as usize] = false;
            self.handle(Event::TcpFailed { role, error: "reset by the fuzzer" });
        }
    }

    fn receive(&mut self, role: Role, octets: &[u8]) {
        if self.connected[role as usize] {
            self.handle(Event::Received { role, bytes: octets });
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.peer.handle_timeout(self.now);
        let next = self.peer.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now), "a timer that fired is still due");
    }

    fn fire(&mut self) {
        if let Some(at) = self.peer.poll_timeout() {
            self.wait(at.saturating_duration_since(self.now));
        }
    }

    fn export(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let last: u8 = u.int_in_range(0..=7)?;
        let prefix: IpNet = match u.arbitrary()? {
            true => IpNet::new(IpAddr::from([198, 51, 100, last]), 32),
            false => IpNet::new(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()]), 128),
        }
        .expect("a valid length");
        let med: Option<u32> = u.arbitrary()?;
        let route = Route {
            origin: Origin::local(),
            attributes: Arc::new(Attributes { med, ..Attributes::default() }),
            next_hop: None,
            path_id: 0,
            since: self.now,
        };
        match u.int_in_range(0..=2)? {
            0 => self.peer.export(prefix, None),
            1 => self.peer.export(prefix, Some(&route)),
            _ => self.peer.export_all([(&prefix, &route)].into_iter()),
        }
        Ok(())
    }
}

fn role(u: &mut Unstructured<'_>) -> Result<Role> {
    u.choose(&Role::ALL).copied()
}

fn config(u: &mut Unstructured<'_>) -> Result<PeerConfig> {
    let bits: u16 = u.arbitrary()?;
    let has = |bit: u32| bits >> bit & 1 != 0;
    let neighbor_as = if has(0) { 70_000 } else { US.local_as };
    let seconds = |on: bool, seconds| Duration::from_secs(if on { seconds } else { 0 });
    let mut config = PeerConfig {
        passive: has(1),
        automatic_start: !has(2) || has(3),
        notification_without_open: has(4),
        hold_time: Duration::from_secs(*u.choose(&[0, 3, 9, 90, 65535])?),
        keepalive_time: has(5).then_some(Duration::from_secs(1)),
        connect_delay_time: seconds(has(6), 2),
        delay_open_time: seconds(has(7), 3),
        extended_messages: has(8),
        enhanced_route_refresh: has(9),
        allow_as_sets: has(10),
        enforce_first_as: has(11),
        ..PeerConfig::new("peer", THEIR_ADDRESS, neighbor_as)
    };
    for (family, on) in [(Family::IPV4_UNICAST, !has(12)), (Family::IPV6_UNICAST, has(13))] {
        if on {
            config.families.insert(family, family_config(u, has(14), has(15))?);
        }
    }
    Ok(config)
}

fn family_config(u: &mut Unstructured<'_>, paths: bool, hops: bool) -> Result<FamilyConfig> {
    let mut export = Policy::all();
    export.rules = vec![Rule::always(Then::Accept)];
    let actions = [
        LimitAction::Warn,
        LimitAction::Block,
        LimitAction::Restart(None),
        LimitAction::Restart(Some(Duration::from_secs(7))),
        LimitAction::Disable,
    ];
    let import_limit = match u.arbitrary()? {
        true => Some(PrefixLimit { max: u.int_in_range(0..=4)?, action: *u.choose(&actions)? }),
        false => None,
    };
    Ok(FamilyConfig {
        import: Policy::all(),
        export,
        extended_next_hop: hops,
        add_path_receive: paths,
        import_limit,
        ..FamilyConfig::default()
    })
}

/// The events that the peer left, and what each says about the one before.
impl Machine {
    fn collect(&mut self) {
        while let Some(event) = self.peer.poll_event() {
            self.take(event);
        }
    }

    fn take(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Dial => {
                assert!(!self.dialling && !self.connected[0], "dialled twice");
                self.dialling = true;
            }
            PeerEvent::Close(role) => {
                self.transmit(role);
                self.connected[role as usize] = false;
                self.dialling &= role != Role::Outgoing;
            }
            PeerEvent::StateChanged { from, to } => {
                assert_eq!(from, self.state);
                assert_ne!(from, to);
                self.state = to;
            }
            PeerEvent::Established => {
                assert!(!std::mem::replace(&mut self.established, true), "established twice");
            }
            PeerEvent::Down { retained, .. } => {
                assert!(std::mem::replace(&mut self.established, false), "down without a session");
                if !retained {
                    self.learned.clear();
                }
            }
            PeerEvent::Learned(prefix, route) => {
                assert!(self.established, "learned without a session");
                self.learned.insert((prefix, route.path_id));
            }
            PeerEvent::Unlearned(prefix, path_id) => {
                let known = self.learned.remove(&(prefix, path_id));
                assert!(known, "{prefix} {path_id} was not learned");
            }
            PeerEvent::Error(_) => {}
        }
    }
}
