//! Two VIPs under all that can happen to them, in any order: their routes follow what an onlooker works out from the
//! facts by the words of the configuration's reference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::view::{Clock, vip_view};
use super::*;
use crate::admin::{Off, Target, Word, Words};
use crate::config::model::{AdminState, Capacity, Need};
use crate::gate::CapacitySettings;

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OWN: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
const SPARE: &str = "10.0.1.1";
const DRAIN: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(10);

/// What a reload can change.
#[derive(Clone, Copy, Debug)]
struct Kind {
    backup: bool,
    panic: bool,
    need: u32,
    grouped: bool,
    gating: bool,
    drain: bool,
    slow: bool,
}

impl Kind {
    fn down_delay(self) -> Duration {
        Duration::from_secs(if self.slow { 3 } else { 0 })
    }

    fn config(self) -> Config {
        let quoted: Vec<String> = OWN.iter().map(|address| format!("\"{address}\"")).collect();
        let mut config = config("auto", &quoted.join(", "));
        let mut spare = config.pools["web"].clone();
        spare.name = "spare".into();
        spare.backends.truncate(1);
        spare.backends[0].address = SPARE.parse().unwrap();
        config.pools.insert("spare".into(), spare);
        let backup = self.backup.then(|| "spare".to_owned());
        config.pools.get_mut("web").unwrap().backup = backup;
        let www = config.vips.get_mut("www").unwrap();
        www.down_delay = self.down_delay();
        www.drain_time = DRAIN;
        www.group = self.grouped.then(|| "front".into());
        www.capacity = Some(Capacity {
            link_bandwidth: Some(1),
            transitive: false,
            settings: CapacitySettings { step: 10, settle: SETTLE },
            levels: Vec::new(),
        });
        for service in &mut www.services {
            service.panic_threshold = self.panic.then_some(50);
            service.need = Need::Count(self.need);
        }
        let mut other = www.clone();
        other.name = "xyz".into();
        other.addresses = vec![OTHER.into()];
        www.services[1].gating = self.gating;
        if self.drain {
            www.state = AdminState::Drain;
        }
        config.vips.insert("xyz".into(), other);
        config
    }
}

#[derive(Clone, Debug)]
enum Step {
    Probe {
        vip: usize,
        port: usize,
        backend: usize,
        up: bool,
    },
    /// All backends of a service at once.
    Probes {
        vip: usize,
        port: usize,
        up: bool,
    },
    BackendWord(usize, Option<Off>),
    VipWord(usize, Option<Off>),
    Switch(usize, bool),
    Reload(Kind),
    Acknowledge,
    NotReady([bool; 2]),
    Detach(bool),
    Flushed,
    Wait(u64),
}

fn kind() -> impl Strategy<Value = Kind> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, 1u32..=3, 0u8..4).prop_map(|((backup, panic, grouped, gating, slow), need, drain)| {
        Kind { backup, panic, need, grouped, gating, drain: drain == 0, slow }
    })
}

fn word() -> impl Strategy<Value = Option<Off>> {
    prop_oneof![3 => Just(None), 1 => Just(Some(Off::Drain)), 1 => Just(Some(Off::Disabled))]
}

fn step() -> impl Strategy<Value = Step> {
    let up = || prop::bool::weighted(0.7);
    prop_oneof![
        20 => (0usize..2, 0usize..2, 0usize..4, up())
            .prop_map(|(vip, port, backend, up)| Step::Probe { vip, port, backend, up }),
        5 => (0usize..2, 0usize..2, up()).prop_map(|(vip, port, up)| Step::Probes { vip, port, up }),
        3 => (0usize..4, word()).prop_map(|(backend, word)| Step::BackendWord(backend, word)),
        2 => (0usize..2, word()).prop_map(|(vip, word)| Step::VipWord(vip, word)),
        1 => (0usize..2, prop::bool::weighted(0.3)).prop_map(|(vip, off)| Step::Switch(vip, off)),
        3 => kind().prop_map(Step::Reload),
        15 => Just(Step::Acknowledge),
        1 => [prop::bool::weighted(0.2), prop::bool::weighted(0.2)].prop_map(Step::NotReady),
        1 => prop::bool::weighted(0.4).prop_map(Step::Detach),
        10 => Just(Step::Flushed),
        15 => (0u64..12_000).prop_map(Step::Wait),
    ]
}

const VIPS: [(&str, Ipv4Addr); 2] = [("www", VIP), ("xyz", OTHER)];
const PORTS: [u16; 2] = [80, 443];

/// One VIP as the onlooker sees it.
#[derive(Debug, Default)]
struct Seen {
    standing: bool,
    withdrawn: Option<Instant>,
    bad_since: Option<Instant>,
    draining: Option<Instant>,
    ready: bool,
    /// By port: the backends that were up when enough were.
    good: [BTreeSet<&'static str>; 2],
    told_at: Option<Instant>,
    told: Option<f32>,
}

struct Onlooker {
    now: Instant,
    clock: Clock,
    state: State,
    kind: Kind,
    sent: Option<(u64, Desired)>,
    /// What the dataplane said last.
    not_ready: BTreeSet<IpAddr>,
    detached: bool,
    up: BTreeMap<(usize, usize, &'static str), bool>,
    words: Words,
    switched: [bool; 2],
    vips: [Seen; 2],
}

impl Onlooker {
    fn new(kind: Kind) -> Self {
        let mut world = Self {
            now: Instant::now(),
            clock: Clock::now(),
            state: State::new(DataplaneMode::Auto),
            kind,
            sent: None,
            not_ready: BTreeSet::new(),
            detached: false,
            up: BTreeMap::new(),
            words: Words::default(),
            switched: [false; 2],
            vips: Default::default(),
        };
        world.vips.iter_mut().for_each(|vip| vip.bad_since = Some(world.now));
        let effects = world.state.configure(world.now, &kind.config());
        world.take(effects);
        // Undecided is not a state that lasts: from here on everything has a verdict or had its time.
        world.wait(Duration::from_secs(31));
        world
    }

    fn admin(&self, vip: usize) -> AdminState {
        let configured =
            if vip == 0 && self.kind.drain { AdminState::Drain } else { AdminState::Enabled };
        match self.switched[vip] {
            true => AdminState::Disabled,
            false => Word::applied_to(self.words.vip(VIPS[vip].0), configured),
        }
    }

    /// Whether a backend is enabled, and up.
    fn stands(&self, vip: usize, port: usize, backend: &'static str) -> (bool, bool) {
        let pool = if backend == SPARE { "spare" } else { "web" };
        let word = self.words.backend(pool, backend.parse().unwrap());
        let enabled = Word::applied_to(word, AdminState::Enabled) == AdminState::Enabled;
        (enabled, self.up.get(&(vip, port, backend)).copied().unwrap_or(false))
    }

    /// Works out by the words of the reference whether a service is up.
    fn serves(&mut self, vip: usize, port: usize) -> bool {
        let own: Vec<(&'static str, bool, bool)> = OWN
            .iter()
            .map(|backend| {
                let (enabled, up) = self.stands(vip, port, backend);
                (*backend, enabled, up)
            })
            .collect();
        let need = self.kind.need as usize;
        let all = own.iter().filter(|(_, enabled, _)| *enabled).count();
        let up = own.iter().filter(|(_, enabled, up)| *enabled && *up).count();
        let spare = self.kind.backup && self.stands(vip, port, SPARE) == (true, true);
        let spare = usize::from(spare);
        let believed = !self.kind.panic || up * 100 >= 50 * all;
        let good = &mut self.vips[vip].good[port];
        if believed {
            *good = own.iter().filter(|(.., up)| *up).map(|(backend, ..)| *backend).collect();
        }
        let kept =
            own.iter().filter(|(b, enabled, up)| *enabled && (*up || good.contains(b))).count();
        // What counts as up, by itself or in a panic, and the backup pool make up the need together.
        up + spare >= need || (!believed && kept + spare >= need)
    }

    /// What the facts make of the VIPs by themselves and with their group.
    fn healthy(&mut self) -> [bool; 2] {
        let own = [0, 1].map(|vip| {
            let services = [0, 1].map(|port| self.serves(vip, port));
            services[0] && (services[1] || (vip == 0 && !self.kind.gating))
        });
        let held = |other: usize| {
            self.kind.grouped && self.admin(other) == AdminState::Enabled && !own[other]
        };
        [own[0] && !held(1), own[1] && !held(0)]
    }

    /// Brings the facts up to date; to be called before what was asked for is looked at.
    fn look(&mut self) {
        let healthy = self.healthy();
        for (at, healthy) in healthy.into_iter().enumerate() {
            let drains = self.admin(at) == AdminState::Drain;
            let vip = &mut self.vips[at];
            vip.bad_since = if healthy { None } else { vip.bad_since.or(Some(self.now)) };
            let drains = drains && vip.standing;
            vip.draining = if drains { vip.draining.or(Some(self.now)) } else { None };
        }
    }

    /// Why a VIP's route may not stand.
    fn against(&self, at: usize) -> Option<&'static str> {
        let vip = &self.vips[at];
        let beyond = vip.bad_since.is_some_and(|since| self.now >= since + self.kind.down_delay());
        let over = vip.draining.is_none_or(|since| self.now >= since + DRAIN);
        match self.admin(at) {
            AdminState::Disabled => Some("disabled"),
            AdminState::Drain if over => Some("drained"),
            _ if beyond => Some("unhealthy"),
            _ if !vip.ready => Some("not ready"),
            _ => None,
        }
    }

    /// Carries effects out, and looks whether the facts speak for them.
    fn take(&mut self, mut effects: Vec<Effect>) {
        self.look();
        effects.extend(self.state.poll_forwarding(self.now));
        let first_other = effects.iter().position(|e| !matches!(e, Effect::Withdraw { .. }));
        let last = effects.iter().rposition(|e| matches!(e, Effect::Withdraw { .. }));
        assert!(first_other.zip(last).is_none_or(|(other, last)| last < other), "{effects:?}");
        for effect in effects {
            let at = |address: IpAddr| usize::from(address == IpAddr::V4(OTHER));
            match effect {
                Effect::Withdraw { address, .. } => self.withdrawn(at(address)),
                Effect::Announce { address, advert, .. } => self.announced(at(address), &advert),
                Effect::Update { address, advert } => self.updated(at(address), &advert),
                Effect::Apply { seq, desired } => self.sent = Some((seq, desired)),
                Effect::Backend { .. } => {}
            }
        }
        for at in 0..2 {
            let against = self.against(at).filter(|_| self.vips[at].standing);
            assert_eq!(against, None, "a route stands against the facts");
            self.rings(at);
        }
        self.pictures();
    }

    /// Readers see what they would if everything were drawn anew.
    fn pictures(&mut self) {
        for vip in &mut self.state.vips {
            let kept = format!("{:?}", vip.picture(self.now, &self.clock));
            assert_eq!(kept, format!("{:?}", vip_view(vip, self.now, &self.clock)));
        }
    }

    fn announced(&mut self, at: usize, advert: &Advert) {
        assert!(!self.vips[at].standing);
        assert_eq!(self.admin(at), AdminState::Enabled);
        assert_eq!(self.vips[at].bad_since, None, "announced while unhealthy");
        let other = 1 - at;
        let waits = self.kind.grouped && self.admin(other) == AdminState::Enabled;
        let unready = self.detached || self.not_ready.contains(&IpAddr::V4(VIPS[other].1));
        assert!(!(waits && unready), "announced before its group is ready");
        let vip = &mut self.vips[at];
        vip.standing = true;
        vip.ready = true;
        vip.told = advert.link_bandwidth.map(|bandwidth| bandwidth.bytes_per_second);
        vip.told_at = Some(self.now);
    }

    fn withdrawn(&mut self, at: usize) {
        assert!(self.vips[at].standing, "withdrawn twice");
        assert!(self.against(at).is_some(), "withdrawn while healthy");
        let vip = &mut self.vips[at];
        (vip.standing, vip.draining, vip.withdrawn) = (false, None, Some(self.now));
    }

    fn updated(&mut self, at: usize, advert: &Advert) {
        let now = self.now;
        let vip = &mut self.vips[at];
        assert!(vip.standing, "an update of a route that does not stand");
        let told = advert.link_bandwidth.map(|bandwidth| bandwidth.bytes_per_second);
        if told != vip.told {
            assert!(vip.told_at.is_some_and(|at| now >= at + SETTLE), "two changes so soon");
            (vip.told, vip.told_at) = (told, Some(now));
        }
    }

    /// No ring of a gating service is empty while routers may send.
    fn rings(&self, at: usize) {
        let vip = &self.vips[at];
        let held = vip.withdrawn.is_some_and(|since| self.now < since + FLUSH_LIMIT);
        let Some((_, desired)) = self.sent.as_ref().filter(|_| vip.standing || held) else {
            return;
        };
        let address = IpAddr::V4(VIPS[at].1);
        let Some(spec) = desired.vips.iter().find(|spec| spec.address == address) else { return };
        let live = |port| {
            let services = spec.services.iter().filter(|s| s.ports == Ports::One(port));
            services.flat_map(|s| &s.backends).any(|b| b.state == RealState::Live)
        };
        assert!(live(80) && (live(443) || at == 0), "a ring was emptied too early");
    }

    fn probe(&mut self, vip: usize, port: usize, backend: usize, up: bool) {
        let address = *OWN.get(backend).unwrap_or(&SPARE);
        if address == SPARE && !self.kind.backup {
            return;
        }
        self.up.insert((vip, port, address), up);
        let key = ProbeKey {
            vip: VIPS[vip].1.into(),
            backend: address.parse().unwrap(),
            port: PORTS[port],
            service: format!("{}/tcp", PORTS[port]),
            check: "alive".to_owned(),
        };
        let verdict = if up { Verdict::Up } else { Verdict::Down };
        let outcome = Outcome { ok: up, diagnostic: "said".into(), took: Duration::from_millis(1) };
        let (at, changed) = (self.now, true);
        let event = ProbeEvent { key, verdict, changed, outcome, at, passed: 0, failed: 0 };
        let effects = self.state.probed(self.now, event);
        self.take(effects);
    }

    /// The dataplane said something: all that stands is as ready as that makes it.
    fn dataplane(&mut self, event: Event) {
        match &event {
            Event::Applied { not_ready, .. } | Event::ReadinessChanged { not_ready } => {
                self.not_ready = not_ready.iter().map(|(vip, _)| *vip).collect();
            }
            Event::Detached { .. } => self.detached = true,
            Event::Attached { .. } => self.detached = false,
            _ => {}
        }
        for (vip, (_, address)) in self.vips.iter_mut().zip(VIPS) {
            vip.ready = !self.detached && !self.not_ready.contains(&IpAddr::V4(address));
        }
        // Who stood and has lost its rings takes its group along.
        let lost = |at: usize| {
            let vip = &self.vips[at];
            vip.standing && !vip.ready && self.admin(at) == AdminState::Enabled
        };
        if self.kind.grouped && (lost(0) || lost(1)) {
            self.vips.iter_mut().for_each(|vip| vip.ready = false);
        }
        let effects = self.state.dataplane(self.now, event);
        self.take(effects);
    }

    fn acknowledge(&mut self) {
        let Some((seq, desired)) = self.sent.clone() else { return };
        let empty = |vip: &&VipSpec| {
            vip.services.iter().any(|s| s.backends.iter().all(|b| b.state != RealState::Live))
        };
        let empty = desired.vips.iter().filter(empty).map(|v| (v.address, "empty".to_owned()));
        let not_ready = empty.collect();
        self.dataplane(Event::Applied { seq, took: Duration::ZERO, not_ready });
    }

    fn say(&mut self, target: &Target, off: Option<Off>) {
        match off {
            Some(state) => {
                let word = Word { state, reason: None, since: 0.0, until: None };
                self.words.set(target, word);
            }
            None => drop(self.words.clear(target)),
        }
        let words = Arc::new(self.words.clone());
        let effects = self.state.set_words(self.now, words, "over");
        self.take(effects);
    }

    fn reload(&mut self, kind: Kind) {
        if self.kind.backup && !kind.backup {
            self.up.retain(|(.., backend), _| *backend != SPARE);
        }
        self.kind = kind;
        let effects = self.state.configure(self.now, &kind.config());
        self.take(effects);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.state.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let effects = self.state.timeout_at(self.now);
            self.take(effects);
            assert!(self.state.poll_timeout().is_none_or(|at| at > self.now), "it spins");
        }
        self.now = end;
        self.look();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Probe { vip, port, backend, up } => self.probe(vip, port, backend, up),
            Step::Probes { vip, port, up } => {
                (0..OWN.len()).for_each(|backend| self.probe(vip, port, backend, up));
            }
            Step::BackendWord(backend, off) => {
                let address = *OWN.get(backend).unwrap_or(&SPARE);
                let pool = if address == SPARE { "spare" } else { "web" };
                let address = address.parse().unwrap();
                self.say(&Target::Backend { pool: pool.into(), address }, off);
            }
            Step::VipWord(vip, off) => self.say(&Target::Vip(VIPS[vip].0.into()), off),
            Step::Switch(vip, off) => {
                self.switched[vip] = off;
                let (_, effects) = self.state.switch(self.now, VIPS[vip].0, off);
                self.take(effects);
            }
            Step::Reload(kind) => self.reload(kind),
            Step::Acknowledge => self.acknowledge(),
            Step::NotReady(which) => {
                let lost = VIPS.iter().zip(which).filter(|(_, lost)| *lost);
                let not_ready = lost.map(|((_, vip), _)| (IpAddr::V4(*vip), "lost".into()));
                self.dataplane(Event::ReadinessChanged { not_ready: not_ready.collect() });
            }
            Step::Detach(true) => {
                let (interface, reason) = ("eth0".to_owned(), "test".to_owned());
                self.dataplane(Event::Detached { interface, reason });
            }
            Step::Detach(false) => {
                let interface = "eth0".to_owned();
                self.dataplane(Event::Attached { interface, mode: "native", fallback: None });
            }
            Step::Flushed => {
                for (at, (_, address)) in VIPS.into_iter().enumerate() {
                    let effects = self.state.flushed(self.now, address.into());
                    self.vips[at].withdrawn = None;
                    self.take(effects);
                }
            }
            Step::Wait(ms) => self.wait(Duration::from_millis(ms)),
        }
    }

    /// All is well again.
    fn mend(&mut self, kind: Kind) {
        self.words = Words::default();
        self.say(&Target::Vip("www".into()), None);
        [0, 1].into_iter().for_each(|vip| self.step(Step::Switch(vip, false)));
        self.reload(Kind { drain: false, ..kind });
        self.step(Step::Detach(false));
        for vip in 0..2 {
            (0..2).for_each(|port| self.step(Step::Probes { vip, port, up: true }));
        }
        for _ in 0..3 {
            self.acknowledge();
            self.wait(Duration::from_secs(6));
        }
    }
}

proptest! {
    /// Verdicts, words on backends and VIPs, switches, reloads, what the dataplane says, and time, in any order: no route
    /// stands against the facts beyond its down-delay or its drain-time, none is withdrawn while nothing speaks against
    /// it, no ring is emptied before its route is gone, and when all is well again all routes stand.
    #[test]
    fn routes_follow_the_facts_in_any_order(
        first in kind(),
        steps in proptest::collection::vec(step(), 1..150)
    ) {
        let mut world = Onlooker::new(first);
        for step in steps {
            world.step(step);
        }
        let kind = world.kind;
        world.mend(kind);
        prop_assert!(world.vips.iter().all(|vip| vip.standing), "a route is withheld");
    }
}
